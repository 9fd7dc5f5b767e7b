"""Files at the edges: whole or absent, and tables that read back as they were written."""

import errno
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING

from workflow_scripts.lib.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

# What a disk is asked to take where a writer failed: libraries have words of their own for one that is full.
PROBE_BYTES = 64 * 1024


@contextmanager
def writing(path: str | Path) -> Iterator[Path]:
    """Yield another name beside `path`; move the file written there into place when the block completes.

    A block that raises, or a process that is killed, leaves no file called `path` (or leaves the old one). What a
    killed one had begun is removed; should it be alive after all, it fails, and the files of the two do not mix.
    The partial name keeps the suffix, because many writers choose the format by it.

    Raises InputError where the block fails because the disk is full.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f"{escape(f'.{path.stem}.partial-')}*"):
        left.unlink(missing_ok=True)
    partial = path.with_name(f".{path.stem}.partial-{os.getpid()}{path.suffix}")
    try:
        yield partial
        with open(partial, "rb") as written:
            os.fsync(written.fileno())
        os.replace(partial, path)
    except InputError:
        raise
    except Exception as error:
        if _is_for_want_of_room(error, partial):
            raise InputError(f"{path}: the disk is full, or your share of it; make room, and run again") from error
        raise
    finally:
        partial.unlink(missing_ok=True)


def _is_for_want_of_room(error: Exception, partial: Path) -> bool:
    """Whether a writer failed because the disk is full, or the user's share of it: by its error, or by a trial."""
    full = (errno.ENOSPC, errno.EDQUOT)
    if isinstance(error, OSError) and error.errno in full:
        return True
    probe = partial.with_name(f"{partial.name}.probe")
    try:
        with open(probe, "wb") as file:
            file.write(b"\0" * PROBE_BYTES)
            os.fsync(file.fileno())
    except OSError as refused:
        return refused.errno in full
    finally:
        probe.unlink(missing_ok=True)
    return False


def write_table(frame: "pd.DataFrame", path: str | Path) -> None:
    """Write a TSV with a header; missing values are empty, floats are written in the shortest form that reads back."""
    with writing(path) as partial:
        frame.to_csv(partial, sep="\t", index=False, na_rep="", lineterminator="\n")


def read_table(path: str | Path, *, text: Collection[str] = ()) -> "pd.DataFrame":
    """Read a TSV. Only an empty cell is missing ("NA" is text); columns in `text` stay str, with "" for missing.

    Numbers are read to the last bit. Raises InputError when the file is empty or is not a table.
    """
    # Here, because the import is half of what a job that tiles a slide imports, and that job has no table.
    import pandas as pd

    try:
        frame = pd.read_csv(
            path,
            sep="\t",
            dtype=dict.fromkeys(text, str),
            keep_default_na=False,
            na_values=[""],
            # pandas' own parser of numbers is off by a bit in half of them.
            float_precision="round_trip",
        )
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: expected a tab-separated table with a header, found: {error}") from error
    if not isinstance(frame.index, pd.RangeIndex):
        # pandas takes the first columns of such a table for row names, and moves every other to a wrong name.
        raise InputError(f"{path}: expected rows of {len(frame.columns)} fields, as in its header, found longer ones")
    for column in text:
        if column in frame:
            frame[column] = frame[column].fillna("")
    return frame
