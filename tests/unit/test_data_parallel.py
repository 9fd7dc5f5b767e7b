"""Several processes that train together take the steps of one, and end and go on together."""

import signal
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import processes
import pytest
import torch
from stores import make_store

from workflow_scripts.lib import augmentations, training


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """What each of two processes found that trained together, and the folder of their stores."""
    folder = tmp_path_factory.mktemp("together")
    rng = np.random.default_rng(0)
    # Seven tiles per step, and 13 to validate on in batches of 7: neither is shared evenly.
    for name, label, tiles in (("train_0", 0, 20), ("train_1", 1, 15), ("validation_0", 0, 6), ("validation_1", 1, 7)):
        images = rng.integers(0, 120 if label else 256, (tiles, 32, 32, 3), dtype=np.uint8)
        make_store(folder / f"{name}_{label}.h5", images, slide_id=f"{name}_{label}")
    subprocess.run([sys.executable, processes.__file__, str(folder)], check=True, timeout=600)
    return [torch.load(folder / f"found_{process}.pt", weights_only=True) for process in (0, 1)], folder


def assert_alike(found: tuple[dict, list], expected: tuple[dict, list], *, tolerance: float = 0.0) -> None:
    """Weights and curves are the same within a tolerance."""
    torch.testing.assert_close(found[0], expected[0], rtol=tolerance, atol=tolerance)
    for row, other in zip(found[1], expected[1], strict=True):
        assert row == pytest.approx(other, rel=tolerance, abs=tolerance, nan_ok=True)


def test_two_processes_take_the_steps_of_one_with_the_whole_batch(together):
    (first, second), folder = together
    one = processes.train(folder, "one", processes.one_process())
    start = processes.without_batchnorm().state_dict()
    assert all((one.weights[name] - start[name]).abs().max() > 1e-3 for name in start)
    assert_alike(first["trained"], (one.weights, one.curve), tolerance=1e-5)
    assert_alike(second["trained"], first["trained"])


def test_a_signal_to_one_process_ends_all_at_the_same_step_though_another_is_told_to_go_on(together):
    assert [found["ended"] for found in together[0]] == [(128 + signal.SIGTERM, 4)] * 2


def test_a_signal_to_one_process_lets_all_save_the_same_step(together):
    # Step 2 is the first evaluation's.
    assert [found["saved"] for found in together[0]] == [[2, 3, 4]] * 2


def test_two_processes_go_on_to_the_same_weights(together):
    for found in together[0]:
        assert_alike(found["gone_on"], found["whole"])


def test_all_processes_evaluate_the_first_ones_batch_statistics(together):
    for found in together[0]:
        assert found["buffers"]
        assert all((buffer == 5).all() for buffer in found["buffers"])


@pytest.mark.parametrize(("world_size", "device", "synchronised"), [(1, "cuda", 0), (2, "cuda", 1), (2, "cpu", 0)])
def test_gpus_normalise_a_batch_together(world_size, device, synchronised):
    fabric = SimpleNamespace(
        world_size=world_size, device=torch.device(device), setup=lambda network, optimizer: (network, optimizer)
    )
    learner = training.Learner.of(processes.with_batchnorm(), processes.SCHEDULE, fabric)
    for network in (learner.network, learner.averaged.module):
        assert sum(isinstance(layer, torch.nn.SyncBatchNorm) for layer in network) == synchronised
        assert network.state_dict().keys() == processes.with_batchnorm().state_dict().keys()


@pytest.mark.parametrize("part", [slice(0, None, 2), slice(1, None, 2)])
def test_a_tile_is_augmented_alike_in_a_share_and_in_the_whole_batch(part):
    names = ["horizontal_flip", "vertical_flip", "transpose", "colour_jitter"]
    batch = torch.randint(0, 256, (7, 3, 4, 4), dtype=torch.uint8)
    whole = augmentations.augment(batch, names, torch.Generator().manual_seed(3), of=7)
    share = augmentations.augment(batch[part], names, torch.Generator().manual_seed(3), of=7, part=part)
    assert torch.equal(share, whole[part])


def test_a_process_draws_its_own_dropout_and_the_first_that_of_a_single_one():
    assert len({training._seed_of(1, 5, process) for process in range(8)}) == 8
    expected = np.random.SeedSequence([1, 5]).generate_state(1, np.uint64)[0] >> 1
    assert training._seed_of(1, 5) == training._seed_of(1, 5, 0) == expected
