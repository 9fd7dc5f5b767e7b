"""A cohort's run in a few lines."""

from collections.abc import Iterable
from typing import Any

import pandas as pd


def summarise(
    title: str,
    *,
    slides: pd.DataFrame,
    table1: pd.DataFrame | None,
    hti: pd.DataFrame,
    logrank: pd.DataFrame | None,
    recovery: pd.DataFrame | None,
) -> str:
    """The printed summary: slides in and out, AUCs, HTI, log-rank p, and recovery where a truth is known.

    Takes slides.tsv, table1.tsv, hti.tsv, logrank.tsv and recovery.tsv as they were written; None for those that a
    cohort without training or without a truth has not.
    """
    accepted = slides["status"] == "accepted"
    lines = [
        f"{title}: {accepted.sum()} of {len(slides)} slides accepted, {slides['n_tiles'].sum():,} tiles",
        *(f"  excluded  {n} × {reason}" for reason, n in _reasons(slides[~accepted])),
        *(
            f"  {row.trait}: slide AUC {_number(row.mean_test_auc)} on average and {_number(row.ensemble_test_auc)} as "
            f"an ensemble, {row.n_test:.0f} test slides; out of distribution {_number(row.ensemble_ood_all_auc)}, "
            f"{row.n_ensemble_ood_all:.0f} slides"
            for row in _rows(table1)
        ),
        f"  HTI of {hti['traits'].iloc[0]}: median {_number(hti['hti'].median())} over {hti['hti'].count()} slides",
        *(
            f"  survival, HTI > {row.group_high:g} ({_count(row.n_high)}) and "
            f"≤ {row.group_low:g} ({_count(row.n_low)}): {_logrank(row.p, row.direction, row.note)}"
            for row in _rows(logrank)
        ),
        *(
            f"  against the truth, {row.trait}: {row.measure} {_number(row.value)} (n = {row.n:,.0f})"
            for row in _rows(recovery)
        ),
    ]
    return "\n".join(lines) + "\n"


def _rows(table: pd.DataFrame | None) -> Iterable[Any]:
    return () if table is None else table.itertuples()


def _reasons(excluded: pd.DataFrame) -> list[tuple[str, int]]:
    return list(excluded["reason"].value_counts().items())


def _number(value: float) -> str:
    return "NA" if pd.isna(value) else f"{value:.3f}" if value >= 0.001 or value <= 0 else f"{value:.1e}"


def _logrank(p: float, direction: str, note: str) -> str:
    return f"no log-rank test: {note}" if pd.isna(p) else f"log-rank p = {_number(p)}, {direction}"


def _count(patients: float) -> str:
    return f"{patients:.0f} patient{'' if round(patients) == 1 else 's'}"
