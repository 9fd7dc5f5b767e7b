"""Predictions laid out on each slide's lattice: the molecular cartographies of a cohort."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from workflow_scripts.lib import cartography, tile_sources, tiles
from workflow_scripts.lib import predictions as predicted
from workflow_scripts.lib.ensembles import members_of
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.tile_sources import TileSource


def map_slides(
    folder: str | Path,
    *,
    sheet: pd.DataFrame,
    sources: Iterable[TileSource],
    predictions: Iterable[str | Path],
    ensembles: pd.DataFrame,
    traits: Sequence[str],
    threshold: float,
) -> None:
    """Write maps/<slide>.h5 for each slide that was accepted, with a layer for each of `traits`.

    sheet: slide_id and patient_id; sources: the slides' tiles, whose stores know the lattices; predictions: the chunks'
    files; ensembles: the table of `rank_models`. Tiles that quality or the tumour filter left out are filtered out; a
    slide without any tile has a map without tissue. Raises InputError where a slide has no predictions, or they are not
    of the tiles of its source; and where no slide was accepted.
    """
    chunk_of = {slide_id: path for path in predictions for slide_id in predicted.slides_in(path)}
    patient_of = dict(zip(sheet["slide_id"], sheet["patient_id"], strict=True))
    members = {trait: members_of(ensembles, trait) for trait in traits}
    accepted, refused = 0, []
    for source in sources:
        facts = tiles.read_summary(source.store)
        slide_id = facts["slide_id"]
        if facts["status"] != tiles.ACCEPTED:
            refused.append(f"{slide_id}: {facts['reason']}")
            continue
        accepted += 1
        if slide_id not in chunk_of:
            raise InputError(
                f"{slide_id}: expected predictions in one of {len(set(chunk_of.values()))} files, found none"
            )
        states, means = _laid_out(source, facts, chunk_of[slide_id], members, threshold=threshold)
        known = {name: facts[name] for name in cartography.ATTRIBUTES if name != "patient_id"}
        found = cartography.Cartography(
            patient_id=patient_of[slide_id], traits=tuple(traits), states=states, probabilities=means, **known
        )
        cartography.write_map(Path(folder) / f"{slide_id}.h5", found)
    if not accepted:
        raise InputError(
            f"expected a slide to map, found none accepted of {len(refused)}; {refused[0] if refused else 'no slide'}; "
            "slides.tsv has all reasons"
        )


def _laid_out(
    source: TileSource,
    facts: Mapping[str, Any],
    path_to_predictions: str | Path,
    members: Mapping[str, Sequence[str]],
    *,
    threshold: float,
) -> tuple[np.ndarray, np.ndarray]:
    """`cartography.cartograph` of a slide by its store's `facts` and the `members` of each trait's ensemble."""
    slide_id = facts["slide_id"]
    kept, left_out = tile_sources.places(source)
    coords, by_trait = predicted.read_slide(path_to_predictions, slide_id)
    if not np.array_equal(np.unique(coords, axis=0), np.unique(kept, axis=0)):
        raise InputError(
            f"{path_to_predictions}: predictions of {slide_id} are not of the tiles in {source.store} that pass the "
            "filters: predict again"
        )
    probabilities = {
        trait: np.stack([_probabilities(by_trait, trait, model, slide_id) for model in models])
        for trait, models in members.items()
    }
    return cartography.cartograph(
        coords,
        probabilities,
        columns=facts["columns"],
        rows=facts["rows"],
        threshold=threshold,
        filtered=left_out,
    )


def _probabilities(
    by_trait: Mapping[str, Mapping[str, np.ndarray]], trait: str, model: str, slide_id: str
) -> np.ndarray:
    try:
        return by_trait[trait][model]
    except KeyError:
        raise InputError(
            f"{slide_id}: no predictions of {trait}, {model}, a member of the ensemble; predict again"
        ) from None
