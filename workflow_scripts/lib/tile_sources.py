"""A slide's tiles as models see them: which tiles of its store, and in which colours."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from workflow_scripts.lib import scores, stains, tiles
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.stains import Normalisation
from workflow_scripts.lib.tile_scores import read_tile_scores


@dataclass(frozen=True)
class TileSource:
    """A tile store; the normalisation of its stain, None for the colours that it has; and a tumour filter, or none.

    The filter is the tumour probability of each tile (`tile_scores`), and the threshold at or above which a tile is
    used.
    """

    store: Path
    normalisation: Path | None = None
    tumour: Path | None = None
    threshold: float | None = None

    @property
    def files(self) -> list[Path]:
        """All files that shape what a model sees."""
        return [path for path in (self.store, self.normalisation, self.tumour) if path is not None]


def list_sources(
    stores: Sequence[str],
    *,
    normalisations: Sequence[str] = (),
    tumour: Sequence[str] = (),
    threshold: float | str | None = None,
) -> list[TileSource]:
    """The sources of some slides from their files, listed in one order; without normalisations or a filter, none.

    threshold: see `read_threshold`.
    """
    for name, listed in (("normalisations", normalisations), ("tumour probabilities", tumour)):
        if len(listed) not in (0, len(stores)):
            raise InputError(f"expected {name} of {len(stores)} slides or of none, found {len(listed)}")
    if tumour and threshold is None:
        raise InputError(f"{tumour[0]}: expected a threshold for the tumour probabilities, found none")
    passing = read_threshold(threshold)
    return [
        TileSource(
            Path(store),
            Path(normalisations[number]) if normalisations else None,
            Path(tumour[number]) if tumour else None,
            passing if tumour else None,
        )
        for number, store in enumerate(stores)
    ]


def list_grouped_sources(
    files: Mapping[str, Sequence[str]], groups: Sequence[str], thresholds: Mapping[str, float | str | None]
) -> list[TileSource]:
    """The sources of slides of several groups, in the order of `groups`, which is the group of each slide.

    files: what `list_sources` takes of each group's slides in this order, as `<group>_stores`, `<group>_stains` and
    `<group>_tumour`; thresholds: of those groups that have a filter.
    """
    of_groups = {
        group: iter(
            list_sources(
                files[f"{group}_stores"],
                normalisations=files.get(f"{group}_stains", []),
                tumour=files.get(f"{group}_tumour", []),
                threshold=thresholds.get(group),
            )
        )
        for group in dict.fromkeys(groups)
    }
    return [next(of_groups[group]) for group in groups]


def read_threshold(given: float | str | None) -> float | None:
    """A threshold that is given as a number, or as the path of the file that `tumour_filters.judge` writes."""
    return json.loads(Path(given).read_text(encoding="utf-8"))["threshold"] if isinstance(given, str) else given


def selected(source: TileSource) -> np.ndarray:
    """The positions in its store, (k,) int64, of the tiles that models see; in order."""
    with tiles.open_store(source.store) as store:
        return np.flatnonzero(passing(source, store))


def places(source: TileSource) -> tuple[np.ndarray, np.ndarray]:
    """Column and row of the tiles that models see, (k, 2), and of those that quality or the filter left out, (m, 2)."""
    with tiles.open_store(source.store) as store:
        seen = passing(source, store)
        return store.coords[seen], np.concatenate([store.coords[~seen], store.dropped.coords])


def normalisation_of(source: TileSource) -> Normalisation | None:
    """How a source's tiles are recoloured; None where they keep their colours."""
    return None if source.normalisation is None else stains.read_normalisation(source.normalisation)


def passing(source: TileSource, store: tiles.TileStore) -> np.ndarray:
    """Which of the tiles of its open store models see: (n,) bool."""
    if source.tumour is None:
        return np.ones(len(store), bool)
    probabilities = read_tile_scores(source.tumour, store.attributes["slide_id"], store.coords)
    return scores.positive(probabilities, threshold=source.threshold)
