"""A slide painted from the looks of its tumour and of what surrounds it, or of any tissues (`morphology`), at about
0.5 µm/px.

The amounts of both stains in what is stained are the same for all looks, so that colour tells none from another.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache

import numpy as np
from PIL import Image
from scipy import ndimage

from workflow_scripts.lib.demo import layouts, stamps
from workflow_scripts.lib.demo.brushes import put_nuclei, step, textures, tiled, windows
from workflow_scripts.lib.demo.dyes import Stain, develop
from workflow_scripts.lib.demo.morphology import NUCLEI, Look, vary
from workflow_scripts.lib.demo.noise import resized, smooth_field

# Level-0 px of a cell, on which fields are laid out, and of a pixel on which all but nuclei are painted.
CELL_PX, GROUND_PX = 4, 2
# Of a slide's own nuclei; a book of them takes half as long as one of all slides.
ANGLES = 12
# The mean of haematoxylin and of eosin over what is stained.
AMOUNTS = (0.30, 0.52)
# Between the border of a tumour, or of another tissue, and the nearest nest on either side.
BORDER_UM = 4.0
# How far a tissue is laid out past its border, of which no more is seen.
OVERLAP_UM = 6.0
# The waves of fibres: their length, and their height where they are fully wavy.
WAVE_UM, HEIGHT_UM = 48.0, 7.0
# Fat cells: how wide, and half the wall between two.
FAT_UM, FAT_WALL_UM = 48.0, 1.5
# The depth of a lumen where there is none.
FAR_UM = np.float32(200)
# The patches in which glands are missing.
BARE_UM = 190.0
# Of flat nuclei on the wall: how high their middles stand, how far apart they are, how far they lift those above them.
FLAT_UM, FLAT_APART_UM, FLAT_LIFT_UM = 1.7, 7.5, 3.4
# How deep in a nest a pearl of keratin begins.
PEARL_UM = 16.0
# Between drops of mucus.
DROP_UM = 7.0
# The parts of the liver of which a third has a portal field in its middle, and a third a central vein.
LOBULE_UM = 165.0


@dataclass(frozen=True)
class _Layout:
    """What lies where, before it is painted: fields (rows, columns) of float32 on cells of CELL_PX level-0 px.

    depth: below 0 in stroma, and in a nest the distance (µm) from its wall. lining: the depth at which a nest's lumen
    begins, FAR_UM where it has none. polar, mucous, horny: nests whose nuclei stand on the wall, that have drops of
    mucus, and pearls of keratin, 1 or 0. dying: above 0 where the tissue is dead. fat: distance to a fat cell's wall,
    -1 where there is none. angle: of cells and fibres from the x axis, radians; u, v: along and across them, µm. slit,
    fibrous, aligned: shares, of the look's retraction and what is called alike.
    """

    depth: np.ndarray
    lining: np.ndarray
    polar: np.ndarray
    mucous: np.ndarray
    horny: np.ndarray
    dying: np.ndarray
    fat: np.ndarray
    angle: np.ndarray
    u: np.ndarray
    v: np.ndarray
    slit: np.ndarray
    fibrous: np.ndarray
    aligned: np.ndarray


@dataclass(frozen=True)
class Painted:
    """A slide: its pixels, uint8 (rows, columns, 3), and where the tumour is, bool, on cells of CELL_PX px."""

    pixels: np.ndarray
    tumour: np.ndarray


@dataclass(frozen=True)
class PaintedTissues:
    """A slide: its pixels, uint8 (rows, columns, 3); on cells of CELL_PX px which of its tissues lies where, int8, -1
    where there is glass; and where there are nests, bool, their lumens too."""

    pixels: np.ndarray
    tissue: np.ndarray
    nests: np.ndarray


@dataclass(frozen=True)
class Grid:
    """Where the middles of cells are, µm; how large all of them are together."""

    y: np.ndarray
    x: np.ndarray
    mpp: float

    @property
    def shape(self) -> tuple[int, int]:
        return self.y.shape

    @property
    def cell_um(self) -> float:
        return CELL_PX * self.mpp

    @property
    def extent(self) -> tuple[float, float]:
        return (self.shape[0] * self.cell_um, self.shape[1] * self.cell_um)

    def field(self, period_um: float, rng: np.random.Generator) -> np.ndarray:
        return smooth_field(self.shape, period_um / self.cell_um, rng)

    def at(self, field: np.ndarray, points: np.ndarray) -> np.ndarray:
        row, column = np.clip((points.T / self.cell_um).astype(int), 0, np.array(self.shape)[:, None] - 1)
        return field[row, column]


def paint_slide(
    tumour: Look | None,
    home: Look,
    *,
    shape: tuple[int, int],
    mpp: float,
    tumour_share: float,
    stain: Stain,
    library_seed: int,
    rng: np.random.Generator,
    bodies: Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray] = layouts.bodies,
) -> Painted:
    """Paint a slide of `shape` (rows, columns) cells at `mpp` µm/px.

    tumour: how this slide's looks. home: how the tissue that lies beside it looks, which this slide's is drawn around;
    without a tumour it is all there is. The liver has portal fields and veins besides. tumour_share: of the tissue's
    area, 0 to 1. library_seed: of what all slides share, such as the grain of their fibres. bodies: where the tumour
    is, `layouts.bodies` or what is called alike.
    """
    grid = _grid(shape, mpp)
    outline = _outline(grid, rng)
    body = body_of(grid, outline > 0, tumour_share, rng, bodies)
    surroundings = vary(home, rng)
    looks = [surroundings] if tumour is None else [surroundings, tumour]
    near = [body < OVERLAP_UM, body > -OVERLAP_UM]
    parts = [outline > 0] if tumour is None else [(outline > 0) & one for one in near]
    laid_out = _laid_out(looks, grid, parts, rng)
    inside = np.zeros(shape, bool) if tumour is None else body > 0
    whole = _joined(laid_out, inside.astype(np.int8))
    if tumour is not None:
        whole = _uncut(whole, np.abs(body))
    regions = [~inside, inside][: len(looks)]
    pixels = _paint(looks, regions, whole, outline, grid, stain, library_seed, rng)
    return Painted(pixels, inside & (outline > 0))


def paint_tissues(
    looks: Sequence[Look],
    *,
    shape: tuple[int, int],
    mpp: float,
    places: Callable[[Grid, np.ndarray, np.random.Generator], np.ndarray],
    stain: Stain,
    library_seed: int,
    rng: np.random.Generator,
) -> PaintedTissues:
    """Paint a slide of several tissues, of `shape` (rows, columns) cells at `mpp` µm/px.

    looks: how this slide's tissues look. Those that differ in their nuclei alone lie in the same nests. places: given
    the grid, where there is tissue (bool) and a generator, returns heights (looks, rows, columns) in µm: at each place
    lies the tissue that is highest there, and it is half as far from the border as it is higher than the next. The
    others: as for `paint_slide`.
    """
    grid = _grid(shape, mpp)
    outline = _outline(grid, rng)
    heights = places(grid, outline > 0, rng)
    arrangements = [replace(look, **dict.fromkeys(NUCLEI, 0.0)) for look in looks]
    # The first look of each arrangement, whose nests all of them lie in.
    first = list(dict.fromkeys(arrangements.index(one) for one in arrangements))
    of_nests = np.array([first.index(arrangements.index(one)) for one in arrangements])
    tops = np.stack([heights[of_nests == nest].max(axis=0) for nest in range(len(first))])
    parts = [(outline > 0) & (tops.max(axis=0) - top < 2 * OVERLAP_UM) for top in tops]
    # What lies nowhere has no nests.
    there = [nest for nest, part in enumerate(parts) if part.any()]
    tops = tops[there]
    laid_out = _laid_out([looks[first[nest]] for nest in there], grid, [parts[nest] for nest in there], rng)
    whole = _joined(laid_out, tops.argmax(axis=0).astype(np.int8))
    if len(tops) > 1:
        second, highest = np.partition(tops, -2, axis=0)[-2:]
        whole = _uncut(whole, (highest - second) / 2)
    tissue = heights.argmax(axis=0).astype(np.int8)
    regions = [tissue == number for number in range(len(looks))]
    pixels = _paint(looks, regions, whole, outline, grid, stain, library_seed, rng)
    return PaintedTissues(pixels, np.where(outline > 0, tissue, -1).astype(np.int8), (whole.depth > 0) & (outline > 0))


def everywhere(grid: Grid, tissue: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Heights for `paint_tissues` of a tissue that has the slide to itself."""
    return np.zeros((1, *grid.shape), np.float32)


