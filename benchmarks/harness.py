"""The harness: contenders in turn, round by round, and what they ran on.

Other work on the machine makes a clock unreliable and leaves a ratio of neighbours in time mostly alone. So contenders
take turns, in another order each round, and what is believed is a median over rounds.
"""

import json
import os
import platform
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import psutil

from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.files import write_table, writing

REPOSITORY = Path(__file__).resolve().parents[1]
RESULTS = REPOSITORY / "results" / "benchmarks"
CORES = 2
COLUMNS = ["contender", "round", "seconds", "work", "unit", "peak_mb"]
# The round of the first calls: nothing is imported yet, allocated or in the machine's memory.
COLD = 0
# Packages whose versions a timing may depend on.
PACKAGES = (
    "cykooz-resizer",
    "h5py",
    "numpy",
    "openslide-bin",
    "openslide-python",
    "pillow",
    "simplejpeg",
    "snakemake",
    "torch",
    "torchvision",
)
# How often memory is looked at, in seconds; a process's own peak is the kernel's, and is not missed.
LOOK_EVERY = 0.05


class Usage(NamedTuple):
    """What a command took: wall time in seconds, and the peak of its memory in MB (10⁶ bytes), children included.

    work: how much it did, where contenders differ in that; None for what `compare` was told.
    """

    seconds: float
    peak_mb: float
    work: float | None = None


Contender = Callable[[], float | Usage | None]


def compare(
    subject: str,
    contenders: Mapping[str, Contender],
    *,
    work: float,
    unit: str,
    rounds: int = 5,
    inputs: Sequence[str | Path] = (),
    versions: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Run contenders in turn, and write `results/benchmarks/<subject>.tsv`, the table of `measure`, which it returns.

    Beside it `<subject>.json` says what it ran on. versions: of packages that are not in this environment.
    """
    table = measure(subject, contenders, work=work, unit=unit, rounds=rounds, inputs=inputs)
    write(subject, table, versions=versions)
    return table


def measure(
    subject: str,
    contenders: Mapping[str, Contender],
    *,
    work: float,
    unit: str,
    rounds: int,
    inputs: Sequence[str | Path] = (),
) -> pd.DataFrame:
    """Run contenders in turn, a cold round and then `rounds`, and return what each took.

    contenders: functions by what they are called; the first is what a page compares the others with, unless it says
    otherwise. One returns None, and its wall time counts; or the seconds that it measured itself, to leave out what is
    not the subject; or a `Usage`, of a command in a process of its own.
    work, unit: what one call does, such as 144 tiles; speed is work by seconds.
    inputs: files that are dropped from the machine's memory before each call of the cold round.

    The table has a row per contender and round, and `COLUMNS`; round 0 is the cold one; `peak_mb` is missing where no
    process of its own was measured.
    """
    names = list(contenders)
    rows = []
    for number in range(rounds + 1):
        # Each is first, last and in between as often as another.
        for name in names[number % len(names) :] + names[: number % len(names)]:
            if number == COLD:
                forget(inputs)
            started = time.perf_counter()
            found = contenders[name]()
            elapsed = time.perf_counter() - started
            usage = found if isinstance(found, Usage) else Usage(elapsed if found is None else found, float("nan"))
            done = work if usage.work is None else usage.work
            rows.append((name, number, usage.seconds, done, unit, usage.peak_mb))
            which = "cold" if number == COLD else f"round {number}"
            print(f"{subject}: {name}, {which}: {usage.seconds:.3f} s", flush=True)
    return pd.DataFrame(rows, columns=COLUMNS).sort_values(
        "contender", key=lambda column: column.map(names.index), kind="stable", ignore_index=True
    )


def write(subject: str, table: pd.DataFrame, *, versions: Mapping[str, str] | None = None) -> None:
    """Write a table of measurements of any shape as `results/benchmarks/<subject>.tsv`, and what they were made on."""
    write_table(table, RESULTS / f"{subject}.tsv")
    with writing(RESULTS / f"{subject}.json") as partial:
        partial.write_text(json.dumps(conditions() | {"versions": _versions(versions or {})}, indent=1) + "\n")


def processor_time(action: Callable[[], None]) -> Callable[[], float]:
    """A contender whose seconds are the processor's, whoever else computes."""

    def run() -> float:
        started = time.process_time()
        action()
        return time.process_time() - started

    return run


def in_process(command: Sequence[str | Path], **options: object) -> Usage:
    """Run a command in a process of its own, and measure its wall time and its peak of memory.

    The peak is the largest sum of what it and its children take, memory that they share counted once, or the largest
    that the kernel saw of one of them, where that is more; as looked at twenty times a second.
    options: of `subprocess.Popen`, such as `cwd` and `env`. Raises InputError where the command fails.
    """
    started = time.perf_counter()
    process = subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL, **options)
    looks, ended = [0], threading.Event()

    def look() -> None:
        while not ended.wait(LOOK_EVERY):
            looks.append(_memory(process.pid))

    watcher = threading.Thread(target=look)
    watcher.start()
    _, status = os.waitpid(process.pid, 0)
    seconds = time.perf_counter() - started
    ended.set()
    watcher.join()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise InputError(f"{' '.join(map(str, command))}: ended with {process.returncode}; run it alone to see why")
    return Usage(seconds, max(looks) / 1e6)


