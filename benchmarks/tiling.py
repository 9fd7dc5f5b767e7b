"""A real slide to tiles on the disk: ours, and what people use today.

Each contender is a process of its own, from its first import to its last byte, which is the table `tiling`; the same
runs without imports are the table `tiling_without_imports`. Work is the tiles that a contender stores: each has its own
rule of what tissue is.
"""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from benchmarks import harness
from benchmarks.harness import Usage

SLIDE = "slides/TCGA-C8-A1HN-01Z-00-DX1.region40x.svs"
PEERS = {
    "OpenSlide loop": "loop",
    "OpenSlide loop, two processes": "loop2",
    "hs2p, two workers": "hs2p",
    "histolab": "histolab",
}
ROUNDS = 5


def main() -> None:
    """Measure, and write the two tables."""
    harness.on_two_cores()
    slide = harness.real_input(SLIDE)
    inside: list[tuple[str, float, float]] = []

    def contender(name: str, command: list[str]) -> Callable[[], Usage]:
        def run() -> Usage:
            with tempfile.TemporaryDirectory() as folder:
                usage = harness.in_process([*command, slide, folder], cwd=harness.REPOSITORY)
                job = json.loads((Path(folder) / "job.json").read_text(encoding="utf-8"))
            inside.append((name, job["seconds"], job["done"]))
            return usage._replace(work=job["done"])

        return run

    contenders = {"ours": contender("ours", harness.python("-m", "benchmarks.ours"))}
    for name, job in PEERS.items():
        contenders[name] = contender(name, harness.peer(job))
    versions = harness.peer_versions("hs2p", "histolab", "large-image")
    harness.compare("tiling", contenders, work=0, unit="tiles", rounds=ROUNDS, inputs=[slide], versions=versions)

    without = pd.DataFrame(inside, columns=["contender", "seconds", "work"])
    without["round"] = without.groupby("contender").cumcount()
    harness.write(
        "tiling_without_imports", without.reindex(columns=harness.COLUMNS).fillna({"unit": "tiles"}), versions=versions
    )


if __name__ == "__main__":
    main()
