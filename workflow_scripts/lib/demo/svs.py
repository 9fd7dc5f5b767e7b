"""Writing a slide as a scanner does: a pyramidal Aperio SVS of JPEG tiles."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

TILE_PX = 240
REDUCTIONS = (4, 16)
THUMBNAIL_PX = 384
QUALITY = 80


def write_svs(pixels: np.ndarray, path: str | Path, *, mpp: float | None, magnification: int = 40) -> None:
    """Write uint8 (rows, columns, 3) RGB as levels 1, 1/4 and 1/16, with the thumbnail where Aperio puts it.

    mpp: µm/px of level 0, written with four decimals; None leaves it out, and no other tag gives it away.
    The sides of a level are rounded down, as Aperio does. The same pixels give the same bytes.
    """
    height, width = pixels.shape[:2]
    image = Image.fromarray(pixels)
    about = f"|AppMag = {magnification}" + ("" if mpp is None else f"|MPP = {mpp:.4f}")
    library = "Aperio Image Library v11.2.1 \r\n"

    def level(of: np.ndarray) -> dict:
        size = f"{width}x{height} [0,0 {of.shape[1]}x{of.shape[0]}] ({TILE_PX}x{TILE_PX})"
        return {"description": f"{library}{size} JPEG/RGB Q={QUALITY}{about}", "tile": (TILE_PX, TILE_PX)}

    jpeg = {
        "photometric": "rgb",
        "dtype": np.uint8,
        "compression": "jpeg",
        "compressionargs": {"level": QUALITY},
        "subsampling": (2, 2),
        "software": "",
        "metadata": None,
        "resolutionunit": "none",
        "maxworkers": 1,
    }
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(_tiles(pixels), shape=pixels.shape, **level(pixels), **jpeg)
        small = image.copy()
        small.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.BILINEAR, reducing_gap=2.0)
        small = np.asarray(small)
        tiff.write(small, description=f"{library}thumbnail", rowsperstrip=16, **jpeg)
        for factor in REDUCTIONS:
            reduced = np.asarray(image.crop((0, 0, width // factor * factor, height // factor * factor)).reduce(factor))
            tiff.write(_tiles(reduced), shape=reduced.shape, **level(reduced), **jpeg)


def _tiles(pixels: np.ndarray) -> Iterator[np.ndarray]:
    """Tiles row by row; the last of a row or column is filled up with its own edge, not with black."""
    height, width = pixels.shape[:2]
    for top in range(0, height, TILE_PX):
        for left in range(0, width, TILE_PX):
            tile = pixels[top : top + TILE_PX, left : left + TILE_PX]
            missing = ((0, TILE_PX - tile.shape[0]), (0, TILE_PX - tile.shape[1]), (0, 0))
            yield np.pad(tile, missing, mode="edge")