def body_of(
    grid: Grid,
    tissue: np.ndarray,
    share: float,
    rng: np.random.Generator,
    bodies: Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray] = layouts.bodies,
) -> np.ndarray:
    """Above 0 (about µm) where a tumour is that has the share 0 to 1 of the tissue (bool), below 0 elsewhere."""
    body = bodies(grid.y, grid.x, rng) + 16 * grid.field(150, rng) + 3 * grid.field(50, rng)
    return body - np.quantile(body[tissue], 1 - share)


def _grid(shape: tuple[int, int], mpp: float) -> Grid:
    y, x = (np.indices(shape, dtype=np.float32) + 0.5) * np.float32(CELL_PX * mpp)
    return Grid(y, x, mpp)


def _outline(grid: Grid, rng: np.random.Generator) -> np.ndarray:
    """Above 0 where there is tissue."""
    outline = layouts.piece(grid.y / grid.extent[0] - 0.5, grid.x / grid.extent[1] - 0.5, rng) + 0.06
    return outline + (0.022 * grid.field(230, rng) + 0.008 * grid.field(70, rng) + 0.003 * grid.field(22, rng))


def _laid_out(
    looks: Sequence[Look], grid: Grid, parts: Sequence[np.ndarray], rng: np.random.Generator
) -> list[_Layout]:
    found = [_lay_out(look, grid, part, rng) for look, part in zip(looks, parts, strict=True)]
    return [
        _with_portal_fields(layout, grid, rng) if look.portal else layout
        for look, layout in zip(looks, found, strict=True)
    ]


