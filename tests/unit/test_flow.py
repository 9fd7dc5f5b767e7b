"""The cohort's flow counts each slide once in each step, and stands beside what the paper states."""

import math

import pandas as pd
import pytest
import yaml

from workflow_scripts.lib import assembly, clinical, configuration, files, flow, labels, splits
from workflow_scripts.lib.figures import cohort, style

SHEET = pd.DataFrame(
    [
        ("A1", "A", 1, "listed", ""),
        ("A2", "A", 2, "listed", ""),
        ("B1", "B", 1, "listed", ""),
        ("C2", "C", 2, "listed", ""),
        ("D1", "D", 1, "listed", ""),
        ("E1", "", None, "excluded", "line 7: no file name"),
        ("F1", "", None, "excluded", "line 9: no file name"),
        ("A3", "A", 1, "excluded", "left out: pen"),
    ],
    columns=["slide_id", "patient_id", "diagnostic_index", "status", "reason"],
).astype({"diagnostic_index": "Int64"})
SPLIT = pd.DataFrame(
    [
        ("A", "development", "train", "validation"),
        ("B", "development", "validation", "train"),
        ("C", "development", "train", "train"),
        ("D", "test", "", ""),
    ],
    columns=["patient_id", "set", "round_1", "round_2"],
)
LABELS = pd.DataFrame(
    [
        ("A1", "A", 0, "in"),
        ("A2", "A", 0, "in"),
        ("B1", "B", 1, "in"),
        ("C2", "C", None, "ood_near"),
        ("D1", "D", 1, "in"),
    ],
    columns=["slide_id", "patient_id", "label", "tier"],
).astype({"label": "Int64"})
OTHER = LABELS.assign(label=pd.array([None] * 5, "Int64"), tier=["ood", "ood_near", "ood", "unlabelled", "ood"])
CLINICAL = pd.DataFrame(
    {"patient_id": ["A", "B", "C", "X"], "time": [1.0, 2, math.nan, 3], "event": pd.array([1, 0, 1, 1], "Int64")}
)


def test_each_step_counts_slides_and_patients():
    table = flow.cohort_flow(SHEET, SPLIT, {"one": LABELS, "other": OTHER}, CLINICAL)
    assert [tuple(row) for row in table.itertuples(index=False)] == [
        ("lines", "Lines of the list", 8, 4),
        ("excluded", "left out", 1, 1),
        ("excluded", "no file name", 2, 0),
        ("listed", "Listed slides", 5, 4),
        ("labelled", "With expression", 5, 4),
        ("unlabelled", "Without expression", 0, 0),
        ("survival", "With survival", 3, 2),
        ("dx1", "DX1 slides", 3, 3),
        ("test", "Test set", 1, 1),
        ("development", "Development", 4, 3),
    ]


def test_a_slide_without_a_value_of_any_trait_is_without_expression():
    table = flow.cohort_flow(SHEET, SPLIT, {"other": OTHER}, CLINICAL).set_index("step")
    assert (table.loc["labelled", "n_slides"], table.loc["unlabelled", "n_slides"]) == (4, 1)
    one_of_a = OTHER.assign(tier=["unlabelled", "ood_near", "ood", "unlabelled", "ood"])
    table = flow.cohort_flow(SHEET, SPLIT, {"other": one_of_a}, CLINICAL).set_index("step")
    # A's other slide has a value.
    assert (table.loc["unlabelled", "n_slides"], table.loc["unlabelled", "n_patients"]) == (2, 1)


def test_a_traits_slides_are_counted_per_tier_and_set():
    table = flow.trait_flow(SPLIT, {"one": LABELS}, missing={}, cohort="ours").iloc[0]
    counts = {name: table[name] for name in table.index if name.startswith("n_")}
    assert counts == {
        "n_slides": 5,
        "n_unlabelled": 0,
        "n_low": 2,
        "n_high": 2,
        "n_test": 1,
        "n_train_min": 1,
        "n_train_max": 2,
        "n_validation_min": 1,
        "n_validation_max": 2,
        "n_ood_near": 1,
        "n_ood_all": 1,
    }


def test_a_missing_trait_is_listed_with_its_reason_and_without_numbers():
    table = flow.trait_flow(SPLIT, {"one": LABELS}, missing={"CD24": "in no table"}, cohort="ours")
    assert table["trait"].tolist() == ["one", "CD24"]
    assert table["status"].tolist() == ["planned", "missing"]
    assert table["reason"].tolist() == ["", "in no table"]
    assert table["n_test"].isna().tolist() == [False, True]


def test_what_the_paper_states_stands_beside_ours_for_its_own_cohorts_alone():
    table = flow.trait_flow(SPLIT, {"one": LABELS}, missing={}, cohort="TCGA-LUAD").iloc[0]
    stated = {name.removeprefix("published_"): table[name] for name in table.index if name.startswith("published_")}
    assert stated == {
        "n_train_max_low": 150,
        "n_train_max_high": 150,
        "n_test_low": 13,
        "n_test_high": 17,
        "n_ood_near_low": 79,
        "n_ood_near_high": 103,
        "n_ood_all_low": 256,
        "n_ood_all_high": 283,
    }
    ours = flow.trait_flow(SPLIT, {"one": LABELS}, missing={}, cohort="ours").iloc[0]
    assert all(math.isnan(ours[name]) for name in ours.index if name.startswith("published_"))


