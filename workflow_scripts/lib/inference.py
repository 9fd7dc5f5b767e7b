"""Trained models applied to tile stores: each tile is decoded once, for all the models that its slide needs."""

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np
import torch

from workflow_scripts.lib import models, tiles
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.files import writing
from workflow_scripts.lib.predictions import write_slide

log = logging.getLogger(__name__)


def predict_slides(
    path_to_predictions: str | Path,
    *,
    stores: Mapping[str, str | Path],
    models_of_slide: Mapping[str, Sequence[str]],
    model_folders: Mapping[str, str | Path],
    batch_size: int,
    threads: int,
) -> None:
    """Apply to each slide's tiles the models that it needs, and write a chunk's predictions (see `predictions`).

    `stores` has a tile store per slide id; `models_of_slide` names models (`<trait>/round_<k>`) per slide id, and
    `model_folders` says where those are. A store without tiles gives a group without rows.

    Raises InputError when a model was trained on other tiles than the store holds.
    """
    torch.set_num_threads(threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    needed = {name for names in models_of_slide.values() for name in names}
    trained = {name: models.load(model_folders[name]) for name in sorted(needed)}
    for model in trained.values():
        model.network.to(device)
    started, n_tiles = time.monotonic(), 0
    with writing(path_to_predictions) as partial, h5py.File(partial, "w", libver="v110", locking=False) as file:
        for number, (slide_id, path) in enumerate(sorted(stores.items()), start=1):
            of_slide = {name: trained[name] for name in models_of_slide[slide_id]}
            with tiles.open_store(path) as store:
                _check_geometry(slide_id, store, of_slide)
                probabilities = predict_tiles(store, of_slide, batch_size=batch_size, device=device)
                write_slide(file, slide_id, store.coords, probabilities)
                n_tiles += len(store)
            speed = n_tiles / max(time.monotonic() - started, 1e-9)
            log.info("%d of %d slides, %d tiles, %.0f tiles/s", number, len(stores), n_tiles, speed)


@torch.inference_mode()
def predict_tiles(
    store: tiles.TileStore, trained: Mapping[str, models.TrainedModel], *, batch_size: int, device: torch.device
) -> dict[str, np.ndarray]:
    """Probabilities (n,) float32 of a store's n tiles by each model; memory is bounded by a batch."""
    found = {name: np.empty(len(store), np.float32) for name in trained}
    for start in range(0, len(store), batch_size):
        stop = min(start + batch_size, len(store))
        images = np.stack([tiles.decode(store.encoded(position)) for position in range(start, stop)])
        batch = models.to_input(torch.from_numpy(images).permute(0, 3, 1, 2).to(device))
        for name, model in trained.items():
            found[name][start:stop] = torch.sigmoid(model.network(batch)[:, 0].float()).cpu().numpy()
    return found


def _check_geometry(slide_id: str, store: tiles.TileStore, trained: Mapping[str, models.TrainedModel]) -> None:
    found = (int(store.attributes["tile_px"]), float(store.attributes["mpp"]))
    for name, model in trained.items():
        expected = (model.description["tile_px"], model.description["mpp"])
        if found != expected:
            raise InputError(
                f"{slide_id}: its tiles are {found[0]} px at {found[1]} µm/px, and model {name} was trained on "
                f"{expected[0]} px at {expected[1]} µm/px; tile the slide for the model, or use another model"
            )
