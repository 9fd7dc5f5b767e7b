"""A run's summary says what went in, what came out, and NA where there is nothing to say."""

import math

import pandas as pd
import pytest

from workflow_scripts.lib import summary

NAN = math.nan


@pytest.fixture
def tables():
    return {
        "slides": pd.DataFrame(
            {
                "slide_id": list("abcde"),
                "status": ["accepted", "accepted", "excluded", "excluded", "excluded"],
                "reason": ["", "", "cut off", "no µm/px", "cut off"],
                "n_tiles": [1200, 34, 0, 0, 0],
            }
        ),
        "table1": pd.DataFrame(
            {
                "trait": ["MKI67", "KRAS"],
                "mean_test_auc": [0.71249, NAN],
                "ensemble_test_auc": [0.87, NAN],
                "n_test": [16, 0],
                "ensemble_ood_all_auc": [0.63, 0.5],
                "n_ensemble_ood_all": [427, 3],
                "note": ["", "one class"],
            }
        ),
        "hti": pd.DataFrame({"slide_id": list("abc"), "traits": "MKI67+KRAS", "hti": [0.2, 0.5, NAN]}),
        "logrank": pd.DataFrame(
            {
                "group_low": [0.5, 0.3],
                "group_high": [0.5, 0.7],
                "n_low": [90, 12],
                "n_high": [110, 0],
                "p": [0.00004, NAN],
                "direction": ["high worse", ""],
                "note": ["", "no patient in the high group"],
            }
        ),
        "recovery": None,
    }


def test_a_summary_in_full(tables):
    assert summary.summarise("TCGA-BRCA", **tables) == (
        "TCGA-BRCA: 2 of 5 slides accepted, 1,234 tiles\n"
        "  excluded  2 × cut off\n"
        "  excluded  1 × no µm/px\n"
        "  MKI67: slide AUC 0.712 on average and 0.870 as an ensemble, 16 test slides; "
        "out of distribution 0.630, 427 slides\n"
        "  KRAS: slide AUC NA on average and NA as an ensemble, 0 test slides; out of distribution 0.500, 3 slides\n"
        "  HTI of MKI67+KRAS: median 0.350 over 2 slides\n"
        "  survival, HTI > 0.5 (110 patients) and ≤ 0.5 (90 patients): log-rank p = 4.0e-05, high worse\n"
        "  survival, HTI > 0.7 (0 patients) and ≤ 0.3 (12 patients): no log-rank test: no patient in the high group\n"
    )


def test_recovery_is_told_where_a_truth_is_known(tables):
    tables["recovery"] = pd.DataFrame(
        {
            "trait": ["GLDA", "GLDA+miR"],
            "measure": ["tile_auc", "hti_spearman"],
            "value": [0.981, -0.1],
            "n": [2064, 81],
        }
    )
    lines = summary.summarise("Demo", **tables).splitlines()
    assert lines[-2:] == [
        "  against the truth, GLDA: tile_auc 0.981 (n = 2,064)",
        "  against the truth, GLDA+miR: hti_spearman -0.100 (n = 81)",
    ]


def test_numbers_of_patients_and_slides_are_whole_where_their_column_is_not(tables):
    tables["logrank"] = tables["logrank"][:1].assign(n_low=1.0, n_high=110.0)
    tables["recovery"] = pd.DataFrame({"trait": ["A"], "measure": ["tile_auc"], "value": [0.9], "n": [2064.0]})
    lines = summary.summarise("Demo", **tables).splitlines()
    assert "HTI > 0.5 (110 patients) and ≤ 0.5 (1 patient): log-rank p = 4.0e-05, high worse" in lines[-2]
    assert lines[-1].endswith("tile_auc 0.900 (n = 2,064)")


def test_no_excluded_slide_gives_no_line_of_reasons(tables):
    tables["slides"] = tables["slides"][:2]
    assert "excluded" not in summary.summarise("TCGA", **tables)


@pytest.mark.parametrize(
    ("value", "said"), [(NAN, "NA"), (None, "NA"), (0.0, "0.000"), (0.001, "0.001"), (0.00099, "9.9e-04"), (1, "1.000")]
)
def test_a_small_number_is_not_said_to_be_zero(value, said):
    assert summary._number(value) == said
