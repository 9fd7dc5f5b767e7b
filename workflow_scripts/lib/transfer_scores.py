"""How well detectors of tumour that began otherwise do on held-out slides: AUC by tile and by pixel, paired tests.

A regime is where a detector's weights come from before it learns on the target. All are judged on the same held-out
slides of the target, and stand in the order of `regimes.tsv`; one that is not available on this machine is listed there
with the reason, and has rows without values. `overall` is of all slides' tiles, or pixels, together, which is not the
mean over slides. Source: cross-cancer transfer, 3.2, 4 and Table 1.
"""

import logging
from collections.abc import Hashable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from workflow_scripts.lib import evaluation, files, probability_maps, tile_classification, tumour_filters
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.evaluation import Pairs
from workflow_scripts.lib.probability_maps import PixelCounts

log = logging.getLogger(__name__)

TILE, PIXEL = "tile", "pixel"
# What stands in place of a slide for all slides together.
OVERALL = "overall"


class Level(NamedTuple):
    """What regimes say of the tiles, or the pixels, of s held-out slides.

    level: `tile` or `pixel`; slides: their ids; tumour, others: (s,) how many of each slide are tumour and are not;
    pairs: by regime, of a tumour tile and another, by slide; curves: by regime, the pooled ROC curve's fpr and tpr. In
    place of a regime stands one with its number of slides where that is what differs.
    """

    level: str
    slides: tuple[str, ...]
    tumour: np.ndarray
    others: np.ndarray
    pairs: Mapping[Hashable, Pairs]
    curves: Mapping[Hashable, pd.DataFrame]

    def judged(self) -> np.ndarray:
        """Which slides have any tile or pixel, (s,) bool."""
        return self.tumour + self.others > 0

    def tells_spread(self) -> bool:
        """Whether slides differ both in their tumour and in their other tissue, as far as one can see."""
        return min((of > 0).sum() for of in (self.tumour, self.others)) > 1


class Aucs(NamedTuple):
    """The AUCs of a regime: of each slide (s,), of all together, and of all together in each resample (resamples,)."""

    of_slides: np.ndarray
    overall: float
    resampled: np.ndarray


def write_tables(
    paths: Mapping[str, str | Path],
    *,
    path_to_regimes: str | Path,
    paths_to_tiles: Mapping[str, str | Path],
    paths_to_pixels: Mapping[str, str | Path],
    resamples: int,
    seed: int,
) -> None:
    """Write the tables of Table 1; paths: where each goes, by the names of `tables`, all of them.

    The rest is as in `read_levels` and `tables`, and raises as they do.
    """
    notes = read_regimes(path_to_regimes)
    levels = read_levels(notes, paths_to_tiles, paths_to_pixels)
    log.info("%d regimes, %d held-out slides", len(levels[0].pairs), len(levels[0].slides))
    for name, table in tables(levels, notes, resamples=resamples, seed=seed).items():
        files.write_table(table, paths[name])


def tables(levels: Sequence[Level], notes: Mapping[str, str], *, resamples: int, seed: int) -> dict[str, pd.DataFrame]:
    """All tables by name: table1, tests and roc, of the functions below; notes: as `read_regimes` gives them."""
    found = [aucs(level, resamples=resamples, seed=seed) for level in levels]
    return {
        "table1": table1(levels, found, notes),
        "tests": tests_table(levels, found, notes),
        "roc": roc_table(levels),
    }


# What is read


def read_regimes(path: str | Path) -> dict[str, str]:
    """The regimes of `regimes.tsv` in order, each with why it is not available; '' for one that is.

    Raises InputError where none is available.
    """
    table = files.read_table(path, text=["regime", "note"])
    notes = dict(zip(table["regime"], table["note"], strict=True))
    if all(notes.values()):
        raise InputError(
            f"{path}: expected a regime that is available, found none of {', '.join(notes) or 'no regime'}"
        )
    return notes


