"""Tiles of a real slide recoloured: ours, and staintools in a process of its own; neither's imports count."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks import harness, ours
from workflow_scripts.lib import stain_fitting, stained_slides, stains, tiles

SLIDE = "slides/TCGA-C8-A1HN-01Z-00-DX1.region40x.svs"
# Recoloured in a call, to look like one more.
TILES = 8
ROUNDS = 3


def main() -> None:
    """Measure each method, and write a table of each."""
    harness.on_two_cores()
    slide = harness.real_input(SLIDE)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ours.main(slide, folder)
        with tiles.open_store(folder / "slide.h5") as store:
            # From all over the slide.
            target, *others = (tiles.decode(store.encoded(index)) for index in spread(len(store), TILES + 1))
            pooled = stained_slides.pool_tissue(store)
        np.save(folder / "tiles.npy", np.stack([target, *others]))
        for method in (stains.MACENKO, stains.VAHADANE):
            harness.compare(
                f"stains_{method}",
                {
                    "staintools": by_staintools(method, folder),
                    "ours, fitted to each tile": by_tile(method, target, others),
                    "ours, fitted to the slide": by_slide(method, target, others, pooled),
                },
                work=TILES,
                unit="tiles",
                rounds=ROUNDS,
                versions=harness.peer_versions("staintools", "spams-bin"),
            )


def spread(number: int, chosen: int) -> list[int]:
    """So many of a number of places, at equal steps."""
    return np.linspace(0, number - 1, chosen).round().astype(int).tolist()


def by_staintools(method: str, folder: Path) -> Callable[[], float]:
    """staintools fits each tile, and recolours it."""

    def run() -> float:
        harness.in_process([*harness.peer(method), folder / "tiles.npy", folder])
        return json.loads((folder / "job.json").read_text(encoding="utf-8"))["seconds"]

    return run


def by_tile(method: str, target: np.ndarray, others: list[np.ndarray]) -> Callable[[], None]:
    """The same work as staintools: each tile is fitted to its tissue, and recoloured."""
    to = appearance(method, target)

    def run() -> None:
        for tile in others:
            stains.recolour(tile, stain_fitting.normalise(tissue(tile), to, method=method))

    return run


def by_slide(method: str, target: np.ndarray, others: list[np.ndarray], pooled: np.ndarray) -> Callable[[], None]:
    """What the workflow does: the slide is fitted once, and a table of colours serves all its tiles."""
    to = appearance(method, target)

    def run() -> None:
        table = stains.ColourTable(stain_fitting.normalise(pooled, to, method=method))
        for tile in others:
            table.recolour(tile)

    return run


def appearance(method: str, tile: np.ndarray) -> stains.Appearance:
    """How a tile is stained."""
    return stain_fitting.fit(tissue(tile), method=method)


def tissue(tile: np.ndarray) -> np.ndarray:
    """The pixels of a tile that are tissue, (n, 3) uint8."""
    pixels = tile.reshape(-1, 3)
    return pixels[stain_fitting.is_tissue(pixels)]


if __name__ == "__main__":
    main()
