"""Made-up results of the study of neural image compression: targets, and what models predict of them."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from workflow_scripts.lib import target_scores
from workflow_scripts.lib.files import write_table
from workflow_scripts.lib.target_scores import Learnt

FOLDS = 4
TASKS = ("lymph_node", "mitosis", "prostate", "colorectal")
ENCODERS = ("mean_rgb", "vae", "bigan_without_augmentation", "bigan", "lymph_node", "multitask")
GROWTH = ("mixed", "desmoplastic")


def ablation(tasks: Sequence[str] = TASKS, repeats: int = 4) -> dict[str, list[str]]:
    """The tasks of the encoders of an ablation, by name."""
    some = {"_".join(of): list(of) for n in range(1, len(tasks)) for of in combinations(tasks, n)}
    return some | {f"all_{number}": list(tasks) for number in range(1, repeats + 1)}


class Study:
    """Three targets, each patient with a hidden risk, of which later encoders know more.

    `proliferation`, a number, with another cohort to be tested on; `growth`, two classes, and `death`, both of one
    cohort whose folds test each other. Patients have one slide or two.
    """

    def __init__(
        self, *, patients: int = 48, encoders: Sequence[str] = ENCODERS, seed: int = 0, how: str = "mean"
    ) -> None:
        self.encoders, self.seed, self.how = list(encoders), seed, how
        self.described: dict[str, dict[str, Any]] = {
            "proliferation": self._described("number", "breast", test_cohort="other_hospital"),
            "growth": self._described("class", "liver", classes=GROWTH, favourable=GROWTH[1]),
            "death": self._described("survival", "liver"),
        }
        draw = np.random.default_rng(seed)
        self.slides = {
            cohort: self._slides(draw, cohort, number)
            for cohort, number in (("breast", patients), ("other_hospital", patients // 2), ("liver", patients))
        }

    def _described(self, kind: str, cohort: str, **more: Any) -> dict[str, Any]:
        plain = {"test_cohort": None, "classes": (), "favourable": None, "slides_of_patient": self.how}
        return {"kind": kind, "cohort": cohort} | plain | {"encoders": self.encoders} | more

    @staticmethod
    def _slides(draw: np.random.Generator, cohort: str, patients: int) -> pd.DataFrame:
        hidden = draw.normal(size=patients)
        months = draw.exponential(60 * np.exp(-0.8 * hidden)).round(1) + 0.1
        censored = draw.uniform(12, 120, patients).round(1)
        of_patients = pd.DataFrame({
            "cohort": cohort, "patient_id": [f"{cohort[:2].upper()}-{number:03d}" for number in range(patients)],
            "hidden": hidden, "time": np.minimum(months, censored), "event": (months <= censored).astype(int),
            "fold": np.arange(patients) % FOLDS + 1,
        })  # fmt: skip
        number = draw.integers(1, 3, patients)
        slides = of_patients.loc[np.repeat(of_patients.index, number)].reset_index(drop=True)
        which = slides.groupby("patient_id").cumcount() + 1
        slides.insert(1, "slide_id", slides["patient_id"] + "-S" + which.astype(str))
        return slides

    def target(self, name: str) -> pd.DataFrame:
        """The table `targets/<target>.tsv`."""
        asked = self.described[name]
        tables = []
        for cohort in filter(None, (asked["cohort"], asked["test_cohort"])):
            table = self.slides[cohort].copy()
            table["value"] = {
                "number": table["hidden"].round(3),
                "class": (table["hidden"] < 0.2).astype(int),
                "survival": np.nan,
            }[asked["kind"]]
            if asked["kind"] == "number":
                table[["time", "event"]] = np.nan
            for model in range(1, FOLDS + 1):
                table[f"model_{model}"] = [self._set(asked, cohort, fold, model) for fold in table["fold"]]
            if cohort == asked["test_cohort"]:
                table["fold"] = np.nan
            tables.append(table.assign(reason="").drop(columns="hidden"))
        return pd.concat(tables, ignore_index=True)

    @staticmethod
    def _set(asked: Mapping[str, Any], cohort: str, fold: int, model: int) -> str:
        if asked["test_cohort"]:
            return "test" if cohort == asked["test_cohort"] else "validation" if fold == model else "train"
        return {0: "test", 1: "validation"}.get((fold - model) % FOLDS, "train")

    def predictions(self, name: str, encoder: str, *, knows: float | None = None) -> pd.DataFrame:
        """The table `predictions/<target>/<encoder>.tsv`; knows: how much of the truth, from 0."""
        asked, table = self.described[name], self.target(name)
        if knows is None:
            knows = 0.2 + 1.8 * self.encoders.index(encoder) / max(1, len(self.encoders) - 1)
        draw = np.random.default_rng([self.seed, sum(f"{name}{encoder}".encode())])
        hidden = pd.concat(self.slides.values()).set_index("slide_id")["hidden"]
        rows = []
        for model in range(1, FOLDS + 1):
            of = table[table[f"model_{model}"].isin(["validation", "test"])]
            guess = knows * hidden[of["slide_id"]].to_numpy() + draw.normal(size=len(of))
            row = of[["cohort", "slide_id", "patient_id"]].assign(
                target=name, encoder=encoder, model=model, set=of[f"model_{model}"]
            )
            if asked["kind"] == "class":
                odds = np.stack([(len(asked["classes"]) / 2 - 0.5 - place) * guess for place in
                                 range(len(asked["classes"]))], axis=1)  # fmt: skip
                shares = np.exp(odds) / np.exp(odds).sum(axis=1, keepdims=True)
                row[[f"p_{place}" for place in range(shares.shape[1])]] = shares
            else:
                # No two Cox models have the same zero.
                row["prediction"] = guess + (5 * model if asked["kind"] == "survival" else 0)
            rows.append(row)
        return pd.concat(rows, ignore_index=True)

    def write(self, folder: Path) -> None:
        """The files of targets and predictions, under `folder`."""
        for name in self.described:
            write_table(self.target(name), folder / "targets" / f"{name}.tsv")
            for encoder in self.described[name]["encoders"]:
                write_table(self.predictions(name, encoder), folder / "predictions" / name / f"{encoder}.tsv")

    def read(self, folder: Path) -> list[Learnt]:
        """The targets, after they were written into `folder`."""
        targets = [folder / "targets" / f"{name}.tsv" for name in self.described]
        predictions = [
            folder / "predictions" / name / f"{encoder}.tsv"
            for name, asked in self.described.items()
            for encoder in asked["encoders"]
        ]
        return target_scores.read(self.described, targets, predictions)

    def ablated(self, folder: Path, tasks: Mapping[str, Sequence[str]]) -> Learnt:
        """`proliferation` by the encoders of an ablation, which know more with each task, and with the last of all."""
        asked = self.described["proliferation"] | {"encoders": list(tasks)}
        paths = []
        for encoder, of in tasks.items():
            paths.append(folder / "predictions" / "proliferation" / f"{encoder}.tsv")
            knows = 0.4 + 0.2 * len(of) + 0.5 * (TASKS[-1] in of)
            write_table(self.predictions("proliferation", encoder, knows=knows), paths[-1])
        (learnt,) = target_scores.read({"proliferation": asked}, [folder / "targets" / "proliferation.tsv"], paths)
        return learnt