def read_levels(
    notes: Mapping[str, str], paths_to_tiles: Mapping[str, str | Path], paths_to_pixels: Mapping[str, str | Path]
) -> list[Level]:
    """Both levels, `tile` and `pixel`, of the regimes that are available.

    Of each such regime: the file of its tiles (`annotated/test.tsv` of its filter) and that of its counts of pixels.
    Raises InputError where a regime has none, or where regimes were not judged on the same tiles and pixels.
    """
    regimes = [regime for regime, note in notes.items() if not note]
    for what, paths in (("tiles", paths_to_tiles), ("pixels", paths_to_pixels)):
        absent = [regime for regime in regimes if regime not in paths]
        if absent:
            raise InputError(f"expected {what} of the regimes {', '.join(regimes)}, found none of {absent[0]}")
    counts = {regime: probability_maps.read_counts(paths_to_pixels[regime]) for regime in regimes}
    _check_same_pixels(counts, paths_to_pixels)
    tiles = _read_tiles({regime: paths_to_tiles[regime] for regime in regimes})
    slides = counts[regimes[0]].slides
    strange = sorted(set(tiles.described["slide_id"]) - set(slides))
    if strange:
        raise InputError(
            f"{paths_to_pixels[regimes[0]]}: expected pixels of {strange[0]}, of which there are tiles, found none; "
            "delete the file and run again"
        )
    return [tile_level(tiles, slides), pixel_level(counts)]


class Tiles(NamedTuple):
    """The n annotated tiles of held-out slides: slide_id, patient_id, col, row, label; and probabilities (n,) float32.

    The probabilities are by regime, or as the pairs of a `Level`.
    """

    described: pd.DataFrame
    probabilities: Mapping[Hashable, np.ndarray]


def _read_tiles(paths: Mapping[Hashable, str | Path]) -> Tiles:
    """Read `tumour_filters.judged_tiles`. Raises InputError where they are not of the same tiles and labels."""
    columns = ["slide_id", "patient_id", "col", "row", "label"]
    described, probabilities = pd.DataFrame(columns=columns), {}
    for key, path in paths.items():
        table = tumour_filters.read_judged_tiles([path]).reset_index(drop=True)
        if not probabilities:
            described = table[columns]
        elif not table[columns].equals(described):
            raise InputError(
                f"{path}: expected the {len(described)} tiles of {next(iter(paths.values()))} and their labels, found "
                f"{len(table)} that are not the same; regimes are compared on one cohort's held-out slides"
            )
        probabilities[key] = table["probability"].to_numpy(np.float32)
    return Tiles(described, probabilities)


def _check_same_pixels(counts: Mapping[str, PixelCounts], paths: Mapping[str, str | Path]) -> None:
    regimes = list(counts)
    first = counts[regimes[0]]
    for regime, other in counts.items():
        alike = [(of.slides, of.mpp, of.interpolation, of.domain) for of in (first, other)]
        if alike[0] != alike[1] or (first.counts.sum(axis=2) != other.counts.sum(axis=2)).any():
            raise InputError(
                f"{paths[regime]}: expected the pixels of {paths[regimes[0]]}, found others, or of other maps; delete "
                "both and run again"
            )


def tile_level(tiles: Tiles, slides: Sequence[str]) -> Level:
    """The level `tile` of the tiles of these slides."""
    places = {slide: number for number, slide in enumerate(slides)}
    groups = tiles.described["slide_id"].map(places).to_numpy(int)
    labels = tiles.described["label"].to_numpy(int)
    tumour, others = (np.bincount(groups[labels == label], minlength=len(slides)) for label in (1, 0))
    pairs, curves = {}, {}
    for key, probabilities in tiles.probabilities.items():
        pairs[key] = evaluation.pairs_of(labels, probabilities, groups)
        curves[key] = tile_classification.roc(labels, probabilities)[["fpr", "tpr"]]
    return Level(TILE, tuple(slides), tumour, others, pairs, curves)


def pixel_level(counts: Mapping[str, PixelCounts]) -> Level:
    """The level `pixel` of the counts by regime, which are of the same pixels."""
    first = next(iter(counts.values()))
    others, tumour = first.counts.sum(axis=2).T
    pairs = {regime: probability_maps.pairs_of_counts(of.counts) for regime, of in counts.items()}
    curves = {
        regime: pd.DataFrame(probability_maps.curve_of_counts(of.counts), columns=["tpr", "fpr"])[["fpr", "tpr"]]
        for regime, of in counts.items()
    }
    return Level(PIXEL, first.slides, tumour, others, pairs, curves)


