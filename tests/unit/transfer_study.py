"""Made-up results of the cross-cancer transfer study, with the tables' columns."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from workflow_scripts.lib.scores import auc

LEVELS = ("tile", "pixel")
REGIMES = ("random", "imagenet", "cross_cancer")
SIX = (*REGIMES, "imagenet_then_cross_cancer", "unrelated_source", "cross_cancer_at_one_common_resolution")
NOTE = "no ImageNet weights of inception_v3 here; put them into torch's cache, or name their file"


class Study:
    """Tables of held-out slides; each regime tells tumour better than the one before it. `missing` ones have none."""

    def __init__(
        self,
        regimes: Sequence[str] = REGIMES,
        *,
        slides: int = 6,
        tiles: int = 400,
        missing: Sequence[str] = (),
        seed: int = 0,
    ) -> None:
        draw = np.random.default_rng(seed)
        self.names, self.missing = list(regimes), list(missing)
        self.slides = [f"PCA-{number:03d}" for number in range(1, slides + 1)]
        self.slide_of = np.repeat(np.arange(slides), tiles)
        self.labels = (draw.random(slides * tiles) < draw.uniform(0.05, 0.4, slides)[self.slide_of]).astype(int)
        hard = draw.normal(0, 0.3, slides)[self.slide_of]
        self.scores = {
            regime: draw.normal(0, 1, len(self.labels)) + (1.5 + 0.2 * place + hard) * self.labels
            for place, regime in enumerate(regimes)
        }

    @property
    def available(self) -> list[str]:
        return [name for name in self.names if name not in self.missing]

    def regimes(self) -> pd.DataFrame:
        return pd.DataFrame({"regime": self.names, "note": [NOTE if n in self.missing else "" for n in self.names]})

    def table1(self) -> pd.DataFrame:
        rows = []
        for regime in self.names:
            for level in LEVELS:
                for place, slide in enumerate([*self.slides, "overall"]):
                    of = self.slide_of == place if slide != "overall" else np.full(len(self.labels), True)
                    n, positives = int(of.sum()), int(self.labels[of].sum())
                    value, note = np.nan, NOTE
                    if regime not in self.missing:
                        value, note = auc(self.labels[of], self.scores[regime][of]) + 0.005 * (level == "pixel"), ""
                    interval = (value - 0.031, value + 0.027) if slide == "overall" else (np.nan, np.nan)
                    rows.append((regime, level, slide, value, *interval, n, positives, note))
        columns = ["regime", "level", "slide", "auc", "low", "high", "n", "positives", "note"]
        return pd.DataFrame(rows, columns=columns)

    def tests(self) -> pd.DataFrame:
        overall = self.table1().query("slide == 'overall'").set_index(["regime", "level"])["auc"]
        rows = []
        for level in LEVELS:
            for second, first in combinations(self.names, 2):
                difference = overall[first, level] - overall[second, level]
                known = np.isfinite(difference)
                spread = (difference - 0.02, difference + 0.02, 0.012, 0.036) if known else (np.nan,) * 4
                note = "" if known else NOTE
                rows.append((level, first, second, difference, *spread, len(self.slides), 2000 if known else 0, note))
        columns = ["level", "first", "second", "difference", "low", "high", "p", "p_adjusted", "slides", "resamples"]
        return pd.DataFrame(rows, columns=[*columns, "note"])

    def roc(self) -> pd.DataFrame:
        frames = [pd.DataFrame({"regime": [], "level": [], "fpr": [], "tpr": []})]
        for regime in self.available:
            labels = self.labels[np.argsort(-self.scores[regime], kind="stable")]
            rates = {"fpr": np.cumsum(1 - labels) / (1 - labels).sum(), "tpr": np.cumsum(labels) / labels.sum()}
            kept = np.unique(np.linspace(0, len(labels) - 1, 300).astype(int))
            for level in LEVELS:
                frames.append(pd.DataFrame({"regime": regime, "level": level} | rates).iloc[kept])
        return pd.concat(frames, ignore_index=True)

    def curves(self, *, epochs: int = 12) -> dict[str, pd.DataFrame]:
        draw = np.random.default_rng(1)
        found = {}
        for place, regime in enumerate(self.available):
            epoch = np.arange(1, epochs + 1)
            validation = 0.3 + 0.5 * np.exp(-epoch / (3 - 0.4 * place)) + 0.006 * epoch + draw.normal(0, 0.01, epochs)
            found[regime] = pd.DataFrame(
                {
                    "evaluation": epoch,
                    "step": epoch * 100,
                    "epoch": epoch.astype(float),
                    "learning_rate": 1e-4,
                    "train_loss": 0.65 * np.exp(-epoch / 4),
                    "validation_loss": validation,
                    "validation_tile_auc": 0.94 - 0.3 * np.exp(-epoch / 2) + 0.01 * place,
                    "validation_slide_auc": np.nan,
                    "chosen": (np.arange(epochs) == validation.argmin()).astype(int),
                }
            )
        return found

    def gain(self, numbers: Sequence[int] = (2, 4, 8, 16)) -> pd.DataFrame:
        rows = []
        for place, regime in enumerate(self.names):
            for number in numbers:
                value = 0.93 - 0.3 / number + 0.06 * place / number
                difference = 0.06 * place / number
                note = ""
                if regime in self.missing:
                    value, difference, note = np.nan, np.nan, NOTE
                difference = difference if place else np.nan
                bounds = (value - 0.05, value + 0.03)
                rows.append((regime, number, value, *bounds, difference, difference - 0.03, difference + 0.02, note))
        columns = ["regime", "slides", "auc", "low", "high", "difference", "difference_low", "difference_high", "note"]
        return pd.DataFrame(rows, columns=columns)


def cohort(*, target: str = "prostate", sources: Sequence[str] = ("breast",), seed: int = 0) -> pd.DataFrame:
    """The table `cohort.tsv`: 28 slides of the target, of which six are held out, and as many of each source."""
    draw = np.random.default_rng(seed)
    rows = []
    for name in (target, *sources):
        for number in range(28):
            held_out = "test" if name == target and number >= 22 else "validation" if number % 5 == 0 else "train"
            share, tiles = draw.uniform(0.007, 0.29), int(draw.integers(20_000, 90_000))
            image = 900.0
            rows.append(
                (name, f"{name}-{number:03d}", f"P{number:03d}", held_out, int(draw.integers(4, 209)), share * image,
                 tiles * 0.00317, share, tiles, int(tiles * share * 2))
            )  # fmt: skip
    columns = ["cohort", "slide_id", "patient_id", "set", "polygons", "tumour_mm2", "tissue_mm2", "tumour_of_image"]
    return pd.DataFrame(rows, columns=[*columns, "tiles", "tumour_tiles"])
