"""A slide of H&E-like tissue, painted as amounts of two stains and turned into light by Beer-Lambert.

A tumour: wide, crowded glands in stroma. Beside it normal tissue: small, round glands full of mucus, in dense
stroma. Fat, vessels' blood, lymphocytes; on glass. In the tumour, trait A loosens the glands into solid nests of large,
unequal nuclei; trait B turns the loose, webbed stroma between them into wavy fibres with thin, aligned nuclei. All of
these have about as much of each stain, and each slide has stains of its own, so that colour tells none from another.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from workflow_scripts.lib.demo import layouts, stamps
from workflow_scripts.lib.demo.brushes import TEXTURE, put_nuclei, step, textures, tiled, windows
from workflow_scripts.lib.demo.clones import Clones
from workflow_scripts.lib.demo.dyes import Stain, develop
from workflow_scripts.lib.demo.noise import resized, smooth_field
from workflow_scripts.lib.demo.stamps import stamp_book

CELL_PX = 8
GLAND_UM = 76.0
FAT_WALL_UM = 1.5
# Normal tissue: the territories of its glands, which are those of fat cells; the glands; drops of mucus, so far apart
# and at least so deep in a gland; haematoxylin and eosin of the stroma.
ROUND_UM = 47.0
ROUND_RADIUS_UM = (16.5, 20.0)
ROUND_LINING_UM = 14.0
DROP_UM, DROP_DEPTH_UM = 6.6, 6.5
DENSE = (0.17, 0.55)
# How far every place is from the border of a tumour that has none.
NO_BORDER_UM = 1e4
# Between the tumour's border and the nearest gland.
BORDER_UM = 4.0


@dataclass(frozen=True)
class Anatomy:
    """What lies where, before any trait: float32 or bool fields (rows, columns) on cells of CELL_PX level-0 px.

    tumour: above 0 inside the tumour, about the distance to its border in µm. depth: below 0 in stroma, and inside a
    gland the distance to where its epithelium begins, µm. lining: the epithelium's thickness, µm. outline: above 0
    inside the piece of tissue. fat: distance to the fat cell's own boundary, µm; -1 where there is no fat. u, v:
    coordinates along and across the fibres, µm.
    """

    mpp: float
    tumour: np.ndarray
    depth: np.ndarray
    lining: np.ndarray
    outline: np.ndarray
    fat: np.ndarray
    u: np.ndarray
    v: np.ndarray

    @property
    def cell_um(self) -> float:
        return CELL_PX * self.mpp

    @property
    def solid(self) -> np.ndarray:
        """Where there is tissue, the holes of fat cells taken out."""
        return (self.outline > 0) & (self.fat < FAT_WALL_UM)

    def tissue(self, clones: Clones) -> np.ndarray:
        """What is stained at all: `solid` without the lumens of glands, which only ground without trait A has."""
        return self.solid & ~((self.depth > self.lining) & (clones.a <= 0) & (self.fat < 0))


def grow(shape: tuple[int, int], *, mpp: float, tumour_share: float, rng: np.random.Generator) -> Anatomy:
    """The anatomy of a slide of `shape` (rows, columns) cells, of whose tissue the tumour has its share, 0 to 1."""
    cell_um = CELL_PX * mpp
    y, x = (np.indices(shape, dtype=np.float32) + 0.5) * cell_um
    extent = (shape[0] * cell_um, shape[1] * cell_um)

    def field(period_um: float) -> np.ndarray:
        return smooth_field(shape, period_um / cell_um, rng)

    bent = np.stack([y + 9 * field(55) + 2.5 * field(18), x + 9 * field(55) + 2.5 * field(18)], axis=-1)
    glands = layouts.territories(bent, extent, GLAND_UM, 0.30, rng)
    small = layouts.territories(bent, extent, ROUND_UM, 0.25, rng)
    outline = layouts.piece(y / extent[0] - 0.5, x / extent[1] - 0.5, rng)
    outline += 0.025 * field(230) + 0.010 * field(70) + 0.004 * field(22)
    greasy = field(240) + 0.25 * field(60)
    greasy = np.bincount(small.owner.ravel(), greasy.ravel(), small.n) / np.maximum(
        np.bincount(small.owner.ravel(), minlength=small.n), 1
    )
    fat = np.where((greasy > rng.uniform(1.2, 2.1))[small.owner], small.edge, -1).astype(np.float32)
    turn = rng.uniform(0, np.pi)
    along, across = y + 28 * field(150), x + 28 * field(150)
    tumour = layouts.bodies(y, x, rng) + 22 * field(190) + 3 * field(60)
    tumour -= np.quantile(tumour[(outline > 0) & (fat < FAT_WALL_UM)], 1 - tumour_share)
    if tumour_share == 1:
        tumour[:] = NO_BORDER_UM
    wall = rng.uniform(11.5, 15.5, glands.n)[glands.owner] + 2.0 * field(40)
    lining = rng.uniform(13, 19, glands.n)[glands.owner] + 1.5 * field(30)
    round_depth = rng.uniform(*ROUND_RADIUS_UM, small.n)[small.owner] - small.distance
    # Wide glands end at the tumour's border. Small ones that reach it are not there at all.
    reach = np.bincount(small.owner[(round_depth > 0) & (tumour > -BORDER_UM)], minlength=small.n) > 0
    round_depth[reach[small.owner]] = -BORDER_UM
    inside = tumour > 0
    depth = np.where(inside, np.minimum(glands.edge - wall, tumour - BORDER_UM), round_depth)
    return Anatomy(
        mpp=mpp,
        tumour=tumour.astype(np.float32),
        depth=depth.astype(np.float32),
        lining=np.where(inside, lining, ROUND_LINING_UM).astype(np.float32),
        outline=outline.astype(np.float32),
        fat=fat,
        u=(along * np.cos(turn) + across * np.sin(turn)).astype(np.float32),
        v=(across * np.cos(turn) - along * np.sin(turn)).astype(np.float32),
    )


def paint(anatomy: Anatomy, clones: Clones, stain: Stain, *, library_seed: int, rng: np.random.Generator) -> np.ndarray:
    """The slide at level 0: uint8 (rows · CELL_PX, columns · CELL_PX, 3)."""
    rows, columns = anatomy.depth.shape
    eosin, haematoxylin = _ground(anatomy, clones, library_seed, rng)
    full = (rows * CELL_PX, columns * CELL_PX)
    eosin = np.array(resized(eosin, full, Image.Resampling.BICUBIC))
    haematoxylin = np.array(resized(haematoxylin, full, Image.Resampling.BILINEAR))
    tiled(
        eosin, textures(library_seed)["grain"], rng, lambda part, grain: np.multiply(part, 1 + 0.13 * grain, out=part)
    )
    _put_blood(eosin, anatomy, rng)
    _put_mucus(haematoxylin, eosin, anatomy, rng)
    book = stamp_book(round(anatomy.mpp, 2), library_seed)
    for kind, points, angles in _cells(anatomy, clones, rng):
        put_nuclei(haematoxylin, eosin, book[kind], points / anatomy.mpp, angles, rng)
    return develop(haematoxylin, eosin, stain, library_seed, rng)


def _ground(anatomy: Anatomy, clones: Clones, seed: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Eosin and haematoxylin of all but the nuclei, float32, at half the finest resolution."""
    half = tuple(n * CELL_PX // 2 for n in anatomy.depth.shape)
    px_um = 2 * anatomy.mpp
    texture = textures(seed)
    depth, lining, outline, u, v, a, b, tumour = (
        resized(f, half)
        for f in (
            anatomy.depth, anatomy.lining, anatomy.outline, anatomy.u, anatomy.v, clones.a, clones.b, anatomy.tumour
        )
    )  # fmt: skip
    with_a, with_b, normal = step(a, 0.03), step(b, 0.03), step(-tumour, 6.0)
    fat = resized(anatomy.fat, half)

    def sheet(name: str) -> np.ndarray:
        top, left = rng.integers(0, TEXTURE, 2)
        return texture[name][np.ix_((np.arange(half[0]) + top) % TEXTURE, (np.arange(half[1]) + left) % TEXTURE)]

    wave = 2.2 * np.sin(u * np.float32(2 * np.pi / 34))
    down = ((v + wave) * np.float32(1 / px_um)).astype(np.int32) % TEXTURE
    across = (u * np.float32(1 / px_um)).astype(np.int32) % TEXTURE
    fibres = texture["fibres"][down, across]
    stroma = 0.62 * (with_b * fibres + (1 - with_b) * sheet("web"))
    stroma += normal * (DENSE[1] * sheet("dense") - stroma)
    cytoplasm = sheet("cytoplasm")
    depth = depth + 1.2 * (cytoplasm - 1) * 3
    epithelium = step(depth, 1.6)
    lumen = step(depth - lining, 2.0) * (1 - with_a)
    # Paler cytoplasm, shrunk away from its stroma, makes up for the darkness of trait A's nuclei.
    eosin = stroma * (1 - epithelium) + (0.62 - 0.17 * with_a) * cytoplasm * epithelium
    shrunk = with_a * step(1.9 - np.abs(depth - 0.4), 0.8) * step(cytoplasm - 0.86, 0.12)
    empty = np.maximum(0.93 * lumen, 0.9 * shrunk)
    eosin *= 1 - empty
    haematoxylin = 0.04 + (DENSE[0] - 0.04) * normal + 0.13 * epithelium * (1 - empty) * cytoplasm
    # Fat cells: nothing but a membrane, thicker in the corners where three meet.
    hole = step(fat - FAT_WALL_UM, 1.2)
    eosin *= 1 - hole
    haematoxylin *= 1 - hole
    inside = step(outline + 0.0015 * (cytoplasm - 1) * 3, 0.0012)
    return eosin * inside, haematoxylin * inside


def _cells(anatomy: Anatomy, clones: Clones, rng: np.random.Generator) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield (kind of nucleus, points (n, 2: y, x; µm), angles (n,)), kind by kind."""
    cell_um = anatomy.cell_um
    extent = tuple(n * cell_um for n in anatomy.depth.shape)
    slope_y, slope_x = np.gradient(anatomy.depth)
    fibre_y, fibre_x = np.gradient(anatomy.v)

    def at(field: np.ndarray, points: np.ndarray) -> np.ndarray:
        row, column = (np.clip((points[:, i] / cell_um).astype(int), 0, field.shape[i] - 1) for i in (0, 1))
        return field[row, column]

    def within(points: np.ndarray) -> np.ndarray:
        return (at(anatomy.outline, points) > 0.0015) & (at(anatomy.fat, points) < 0)

    # Basal nuclei: whatever falls near the wall is moved to stand on it, its long axis pointing into the gland; in
    # normal glands, to lie flat on it.
    points = layouts.jittered(extent, 4.6, 0.4, rng)
    depth = at(anatomy.depth, points)
    points = points[(depth > 0) & (depth < 11) & (at(clones.a, points) <= 0) & within(points)]
    slope = np.stack([at(slope_y, points), at(slope_x, points)], axis=1)
    slope /= np.maximum(np.linalg.norm(slope, axis=1, keepdims=True), 1e-6)
    normal = at(anatomy.tumour, points) < 0
    lift = np.where(normal, 2.2, 5.0) + np.where(normal, 0.4, 1.1) * rng.normal(size=len(points))
    points = points + slope * (lift - at(anatomy.depth, points))[:, None]
    for kind, which, apart, turned in (("epithelial", ~normal, 5.2, 0.0), ("pressed", normal, 6.2, np.pi / 2)):
        kept = layouts.apart(points[which], apart)
        inwards = np.arctan2(at(slope_y, kept), at(slope_x, kept))
        yield kind, kept, inwards + turned + rng.normal(0, 0.2, len(kept))

    points = layouts.jittered(extent, 11.5, 0.33, rng)
    points = points[(at(anatomy.depth, points) > 2.5) & (at(clones.a, points) > 0) & within(points)]
    yield "pleomorphic", points, rng.uniform(0, np.pi, len(points))

    points = layouts.jittered(extent, 9.8, 0.38, rng)
    points = points[(at(anatomy.depth, points) < -2.5) & within(points)]
    with_b = at(clones.b, points) > 0
    spindles, others = points[with_b], points[~with_b]
    along = np.arctan2(-at(fibre_x, spindles), at(fibre_y, spindles))
    yield "spindle", spindles, along + rng.normal(0, 0.12, len(spindles))
    yield "stromal", others, rng.uniform(0, np.pi, len(others))

    points = np.concatenate([layouts.flock(extent, rng) for _ in range(rng.integers(1, 4))])
    points = points[within(points) & (at(anatomy.depth, points) < 3)]
    points = layouts.apart(points, 4.8)
    yield "lymphocyte", points, rng.uniform(0, np.pi, len(points))


def _put_blood(eosin: np.ndarray, anatomy: Anatomy, rng: np.random.Generator) -> None:
    """Spill erythrocytes into the stroma at a few places, in place."""
    disc = stamps.red_cell(anatomy.mpp)
    half = len(disc) // 2
    for _ in range(rng.integers(2, 7)):
        middle = rng.uniform(0.1, 0.9, 2) * eosin.shape
        spread = rng.normal(0, rng.uniform(6, 18) / anatomy.mpp, (int(rng.integers(15, 70)), 2))
        points = (middle + spread).astype(int)
        row, column = np.clip(points // CELL_PX, 0, np.array(anatomy.depth.shape) - 1).T
        bare = (anatomy.outline > 0.002) & (anatomy.depth < 0) & (anatomy.fat < 0)
        for where in windows(points[bare[row, column]], half, eosin.shape):
            np.maximum(eosin[where], disc, out=eosin[where])


def _put_mucus(haematoxylin: np.ndarray, eosin: np.ndarray, anatomy: Anatomy, rng: np.random.Generator) -> None:
    """Fill the small glands with drops of mucus, which are clear, in place."""
    left = stamps.drop(anatomy.mpp)
    half = len(left) // 2
    is_place = (anatomy.tumour < 0) & (anatomy.depth > DROP_DEPTH_UM) & (anatomy.fat < 0) & (anatomy.outline > 0.002)
    points = layouts.jittered(tuple(n * anatomy.cell_um for n in is_place.shape), DROP_UM, 0.3, rng)
    row, column = np.clip((points.T / anatomy.cell_um).astype(int), 0, np.array(is_place.shape)[:, None] - 1)
    points = layouts.apart(points[is_place[row, column]], DROP_UM - 1.2)
    for where in windows(points / anatomy.mpp, half, eosin.shape):
        eosin[where] *= left
        haematoxylin[where] *= left


def smear(
    shape: tuple[int, int], stain: Stain, *, mpp: float, library_seed: int, rng: np.random.Generator
) -> np.ndarray:
    """A slide with nothing to see: a breath of eosin and a few lost cells. shape: cells; as `paint` returns it."""
    full = (shape[0] * CELL_PX, shape[1] * CELL_PX)
    veil = np.clip(smooth_field(shape, 180 / (CELL_PX * mpp), rng), 0, 2)
    eosin = np.array(resized(0.03 * veil, full))
    haematoxylin = np.zeros(full, dtype=np.float32)
    points = rng.uniform(0.05, 0.95, (12, 2)) * full
    lost = stamp_book(round(mpp, 2), library_seed)["lymphocyte"]
    put_nuclei(haematoxylin, eosin, lost, points, np.zeros(len(points)), rng)
    return develop(haematoxylin, eosin, stain, library_seed, rng)