# AUCs and tests


def aucs(level: Level, *, resamples: int, seed: int) -> dict[Hashable, Aucs]:
    """The AUCs of a level by regime, NaN where a class is missing, as they are and in resamples of slides.

    A slide of one class has no AUC, and counts in the others' pairs. One drawn twice brings its tiles or pixels twice;
    one without any is not drawn. The resamples are those of `seed`, the same for all regimes.
    """
    slides, judged = len(level.slides), level.judged()
    drawn = evaluation.draw_patients(np.asarray(level.slides)[judged], resamples=resamples, seed=seed)
    times = np.zeros((slides + 1 + resamples, slides), np.int32)
    # Each slide alone, then all once, then the resamples.
    times[:slides] = np.eye(slides)
    times[slides] = 1
    times[slides + 1 :, judged] = drawn.times[:, drawn.patient_of]
    found = {}
    for regime, pairs in level.pairs.items():
        values = evaluation.auc_of_pairs(pairs, times)
        found[regime] = Aucs(values[:slides], float(values[slides]), values[slides + 1 :])
    return found


def table1(levels: Sequence[Level], found: Sequence[Mapping[str, Aucs]], notes: Mapping[str, str]) -> pd.DataFrame:
    """The table `table1.tsv`: regime, level, slide, auc, low, high, n, positives, note. (Paper: Table 1.)

    A row for each slide, and then one for `overall`, which alone has an interval: of 95 %, over resamples of slides. n:
    tiles or pixels; positives: those of tumour; both are the slides', and the same in all regimes.
    """
    rows = []
    for regime, why in notes.items():
        for level, of_regimes in zip(levels, found, strict=True):
            of_all = (OVERALL, level.tumour.sum(), level.others.sum())
            of_each = [*zip(level.slides, level.tumour, level.others, strict=True), of_all]
            of_regime = of_regimes.get(regime)
            values = [np.nan] * len(of_each) if of_regime is None else [*of_regime.of_slides, of_regime.overall]
            for (slide, tumour, others), value in zip(of_each, values, strict=True):
                low = high = np.nan
                note = why or _missing(level, tumour, others)
                if slide == OVERALL and of_regime is not None and not note:
                    low, high, note = _overall_interval(level, of_regime)
                rows.append((regime, level.level, slide, value, low, high, tumour + others, tumour, note))
    columns = ["regime", "level", "slide", "auc", "low", "high", "n", "positives", "note"]
    return pd.DataFrame(rows, columns=columns)


def _missing(level: Level, tumour: int, others: int) -> str:
    if tumour + others == 0:
        return f"no {level.level}"
    return "" if tumour and others else f"no {level.level} of {'other tissue' if tumour else 'tumour'}"


def _overall_interval(level: Level, of_regime: Aucs) -> tuple[float, float, str]:
    if not level.tells_spread():
        return np.nan, np.nan, "no interval: all tumour, or all other tissue, is on one slide"
    spread = evaluation.interval(of_regime.resampled)
    left_out = f"{spread.one_class} of {len(of_regime.resampled)} resamples have one class and are left out"
    return spread.low, spread.high, left_out if spread.one_class else ""


def tests_table(levels: Sequence[Level], found: Sequence[Mapping[str, Aucs]], notes: Mapping[str, str]) -> pd.DataFrame:
    """The table `tests.tsv`: is the overall AUC of one regime higher than another's, for every level and two regimes.

    Columns: level, first, second; difference: of first minus second, so that above 0 the first is better; low, high:
    its 95 % percentile interval; p (`evaluation.paired_test`); p_adjusted: Holm's, over all rows that have a p; slides
    that were resampled; resamples that have both AUCs; note.

    Both regimes are judged on the same resamples of slides. With few of them a bootstrap is too sure, and the note says
    how low p can be at all, beside the least p of an exact test of as many slides' signs. It is of these detectors on
    other slides like those held out; how much detectors differ that learn anew, repeats over seeds must say.
    """
    rows = []
    for level, of_regimes in zip(levels, found, strict=True):
        slides = int(level.judged().sum())
        for first, second in combinations(notes, 2):
            said = [f"{regime}: {notes[regime]}" for regime in (first, second) if notes[regime]]
            if said:
                rows.append((level.level, first, second, *[np.nan] * 4, slides, 0, "; ".join(said)))
                continue
            one, other = of_regimes[first], of_regimes[second]
            low, high, p, used, is_least = evaluation.paired_test(one.resampled, other.resampled)
            if not level.tells_spread():
                low = high = p = np.nan
                said.append("no interval: all tumour, or all other tissue, is on one slide")
            else:
                said += [evaluation.LEAST_P] if is_least else []
                said += _few_slides(slides, used)
            difference = one.overall - other.overall
            rows.append((level.level, first, second, difference, low, high, p, slides, used, "; ".join(said)))
    columns = ["level", "first", "second", "difference", "low", "high", "p", "slides", "resamples", "note"]
    table = pd.DataFrame(rows, columns=columns)
    table.insert(7, "p_adjusted", evaluation.holm(table["p"].to_numpy(float)))
    return table


