"""Small tile stores for tests, with the datasets and attributes of real ones."""

import io
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
from PIL import Image

from workflow_scripts.lib import quality


def add_quality(file: h5py.File, tiles: int, dropped: Sequence[tuple[int, int]] = ()) -> None:
    """Add what a store says of quality: as many clean tiles, and tiles dropped for pen ink, by column and row."""
    for group, count in (("", tiles), ("dropped/", len(dropped))):
        for name in quality.MEASURES:
            file[f"{group}quality/{name}"] = np.full(count, 500.0 if name == "sharpness" else 0.0, np.float32)
    file["dropped/quality/pen_green"][:] = 0.9
    file["dropped/coords"] = np.array(dropped, np.int32).reshape(-1, 2)
    file["dropped/tissue"] = np.ones(len(dropped), np.float32)
    file["dropped/reason"] = np.full(len(dropped), quality.PEN, "S8")
    picture = np.frombuffer(jpeg(np.full((64, 64, 3), (20, 90, 90), np.uint8)), np.uint8)
    pictures = file.create_dataset("dropped/picture", (len(dropped),), dtype=h5py.vlen_dtype(np.uint8))
    for position in range(len(dropped)):
        pictures[position] = picture


def jpeg(pixels: np.ndarray) -> bytes:
    """A JPEG file of (height, width, 3) uint8."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=95, subsampling=0)
    return buffer.getvalue()


def make_store(
    path: Path, images: np.ndarray, *, slide_id: str, mpp: float = 0.5, dropped: Sequence[tuple[int, int]] = ()
) -> Path:
    """Write a store of images (n, px, px, 3) uint8 in one row of the lattice, with `dropped` tiles elsewhere."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        encoded = file.create_dataset("tiles", (len(images),), dtype=h5py.vlen_dtype(np.uint8))
        for position, image in enumerate(images):
            encoded[position] = np.frombuffer(jpeg(image), np.uint8)
        columns = np.arange(len(images), dtype=np.int32)
        file["coords"] = np.stack([columns, np.zeros_like(columns)], axis=1)
        file["tissue"] = np.ones(len(images), np.float32)
        add_quality(file, len(images), dropped)
        file["thumbnail"] = np.zeros(0, np.uint8)
        file.attrs.update(
            slide_id=slide_id, status="accepted", reason="", columns=len(images), rows=1, tile_px=images.shape[1],
            mpp=mpp, slide_mpp=mpp, mpp_source="slide", tile_level0_px=float(images.shape[1]),
            width=len(images) * images.shape[1], height=images.shape[1], settings="{}", code_version="",
        )  # fmt: skip
    return path
