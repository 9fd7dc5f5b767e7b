"""Made-up results of the metastatic origin study, with the tables' columns."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from workflow_scripts.lib.divergence import READINGS
from workflow_scripts.lib.domains import METASTATIC, PRIMARY
from workflow_scripts.lib.origin_scores import MACRO
from workflow_scripts.lib.scores import auc

CLASSES = (
    "adrenal_cortical_carcinoma",
    "breast_carcinoma",
    "cholangiocarcinoma",
    "colonic_adenocarcinoma",
    "cystadenocarcinoma",
    "gastrointestinal_stromal_tumor",
    "kidney_carcinoma",
    "leiomyosarcoma",
    "lung_adenocarcinoma",
    "melanoma",
    "neuroendocrine_carcinoma",
    "pancreatic_adenocarcinoma",
    "sarcoma",
    "squamous_carcinoma",
)
CONTROL = "normal_liver"
REGIMES = ("primary", "metastatic", "transfer")


class Study:
    """Tables of held-out slides, `slides` of the first class and fewer of each next one, at least one.

    A class among `without` has no slide.
    """

    def __init__(
        self,
        classes: Sequence[str] = CLASSES,
        regimes: Sequence[str] = REGIMES,
        *,
        slides: int = 12,
        tiles: int = 40,
        without: Sequence[str] = (),
        seed: int = 0,
    ) -> None:
        draw = np.random.default_rng(seed)
        numbers = [0 if name in without else max(1, slides - place) for place, name in enumerate(classes)]
        self.classes, self.regimes = list(classes), list(regimes)
        self.truth = np.repeat(np.arange(len(classes)), numbers)
        self.slide_ids = [f"S{number:03d}" for number in range(len(self.truth))]
        # tiles x slides x classes, by regime: what is true is likelier, and some slides are hard.
        easy = draw.normal(1.3, 1.1, len(self.truth))
        self.tiles = {
            regime: self._probabilities(draw, easy * (0.5 + 0.25 * place), tiles)
            for place, regime in enumerate(regimes)
        }
        self.slides = {regime: found.mean(axis=0) for regime, found in self.tiles.items()}

    def _probabilities(self, draw: np.random.Generator, easy: np.ndarray, tiles: int) -> np.ndarray:
        logits = draw.normal(0, 1, (tiles, len(self.truth), len(self.classes))) + draw.normal(
            0, 1, (len(self.truth), len(self.classes))
        )
        logits[:, np.arange(len(self.truth)), self.truth] += 2 * easy
        weights = np.exp(logits)
        return weights / weights.sum(axis=2, keepdims=True)

    def levels(self, regime: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        tiles = self.tiles[regime]
        truth = np.tile(self.truth, len(tiles))
        return {
            "tile": (truth, tiles.reshape(-1, len(self.classes))),
            "slide": (self.truth, self.slides[regime]),
        }

    def auroc(self) -> pd.DataFrame:
        rows = []
        for regime in self.regimes:
            for level, (truth, found) in self.levels(regime).items():
                values = []
                for place, name in enumerate(self.classes):
                    positives = int((truth == place).sum())
                    value = auc(truth == place, found[:, place]) if 0 < positives < len(truth) else np.nan
                    note = "" if np.isfinite(value) else f"{positives} of {len(truth)} are of the class"
                    values.append(value)
                    low, high = value - 0.11, min(1, value + 0.09)
                    rows.append((regime, name, level, value, low, high, len(truth), positives, note))
                mean = np.nanmean(values) if np.isfinite(values).any() else np.nan
                rows.append((regime, MACRO, level, mean, mean - 0.04, mean + 0.04, len(truth), len(truth), ""))
        columns = ["regime", "class", "level", "auroc", "low", "high", "n", "positives", "note"]
        return pd.DataFrame(rows, columns=columns)

    def roc(self) -> pd.DataFrame:
        frames = []
        for regime in self.regimes:
            for level, (truth, found) in self.levels(regime).items():
                for place, name in enumerate(self.classes):
                    is_one = (truth == place)[np.argsort(-found[:, place], kind="stable")]
                    if not 0 < is_one.sum() < len(is_one):
                        continue
                    rates = [np.append(0, side.cumsum() / side.sum()) for side in (~is_one, is_one)]
                    kept = np.unique(np.linspace(0, len(is_one), 200).astype(int))
                    curve = {"fpr": rates[0][kept], "tpr": rates[1][kept]}
                    frames.append(pd.DataFrame({"regime": regime, "class": name, "level": level} | curve))
        return pd.concat(frames) if frames else pd.DataFrame(columns=["regime", "class", "level", "fpr", "tpr"])

    def tests(self) -> pd.DataFrame:
        means = self.auroc()[lambda table: table["class"] == MACRO].set_index(["level", "regime"])["auroc"]
        rows = []
        for level in ("tile", "slide"):
            for place, first in enumerate(self.regimes):
                for second in self.regimes[place + 1 :]:
                    gain = means[level, first] - means[level, second]
                    interval = (gain - 0.05, gain + 0.05)
                    rows.append((level, first, second, gain, *interval, 0.03, 0.09, len(self.truth), 2000, ""))
        columns = ["level", "first", "second", "difference", "low", "high", "p", "p_adjusted", "patients"]
        return pd.DataFrame(rows, columns=[*columns, "resamples", "note"])

    def confusion(self) -> pd.DataFrame:
        rows = []
        for regime in self.regimes:
            for level, (truth, found) in self.levels(regime).items():
                said = found.argmax(axis=1)
                for place, name in enumerate(self.classes):
                    of_class = said[truth == place]
                    for other, predicted in enumerate(self.classes):
                        number = int((of_class == other).sum())
                        share = number / len(of_class) if len(of_class) else np.nan
                        rows.append((regime, level, name, predicted, number, share))
        return pd.DataFrame(rows, columns=["regime", "level", "class", "predicted", "n", "share"])

    def ranks(self) -> pd.DataFrame:
        rows = []
        for regime, found in self.slides.items():
            for slide_id, truth, row in zip(self.slide_ids, self.truth, found, strict=True):
                rank = int((row >= row[truth]).sum())
                rows.append((regime, slide_id, self.classes[truth], rank, row[truth]))
        return pd.DataFrame(rows, columns=["regime", "slide_id", "class", "rank", "confidence"])

    def top_k(self) -> pd.DataFrame:
        rows = []
        for regime, of_regime in self.ranks().groupby("regime", sort=False):
            for k in range(1, len(self.classes) + 1):
                share = (of_regime["rank"] <= k).mean()
                rows.append((regime, k, share, max(0, share - 0.1), min(1, share + 0.08), len(of_regime)))
        return pd.DataFrame(rows, columns=["regime", "k", "share", "low", "high", "n"])

    def slide_predictions(self) -> pd.DataFrame:
        frames = []
        for regime, found in self.slides.items():
            frame = pd.DataFrame({"regime": regime, "slide_id": self.slide_ids})
            frame["patient_id"] = [f"P{slide[1:]}" for slide in self.slide_ids]
            frame["class"] = [self.classes[truth] for truth in self.truth]
            frame["tiles"] = len(self.tiles[regime])
            frames.append(pd.concat([frame, pd.DataFrame(found, columns=self.classes)], axis=1))
        return pd.concat(frames, ignore_index=True)


def data_table(classes: Sequence[str] = (*CLASSES, CONTROL), *, seed: int = 0) -> pd.DataFrame:
    """Slides, patients and tiles of each class and domain, imbalanced as the paper's are."""
    draw = np.random.default_rng(seed)
    rows = []
    for place, name in enumerate(classes):
        slides = max(3, 80 - 9 * place)
        for domain in (PRIMARY, METASTATIC):
            rows.append((name, domain, slides, slides - 1, int(slides * draw.integers(300, 3000)), 0))
    return pd.DataFrame(rows, columns=["class", "domain", "slides", "patients", "tiles", "without_tiles"])


