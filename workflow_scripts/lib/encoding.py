"""An autoencoder applied to the tiles of slides: their latents, and whose they are."""

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from workflow_scripts.lib import autoencoders, inference, models, tile_sources, tiles
from workflow_scripts.lib.latents import SLIDE_COLUMNS, write_latents
from workflow_scripts.lib.training_data import LabelledSlide, SlideTiles, sample_tiles

log = logging.getLogger(__name__)


def sample_slides(
    files: Mapping[str, Sequence[str]],
    *,
    slides: Sequence[Mapping[str, str]],
    thresholds: Mapping[str, float | str | None],
    classes: Sequence[str],
    tiles_per_class: int,
    seed: int,
) -> tuple[list[LabelledSlide], pd.DataFrame]:
    """Slides of the study of metastatic origin with tiles sampled of each; and the same as a table, a row each.

    slides: slide_id, class, domain and set of each, and its group, by which `tile_sources.list_grouped_sources` finds
    its files; thresholds: as there. classes: all of them, also the control. Of each class `tiles_per_class` tiles are
    sampled, half of primaries and half of metastases, evenly over the slides (`training_data.sample_tiles`). A slide's
    label is the place of its class. Paper: metastatic origin, 3.2, which does not say how many are of which domain.
    """
    table = pd.DataFrame(slides)
    sources = tile_sources.list_grouped_sources(files, table["group"], thresholds)
    labels = [list(classes).index(name) for name in table["class"]]
    of_study = list(map(LabelledSlide, table["slide_id"], sources, labels))
    groups = list(zip(table["class"], table["domain"], strict=True))
    return sample_tiles(of_study, groups, most=tiles_per_class // 2, seed=seed), table


def encode_slides(
    path_to_latents: str | Path,
    slides: Sequence[LabelledSlide],
    described: pd.DataFrame,
    *,
    model_folder: str | Path,
    stain: Mapping[str, Any] | None,
    batch_size: int,
    threads: int,
) -> None:
    """Write the latents of the tiles of slides, or of those that are sampled of each (see `latents`).

    described: slide_id, class and domain of each slide, a row each. model_folder: of an autoencoder; stain: the
    reference that the slides are normalised to, or None. Slides are written in the order in which they are given, tiles
    in that of their store.

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
    write_latents(path_to_latents, described[SLIDE_COLUMNS], coords, values)
