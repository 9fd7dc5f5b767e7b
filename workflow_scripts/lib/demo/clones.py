"""Where a demo slide carries which trait, and what that means for its tiles."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from workflow_scripts.lib.demo.noise import smooth_field

KINDS = {(False, False): "0", (True, False): "A", (False, True): "B", (True, True): "AB"}
CLONE_UM = 210.0
BORDER_UM = 60.0


@dataclass(frozen=True)
class Clones:
    """Two float32 fields on one grid; a trait is carried where its field is above 0."""

    a: np.ndarray
    b: np.ndarray


def lay_out(
    tissue: np.ndarray,
    tumour: np.ndarray,
    shares: tuple[float, float],
    association: float,
    *,
    cell_um: float,
    rng: np.random.Generator,
) -> Clones:
    """Cut two smooth random fields so that each trait covers its share of the tumour's tissue, and nothing else.

    tissue: bool (rows, columns), cells of `cell_um` µm. tumour: about the distance inside the tumour, µm; at most 0
    outside. shares: of the area, 0 to 1. association: correlation of the two fields, -1 to 1 (clones that share ground
    or avoid each other).
    """
    ground = tissue & (tumour > 0)
    first, second = (_wandering(tissue.shape, cell_um, rng) for _ in range(2))
    second = association * first + np.sqrt(1 - association**2) * second
    cut = [
        f - np.quantile(f[ground], 1 - share) if ground.any() else f
        for f, share in zip((first, second), shares, strict=True)
    ]
    # A clone ends at the tumour's border about as steeply as it does elsewhere.
    return Clones(*(np.minimum(f, 2 * tumour / CLONE_UM).astype(np.float32) for f in cut))


def _wandering(shape: tuple[int, int], cell_um: float, rng: np.random.Generator) -> np.ndarray:
    return smooth_field(shape, CLONE_UM / cell_um, rng) + 0.25 * smooth_field(shape, BORDER_UM / cell_um, rng)


def tile_kinds(
    clones: Clones,
    tissue: np.ndarray,
    tumour: np.ndarray,
    *,
    size: tuple[int, int],
    cell_px: int,
    tile_level0_px: float,
) -> pd.DataFrame:
    """The truth of every tissue tile: columns col, row (int), kind (`A`, `B`, `AB`, `0`), tumour (0 or 1).

    The lattice is anchored at level-0 pixel (0, 0); tile (col, row) covers
    [col·tile_level0_px, (col + 1)·tile_level0_px) and likewise down. Only whole tiles count, and of those only tiles
    of which at least half the area is tissue by `tissue`, the generator's own mask. A tile is tumour when at least half
    of its tissue is, by the mask `tumour`. A tumour tile carries a trait when the trait's clones cover more than half
    of the tumour in it; any other tile is of kind `0`. Areas are exact: cells that a tile's edge cuts count by the part
    inside. size: width, height in level-0 px; a grid cell is `cell_px` level-0 px wide.
    """
    edges = [np.arange(int(extent / tile_level0_px) + 1) * (tile_level0_px / cell_px) for extent in size]
    area = (tile_level0_px / cell_px) ** 2
    ill = tissue & tumour
    covered, of_tumour, with_a, with_b = (
        _sums(mask, *edges) for mask in (tissue, ill, ill & (clones.a > 0), ill & (clones.b > 0))
    )
    row, col = np.nonzero(covered >= 0.5 * area)
    part = of_tumour[row, col]
    is_tumour = part >= covered[row, col] / 2
    carried = (is_tumour & (with_trait[row, col] > part / 2) for with_trait in (with_a, with_b))
    kinds = [KINDS[bool(a), bool(b)] for a, b in zip(*carried, strict=True)]
    return pd.DataFrame({"col": col, "row": row, "kind": kinds, "tumour": is_tumour.astype(int)})


def _sums(mask: np.ndarray, across: np.ndarray, down: np.ndarray) -> np.ndarray:
    """Sums of a mask over the rectangles between edges given in cells, cut cells in proportion: (rows, columns)."""
    integral = np.pad(np.cumsum(np.cumsum(mask, axis=0, dtype=np.float64), axis=1), ((1, 0), (1, 0)))
    # Between its knots the integral of a mask of cells is bilinear, so interpolation is exact.
    integral = _interpolated(_interpolated(integral, down).T, across).T
    return np.diff(np.diff(integral, axis=0), axis=1)


def _interpolated(rows: np.ndarray, at: np.ndarray) -> np.ndarray:
    below = np.minimum(at.astype(int), len(rows) - 2)
    part = (at - below)[:, None]
    return rows[below] * (1 - part) + rows[below + 1] * part
