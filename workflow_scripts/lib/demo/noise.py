"""Random fields: the clay that the demo's clones and tissue are made of."""

import numpy as np
from PIL import Image


def resized(field: np.ndarray, shape: tuple[int, int], how: Image.Resampling = Image.Resampling.BILINEAR) -> np.ndarray:
    """`field` (float32, rows × columns) interpolated to `shape`; both cover the same area."""
    image = Image.fromarray(np.ascontiguousarray(field, dtype=np.float32))
    return np.asarray(image.resize((shape[1], shape[0]), how))


def smooth_field(shape: tuple[int, int], period: float, rng: np.random.Generator) -> np.ndarray:
    """A smooth random field (float32, mean 0, standard deviation about 1) that varies over `period` pixels.

    Random values on a coarse grid, interpolated by cubics; the grid starts at a random offset.
    """
    rows, columns = (int(np.ceil(n / period)) + 4 for n in shape)
    knots = rng.standard_normal((rows, columns), dtype=np.float32)
    fine = (int(np.ceil(rows * period)), int(np.ceil(columns * period)))
    field = resized(knots, fine, Image.Resampling.BICUBIC)
    top, left = (int(rng.integers(int(period), int(2 * period) + 1)) for _ in shape)
    # Interpolation between independent knots averages them, by 0.88 along each axis for this cubic.
    return field[top : top + shape[0], left : left + shape[1]] / np.float32(0.77)


def periodic_noise(size: int, sigma: tuple[float, float], rng: np.random.Generator) -> np.ndarray:
    """White noise smoothed by a Gaussian (`sigma` in px: rows, columns) on a torus.

    float32 (size, size), mean 0, standard deviation 1; copies laid side by side have no seam.
    """
    white = np.fft.rfft2(rng.standard_normal((size, size)))
    down = np.exp(-2 * (np.pi * sigma[0] * np.fft.fftfreq(size)) ** 2)
    across = np.exp(-2 * (np.pi * sigma[1] * np.fft.rfftfreq(size)) ** 2)
    smooth = np.fft.irfft2(white * down[:, None] * across[None, :], s=(size, size))
    return ((smooth - smooth.mean()) / smooth.std()).astype(np.float32)
