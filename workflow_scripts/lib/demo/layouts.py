"""Where things lie on a slide: the outlines of tissue and tumours, territories, and points that keep apart."""

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

# How smoothly two tumours join.
JOINT_UM = 70.0
# The foci of one that is strewn: how many, how much wider one may reach than another, and how smoothly they join; and
# how much they are stretched one way and pressed together the other.
FOCI, FOCUS_UM, FOCUS_JOINT_UM = (2, 6), 110.0, 25.0
FOCUS_STRETCH = (1.0, 1.5)


def bodies(y: np.ndarray, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Less and less with the distance (µm) from the middle of a tumour, or of the nearer of two that grow together."""
    extent = np.array([y.max(), x.max()])
    way = rng.uniform(0, 2 * np.pi)
    off = np.array([np.sin(way), np.cos(way)])
    places = [0.5 + rng.uniform(0.2, 0.45) * off]
    if rng.uniform() < 0.3:
        places.append(0.5 - rng.uniform(0.3, 0.45) * off)
    return JOINT_UM * np.logaddexp.reduce([-np.hypot(y - py, x - px) / JOINT_UM for py, px in places * extent])


def foci(y: np.ndarray, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """As `bodies`, of a tumour of two to six foci, some large and some small, strewn over the slide."""
    extent = np.array([y.max(), x.max()])
    near = []
    for _ in range(rng.integers(FOCI[0], FOCI[1] + 1)):
        down, right = rng.uniform(0.12, 0.88, 2) * extent
        turn, stretch = rng.uniform(0, np.pi), rng.uniform(*FOCUS_STRETCH)
        long = ((x - right) * np.cos(turn) + (y - down) * np.sin(turn)) / stretch
        short = ((y - down) * np.cos(turn) - (x - right) * np.sin(turn)) * stretch
        near.append(rng.uniform(0, FOCUS_UM) - np.hypot(long, short))
    return FOCUS_JOINT_UM * np.logaddexp.reduce([one / FOCUS_JOINT_UM for one in near])


def piece(y: np.ndarray, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Above 0 inside a rounded piece: something between a square and a disc, turned and stretched a little."""
    turn, stretch = rng.uniform(0, np.pi), rng.uniform(1.0, 1.12)
    long, short = (x * np.cos(turn) + y * np.sin(turn)) / stretch, (y * np.cos(turn) - x * np.sin(turn)) * stretch
    square = np.maximum(np.abs(y), np.abs(x)) ** 3
    disc = (long**2 + short**2) ** 1.5
    return 0.115 - 0.75 * square - rng.uniform(0.15, 0.5) * disc


@dataclass(frozen=True)
class Territories:
    """Voronoi territories: each place's distance to the boundary with the next one, whose it is, and the distance to
    its middle (float32, µm); and how many there are."""

    edge: np.ndarray
    owner: np.ndarray
    distance: np.ndarray
    n: int


def territories(
    where: np.ndarray, extent: tuple[float, float], spacing: float, jitter: float, rng: np.random.Generator
) -> Territories:
    """Territories of about `spacing` µm: `jittered` points over `extent` are their middles. where: as in `divide`."""
    return divide(where, jittered(extent, spacing, jitter, rng, margin=spacing))


def divide(where: np.ndarray, middles: np.ndarray) -> Territories:
    """The territories of some middles (n, 2) at the places `where` (..., 2), both y, x in µm."""
    distance, owner = cKDTree(middles).query(where.reshape(-1, 2), k=2, workers=1)
    between = np.linalg.norm(middles[owner[:, 1]] - middles[owner[:, 0]], axis=1)
    edge = (distance[:, 1] ** 2 - distance[:, 0] ** 2) / (2 * between)
    edge, nearest = (f.reshape(where.shape[:-1]).astype(np.float32) for f in (edge, distance[:, 0]))
    return Territories(edge, owner[:, 0].reshape(where.shape[:-1]), nearest, len(middles))


def jittered(
    extent: tuple[float, float], spacing: float, jitter: float, rng: np.random.Generator, margin: float = 0.0
) -> np.ndarray:
    """Points (n, 2: y, x; µm) of a hexagonal lattice, each moved by up to `jitter` spacings."""
    rows = np.arange(-margin, extent[0] + margin, spacing * 0.866)
    columns = np.arange(-margin, extent[1] + margin, spacing)
    y, x = np.meshgrid(rows, columns, indexing="ij")
    x = x + spacing / 2 * (np.arange(len(rows)) % 2)[:, None]
    points = np.stack([y.ravel(), x.ravel()], axis=1)
    return points + rng.uniform(-jitter, jitter, points.shape) * spacing


def apart(points: np.ndarray, distance: float) -> np.ndarray:
    """Points of which none lies nearer than `distance` to an earlier one that was kept."""
    kept = np.ones(len(points), dtype=bool)
    for first, second in (
        np.sort(cKDTree(points).query_pairs(distance, output_type="ndarray"), axis=1) if len(points) else ()
    ):
        if kept[first]:
            kept[second] = False
    return points[kept]


def flock(extent: tuple[float, float], rng: np.random.Generator) -> np.ndarray:
    """Points (n, 2: y, x; µm) that crowd around a place, as lymphocytes do."""
    middle = rng.uniform(0.15, 0.85, 2) * extent
    return middle + rng.normal(0, rng.uniform(12, 32), (int(rng.integers(60, 260)), 2))
