"""What people use today, each on one slide or one picture; run in an environment of their own (envs/peers.txt).

It imports nothing of the project. `.venv-peers/bin/python benchmarks/peers.py <job> <input> <folder>` does a job and
writes `<folder>/job.json`: how many tiles it made, and the seconds from after the imports to the end.
"""

import argparse
import json
import math
import multiprocessing
import time
from pathlib import Path

TILE_PX, MPP, LEAST_TISSUE = 512, 0.5, 0.5


def hs2p(path_to_slide: Path, folder: Path) -> tuple[float, int]:
    """hs2p: tissue, tiles of its contours, and a TAR of JPEGs, by two workers."""
    from hs2p import api

    started = time.perf_counter()
    (made,) = api.tile_slides(
        [api.SlideSpec(sample_id="slide", image_path=path_to_slide)],
        tiling=api.TilingConfig(
            requested_spacing_um=MPP,
            requested_tile_size_px=TILE_PX,
            tolerance=0.05,
            overlap=0.0,
            backend="openslide",
            mask_backend="openslide",
        ),
        segmentation=api.SegmentationConfig(method="hsv"),
        masks=api.MaskSamplingConfig(
            pixel_mapping={"background": (0,), "tissue": (1,)}, min_coverage={"tissue": LEAST_TISSUE}
        ),
        output_dir=folder,
        num_workers=2,
        save_tiles=True,
    )
    return time.perf_counter() - started, made.num_tiles


def histolab(path_to_slide: Path, folder: Path) -> tuple[float, int]:
    """histolab: a grid over all tissue, JPEG files, by its one process, resampled by large_image."""
    from histolab.masks import TissueMask
    from histolab.slide import Slide
    from histolab.tiler import GridTiler

    started = time.perf_counter()
    slide = Slide(path_to_slide, folder, use_largeimage=True)
    tiler = GridTiler((TILE_PX, TILE_PX), mpp=MPP, tissue_percent=100 * LEAST_TISSUE, suffix=".jpg")
    tiler.extract(slide, extraction_mask=TissueMask(), log_level="WARNING")
    return time.perf_counter() - started, len(list(folder.glob("*.jpg")))


def loop(path_to_slide: Path, folder: Path, *, workers: int) -> tuple[float, int]:
    """The loop that everyone writes: read a region of level 0, resize it, save a JPEG; every tile of the lattice."""
    import openslide

    started = time.perf_counter()
    with openslide.OpenSlide(path_to_slide) as slide:
        side = TILE_PX * MPP / float(slide.properties[openslide.PROPERTY_NAME_MPP_X])
        columns, rows = (math.floor(length / side) for length in slide.dimensions)
    places = [(column, row) for row in range(rows) for column in range(columns)]
    jobs = [(path_to_slide, folder, side, places[first::workers]) for first in range(workers)]
    if workers == 1:
        save_tiles(*jobs[0])
    else:
        with multiprocessing.Pool(workers) as pool:
            pool.starmap(save_tiles, jobs)
    return time.perf_counter() - started, len(places)


def save_tiles(path_to_slide: Path, folder: Path, side: float, places: list[tuple[int, int]]) -> None:
    """Save the tiles at some places; `side` is of a tile, in level-0 px."""
    import openslide
    from PIL import Image

    with openslide.OpenSlide(path_to_slide) as slide:
        for column, row in places:
            region = slide.read_region((round(column * side), round(row * side)), 0, (round(side), round(side)))
            tile = region.convert("RGB").resize((TILE_PX, TILE_PX), Image.Resampling.BICUBIC)
            tile.save(folder / f"{column}_{row}.jpg", quality=90, subsampling=0)


def staintools(path_to_tiles: Path, _folder: Path, *, method: str) -> tuple[float, int]:
    """staintools: the first of some tiles is the target; each other is fitted and moved to look like it."""
    import numpy as np
    from staintools import StainNormalizer

    target, *others = np.load(path_to_tiles)
    normaliser = StainNormalizer(method=method)
    normaliser.fit(target)
    started = time.perf_counter()
    for tile in others:
        normaliser.transform(tile)
    return time.perf_counter() - started, len(others)


JOBS = {
    "hs2p": hs2p,
    "histolab": histolab,
    "loop": lambda slide, folder: loop(slide, folder, workers=1),
    "loop2": lambda slide, folder: loop(slide, folder, workers=2),
    "macenko": lambda tiles, folder: staintools(tiles, folder, method="macenko"),
    "vahadane": lambda tiles, folder: staintools(tiles, folder, method="vahadane"),
}


def main() -> None:
    """Do the job that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("job", choices=JOBS)
    parser.add_argument("input", type=Path)
    parser.add_argument("folder", type=Path)
    chosen = parser.parse_args()
    seconds, done = JOBS[chosen.job](chosen.input, chosen.folder)
    (chosen.folder / "job.json").write_text(json.dumps({"seconds": seconds, "done": done}))


if __name__ == "__main__":
    main()
