"""Our side of a comparison with `peers`: one job in a process of its own, by the same command line and clock."""

import json
import sys
import time
from pathlib import Path

from workflow_scripts.lib import tiles


def main(path_to_slide: Path, folder: Path) -> None:
    """Tile a slide as the published study does, and write `job.json`: tiles, and seconds after the imports."""
    started = time.perf_counter()
    tiles.tile_slide(
        path_to_slide,
        folder / "slide.h5",
        slide_id="slide",
        tile_px=512,
        mpp=0.5,
        max_background=0.5,
        background_rule="saturation",
        max_pen=0.5,
        threads=2,
    )
    seconds = time.perf_counter() - started
    done = tiles.read_summary(folder / "slide.h5")["n_tiles"]
    (folder / "job.json").write_text(json.dumps({"seconds": seconds, "done": done}))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
