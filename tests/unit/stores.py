"""Small tile stores for tests, with the datasets and attributes of real ones."""

import io
from pathlib import Path

import h5py
import numpy as np
from PIL import Image


def make_store(path: Path, images: np.ndarray, *, slide_id: str, mpp: float = 0.5) -> Path:
    """Write a store of images (n, px, px, 3) uint8 in one row of the lattice."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        encoded = file.create_dataset("tiles", (len(images),), dtype=h5py.vlen_dtype(np.uint8))
        for position, image in enumerate(images):
            buffer = io.BytesIO()
            Image.fromarray(image).save(buffer, "JPEG", quality=95, subsampling=0)
            encoded[position] = np.frombuffer(buffer.getvalue(), np.uint8)
        columns = np.arange(len(images), dtype=np.int32)
        file["coords"] = np.stack([columns, np.zeros_like(columns)], axis=1)
        file["tissue"] = np.ones(len(images), np.float32)
        file["quality/sharpness"] = np.ones(len(images), np.float32)
        file["thumbnail"] = np.zeros(0, np.uint8)
        file.attrs.update(
            slide_id=slide_id, status="accepted", reason="", columns=len(images), rows=1, tile_px=images.shape[1],
            mpp=mpp, slide_mpp=mpp, mpp_source="slide", tile_level0_px=float(images.shape[1]),
            width=len(images) * images.shape[1], height=images.shape[1], settings="{}", code_version="",
        )  # fmt: skip
    return path