def _uncut(whole: _Layout, border_um: np.ndarray) -> _Layout:
    """The layout with no nest and no fat cell cut by a border that is so far away."""
    free = border_um - BORDER_UM
    return replace(whole, depth=np.minimum(whole.depth, free), fat=np.minimum(whole.fat, free))


def _paint(
    looks: Sequence[Look],
    regions: Sequence[np.ndarray],
    whole: _Layout,
    outline: np.ndarray,
    grid: Grid,
    stain: Stain,
    library_seed: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """The pixels of a slide, of the looks in their regions (bool), all of it laid out."""
    eosin, haematoxylin = _ground(whole, outline, grid.mpp, library_seed, rng)
    full = tuple(side * CELL_PX for side in grid.shape)
    eosin = np.array(resized(eosin, full, Image.Resampling.BICUBIC))
    haematoxylin = np.array(resized(haematoxylin, full, Image.Resampling.BILINEAR))
    grain = textures(library_seed)["grain"]
    tiled(eosin, grain, rng, lambda part, texture: np.multiply(part, 1 + 0.13 * texture, out=part))
    for look, region in zip(looks, regions, strict=True):
        _put_cells(haematoxylin, eosin, look, whole, region & (outline > 0), grid, library_seed, rng)
    _balance(haematoxylin, eosin, regions)
    return develop(haematoxylin, eosin, stain, library_seed, rng)


def _lay_out(look: Look, grid: Grid, part: np.ndarray, rng: np.random.Generator) -> _Layout:
    """Lay out a look over a slide. part: bool, where it is wanted; elsewhere there is nothing but stroma."""
    bent_y = grid.y + 7 * grid.field(60, rng) + 2 * grid.field(18, rng)
    bent_x = grid.x + 7 * grid.field(60, rng) + 2 * grid.field(18, rng)
    turn = rng.uniform(0, np.pi)
    reach = float(np.hypot(*grid.extent))
    along = bent_x * np.cos(turn) + bent_y * np.sin(turn)
    across = bent_y * np.cos(turn) - bent_x * np.sin(turn)
    # Nests are round in a space that is pressed together along them.
    where = np.stack([across[part] + reach, along[part] / look.stretch + reach / look.stretch], axis=-1)
    nests = layouts.territories(where, (2 * reach, 2 * reach / look.stretch), look.nest_um, 0.32, rng)

    def spread(values: np.ndarray, elsewhere: float) -> np.ndarray:
        field = np.full(grid.shape, elsewhere, np.float32)
        field[part] = values
        return field

    def some(share: float) -> np.ndarray:
        return rng.uniform(size=nests.n) < share

    wall = np.quantile(nests.edge, look.stroma)
    lining = look.lining_um * rng.uniform(0.8, 1.2, nests.n)[nests.owner]
    depth = nests.edge - wall
    # A papilla is a nest turned inside out: a core of stroma, cells on it, and the slit to the next for a lumen.
    turned = some(look.papillary)[nests.owner]
    slit = wall + 2.0
    depth = np.where(turned, lining + slit - nests.edge, depth)
    hollow = some(look.lumen)[nests.owner] | turned
    if look.bare > 0:
        there = grid.field(BARE_UM, rng)[part]
        there = np.bincount(nests.owner, there, nests.n) / np.maximum(np.bincount(nests.owner, minlength=nests.n), 1)
        depth = np.where((there < np.quantile(there[nests.owner], look.bare))[nests.owner], -10, depth)
    swing = np.where(some(0.5), 1, -1) * rng.uniform(0.75, 1, nests.n) * look.turning * np.pi / 2
    angle = turn + spread(swing[nests.owner], 0) + 0.5 * (1 - look.aligned) * grid.field(70, rng)
    u = grid.x * np.cos(angle) + grid.y * np.sin(angle)
    v = grid.y * np.cos(angle) - grid.x * np.sin(angle)
    wave = np.float32(2 * np.pi / WAVE_UM)
    height = HEIGHT_UM * look.wavy
    phase = u * wave + grid.field(90, rng)
    v = v + height * np.sin(phase)
    angle = angle - np.arctan(height * wave * np.cos(phase))
    dying = grid.field(130, rng) + 0.2 * grid.field(25, rng)
    dying = dying - np.quantile(dying[part], 1 - look.necrosis)
    between = {"slit": look.retraction, "fibrous": look.fibrous, "aligned": look.aligned}
    depth, lining = spread(depth, -10), spread(np.where(hollow, lining, FAR_UM), FAR_UM)
    if look.papillary > 0:
        # Between a papilla and a nest that is none both jump, by steps of a cell that would be seen.
        depth, lining = ndimage.gaussian_filter(depth, 0.9), ndimage.gaussian_filter(lining, 0.9)
    return _Layout(
        depth=depth,
        lining=lining,
        polar=spread(some(look.polarity)[nests.owner] | turned, 0),
        mucous=spread(some(look.mucus)[nests.owner], 0),
        horny=spread(some(look.keratin)[nests.owner], 0),
        dying=dying if look.necrosis > 0.02 else np.full(grid.shape, -9, np.float32),
        fat=_fat(look, grid, part & (depth < -FAT_WALL_UM) if look.bare > 0 else part, bent_y, bent_x, rng),
        angle=angle.astype(np.float32),
        u=u.astype(np.float32),
        v=v.astype(np.float32),
        **{name: np.full(grid.shape, value, np.float32) for name, value in between.items()},
    )


def _fat(
    look: Look, grid: Grid, part: np.ndarray, y: np.ndarray, x: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    if look.fat < 0.05:
        return np.full(grid.shape, -1, np.float32)
    cells = layouts.territories(np.stack([y, x], axis=-1), grid.extent, FAT_UM, 0.22, rng)
    lobule = grid.field(170, rng)
    many = np.maximum(np.bincount(cells.owner.ravel(), minlength=cells.n), 1)
    lobule = np.bincount(cells.owner.ravel(), lobule.ravel(), cells.n) / many
    full = lobule > np.quantile(lobule, 1 - look.fat)
    if look.bare > 0:
        # A fat cell that a gland would cut is none.
        full[cells.owner[~part]] = False
    return np.where(full[cells.owner] & part, cells.edge, -1).astype(np.float32)


def _with_portal_fields(liver: _Layout, grid: Grid, rng: np.random.Generator) -> _Layout:
    """The liver with portal fields, of stroma with a small duct, and central veins, which are empty."""
    y, x = grid.y + 8 * grid.field(40, rng), grid.x + 8 * grid.field(40, rng)
    lobules = layouts.territories(np.stack([y, x], axis=-1), grid.extent, LOBULE_UM, 0.2, rng)
    kind = rng.integers(0, 3, lobules.n)
    radius = np.where(kind == 0, rng.uniform(26, 44, lobules.n), rng.uniform(12, 22, lobules.n))[lobules.owner]
    portal, vein = (kind == 0)[lobules.owner], (kind == 1)[lobules.owner]
    # Stroma up to the radius; in it the duct, or the vein but for its thin wall.
    depth = np.where(portal | vein, np.minimum(liver.depth, lobules.distance - radius), liver.depth)
    inner = np.where(portal, 13.0, radius - 3) - lobules.distance
    in_field = (portal | vein) & (lobules.distance < radius)
    return replace(
        liver,
        depth=np.where(in_field, inner, depth).astype(np.float32),
        lining=np.where(in_field, np.where(vein, 0, 8), liver.lining).astype(np.float32),
        polar=np.where(in_field, 1, liver.polar).astype(np.float32),
        mucous=np.where(in_field, 0, liver.mucous).astype(np.float32),
        slit=np.where((portal | vein) & (lobules.distance < radius + 2), 0, liver.slit).astype(np.float32),
        fibrous=np.where(in_field, 0.9, liver.fibrous).astype(np.float32),
    )


def _joined(parts: Sequence[_Layout], which: np.ndarray) -> _Layout:
    """At each place what the layout has there whose number is `which` (int8)."""
    if len(parts) == 1:
        return parts[0]
    return _Layout(**{f.name: np.choose(which, [getattr(part, f.name) for part in parts]) for f in fields(_Layout)})


@lru_cache(maxsize=2)
def _ground_textures(seed: int) -> dict[str, np.ndarray]:
    """Those of `textures`, at half their resolution: a pixel of them is one of the ground."""
    return {name: np.ascontiguousarray(texture[::2, ::2]) for name, texture in textures(seed).items()}


def _ground(
    whole: _Layout, outline: np.ndarray, mpp: float, seed: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Eosin and haematoxylin of all but the nuclei and cells' borders, float32, on pixels of GROUND_PX."""
    shape = tuple(n * CELL_PX // GROUND_PX for n in outline.shape)
    px_um = GROUND_PX * mpp
    texture = _ground_textures(seed)
    at = {field.name: _finer(getattr(whole, field.name), shape) for field in fields(_Layout)}

    def sheet(name: str) -> np.ndarray:
        size = len(texture[name])
        top, left = rng.integers(0, size, 2)
        return texture[name][np.ix_((np.arange(shape[0]) + top) % size, (np.arange(shape[1]) + left) % size)]

    size = len(texture["fibres"])
    fibres = texture["fibres"][(at["v"] / px_um).astype(np.int32) % size, (at["u"] / px_um).astype(np.int32) % size]
    cytoplasm, web, crumbs = (sheet(name) for name in ("cytoplasm", "web", "dense"))
    stroma = 0.66 * (web + at["fibrous"] * (fibres - web)) * (1 - 0.95 * at["slit"])
    flesh = cytoplasm + at["aligned"] * (fibres - cytoplasm)
    depth = at["depth"] + 3.0 * (cytoplasm - 1)
    epithelium = step(depth, 1.6)
    lumen = step(depth - at["lining"], 2.0) * epithelium
    eosin = stroma + epithelium * (0.56 * flesh - stroma)
    haematoxylin = 0.03 + 0.15 * epithelium * flesh
    # A lumen is empty, or full of pale mucus.
    slime = 0.35 * at["mucous"] * web
    eosin += lumen * (0.25 * slime - eosin)
    haematoxylin += lumen * (0.6 * slime - haematoxylin)
    # A pearl: rings of keratin, without nuclei.
    pearl = at["horny"] * step(depth - PEARL_UM, 6.0)
    rings = 0.8 + 0.2 * np.sin(at["depth"] * np.float32(2 * np.pi / 6) + 3.5 * cytoplasm)
    eosin += pearl * (rings - eosin)
    haematoxylin += pearl * (0.05 - haematoxylin)
    # Dead tissue: eosinophilic crumbs.
    dead = step(at["dying"], 0.12) * epithelium
    eosin += dead * (0.55 * crumbs**2 * cytoplasm - eosin)
    haematoxylin += dead * (0.12 * cytoplasm - haematoxylin)
    hole = step(at["fat"] - FAT_WALL_UM, 1.2)
    kept = (1 - hole) * step(resized(outline, shape) + 0.0045 * (cytoplasm - 1), 0.003)
    return eosin * kept, haematoxylin * kept


def _finer(field: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    # What is the same everywhere, as much of a look is, need not be interpolated.
    first = field[0, 0]
    return first if (field == first).all() else resized(field, shape)


def _put_cells(
    haematoxylin: np.ndarray,
    eosin: np.ndarray,
    look: Look,
    whole: _Layout,
    region: np.ndarray,
    grid: Grid,
    seed: int,
    rng: np.random.Generator,
) -> None:
    """Put a region's cells into both stains, in place: their borders, nuclei, drops and granules."""
    mpp = grid.mpp
    points, angles = _nuclei(look, whole, region, grid, rng)
    _draw_borders(haematoxylin, eosin, look, whole, region, points, grid)
    _put_drops(haematoxylin, eosin, look, whole, region, grid, rng)
    put_nuclei(haematoxylin, eosin, stamps.book_of(_shape_of(look), mpp, rng, angles=ANGLES), points / mpp, angles, rng)
    library = stamps.stamp_book(round(mpp, 2), seed)
    if look.two_rows:
        flat, turned = _flat_nuclei(whole, region, grid, rng)
        put_nuclei(haematoxylin, eosin, library["pressed"], flat / mpp, turned, rng)
    for kind, others, turned in _stromal(look, whole, region, grid, rng):
        put_nuclei(haematoxylin, eosin, library[kind], others / mpp, turned, rng)
    _put_granules(haematoxylin, eosin, look, points, mpp, rng)


def _shape_of(look: Look) -> stamps.Shape:
    """How the nuclei of a look vary."""
    vary_by = 0.04 + 0.42 * look.unequal
    size = np.array([1 - vary_by, 1 + vary_by])
    root = np.sqrt(look.elongation)
    pale = 0.92 - 0.2 * look.unequal
    return stamps.Shape(
        long=tuple(look.nucleus_um * root * size),
        short=tuple(look.nucleus_um / root * size),
        irregular=0.02 + 0.13 * look.unequal,
        stain=(pale - 0.08 - 0.22 * look.unequal, pale + 0.10 + 0.22 * look.unequal),
        chromatin=0.06 + 0.34 * look.chromatin,
        rim=0.10 + 0.15 * look.chromatin,
        nucleoli=(0, 0) if look.nucleoli < 0.15 else (0, 1) if look.nucleoli < 0.6 else (1, 2),
        bend=0.8 if look.elongation > 2.5 else 0.0,
    )


def _nuclei(
    look: Look, whole: _Layout, region: np.ndarray, grid: Grid, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Places (n, 2: y, x; µm) and angles (n,) of the nuclei of nests."""
    half_um, thick_um = look.nucleus_um * np.sqrt(look.elongation), look.nucleus_um / np.sqrt(look.elongation)
    # However crowded, nuclei hardly lie on each other.
    apart_um = max(look.spacing_um, 2.2 * thick_um)

    def here(points: np.ndarray) -> np.ndarray:
        alive = (grid.at(whole.dying, points) < 0) & (grid.at(whole.fat, points) < 0)
        return grid.at(region, points) & alive & (grid.at(whole.depth, points) < grid.at(whole.lining, points))

    # On the wall: what falls near it is moved to stand on it, the long axis inwards where cells are tall.
    basal = layouts.jittered(grid.extent, 0.5 * look.spacing_um, 0.4, rng)
    basal = basal[here(basal) & (grid.at(whole.polar, basal) > 0)]
    lifted = FLAT_LIFT_UM if look.two_rows else 0.0
    depth = grid.at(whole.depth, basal)
    basal = basal[(depth > 0) & (depth < 2.2 * half_um + lifted)]
    lift = half_um + 1.2 + lifted + (1 - look.order) * 2.4 * rng.normal(size=len(basal))
    basal = _at_depth(basal, lift, whole, grid)
    inner = layouts.jittered(grid.extent, apart_um, 0.08 + 0.4 * (1 - look.order), rng)
    depth = grid.at(whole.depth, inner)
    pearl = (grid.at(whole.horny, inner) > 0) & (depth > PEARL_UM)
    # Those that are not on the wall of their nest lie behind the row that is.
    behind = np.where(grid.at(whole.polar, inner) > 0, 2.6 * half_um + 2, 0.5 * look.nucleus_um)
    hollow = (grid.at(whole.polar, inner) > 0) & (grid.at(whole.lining, inner) < FAR_UM - 1)
    inner = inner[here(inner) & (depth > behind) & ~hollow & ~pearl]
    points = np.concatenate([layouts.apart(basal, max(0.62 * look.spacing_um, 1.8 * thick_um)), inner])
    inwards = _inwards(points, whole, grid) + rng.normal(0, 0.25, len(points))
    loose = 0.12 + 1.2 * (1 - look.aligned) ** 2
    along = grid.at(whole.angle, points) + loose * rng.normal(size=len(points))
    # A nest of a single cell presses its nucleus flat to the wall.
    inwards = inwards + (np.pi / 2 if look.nest_um < 2 * look.spacing_um else 0)
    return points, np.where(grid.at(whole.polar, points) > 0, inwards, along)


def _flat_nuclei(
    whole: _Layout, region: np.ndarray, grid: Grid, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Places and angles, as of `_nuclei`, of those that lie flat on the wall of nests, beneath the others."""
    points = layouts.jittered(grid.extent, 0.6 * FLAT_APART_UM, 0.4, rng)
    depth = grid.at(whole.depth, points)
    points = points[grid.at(region, points) & (depth > 0) & (depth < 2 * FLAT_UM) & (grid.at(whole.fat, points) < 0)]
    points = layouts.apart(_at_depth(points, FLAT_UM, whole, grid), FLAT_APART_UM)
    return points, _inwards(points, whole, grid) + np.pi / 2


def _at_depth(points: np.ndarray, depth: np.ndarray | float, whole: _Layout, grid: Grid) -> np.ndarray:
    """Points moved inwards or outwards until they lie so deep in their nests (µm)."""
    angle = _inwards(points, whole, grid)
    return points + np.stack([np.sin(angle), np.cos(angle)], axis=1) * (depth - grid.at(whole.depth, points))[:, None]


def _inwards(points: np.ndarray, whole: _Layout, grid: Grid) -> np.ndarray:
    """The way from the wall of a nest into it, radians from the x axis."""
    slope_y, slope_x = np.gradient(whole.depth)
    return np.arctan2(grid.at(slope_y, points), grid.at(slope_x, points))


def _draw_borders(
    haematoxylin: np.ndarray,
    eosin: np.ndarray,
    look: Look,
    whole: _Layout,
    region: np.ndarray,
    points: np.ndarray,
    grid: Grid,
) -> None:
    """Empty the cytoplasm between nuclei and cells' borders as far as it is clear, and draw the borders, in place."""
    if max(look.borders, look.clear) < 0.12 or len(points) < 3:
        return
    part = region & (whole.depth > 0) & (whole.depth < whole.lining)
    cells = layouts.divide(np.stack([grid.y[part], grid.x[part]], axis=-1), points)
    room = np.where(region, np.minimum(whole.depth, whole.lining - whole.depth), 0)
    border = np.zeros(grid.shape, np.float32)
    border[part] = np.minimum(cells.edge, room[part])
    full = haematoxylin.shape
    border = np.array(resized(border, full))
    empty = step(border - 1.7, 1.2) * np.float32(0.92 * look.clear)
    eosin *= 1 - empty
    haematoxylin *= 1 - 0.9 * empty
    line = step(0.8 - border, 1.0) * step(resized(room, full) - 0.3, 0.6)
    np.maximum(eosin, np.float32(0.72 * look.borders) * line, out=eosin)


def _put_drops(
    haematoxylin: np.ndarray,
    eosin: np.ndarray,
    look: Look,
    whole: _Layout,
    region: np.ndarray,
    grid: Grid,
    rng: np.random.Generator,
) -> None:
    """Clear drops of mucus, or of fat, in the cells of mucous nests, in place."""
    left = stamps.drop(grid.mpp)
    points = layouts.jittered(grid.extent, DROP_UM, 0.35, rng)
    deep = grid.at(whole.depth, points) > np.where(grid.at(whole.polar, points) > 0, 6.5, 2.0)
    there = grid.at(region, points) & (grid.at(whole.mucous, points) > 0) & deep & (grid.at(whole.fat, points) < 0)
    there &= (grid.at(whole.depth, points) < grid.at(whole.lining, points)) & (rng.uniform(size=len(points)) < 0.7)
    points = layouts.apart(points[there], DROP_UM - 1.5)
    for where in windows(points / grid.mpp, len(left) // 2, eosin.shape):
        eosin[where] *= left
        haematoxylin[where] *= left


def _stromal(
    look: Look, whole: _Layout, region: np.ndarray, grid: Grid, rng: np.random.Generator
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield (kind of nucleus, points (n, 2), angles (n,)) of what lies between the nests."""

    def between(points: np.ndarray) -> np.ndarray:
        return grid.at(region, points) & (grid.at(whole.depth, points) < -1.5) & (grid.at(whole.fat, points) < 1)

    points = layouts.jittered(grid.extent, 14.5 / np.sqrt(0.25 + look.cellular), 0.38, rng)
    points = points[between(points)]
    thin = rng.uniform(size=len(points)) < look.fibrous
    along = grid.at(whole.angle, points[thin])
    yield "spindle", points[thin], along + rng.normal(0, 0.15, len(along))
    yield "stromal", points[~thin], rng.uniform(0, np.pi, (~thin).sum())
    flocks = [layouts.flock(grid.extent, rng) for _ in range(rng.poisson(7 * look.inflamed))]
    points = np.concatenate([*flocks, np.zeros((0, 2))])
    points = layouts.apart(points[between(points)], 4.8)
    yield "lymphocyte", points, rng.uniform(0, np.pi, len(points))


def _put_granules(
    haematoxylin: np.ndarray, eosin: np.ndarray, look: Look, points: np.ndarray, mpp: float, rng: np.random.Generator
) -> None:
    """Granules in some of the cells, around their nuclei, in place: as dark as nuclei, of both stains."""
    full = points[rng.uniform(size=len(points)) < 0.6 * look.granules**2]
    grains = np.repeat(full, 14, axis=0)
    way, far = rng.uniform(0, 2 * np.pi, len(grains)), rng.uniform(1.0, 1.9, len(grains)) * look.nucleus_um
    grains = grains + np.stack([far * np.sin(way), far * np.cos(way)], axis=1)
    grain = stamps.granule(mpp)
    for where in windows(grains / mpp, len(grain) // 2, eosin.shape):
        np.maximum(haematoxylin[where], grain, out=haematoxylin[where])
        np.maximum(eosin[where], grain, out=eosin[where])


def _balance(haematoxylin: np.ndarray, eosin: np.ndarray, regions: list[np.ndarray]) -> None:
    """Bring the mean of both stains over what is stained of each region to AMOUNTS, in place."""
    for stain, amount in ((haematoxylin, AMOUNTS[0]), (eosin, AMOUNTS[1])):
        gain = np.ones(regions[0].shape, np.float32)
        for region in regions:
            rows, columns = np.nonzero(region)
            seen = slice(CELL_PX // 2, None, CELL_PX)
            h, e = haematoxylin[seen, seen][rows, columns], eosin[seen, seen][rows, columns]
            stained = h + e > 0.15
            if stained.any():
                gain[region] = amount / (h if stain is haematoxylin else e)[stained].mean()
        stain *= resized(gain, stain.shape)
