"""What the papers printed, so that every report can show their values beside ours.

"The paper" is that of the molecular cartographies; what another one states has no cohort here. The values stand in
`published.tsv`, one per row with the place they come from; a rule that prints them takes the digest of that file as a
parameter. Log-rank p values that the paper shows only inside an image (Fig. 4b, Fig. 5 and Fig. 6) are not stated in
its text and are absent here.
"""

from functools import cache
from pathlib import Path

import pandas as pd

from workflow_scripts.lib import files
from workflow_scripts.lib.errors import InputError

PAPER = (
    "Levy-Jurgenson, Tekpli, Kristensen and Yakhini, Scientific Reports (2020),"
    " https://doi.org/10.1038/s41598-020-75708-z"
)
ORIGIN_PAPER = (
    "Schau, Ghani, Burlingame, Thibault, Gray, Corless and Chang, Transfer Learning for Inference of Metastatic Origin"
    " from Whole Slide Histology"
)
TRANSFER_PAPER = (
    "Khan, Stürenberg, Gencoglu, Sandeman, Heikkinen, Rannikko and Mirtti, Improving Prostate Cancer Detection with"
    " Breast Histopathology Images (2019), https://arxiv.org/abs/1903.05769"
)
COMPRESSION_PAPER = (
    "Tellez, Höppener, Verhoef, Grünhagen, Nierop, Drozdzal, van der Laak and Ciompi, Extending Unsupervised Neural"
    " Image Compression With Supervised Multitask Learning (2020)"
)
ADAPTATION_PAPER = (
    "Zhang, Chen, Wei, Zhao, Cao, Fan, Lou, Liu, Hou, Han, Yao, Wu, Tan and Huang, From Whole Slide Imaging to"
    " Microscopy: Deep Microscopy Adaptation Network for Histopathology Cancer Image Classification (2019)"
)
PATH = Path(__file__).with_suffix(".tsv")
TABLE_1 = (
    "mean_test_auc",
    "min_test_auc",
    "max_test_auc",
    "ensemble_test_auc",
    "ensemble_ood_near_auc",
    "ensemble_ood_all_auc",
)


@cache
def _table() -> pd.DataFrame:
    return files.read_table(PATH, text=["cohort", "trait", "quantity", "source"])


def table() -> pd.DataFrame:
    """Every published value: cohort (`BRCA`, `LUAD`), trait ("" for a whole cohort), quantity, value, source.

    A value of another paper has the cohort "", and its source says which; those of the metastatic origin paper that are
    of one domain, or of one way to train, have that for a trait, and so have those of the cross-cancer transfer paper's
    Table 1 (`None`, `ImageNet`, `CAMELYON16`; quantities `tile_auc_slide_1`…`_6`, `tile_auc_overall`, `pixel_auc_…`).
    What its 3.1 and 3.2 state of slides is of `prostate` or `CAMELYON16`. Those of the neural image compression paper
    have for a trait the method (Table 1, of which `proliferation_…` quantities are), the task, or the tasks (Table 3,
    whose `ablation_spearman_1`…`_4` are of as many encoders with the same tasks). Those of the microscope adaptation
    paper have the domain (`WSI`, `MSI`; Table 1, quantities `train_patches_normal`, `test_patches_total`, …) or the
    method (Table 2, quantities `msi_accuracy`, `msi_f1`, … by the domain of the test set).
    """
    return _table().copy()


def has(cohort: str) -> bool:
    """Whether the paper studied this cohort; `TCGA-BRCA`, `BRCA` and `brca` are one cohort."""
    return cohort_name(cohort) in set(_table()["cohort"])


def value(quantity: str, *, cohort: str, trait: str = "") -> float:
    """One published value, NaN where the paper states none for this cohort and trait.

    A mature miRNA may carry its species (`hsa-miR-17-5p`); a precursor (`hsa-mir-17`) is another molecule and is not
    found. Several traits are joined with `+`, in any order. Raises InputError for a quantity that the table never has.
    """
    known = _table()
    quantities = sorted(set(known["quantity"]))
    if quantity not in quantities:
        raise InputError(f"no published quantity {quantity!r} in {PATH.name}; it holds {', '.join(quantities)}")
    rows = known[
        (known["cohort"] == cohort_name(cohort)) & (known["quantity"] == quantity) & (known["trait"] == _traits(trait))
    ]
    return float(rows["value"].iloc[0]) if len(rows) else float("nan")


def table1(cohort: str) -> pd.DataFrame:
    """The paper's Table 1 for a cohort, in its order: trait, the six AUCs and n_test (NaN where not stated)."""
    known = _table()
    rows = known[
        (known["cohort"] == cohort_name(cohort)) & known["quantity"].isin([*TABLE_1, "n_test"]) & (known["trait"] != "")
    ]
    order = list(dict.fromkeys(rows["trait"]))
    wide = rows.pivot(index="trait", columns="quantity", values="value")
    return wide.reindex(index=order, columns=[*TABLE_1, "n_test"]).rename_axis(columns=None).reset_index()


def cohorts() -> list[str]:
    """The paper's cohorts, in its order."""
    return [name for name in dict.fromkeys(_table()["cohort"]) if name]


def same_trait(one: str, other: str) -> bool:
    """Whether two spellings name one trait of the paper: `hsa-miR-17-5p` is `miR-17-5p`; `hsa-mir-17` is not."""
    return _traits(one) == _traits(other)


def survival_note() -> str:
    """The paper's log-rank results in one line, for the foot of a survival figure of any cohort.

    Its spaces before a number do not break.
    """
    known = _table()
    parts = []
    for row in known[known["quantity"] == "logrank_p"].itertuples():
        low = value("hti_low_at_most", cohort=row.cohort, trait=row.trait)
        high = value("hti_high_above", cohort=row.cohort, trait=row.trait)
        parts.append(f"{row.cohort}, HTI >\u00a0{high:g} against ≤\u00a0{low:g}: p\u00a0=\u00a0{row.value:g}")
    return f"Paper (Fig. 4): {'; '.join(parts)}"


def tumour_filter_note() -> str:
    """The AUROCs of tiles that the metastatic origin paper states of its tumour filter, for the foot of a figure."""
    train, test = (value(f"tumour_filter_{name}_auroc", cohort="") for name in ("train", "test"))
    return (
        f"Metastatic origin paper (Fig. 2B): AUROC {train:g} on training slides, {test:g} on held-out slides, of other "
        "tissues and slides than these."
    )


def cohort_name(name: str) -> str:
    """The paper's name of a cohort: `BRCA` for `TCGA-BRCA` and `brca`."""
    return name.upper().removeprefix("TCGA-")


def _traits(names: str) -> str:
    return "+".join(sorted(name.removeprefix("hsa-") for name in names.split("+")))
