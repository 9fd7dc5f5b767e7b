"""An autoencoder applied to the tiles of slides: their latents, and whose they are."""

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from workflow_scripts.lib import autoencoders, inference, models, tile_sources, tiles
from workflow_scripts.lib.latents import SLIDE_COLUMNS, write_latents
from workflow_scripts.lib.training_data import LabelledSlide, SlideTiles

log = logging.getLogger(__name__)


def encode_slides(
    path_to_latents: str | Path,
    slides: Sequence[LabelledSlide],
    groups: Sequence[tuple[str, str]],
    *,
    model_folder: str | Path,
    stain: Mapping[str, Any] | None,
    batch_size: int,
    threads: int,
) -> None:
    """Write the latents of the tiles of slides, or of those that are sampled of each (see `latents`).

    groups: class and domain of each slide, by which they were sampled (`training_data.sample_tiles`). model_folder: of
    an autoencoder; stain: the reference that the slides are normalised to, or None. Slides are written in the order in
    which they are given, tiles in that of their store.

    Raises InputError when the autoencoder was trained on other tiles than a store holds, or in other colours.
    """
    device = inference.choose_device(threads)
    network, description = models.read(model_folder, autoencoders.build)
    network.to(device)
    coords, values = [], []
    started, n_tiles = time.monotonic(), 0
    for number, slide in enumerate(slides, start=1):
        with tiles.open_store(slide.source.store) as store:
            inference.check_fit(slide.slide_id, store, {"autoencoder": description}, stain)
        places, _ = tile_sources.places(slide.source)
        coords.append(places if slide.sampled is None else places[slide.sampled])
        values.append(autoencoders.latents(network, SlideTiles([slide]), batch_size=batch_size))
        n_tiles += len(coords[-1])
        speed = n_tiles / max(time.monotonic() - started, 1e-9)
        log.info("%d of %d slides, %d tiles, %.0f tiles/s", number, len(slides), n_tiles, speed)
    rows = [(slide.slide_id, *group) for slide, group in zip(slides, groups, strict=True)]
    write_latents(path_to_latents, pd.DataFrame(rows, columns=SLIDE_COLUMNS), coords, values)