def plane(classes: Sequence[str] = (*CLASSES, CONTROL), *, tiles: int = 300, seed: int = 0) -> pd.DataFrame:
    """Tiles in a plane: in two clusters a class, of which metastases lie apart from their primary tumours."""
    draw = np.random.default_rng(seed)
    frames = []
    for place, name in enumerate(classes):
        centres = draw.normal(0, 30, (2, 2))
        for domain in (PRIMARY, METASTATIC):
            shift = 0 if name == CONTROL or domain == PRIMARY else draw.normal(0, 4 + 2 * place, 2)
            points = draw.normal(0, 6, (tiles, 2)) + centres[draw.integers(0, 2, tiles)] + shift
            frame = {"slide_id": "S", "class": name, "domain": domain, "x": points[:, 0], "y": points[:, 1]}
            frames.append(pd.DataFrame(frame))
    return pd.concat(frames, ignore_index=True)


def divergences(classes: Sequence[str] = (*CLASSES, CONTROL), *, features: int = 64, seed: int = 0) -> pd.DataFrame:
    """Divergences of latent features: the control's least, others' more from class to class."""
    draw = np.random.default_rng(seed)
    frames = []
    for reading, comparisons in READINGS.items():
        for comparison in comparisons:
            for place, name in enumerate(sorted(classes)):
                several = comparison.startswith("other")
                others = [other for other in sorted(classes) if other != name] if several else [""]
                scale = 0.004 if (name, comparison) == (CONTROL, "counterpart") else 0.08 + 0.03 * place
                for other in others:
                    kl = scale * (1 + several) * draw.lognormal(0, 1, features)
                    frame = {"reading": reading, "comparison": comparison, "class": name, "other": other}
                    frame |= {"feature": np.arange(features), "kl": kl, "n_first": 100, "n_second": 100}
                    frames.append(pd.DataFrame(frame | {"estimator": "mixture"}))
    return pd.concat(frames, ignore_index=True)
