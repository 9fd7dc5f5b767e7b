"""Tiling against its bound: decoding the same tiles of the file at the same size, and nothing else.

`.venv/bin/python -m benchmarks.tiling_bound` writes the tables `tiling_bound` (in this process, imports left out) and
`tiling_process` (a process of its own, imports counted). Both with two threads, of a slide at 0.5 µm/px and 512 px.
"""

import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import simplejpeg

from benchmarks import harness
from workflow_scripts.lib import jpeg_slides, slides, tiles

SLIDE = Path(__file__).resolve().parents[1] / "../shared/data/slides/TCGA-C8-A1HN-01Z-00-DX1.region40x.svs"
THREADS = 2
TILE_PX, MPP = 512, 0.5
# Tiles of the file that a thread takes at once, so that handing them out costs nothing.
AT_ONCE = 64


def tile(path: Path, folder: Path, *, threads: int = THREADS) -> None:
    """Tile a slide as the published study does."""
    tiles.tile_slide(
        path,
        folder / "S.h5",
        slide_id="S",
        tile_px=TILE_PX,
        mpp=MPP,
        max_background=0.5,
        background_rule="saturation",
        max_pen=0.5,
        threads=threads,
    )


def level_of(path: Path) -> jpeg_slides.JpegLevel:
    """Return the level that tiling reads of a slide of JPEG tiles."""
    with slides.open_slide(path) as slide:
        facts = slides.inspect_open_slide(slide, target_mpp=MPP)
        return jpeg_slides.find_level(path, slide, MPP / facts.mpp)


def decode_all(level: jpeg_slides.JpegLevel, *, threads: int = THREADS) -> None:
    """Decode every tile of a level at the size of tiling, and forget it."""
    image = level.image
    width, height = level.tile_size
    offsets, counts = image.offsets.tolist(), image.byte_counts.tolist()

    def decode(numbers: range) -> None:
        with open(level.path, "rb") as file:
            for number in numbers:
                file.seek(offsets[number])
                encoded = file.read(counts[number])
                factor = 8 / level.eighths
                simplejpeg.decode_jpeg(encoded, "RGB", min_width=width, min_height=height, min_factor=factor)

    parts = [range(start, min(start + AT_ONCE, len(counts))) for start in range(0, len(counts), AT_ONCE)]
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(decode, parts))


def main() -> None:
    """Write both tables."""
    if len(sys.argv) > 1:
        {"tile": lambda: tile(SLIDE, Path(sys.argv[2])), "decode": lambda: decode_all(level_of(SLIDE))}[sys.argv[1]]()
        return
    if not SLIDE.is_file():
        print(f"no {SLIDE.name} here: nothing is measured")
        return
    level = level_of(SLIDE)
    with slides.open_slide(SLIDE) as slide:
        facts = slides.inspect_open_slide(slide, target_mpp=MPP)
    lattice = tiles.lattice_of(width=facts.width, height=facts.height, slide_mpp=facts.mpp, tile_px=TILE_PX, mpp=MPP)
    measured = {"work": lattice.columns * lattice.rows, "unit": "tiles"}
    with tempfile.TemporaryDirectory() as folder:
        harness.compare(
            "tiling_bound",
            {"decoding alone": lambda: decode_all(level), "tiling": lambda: tile(SLIDE, Path(folder))},
            **measured,
        )
        module = [sys.executable, "-m", "benchmarks.tiling_bound"]
        harness.compare(
            "tiling_process",
            {
                "decoding alone": lambda: harness.in_process([*module, "decode"]),
                "tiling": lambda: harness.in_process([*module, "tile", folder]),
            },
            **measured,
        )


if __name__ == "__main__":
    main()
