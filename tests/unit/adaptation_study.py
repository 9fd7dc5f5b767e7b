"""Made-up results of the study of microscope adaptation: test patches with predictions of each method, and curves."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from workflow_scripts.lib import adaptation_scores
from workflow_scripts.lib.configuration.adaptation import Adaptation

CLASSES = ("Normal", "Adenoma", "Adenocarcinoma")


def published_methods() -> dict[str, dict[str, Any]]:
    """The plain values of the configuration's methods."""
    known = Adaptation(source="slides", target="photographs", classes=list(CLASSES)).methods
    return {name: method.model_dump(mode="json") for name, method in known.items()}


class Study:
    """`patients` of each domain with `patches` each, commonest the first class; methods get better in their order."""

    def __init__(
        self,
        methods: Sequence[str] = ("source_only", "ddc", "dann", "dman"),
        *,
        classes: Sequence[str] = CLASSES,
        seeds: Sequence[int] = (1,),
        patients: int = 8,
        patches: int = 25,
        titles: Sequence[str] = (),
    ) -> None:
        known = published_methods()
        self.classes, self.seeds = list(classes), list(seeds)
        self.methods = {name: dict(known.get(name, known["dman"])) for name in methods}
        for name, title in zip(methods, titles, strict=False):
            self.methods[name]["title"] = title
        draw = np.random.default_rng(5)
        shares = 1 / np.arange(1, len(classes) + 1)
        tables = []
        for domain, ease in (("source", 2.5), ("target", 0.8)):
            number = patients * patches
            of = np.repeat(np.arange(patients), patches)
            labels = draw.choice(len(classes), number, p=shares / shares.sum())
            described = pd.DataFrame(
                {
                    "slide_id": [f"{domain}-{n:03d}" for n in of],
                    "patient_id": [f"{domain[0].upper()}{n:03d}" for n in of],
                    "col": np.arange(number) % patches,
                    "row": 0,
                    "class": np.asarray(classes)[labels],
                }
            )
            for place, method in enumerate(methods):
                for seed in seeds:
                    raised = (
                        draw.normal(0, 1, (number, len(classes))) + (ease + 0.1 * place) * np.eye(len(classes))[labels]
                    )
                    exponents = np.exp(raised)
                    found = (exponents / exponents.sum(axis=1, keepdims=True)).astype(np.float32)
                    columns = {f"p_{name}": found[:, k] for k, name in enumerate(classes)}
                    predicted = {"predicted": np.asarray(classes)[found.argmax(axis=1)]}
                    tables.append(described.assign(method=method, seed=seed, domain=domain, **predicted, **columns))
        self.patches = pd.concat(tables, ignore_index=True)

    def tables(self, *, exported: str | None = None) -> dict[str, pd.DataFrame]:
        return adaptation_scores.tables(
            self.patches, methods=self.methods, classes=self.classes, exported=exported, resamples=200, seed=0
        )

    def curves(self, *, epochs: int = 8) -> dict[tuple[str, int], pd.DataFrame]:
        """Of each method and seed its `curve.tsv`; methods that see no target have no entropy and no domain loss."""
        found = {}
        for place, (name, method) in enumerate(self.methods.items()):
            for seed in self.seeds:
                epoch = np.arange(1, epochs + 1, dtype=float)
                rows = pd.DataFrame({"evaluation": np.arange(1, epochs + 1), "epoch": epoch})
                rows["train_loss"] = 0.9 * np.exp(-epoch / 3)
                rows["validation_loss"] = 0.3 + 0.6 * np.exp(-epoch / (3 + place)) + 0.01 * seed
                rows["validation_accuracy"] = 0.95 - 0.4 * np.exp(-epoch / (2 + 0.2 * place))
                rows["validation_macro_f1"] = rows["validation_accuracy"] - 0.03
                if method["domain"] or method["entropy_weight"]:
                    rows["validation_entropy"] = 0.2 + 0.8 * np.exp(-epoch / 4) + 0.02 * place
                if method["domain"]:
                    rows["validation_domain"] = 10.0 ** -(place % 3) * (1 + 0.1 * epoch)
                rows["chosen"] = (rows["evaluation"] == epochs).astype(int)
                found[name, seed] = rows.iloc[:0] if method["batch_statistics"] else rows
        return found


def data_table(classes: Sequence[str] = CLASSES) -> pd.DataFrame:
    """The table `data.tsv`, by the numbers of the paper's Table 1 without their last digit."""
    patches = {("source", "train"): (3604, 362, 308), ("source", "validation"): (400, 40, 30),
               ("source", "test"): (194, 20, 22), ("target", "train"): (269, 104, 108),
               ("target", "validation"): (0, 0, 0), ("target", "test"): (111, 48, 71)}  # fmt: skip
    rows = []
    for (domain, name), counts in patches.items():
        of = [*(counts[place % 3] for place in range(len(classes))), sum(counts) + 50]
        rows += [(domain, name, *row, 15, 12) for row in zip([*classes, ""], of, strict=True)]
    return pd.DataFrame(rows, columns=["domain", "set", "class", "patches", "slides", "patients"])
