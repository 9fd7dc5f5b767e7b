"""A job's log says what it computed on."""

import pytest
import torch

from workflow_scripts.lib import devices


@pytest.fixture
def four_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: ["A100", "A100", "V100", "A100"][number])


def test_gpus_are_counted_by_name(four_gpus, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6,7")
    assert devices.describe(4) == "3 × A100, 1 × V100 (CUDA_VISIBLE_DEVICES is '4,5,6,7')"
    assert devices.describe(1) == "1 × A100 (CUDA_VISIBLE_DEVICES is '4,5,6,7')"


def test_without_a_gpu_it_is_the_cpu(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert devices.describe(0) == "the CPU, threads: 3 (CUDA_VISIBLE_DEVICES is '')"
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert devices.describe(0) == "the CPU, threads: 3 (CUDA_VISIBLE_DEVICES is not set)"
