"""What every test may ask for."""

from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real inputs that lies beside a checkout on the developers' machines, and nowhere else."""
    folder = REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real inputs here ({folder} is absent)")
    return folder
