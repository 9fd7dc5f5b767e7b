"""The devices that a job computes on: GPUs that it sees, which are those that its scheduler gave it, or the CPU.

CUDA numbers and counts only the GPUs of CUDA_VISIBLE_DEVICES, which SLURM sets to a job's share of its node. Where that
is empty or names no GPU, there is none. Where it is not set, there are all GPUs that the system lets the process open:
the job's own on a SLURM with `ConstrainDevices`, else every GPU of the machine.
"""

import os

import torch


def describe(gpus: int) -> str:
    """The first `gpus` of the GPUs that this process sees, or the CPU where that is 0, by name; for a job's log."""
    names = [torch.cuda.get_device_name(number) for number in range(gpus)]
    counted = [f"{names.count(name)} × {name}" for name in dict.fromkeys(names)]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    given = "CUDA_VISIBLE_DEVICES is not set" if visible is None else f"CUDA_VISIBLE_DEVICES is {visible!r}"
    return f"{', '.join(counted) or f'the CPU, threads: {torch.get_num_threads()}'} ({given})"
