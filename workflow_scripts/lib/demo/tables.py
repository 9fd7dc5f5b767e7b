"""The demo cohort's tables, in the public files' own formats."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from workflow_scripts.lib.files import write_table, writing

NOISE_GENES = 12
NOISE_MIRNAS = 8
SUBTYPES = ("Luminal A", "Luminal B", "Basal-like", "HER2-enriched")
ER_STATUS = ("Positive", "Negative")
# Months; Weibull. The median time at risk 0 is about seven years.
SCALE, SHAPE = 110.0, 1.2


def follow(shares: np.ndarray, rng: np.random.Generator, *, spread: float = 0.07) -> np.ndarray:
    """Bulk expression (n,) that follows the share of positive tiles (n,) 0 to 1, on the positive scale of RSEM.

    Monotone but for noise: four doublings from share 0 to 1, and normal noise of `spread` in the share.
    """
    return 2.0 ** (6.0 + 4.0 * (np.asarray(shares) + rng.normal(0, spread, len(shares))))


def write_mrna(path: Path, genes: Mapping[str, np.ndarray], aliquots: Sequence[str], rng: np.random.Generator) -> None:
    """PanCanAtlas mRNA: TSV, `gene_id` of the form `SYMBOL|ENTREZ`, a column per aliquot.

    genes: the values (aliquots,) of each. Beside them: a row without a symbol, pseudogenes of nearly the same names,
    and noise, in which a value is missing and some are negative (batch correction does that).
    """
    n = len(aliquots)
    rows = {"?|900000": rng.lognormal(1, 1, n)}
    for number, (gene, values) in enumerate(genes.items()):
        entrez = 900001 + 2 * number
        rows |= {f"{gene}|{entrez}": values, f"{gene}P1|{entrez + 1}": rng.lognormal(3, 1, n)}
    first_noise = len(rows)
    for number in range(NOISE_GENES):
        rows[f"NOISE{number + 1}|{900010 + number}"] = rng.lognormal(rng.uniform(2, 8), rng.uniform(0.3, 1), n) - 4.0
    frame = pd.DataFrame(rows, index=list(aliquots)).T.round(4)
    frame.iloc[first_noise, 0] = np.nan
    frame.columns = list(aliquots)
    with writing(path) as partial:
        frame.to_csv(partial, sep="\t", index_label="gene_id", na_rep="NA", lineterminator="\n")


def write_mirna(path: Path, name: str, values: np.ndarray, aliquots: Sequence[str], rng: np.random.Generator) -> None:
    """PanCanAtlas miRNA: CSV, `Genes`, `Correction`, a column per aliquot.

    Beside `name` (mature, such as hsa-miR-demo-5p): its precursor, its other arm, and noise; none of them follows it.
    """
    n = len(aliquots)
    stem = name.removesuffix("-5p").removesuffix("-3p")
    other = "3p" if name.endswith("-5p") else "5p"
    rows = {stem.replace("miR", "mir"): rng.lognormal(4, 1, n), name: values, f"{stem}-{other}": rng.lognormal(3, 1, n)}
    for number in range(NOISE_MIRNAS):
        rows[f"hsa-miR-noise{number + 1}-{'35'[number % 2]}p"] = rng.lognormal(rng.uniform(1, 6), 0.8, n)
    frame = pd.DataFrame(rows, index=list(aliquots)).T.round(4)
    frame.insert(0, "Correction", ["Corrected" if number % 2 else "Uncorrected" for number in range(len(rows))])
    with writing(path) as partial:
        frame.to_csv(partial, index_label="Genes", lineterminator="\n")


def survive(
    risk: np.ndarray, *, log_hazard_ratio: float, censored: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Months (n,) and whether the death was seen (n,) bool.

    Weibull times under proportional hazards: hazard = base · exp(log_hazard_ratio · risk). Censoring at a uniform time
    below an end of study that is chosen so that about the share `censored` is still alive at their last visit.
    """
    death = SCALE * (rng.exponential(size=len(risk)) / np.exp(log_hazard_ratio * np.asarray(risk))) ** (1 / SHAPE)
    visit = rng.uniform(size=len(risk))
    ends = np.geomspace(1, 1e5, 2000)
    alive = (visit * ends[:, None] < death).mean(axis=1)
    end = ends[np.argmin(np.abs(alive - censored))]
    months = np.minimum(death, visit * end)
    return np.maximum(np.round(months, 2), 0.03), death <= visit * end


def write_clinical(
    path: Path, samples: pd.DataFrame, months: dict[str, float], died: dict[str, bool], rng: np.random.Generator
) -> None:
    """cBioPortal's export of a study: a row per sample. samples: patient_id, sample_type; repeated rows stay repeated.

    Age, sex, subtype and ER status are independent of everything; one age and two ER statuses are missing.
    """
    patients = sorted(months)
    n = len(patients)
    facts = pd.DataFrame(
        {
            "Diagnosis Age": np.clip(np.round(rng.normal(61, 11, n)), 27, 89).astype(int).astype(str),
            "Sex": rng.choice(["Female", "Male"], n, p=[0.6, 0.4]),
            "Subtype": rng.choice(SUBTYPES, n, p=[0.4, 0.25, 0.2, 0.15]),
            "ER Status By IHC": rng.choice(ER_STATUS, n, p=[0.65, 0.35]),
            "Overall Survival (Months)": [f"{months[patient]:.2f}" for patient in patients],
            "Overall Survival Status": ["1:DECEASED" if died[patient] else "0:LIVING" for patient in patients],
        },
        index=patients,
    )
    gaps = rng.permutation(n)[:3]
    facts.iloc[gaps[0], facts.columns.get_loc("Diagnosis Age")] = ""
    facts.iloc[gaps[1:], facts.columns.get_loc("ER Status By IHC")] = ""
    frame = facts.loc[samples["patient_id"]].reset_index(drop=True)
    frame.insert(0, "Sample ID", [f"{row.patient_id}-{row.sample_type}" for row in samples.itertuples()])
    frame.insert(0, "Patient ID", samples["patient_id"].to_numpy())
    frame.insert(0, "Study ID", "histocarta_demo")
    write_table(frame, path)
