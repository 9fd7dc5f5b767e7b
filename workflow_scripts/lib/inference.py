"""Trained models applied to tile stores: each tile is decoded once, for all the models that its slide needs."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from workflow_scripts.lib import devices, feeding, models, tile_sources, tiles
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.files import writing
from workflow_scripts.lib.predictions import write_slide
from workflow_scripts.lib.recolouring import Recolouring
from workflow_scripts.lib.tile_sources import TileSource

log = logging.getLogger(__name__)


def predict_slides(
    path_to_predictions: str | Path,
    *,
    sources: Mapping[str, TileSource],
    models_of_slide: Mapping[str, Sequence[str]],
    model_folders: Mapping[str, str | Path],
    stain: Mapping[str, Any] | None,
    batch_size: int,
    threads: int,
) -> None:
    """Apply to each slide's tiles the models that it needs, and write a chunk's predictions (see `predictions`).

    `sources` has the tiles per slide id, of which only those that pass the tumour filter are predicted;
    `models_of_slide` names models (`<trait>/round_<k>`) per slide id, and `model_folders` says where those are; `stain`
    is the reference that the slides are normalised to, or None. A slide without tiles gives a group without rows.

    Raises InputError when a model was trained on other tiles than the store holds, or in other colours.
    """
    device = choose_device(threads)
    needed = {name for names in models_of_slide.values() for name in names}
    trained = {name: _load(model_folders[name], device) for name in sorted(needed)}

    def models_of(slide_id: str) -> dict[str, models.TrainedModel]:
        return {name: trained[name] for name in models_of_slide[slide_id]}

    predicted = predict_each(
        sorted(sources.items()), models_of, stain=stain, batch_size=batch_size, threads=threads, device=device
    )
    with writing(path_to_predictions) as partial, h5py.File(partial, "w", libver="v110", locking=False) as file:
        for slide_id, coords, probabilities in predicted:
            write_slide(file, slide_id, coords, probabilities)


def predict_tumour(
    sources: Sequence[tuple[str, TileSource]],
    *,
    model_folder: str | Path,
    stain: Mapping[str, Any] | None,
    batch_size: int,
    threads: int,
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield, of each of some slides, its id, and column and row (n, 2) of its tiles with their tumour probabilities.

    sources: slide ids and tiles. The probabilities, (n,) float32, are a trained filter's. Raises InputError as
    `predict_slides` does.
    """
    device = choose_device(threads)
    trained = {"tumour": _load(model_folder, device)}
    predicted = predict_each(
        sources, lambda _slide: trained, stain=stain, batch_size=batch_size, threads=threads, device=device
    )
    for slide_id, coords, found in predicted:
        yield slide_id, coords, found["tumour"]


@dataclass(frozen=True, eq=False)
class _Slide:
    """A slide to be predicted: of those of its tiles that models see, the position in the store, and column and row."""

    slide_id: str
    source: TileSource
    positions: np.ndarray
    coords: np.ndarray

    @classmethod
    def of(
        cls,
        slide_id: str,
        source: TileSource,
        trained: Mapping[str, models.TrainedModel],
        stain: Mapping[str, Any] | None,
    ) -> "_Slide":
        with tiles.open_store(source.store) as store:
            check_fit(slide_id, store, {name: model.description for name, model in trained.items()}, stain)
            positions = np.flatnonzero(tile_sources.passing(source, store))
            return cls(slide_id, source, positions, store.coords[positions])

    def read(self, start: int, batch_size: int) -> np.ndarray:
        """The pixels of a batch of its tiles, (n, px, px, 3) uint8."""
        positions = self.positions[start : start + batch_size]
        with tiles.open_store(self.source.store) as store:
            px = store.attributes["tile_px"]
            pixels = np.empty((len(positions), px, px, 3), np.uint8)
            store.read(positions, pixels)
        return pixels