@pytest.fixture(scope="module")
def planned(shared_data, tmp_path_factory):
    """The published cohorts as `studies/tcga-local.yaml` plans them from the real manifests and tables, by name."""
    with open("config.yaml") as base, open("studies/tcga-local.yaml") as overlay:
        content, changes = yaml.safe_load(base), yaml.safe_load(overlay)
    content["traits"] |= changes["traits"]
    found = {}
    for name in ("brca", "luad"):
        content["cohorts"][name] = merged(content["cohorts"][name], changes["cohorts"][name])
        study = configuration.load(content)
        mine, out = study.cohorts[name], tmp_path_factory.mktemp(name)
        here = lambda path: str(path).replace("../shared/data", str(shared_data))  # noqa: E731
        tables = {key: table | {"path": here(table["source"])} for key, table in mine.expression.by_name().items()}
        assembly.assemble_cohort(
            slides={"manifest": here(mine.slides.manifest), "folder": "slides", "sheet": None, "exclude": {}},
            expression_tables=tables,
            path_to_clinical=here(mine.clinical),
            path_to_split=None,
            traits={trait: study.traits[trait].model_dump() for trait in mine.traits},
            label_settings=study.labels.model_dump(),
            split_settings=study.splits.model_dump(),
            seed=study.study.seed,
            path_to_sheet=out / "sheet.tsv",
            path_to_splits=out / "splits.tsv",
            folder_of_labels=out / "labels",
        )
        split, tables = splits.read_splits(out / "splits.tsv"), labels.read_labels(out / "labels", mine.traits)
        sheet = files.read_table(out / "sheet.tsv", text=["patient_id", "status", "reason"])
        patients = clinical.read_clinical(here(mine.clinical))
        found[name] = (
            flow.cohort_flow(sheet, split, tables, patients),
            flow.trait_flow(split, tables, missing=mine.missing_traits, cohort=mine.title),
        )
    return found


def merged(base, changes):
    """As Snakemake merges configuration files: dictionaries entry by entry, all else replaced."""
    if not (isinstance(base, dict) and isinstance(changes, dict)):
        return changes
    return base | {key: merged(base.get(key), value) for key, value in changes.items()}


def test_the_papers_manifests_and_the_real_tables_give_this_flow(planned):
    numbers = {
        name: {row.step: (row.n_slides, row.n_patients) for row in table.itertuples()}
        for name, (table, _) in planned.items()
    }
    # 761 and 469 slides: Methods, Preprocessing. 14 BRCA patients have no DX1 slide, and one LUAD patient has two.
    assert numbers["brca"] == {
        "lines": (761, 703),
        "listed": (761, 703),
        "labelled": (760, 702),
        "unlabelled": (1, 1),
        "survival": (747, 689),
        "dx1": (689, 689),
        "test": (77, 73),
        "development": (684, 630),
    }
    assert numbers["luad"] == {
        "lines": (469, 410),
        "listed": (469, 410),
        "labelled": (466, 407),
        "unlabelled": (3, 3),
        "survival": (446, 387),
        "dx1": (411, 410),
        "test": (51, 48),
        "development": (418, 362),
    }


# Least and greatest over the traits: ours, and in docs/methods.md why they differ from the paper's.
@pytest.mark.parametrize(
    ("name", "column", "ours", "paper"),
    [
        ("brca", "n_train_max", (219, 254), (243, 243)),
        ("brca", "n_test", (27, 34), (31, 36)),
        ("brca", "n_ood_near", (133, 154), (140, 158)),
        ("brca", "n_ood_all", (411, 443), (423, 454)),
        ("luad", "n_train_max", (128, 150), (150, 150)),
        ("luad", "n_test", (19, 25), (13, 17)),
        ("luad", "n_ood_near", (82, 101), (79, 103)),
        ("luad", "n_ood_all", (264, 284), (256, 283)),
    ],
)
def test_the_real_traits_have_these_numbers_beside_the_papers(planned, name, column, ours, paper):
    table = planned[name][1]
    run = table[table["status"] == "planned"]
    assert (run[column].min(), run[column].max()) == ours
    assert (run[f"published_{column}_low"].iloc[0], run[f"published_{column}_high"].iloc[0]) == paper


def test_every_trait_of_the_paper_is_planned_or_listed_as_missing(planned):
    with open("config.yaml") as base:
        content = yaml.safe_load(base)
    for name, (_, table) in planned.items():
        assert set(content["cohorts"][name]["traits"]) <= set(table["trait"])


def test_the_diagram_holds_every_number_of_the_flow(tmp_path):
    counts = flow.cohort_flow(SHEET, SPLIT, {"one": LABELS, "other": OTHER}, CLINICAL)
    traits = flow.trait_flow(SPLIT, {"one": LABELS, "other": OTHER}, missing={"CD24": "in no table"}, cohort="ours")
    figure = cohort.cohort_flow(counts, traits, title="Ours")
    style.save(figure, tmp_path / "flow.png", made_by={})
    texts = [text.get_text() for part in (figure, *figure.subfigs) for text in part.findobj(match=_is_text)]
    said = "\n".join(texts)
    for words in ("Excluded: 3 lines", "2: no file name", "1: left out", "Listed slides:\n5 slides, 4 patients",
                  "Test set:\n1 slide, 1 patient", "Not run: CD24 (in no table).", "paper: not stated"):  # fmt: skip
        assert words in said


def _is_text(artist) -> bool:
    return hasattr(artist, "get_text")
