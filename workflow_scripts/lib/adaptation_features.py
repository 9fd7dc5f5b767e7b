"""Where the methods of microscope adaptation put patches: their pooled features, laid out in a plane by t-SNE.

Source: microscope adaptation (Zhang et al. 2019), 3.2 and Fig. 3.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from workflow_scripts.lib import divergence, feeding, files, inference, models, tile_sources
from workflow_scripts.lib.adaptation_training import DomainSlide, labelled_parts, load_for
from workflow_scripts.lib.tile_sources import TileSource
from workflow_scripts.lib.training_data import SlideTiles, sample_classes

log = logging.getLogger(__name__)

COLUMNS = ["method", "domain", "class", "slide_id", "col", "row", "x", "y"]


def sampled_patches(
    slides: Sequence[DomainSlide], *, classes: Sequence[str], most: int, seed: int
) -> tuple[list[DomainSlide], pd.DataFrame]:
    """The slides with equally many patches sampled of each class and domain; and these as a table, in their order.

    slides: of `adaptation_training.labelled_parts`. Of each class and domain `most` patches are sampled, or as many as
    the rarest has that has any: those with the lowest hashes of seed, slide, column and row.

    Columns of the table: domain, class, slide_id, col, row.
    """
    domains = list(dict.fromkeys(slide.domain for slide in slides))
    of_both = []
    for slide in slides:
        group = np.full(len(slide.label), -1)
        group[slide.sampled] = slide.label[slide.sampled] + len(classes) * domains.index(slide.domain)
        of_both.append(replace(slide, label=group))
    drawn = sample_classes({"all": of_both}, most=most, seed=seed)["all"]
    sampled = [replace(slide, sampled=of.sampled) for slide, of in zip(slides, drawn, strict=True) if len(of.sampled)]
    tables = [pd.DataFrame(columns=COLUMNS[1:6])]
    for slide in sampled:
        places = tile_sources.places(slide.source)[0][slide.sampled]
        names = [classes[label] for label in slide.label[slide.sampled]]
        described = {"domain": slide.domain, "class": names, "slide_id": slide.slide_id.rpartition("/")[2]}
        tables.append(pd.DataFrame(described | {"col": places[:, 0], "row": places[:, 1]}))
    return sampled, pd.concat(tables[1:] or tables, ignore_index=True)


@torch.inference_mode()
def pooled_features(
    folder: str | Path,
    slides: Sequence[DomainSlide],
    *,
    stain: Mapping[str, Any] | None,
    batch_size: int,
    device: torch.device,
) -> np.ndarray:
    """The pooled features (n, features) float32 of the sampled patches of slides by the model in a folder.

    stain: the reference that sources with a normalisation are normalised to. Paper: 3.2 ("learned features after the
    GAP layer"). Raises InputError where the model was trained on other tiles, or in other colours.
    """
    model = load_for(slides, folder, stain=stain)
    data, network = SlideTiles(slides), model.network.to(device)
    recolouring = data.recolouring.to(device)
    plan = [range(start, min(start + batch_size, len(data))) for start in range(0, len(data), batch_size)]
    found = []
    for images, _, of_slides in feeding.Ahead(data.__getitems__, plan):
        seen = models.to_input(recolouring(images.to(device), of_slides))
        features, _ = models.with_features(network, models.centre_square(seen, model.description.get("crop_px")))
        found.append(features.float().cpu().numpy())
    return np.concatenate(found)


def write_plane(
    path_to_table: str | Path,
    *,
    model_folders: Mapping[str, str | Path],
    slides: Mapping[str, Mapping[str, Sequence[tuple[str, str]]]],
    sources: Mapping[str, Sequence[TileSource]],
    paths_to_labels: Iterable[str | Path],
    slide_labels: Mapping[str, str],
    stain: Mapping[str, Any] | None,
    classes: Sequence[str],
    most: int,
    perplexity: float,
    seed: int,
    batch_size: int,
    threads: int,
) -> None:
    """Write `tsne.tsv`: COLUMNS, of each method a plane of its own of the same patches (`divergence.embed`).

    model_folders: of each shown method. slides: those of the test set, of the parts SOURCE and LABELLED_TARGET; with
    them the labels are as in `adaptation_training.labelled_parts`. sources: of each method those of the slides, in the
    colours that it sees; stain: the reference that normalised ones are normalised to. The rest is as in
    `sampled_patches`. Of few patches the perplexity is a third of their number; fewer than four give no row.

    Raises InputError as `labelled_parts` and `pooled_features` do.
    """
    device = inference.choose_device(threads)
    first, *_ = sources.values()
    parts = labelled_parts(slides, first, paths_to_labels, slide_labels, classes=classes)
    tested = [slide for of_sets in parts.values() for of_set in of_sets.values() for slide in of_set]
    sampled, patches = sampled_patches(tested, classes=classes, most=most, seed=seed)
    places = [slide.slide_id for slide in tested]
    planes = [pd.DataFrame(columns=COLUMNS)]
    for method, folder in model_folders.items() if len(patches) > 3 else ():
        source_of = dict(zip(places, sources[method], strict=True))
        seen = [replace(slide, source=source_of[slide.slide_id]) for slide in sampled]
        features = pooled_features(folder, seen, stain=stain, batch_size=batch_size, device=device)
        x, y = divergence.embed(features, perplexity=min(perplexity, len(patches) / 3), seed=seed).T
        planes.append(patches.assign(method=method, x=x, y=y)[COLUMNS])
        log.info("%s: t-SNE of %d patches", method, len(patches))
    files.write_table(pd.concat(planes[1:] or planes), path_to_table)