def predict_each(
    sources: Sequence[tuple[str, TileSource]],
    models_of: Callable[[str], Mapping[str, models.TrainedModel]],
    *,
    stain: Mapping[str, Any] | None,
    batch_size: int,
    threads: int,
    device: torch.device,
) -> Iterator[tuple[str, np.ndarray, dict[str, np.ndarray]]]:
    """Of each source the slide id, column and row (n, 2) of its n tiles, and the probabilities (n,) float32 by model.

    With progress. Memory is bounded by a few batches, which are decoded while the models compute, also of the next
    slide: by one thread beside a CPU that computes with its own, and by `threads` beside a GPU, which leaves them idle.
    """
    slides = (_Slide.of(slide_id, source, models_of(slide_id), stain) for slide_id, source in sources)
    # A slide without tiles has one batch, of none.
    parts = ((slide, start) for slide in slides for start in range(0, max(len(slide.positions), 1), batch_size))
    batches = feeding.Ahead(
        lambda part: (*part, part[0].read(part[1], batch_size)), parts, threads=1 if device.type == "cpu" else threads
    )
    started, n_tiles = time.monotonic(), 0
    for number, (slide, of_slide) in enumerate(groupby(batches, key=itemgetter(0)), start=1):
        trained = models_of(slide.slide_id)
        recolouring = Recolouring([tile_sources.normalisation_of(slide.source)]).to(device)
        found = {name: _room(model, len(slide.positions)) for name, model in trained.items()}
        for _, start, pixels in of_slide:
            if len(pixels):
                seen = recolouring(torch.from_numpy(pixels).permute(0, 3, 1, 2).to(device))
                for name, probabilities in _apply(trained, seen).items():
                    found[name][start : start + len(pixels)] = probabilities
        n_tiles += len(slide.positions)
        speed = n_tiles / max(time.monotonic() - started, 1e-9)
        log.info("%d of %d slides, %d tiles, %.0f tiles/s", number, len(sources), n_tiles, speed)
        yield slide.slide_id, slide.coords, found


@torch.inference_mode()
def _apply(trained: Mapping[str, models.TrainedModel], images: torch.Tensor) -> dict[str, np.ndarray]:
    """The probabilities (n,) float32 of tiles (n, 3, px, px) uint8 by each model."""
    batch = models.to_input(images)
    return {name: model.probabilities(batch).cpu().numpy() for name, model in trained.items()}


def _room(model: models.TrainedModel, n_tiles: int) -> np.ndarray:
    """For the probabilities of some tiles."""
    classes = model.description.get("classes")
    return np.empty((n_tiles, len(classes)) if classes else n_tiles, np.float32)


def choose_device(threads: int) -> torch.device:
    """The first of the GPUs that this job sees (see `devices`), or the CPU."""
    torch.set_num_threads(threads)
    found = torch.cuda.is_available()
    log.info("predicting on %s", devices.describe(int(found)))
    return torch.device("cuda" if found else "cpu")


def _load(folder: str | Path, device: torch.device) -> models.TrainedModel:
    model = models.load(folder)
    model.network.to(device)
    return model


def check_fit(
    slide_id: str,
    store: tiles.TileStore,
    descriptions: Mapping[str, Mapping[str, Any]],
    stain: Mapping[str, Any] | None,
) -> None:
    """Raise InputError where models, by name their descriptions, were trained on other tiles or in other colours.

    store: of a slide's tiles; stain: the reference that they are normalised to, or None.
    """
    found = (int(store.attributes["tile_px"]), tiles.asked_mpp(store.attributes))
    for name, description in descriptions.items():
        expected = (description["tile_px"], description["mpp"])
        if found != expected:
            raise InputError(
                f"{slide_id}: its tiles are {found[0]} px at {found[1]} µm/px, and model {name} was trained on "
                f"{expected[0]} px at {expected[1]} µm/px; tile the slide for the model, or use another model"
            )
        # A model that knows of no stain is from before there was any normalisation.
        trained_with = description.get("stain")
        if trained_with != stain:
            raise InputError(
                f"{slide_id}: its stain is normalised to {_stain(stain)}, and model {name} was trained with "
                f"{_stain(trained_with)}; set `stain` as for the model, or use another model"
            )


def _stain(stain: Mapping[str, Any] | None) -> str:
    return f"{stain['method']}, {stain['appearance']}" if stain else "none"
