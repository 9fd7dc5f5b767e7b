"""What a tumour filter learns from: annotated slides with a label for each tile, and the tiles that are drawn."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from workflow_scripts.lib import tile_sources, tumour_filters
from workflow_scripts.lib.tile_sources import TileSource
from workflow_scripts.lib.training_data import LabelledSlide, sample_classes


def labelled_slides(
    places: Mapping[str, Sequence[tuple[str, str]]],
    sources: Iterable[TileSource],
    paths_to_labels: Iterable[str | Path],
    *,
    label: str,
    tiles_per_class: int | None,
    seed: int,
    name: str,
) -> dict[str, list[LabelledSlide]]:
    """What filter `name` learns from: the slides of each set whose annotations were read, with a label for each tile.

    places: the annotated slides of each set, as (cohort, slide); sources and paths (`tumour_filters.annotated_tiles`)
    are in the same order, set by set. tiles_per_class: see `sample_classes`; None for all tiles. The seed of the sample
    is the study's, so that filters that learn from the same slides see the same tiles.

    Raises InputError as `tumour_filters.check_labels` does.
    """
    sources, paths = iter(sources), iter(paths_to_labels)
    slides: dict[str, list[LabelledSlide]] = {}
    for set_name, of_set in places.items():
        slides[set_name] = []
        for cohort, slide in of_set:
            source = next(sources)
            annotated = tumour_filters.annotated_tiles(next(paths), label=label)
            if len(annotated):
                coords, _ = tile_sources.places(source)
                slides[set_name].append(
                    LabelledSlide(f"{cohort}/{slide}", source, tumour_filters.labels_of(annotated, coords))
                )
    tumour_filters.check_labels({set_name: [slide.label for slide in of] for set_name, of in slides.items()}, name=name)
    return slides if tiles_per_class is None else sample_classes(slides, most=tiles_per_class, seed=seed)
