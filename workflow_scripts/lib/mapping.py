"""Predictions laid out on each slide's lattice: the molecular cartographies of a cohort."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from workflow_scripts.lib import cartography, tiles
from workflow_scripts.lib import predictions as predicted
from workflow_scripts.lib.ensembles import members_of
from workflow_scripts.lib.errors import InputError


def map_slides(
    folder: str | Path,
    *,
    sheet: pd.DataFrame,
    stores: Iterable[str | Path],
    predictions: Iterable[str | Path],
    ensembles: pd.DataFrame,
    traits: Sequence[str],
    threshold: float,
) -> None:
    """Write maps/<slide>.h5 for each slide that was accepted, with a layer for each of `traits`.

    sheet: slide_id and patient_id; stores: tile stores, which know the lattices; predictions: the chunks' files;
    ensembles: the table of `rank_models`. Tiles that quality dropped are filtered out; a slide without any tile has a
    map without tissue. Raises InputError where a slide has no predictions, or they are not of the tiles of its store.
    """
    chunk_of = {slide_id: path for path in predictions for slide_id in predicted.slides_in(path)}
    patient_of = dict(zip(sheet["slide_id"], sheet["patient_id"], strict=True))
    members = {trait: members_of(ensembles, trait) for trait in traits}
    for path in stores:
        with tiles.open_store(path) as store:
            facts, stored, dropped = store.attributes, store.coords, store.dropped.coords
        slide_id = facts["slide_id"]
        if facts["status"] != tiles.ACCEPTED:
            continue
        if slide_id not in chunk_of:
            raise InputError(
                f"{slide_id}: expected predictions in one of {len(set(chunk_of.values()))} files, found none"
            )
        coords, by_trait = predicted.read_slide(chunk_of[slide_id], slide_id)
        if not np.array_equal(np.unique(coords, axis=0), np.unique(stored, axis=0)):
            raise InputError(
                f"{chunk_of[slide_id]}: predictions of {slide_id} are not of the tiles in {path}: predict again"
            )
        probabilities = {
            trait: np.stack([_probabilities(by_trait, trait, model, slide_id) for model in members[trait]])
            for trait in traits
        }
        states, means = cartography.cartograph(
            coords,
            probabilities,
            columns=facts["columns"],
            rows=facts["rows"],
            threshold=threshold,
            filtered=dropped,
        )
        known = {name: facts[name] for name in cartography.ATTRIBUTES if name != "patient_id"}
        found = cartography.Cartography(
            patient_id=patient_of[slide_id], traits=tuple(traits), states=states, probabilities=means, **known
        )
        cartography.write_map(Path(folder) / f"{slide_id}.h5", found)


def _probabilities(
    by_trait: Mapping[str, Mapping[str, np.ndarray]], trait: str, model: str, slide_id: str
) -> np.ndarray:
    try:
        return by_trait[trait][model]
    except KeyError:
        raise InputError(
            f"{slide_id}: no predictions of {trait}, {model}, a member of the ensemble; predict again"
        ) from None
