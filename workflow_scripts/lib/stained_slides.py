"""Slides with their stains: what is measured of a tile store, the reference, recoloured stores, a cohort's table."""

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from workflow_scripts.lib import files, quality, sources, stain_fitting, stains, tiles
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.stain_fitting import Unfit
from workflow_scripts.lib.stains import REINHARD, Appearance, ColourTable, Normalisation

log = logging.getLogger(__name__)

# Tiles that a slide's stains are found in, and pixels of each. Neighbours are alike: fits from few tiles differ far
# more than fits from few pixels of each (docs/methods.md). Together they take a second.
MOST_TILES = 256
PIXELS_OF_TILE = 1024
# Tiles with more ink are not among them, unless all have: a hundredth of the pixels moves Macenko's vectors.
MOST_INK = 0.01
PIXELS_OF_IMAGE = MOST_TILES * PIXELS_OF_TILE

NORMALISED, KEPT, NO_TILES = STATUSES = ("normalised", "kept", "no tiles")
TABLE_TEXT = ("slide_id", "method", "status", "reason")
# Names of the numbers of an appearance, in their order.
STAIN_COLUMNS = tuple(f"{stain}_{what}" for stain in ("haematoxylin", "eosin") for what in ("red", "green", "blue"))
STAIN_COLUMNS += ("haematoxylin_max", "eosin_max")
COLOUR_COLUMNS = tuple(f"{what}_{axis}" for what in ("mean", "deviation") for axis in ("l", "a", "b"))


# The reference


def fit_reference(
    path: str | Path | None, path_to_reference: str | Path, *, method: str, reference: str, code_version: str = ""
) -> None:
    """Find the stains that all slides are to have, and write them as JSON.

    reference: `published`, for which `path` is None; `tile:<cohort>/<slide_id>/<column>/<row>`, a tile of the store
    `path`; or else the image `path`.

    Raises InputError where there is no such tile or image, or its stains are none that others can be given.
    """
    if reference == sources.PUBLISHED:
        if method == REINHARD:
            raise InputError("stain reference 'published': these are stains, and reinhard needs an image or a tile")
        found, n_pixels = stains.PUBLISHED, 0
    else:
        place = sources.parts(reference, kind="stain")
        pixels = _spread(_read_image(path) if place is None else _read_tile(path, reference, place), PIXELS_OF_IMAGE)
        pixels = pixels[stain_fitting.is_tissue(pixels)]
        try:
            found, n_pixels = stain_fitting.fit(pixels, method=method), len(pixels)
        except Unfit as unfit:
            raise InputError(f"stain reference {reference}: {unfit}; choose another image or tile") from None
    content = {"method": method, "reference": reference, "appearance": asdict(found), "n_pixels": n_pixels}
    content["code_version"] = code_version
    with files.writing(path_to_reference) as partial:
        partial.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    log.info("reference %s, by %s: %s", reference, method, found)


def read_reference(path: str | Path) -> Appearance:
    """Read what `fit_reference` wrote. Raises InputError where the file is not that."""
    return stains.as_appearance(stains.read_target([path])["appearance"])


def _read_image(path: str | Path) -> np.ndarray:
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, Image.DecompressionBombError) as error:
        raise InputError(f"stain reference {path}: expected an image (PNG, JPEG, TIFF), found: {error}") from error


def _read_tile(path: str | Path, reference: str, place: Mapping[str, str]) -> np.ndarray:
    column, row = int(place["column"]), int(place["row"])
    with tiles.open_store(path) as store:
        found = np.flatnonzero((store.coords == (column, row)).all(axis=1))
        if not len(found):
            raise InputError(
                f"stain reference {reference}: expected one of {len(store):,} tiles with tissue on "
                f"{store.attributes['columns']} columns and {store.attributes['rows']} rows of {path}, counted from 0, "
                f"found none at column {column}, row {row}"
            )
        return tiles.decode(store.encoded(int(found[0])))


# One slide