def _memory(pid: int) -> int:
    """Bytes that a process and its children take, what they share counted once; or that one of them ever took."""
    total, highest = 0, 0
    try:
        main = psutil.Process(pid)
        family = [main, *main.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    for member in family:
        try:
            total += member.memory_full_info().pss
            # What wait4 tells of the peak begins with the memory of the process that started this one.
            peak = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{member.pid}/status").read_text(encoding="utf-8"))
            highest = max(highest, int(peak[1]) * 1024 if peak else 0)
        except (psutil.NoSuchProcess, psutil.AccessDenied, OSError):
            continue
    return max(total, highest)


def forget(paths: Sequence[str | Path]) -> None:
    """Have the machine drop files from its memory, so that they are read from the disk again."""
    for path in paths:
        with open(path, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def conditions() -> dict[str, object]:
    """The machine as a timing sees it: processor, the cores that this process may use, memory, system."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "system": platform.system(),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def _versions(others: Mapping[str, str]) -> dict[str, str]:
    own = {"python": platform.python_version()} | {package: version(package) for package in PACKAGES}
    return dict(sorted((own | dict(others)).items()))


def on_two_cores() -> None:
    """Keep this process and its children on two of the cores that it may use: the last, which systems use least."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-CORES:])


def real_input(path: str) -> Path:
    """A real input that lies beside a checkout on the developers' machines; ends the subject in one line without it."""
    found = REPOSITORY.parent / "shared" / "data" / path
    if not found.exists():
        print(f"skipped: {found} is absent")
        sys.exit(0)
    return found


def python(*arguments: str | Path) -> list[str]:
    """The command that runs this Python with arguments."""
    return [sys.executable, *map(str, arguments)]


# What people use today

PEERS = REPOSITORY / ".venv-peers"


def peer(job: str) -> list[str]:
    """The command that has a peer do a job; the input and a folder for what it makes are to follow."""
    if not (PEERS / ".ready").exists():
        sys.exit("what ours is compared with is not installed: `make bench` does that")
    return [str(PEERS / "bin" / "python"), "-W", "ignore", str(REPOSITORY / "benchmarks" / "peers.py"), job]


def peer_versions(*packages: str) -> dict[str, str]:
    """The versions of some packages in the environment of the peers."""
    pins = (REPOSITORY / "envs" / "peers.txt").read_text(encoding="utf-8").splitlines()
    pinned = dict(line.split("==") for line in pins if "==" in line)
    return {package: pinned[package] for package in packages}


# What a table says


def speeds(table: pd.DataFrame) -> pd.DataFrame:
    """Speed and memory of each contender, in the order of the table.

    Returns columns `contender`, `unit`; in work a second `cold` (of the cold round), `speed` (median over the warm
    rounds), `low` and `high` (the slowest and the fastest of them); `seconds` (median of them) and `peak_mb` (largest).
    """
    rows = []
    for name, rounds in table.groupby("contender", sort=False):
        speed = rounds["work"] / rounds["seconds"]
        is_warm = warm_rounds(rounds)
        warm = speed[is_warm]
        cold = speed[rounds["round"] == COLD].median()
        seconds = rounds["seconds"][is_warm].median()
        of_rounds = (cold, warm.median(), warm.min(), warm.max(), seconds, rounds["peak_mb"].max())
        rows.append((name, rounds["unit"].iloc[0], *of_rounds))
    return pd.DataFrame(rows, columns=["contender", "unit", "cold", "speed", "low", "high", "seconds", "peak_mb"])


def warm_rounds(table: pd.DataFrame) -> pd.Series:
    """Which rows are of warm rounds; all, where what took long was run once."""
    is_warm = table["round"] != COLD
    return is_warm if is_warm.any() else ~is_warm


def ratios(table: pd.DataFrame, *, to: str) -> pd.DataFrame:
    """How many times as fast as the contender `to` each is: of neighbours in time, round by round.

    Returns columns `contender`, `ratio` (median over the warm rounds), `low`, `high`. Raises InputError for a
    contender that is not there.
    """
    warm = table[warm_rounds(table)]
    speed = (warm["work"] / warm["seconds"]).groupby([warm["round"], warm["contender"]]).first().unstack()
    if to not in speed:
        raise InputError(f"no contender {to!r} among {', '.join(map(str, speed))}")
    found = speed.div(speed[to], axis=0)
    names = list(dict.fromkeys(table["contender"]))
    return pd.DataFrame(
        [(name, found[name].median(), found[name].min(), found[name].max()) for name in names],
        columns=["contender", "ratio", "low", "high"],
    )
