"""What a pen and a microscope out of focus do to a slide: a stroke of green ink, and a blurred square."""

import numpy as np
from PIL import Image, ImageFilter

# What the ink leaves of red, green and blue light.
INK = np.array([0.13, 0.50, 0.48], np.float32)
SOFT_UM = 12.0
BLUR_UM = 2.5


def mark(pixels: np.ndarray, *, mpp: float) -> np.ndarray:
    """A slide's pixels, uint8 (rows, columns, 3) at `mpp` µm/px, with a stroke on its left and a blur on its right.

    The stroke winds down the slide, a fifth of its width wide, with a soft edge, as ink on the cover glass has. The
    square has a quarter of the slide's sides. Both depend on the slide's size alone.
    """
    height, width = pixels.shape[:2]
    marked = pixels.copy()
    rows = slice(round(0.1 * height), round(0.9 * height))
    down = np.arange(rows.start, rows.stop)[:, None] / height
    middle = width * (0.3 + 0.06 * np.sin(2 * np.pi * down))
    columns = slice(round(0.1 * width), round(0.5 * width))
    across = np.abs(np.arange(columns.start, columns.stop) - middle)
    strength = np.clip((0.1 * width - across) * mpp / SOFT_UM + 0.5, 0, 1).astype(np.float32)[..., None]
    marked[rows, columns] = (pixels[rows, columns] * INK**strength).astype(np.uint8)
    rows, columns = (slice(round(0.4 * height), round(0.65 * height)), slice(round(0.6 * width), round(0.85 * width)))
    sharp = Image.fromarray(marked[rows, columns])
    marked[rows, columns] = np.asarray(sharp.filter(ImageFilter.GaussianBlur(BLUR_UM / mpp)))
    return marked
