"""The results of a small cohort, made once for all tests here."""

import fcntl

import pytest
from checkouts import REPOSITORY, Checkout


@pytest.fixture(scope="session")
def finished(tmp_path_factory, worker_id) -> Checkout:
    """A checkout in which the mini cohort has run. Tests plan with it, and change copies only."""
    # Beside the folders of several processes, of which the first makes it.
    shared = tmp_path_factory.getbasetemp() if worker_id == "master" else tmp_path_factory.getbasetemp().parent
    with open(shared / "mini.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        checkout = Checkout(shared / "mini" / "checkout")
        if not (shared / "mini" / "finished").exists():
            Checkout(REPOSITORY).copy_to(checkout.folder, with_results=False)
            run = checkout.snakemake()
            assert run.returncode == 0, run.stdout
            (shared / "mini" / "finished").touch()
    return checkout


@pytest.fixture
def copy(finished, tmp_path) -> Checkout:
    """A copy of the finished checkout, to be changed."""
    return finished.copy_to(tmp_path / "copy", with_results=True)
