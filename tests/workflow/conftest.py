"""The results of a small cohort, made once for all tests here."""

import pytest
from checkouts import REPOSITORY, Checkout


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Checkout:
    """A checkout in which the mini cohort has run. Tests plan with it, and change copies only."""
    checkout = Checkout(REPOSITORY).copy_to(tmp_path_factory.mktemp("mini") / "checkout", with_results=False)
    run = checkout.snakemake()
    assert run.returncode == 0, run.stdout
    return checkout


@pytest.fixture
def copy(finished, tmp_path) -> Checkout:
    """A copy of the finished checkout, to be changed."""
    return finished.copy_to(tmp_path / "copy", with_results=True)