def fit_slide(path_to_store: str | Path, path_to_reference: str | Path, *, method: str) -> Normalisation:
    """Find what is to be done to a slide's colours, from pixels of tissue pooled over its tiles (`pool_tissue`).

    A slide without tiles keeps its colours, for the reason NO_TILES; see `stain_fitting.normalise` for the others.
    """
    target = read_reference(path_to_reference)
    with tiles.open_store(path_to_store) as store:
        slide_id = store.attributes["slide_id"]
        if len(store):
            found = stain_fitting.normalise(pool_tissue(store), target, method=method)
        else:
            found = Normalisation(method, None, target, NO_TILES)
    if found.keeps_colours:
        log.info("slide %s keeps its colours: %s", slide_id, found.reason)
    else:
        log.info("slide %s: %s in %d pixels of tissue", slide_id, found.source, found.n_pixels)
    return found


def pool_tissue(store: tiles.TileStore) -> np.ndarray:
    """Pixels of tissue (n, 3) uint8 from all over a slide: of at most MOST_TILES tiles, drawn by a hash of their place.

    About PIXELS_OF_TILE of each tile are looked at, so that n grows with the tissue in them. Tiles with pen ink are
    left out where there are others.
    """
    lots = [hashlib.sha256(f"{column},{row}".encode()).digest() for column, row in store.coords]
    clean = np.flatnonzero(quality.pen_share(store.quality) <= MOST_INK).tolist()
    drawn = sorted(sorted(clean or range(len(lots)), key=lots.__getitem__)[:MOST_TILES])
    pooled = [_spread(tiles.decode(store.encoded(index)), PIXELS_OF_TILE) for index in drawn]
    pixels = np.concatenate([np.empty((0, 3), np.uint8), *pooled])
    return pixels[stain_fitting.is_tissue(pixels)]


def _spread(image: np.ndarray, count: int) -> np.ndarray:
    """About `count` of an image's pixels at equal steps (n, 3)."""
    pixels = image.reshape(-1, 3)
    # An odd step meets every row and column of JPEG's blocks.
    return pixels[:: max(1, len(pixels) // count) | 1]


def normalise_tiles(
    path_to_store: str | Path, path_to_normalised: str | Path, normalisation: Normalisation, *, code_version: str = ""
) -> None:
    """Write a slide's tile store anew with its tiles recoloured; where colours are kept, the tiles stay as they are.

    All else is the raw store's, but for two attributes more: `stain`, what was done to the colours (JSON), and
    `stain_code_version`.
    """
    tiles.rewrite_store(
        path_to_store,
        path_to_normalised,
        change=None if normalisation.keeps_colours else ColourTable(normalisation).recolour,
        attributes={"stain": json.dumps(asdict(normalisation), sort_keys=True), "stain_code_version": code_version},
    )


# A cohort


def list_stains(found: Mapping[str, Normalisation]) -> pd.DataFrame:
    """The table `stains.tsv` from the normalisation of each slide of a cohort, by slide id.

    Columns: slide_id, method, status (one of STATUSES), reason, n_pixels, and what was found (STAIN_COLUMNS, or
    COLOUR_COLUMNS for Reinhard), empty where nothing was.
    """
    methods = {normalisation.method for normalisation in found.values()}
    names = COLOUR_COLUMNS if methods == {REINHARD} else STAIN_COLUMNS
    rows = [
        {
            "slide_id": slide_id,
            "method": normalisation.method,
            "status": _status(normalisation),
            "reason": normalisation.reason,
            "n_pixels": normalisation.n_pixels,
            **(dict(zip(names, numbers(normalisation.source), strict=True)) if normalisation.source else {}),
        }
        for slide_id, normalisation in found.items()
    ]
    table = pd.DataFrame(rows, columns=["slide_id", "method", "status", "reason", "n_pixels", *names])
    counts = table["status"].value_counts()
    log.info("%s", ", ".join(f"{counts.get(status, 0)} slides: {status}" for status in STATUSES))
    for row in table[table["status"] == KEPT].itertuples():
        log.warning("%s keeps its colours: %s", row.slide_id, row.reason)
    return table


def numbers(appearance: Appearance) -> Sequence[float]:
    """The numbers of an appearance, in the order of STAIN_COLUMNS or COLOUR_COLUMNS."""
    return np.concatenate([np.ravel(part) for part in astuple(appearance)]).tolist()


def _status(normalisation: Normalisation) -> str:
    if normalisation.reason == NO_TILES:
        return NO_TILES
    return KEPT if normalisation.keeps_colours else NORMALISED
