"""What a job says: its log, and what it could not use."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from workflow_scripts.lib.errors import InputError

log = logging.getLogger(__name__)


@contextmanager
def logging_to(path: str | Path) -> Iterator[None]:
    """Send the library's messages to a log file while the block runs, warnings to the terminal too.

    An InputError ends the process with its message alone: it is about the input, and a traceback would hide that. Any
    other exception is logged with its traceback and goes on.

    Processes that share a job (Lightning numbers them in LOCAL_RANK) share its log: the first begins it anew, and the
    others, which do the same work, add warnings alone.
    """
    first = os.environ.get("LOCAL_RANK", "0") == "0"
    if first:
        Path(path).write_bytes(b"")
    handlers: list[logging.Handler] = [logging.FileHandler(path, encoding="utf-8"), logging.StreamHandler(sys.stderr)]
    handlers[1].setLevel(logging.WARNING)
    logging.basicConfig(
        level=logging.INFO if first else logging.WARNING,
        format="%(asctime)s %(message)s",
        datefmt="%H:%M:%S",
        handlers=handlers,
        force=True,
    )
    try:
        yield
    except InputError as error:
        log.error("%s", error)
        sys.exit(1)
    except Exception:
        log.exception("failed")
        raise
