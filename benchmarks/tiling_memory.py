"""Peak memory of tiling a slide, and one of the same tiles that is four times as large.

`.venv/bin/python -m benchmarks.tiling_memory` writes the table `tiling_memory`, a process of its own for each. The
large slide is twice as wide and twice as high: the JPEG tiles of each level, as they are in the file, laid out four
times.
"""

import sys
import tempfile
from pathlib import Path

import tifffile

from benchmarks import harness, tiling_bound


def write_larger(path: Path, path_to_larger: Path) -> None:
    """Write a slide of JPEG tiles two by two times its size, cut to whole tiles of the file.

    The levels keep their ratio to level 0 where whole tiles allow it; none is made anew.
    """
    with tifffile.TiffFile(path) as tiff, tifffile.TiffWriter(path_to_larger, bigtiff=True) as larger:
        for page in tiff.pages:
            if not page.is_tiled:
                continue
            across, down = (-(-side // page.tilewidth) for side in (page.imagewidth, page.imagelength))
            ratio = tiff.pages[0].imagewidth / page.imagewidth
            width, height = (round(2 * side / ratio) for side in tiff.pages[0].shape[1::-1])
            columns, rows = (-(-side // page.tilewidth) for side in (width, height))
            places = list(zip(page.dataoffsets, page.databytecounts, strict=True))

            def encoded(places=places, across=across, down=down, columns=columns, rows=rows):
                for row in range(rows):
                    for column in range(columns):
                        offset, count = places[row % down * across + column % across]
                        tiff.filehandle.seek(offset)
                        yield tiff.filehandle.read(count)

            larger.write(
                encoded(),
                shape=(height, width, 3),
                dtype="uint8",
                tile=(page.tilelength, page.tilewidth),
                photometric="rgb",
                compression="jpeg",
                subsampling=page.tags["YCbCrSubSampling"].value,
                description=page.description,
                metadata=None,
            )


def main() -> None:
    """Write the table."""
    if len(sys.argv) > 1:
        tiling_bound.tile(Path(sys.argv[1]), Path(sys.argv[2]))
        return
    if not tiling_bound.SLIDE.is_file():
        print(f"no {tiling_bound.SLIDE.name} here: nothing is measured")
        return
    with tempfile.TemporaryDirectory() as folder:
        larger = Path(folder) / "larger.svs"
        write_larger(tiling_bound.SLIDE, larger)
        module = [sys.executable, "-m", "benchmarks.tiling_memory"]
        harness.compare(
            "tiling_memory",
            {
                "the slide": lambda: harness.in_process([*module, tiling_bound.SLIDE, folder]),
                "four times as large": lambda: harness.in_process([*module, larger, folder]),
            },
            work=1,
            unit="slides",
            rounds=3,
        )


if __name__ == "__main__":
    main()