def _few_slides(slides: int, resamples: int) -> list[str]:
    """What the note says where an exact test could not give as low a p as the resamples can."""
    by_resamples, by_signs = 2 / (resamples + 1), 2.0 ** (1 - slides)
    if by_signs <= by_resamples:
        return []
    return [
        f"few slides: p can be as low as {by_resamples:.2g} here, and {by_signs:.2g} by the signs of {slides} slides"
    ]


def roc_table(levels: Sequence[Level]) -> pd.DataFrame:
    """The table `roc.tsv`: regime, level, fpr, tpr, of all slides together.

    A curve goes from (0, 0) to (1, 1) in at most `tile_classification.MOST_POINTS` points. No row for a regime that is
    not available, nor where a class is missing.
    """
    regimes = list(levels[0].curves)
    curves = [level.curves[regime].assign(regime=regime, level=level.level) for regime in regimes for level in levels]
    return pd.concat(curves, ignore_index=True)[["regime", "level", "fpr", "tpr"]]


# Gain


def gain_table(
    paths: Mapping[tuple[str, int], str | Path], *, path_to_regimes: str | Path, resamples: int, seed: int
) -> pd.DataFrame:
    """The table `gain.tsv`: how the overall AUC of tiles changes with the number of the target's slides learnt from.

    paths: by regime and number of slides, `annotated/test.tsv` of the filter that learnt from so many. Columns: regime,
    slides; auc, low, high; difference, difference_low, difference_high: to the first regime with as many slides, on the
    same resamples of held-out slides, and missing for that itself; note. Intervals are of 95 %. By regime, in the order
    of `regimes.tsv`, and number; a regime that is not available has a row for each number. Beyond the paper.

    Raises InputError where not all are of the same held-out tiles.
    """
    notes = read_regimes(path_to_regimes)
    tiles = _read_tiles({key: path for key, path in paths.items() if notes.get(key[0]) == ""})
    level = tile_level(tiles, list(dict.fromkeys(tiles.described["slide_id"])))
    found = aucs(level, resamples=resamples, seed=seed)
    rows = []
    for regime, why in notes.items():
        for number in sorted({number for _, number in paths}):
            if why:
                rows.append((regime, number, *[np.nan] * 6, why))
            elif (regime, number) in found:
                of_number = {name: found[name, number] for name in notes if (name, number) in found}
                rows.append((regime, number, *_gain(level, of_number, regime)))
    columns = ["regime", "slides", "auc", "low", "high", "difference", "difference_low", "difference_high", "note"]
    return pd.DataFrame(rows, columns=columns)


def _gain(level: Level, found: Mapping[str, Aucs], regime: str) -> tuple[object, ...]:
    """The columns of `gain_table` from auc on; found: of the regimes with as many slides, in order."""
    of_regime, first = found[regime], next(iter(found))
    note = _missing(level, int(level.tumour.sum()), int(level.others.sum()))
    low, high, said = (np.nan, np.nan, note) if note else _overall_interval(level, of_regime)
    difference = difference_low = difference_high = np.nan
    if regime != first:
        difference = of_regime.overall - found[first].overall
        if level.tells_spread():
            difference_low, difference_high, *_ = evaluation.paired_test(of_regime.resampled, found[first].resampled)
    return of_regime.overall, low, high, difference, difference_low, difference_high, said
