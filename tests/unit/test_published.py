"""The paper's values, read again from its text."""

import math
import re

import pandas as pd
import pytest

from workflow_scripts.lib import published
from workflow_scripts.lib.errors import InputError

# Table 1 as the paper prints it: mean (min–max), ensemble on test, OOD-near and OOD-all.
PRINTED = """
BRCA miR-17-5p 0.83 (0.79–0.88) 0.87 0.62 0.56
BRCA MKI67 0.74 (0.53–0.87) 0.87 0.72 0.63
BRCA FOXA1 0.7 (0.6–0.76) 0.74 0.61 0.56
BRCA MYC 0.62 (0.58–0.67) 0.63 0.59 0.58
BRCA miR-29a-3p 0.62 (0.5–0.69) 0.67 0.65 0.55
BRCA ESR1 0.58 (0.55–0.63) 0.56 0.75 0.57
BRCA CD24 0.57 (0.47–0.67) 0.56 0.57 0.47
BRCA FOXC1 0.53 (0.46–0.57) 0.52 0.68 0.61
BRCA ERBB2 0.5 (0.46–0.57) 0.53 0.52 0.5
BRCA EGFR 0.5 (0.35–0.67) 0.42 0.57 0.57
LUAD miR-17-5p 0.85 (0.72–0.95) 0.95 0.43 0.54
LUAD KRAS 0.64 (0.33–0.9) 0.73 0.56 0.52
LUAD CD274 0.61 (0.57–0.63) 0.6 0.64 0.51
LUAD miR-21-5p 0.55 (0.47–0.62) 0.54 0.75 0.63
LUAD EGFR 0.44 (0.22–0.78) 0.39 0.48 0.46
"""


def printed_rows() -> list[tuple[str, str, list[float]]]:
    rows = []
    for line in PRINTED.strip().splitlines():
        cohort, trait, numbers = line.split(" ", 2)
        rows.append((cohort, trait, [float(number) for number in re.findall(r"[\d.]+", numbers)]))
    return rows


def test_table_1_is_the_papers():
    for cohort in ("BRCA", "LUAD"):
        expected = [(trait, *values) for name, trait, values in printed_rows() if name == cohort]
        found = published.table1(cohort)[["trait", *published.TABLE_1]]
        assert [tuple(row) for row in found.itertuples(index=False)] == expected


def test_table_1_is_that_of_the_papers_text(shared_data):
    text = (shared_data.parent / "papers" / "molecular-cartography.txt").read_text()
    rows = re.findall(r"\t(\S+)(?: \(PD-L1\))?\t([\d.]+) \(([\d.]+)–([\d.]+)\)\t([\d.]+)\t([\d.]+)\t([\d.]+)", text)
    ours = pd.concat([published.table1("BRCA"), published.table1("LUAD")])[["trait", *published.TABLE_1]]
    assert [(row[0], *map(float, row[1:])) for row in rows] == [tuple(row) for row in ours.itertuples(index=False)]


@pytest.mark.parametrize(
    ("quantity", "cohort", "trait", "value"),
    [
        ("n_slides", "BRCA", "", 761),
        ("n_slides", "LUAD", "", 469),
        ("n_traits", "BRCA", "", 10),
        ("n_traits", "LUAD", "", 5),
        ("n_training_slides_max", "BRCA", "", 243),
        ("n_training_slides_max", "LUAD", "", 150),
        ("n_test", "BRCA", "miR-17-5p", 33),
        ("n_test", "BRCA", "MKI67", 36),
        ("n_test", "BRCA", "FOXA1", 31),
        ("n_test", "LUAD", "miR-17-5p", 13),
        ("n_test", "LUAD", "KRAS", 17),
        ("n_ood_near_min", "BRCA", "", 140),
        ("n_ood_near_max", "BRCA", "", 158),
        ("n_ood_all_min", "BRCA", "", 423),
        ("n_ood_all_max", "BRCA", "", 454),
        ("n_ood_near_min", "LUAD", "", 79),
        ("n_ood_near_max", "LUAD", "", 103),
        ("n_ood_all_min", "LUAD", "", 256),
        ("n_ood_all_max", "LUAD", "", 283),
        ("spearman_test", "BRCA", "miR-17-5p", 0.63),
        ("spearman_test_p_fdr", "BRCA", "miR-17-5p", 8e-4),
        ("logrank_p", "BRCA", "MKI67+miR-17-5p", 0.04),
        ("logrank_p", "LUAD", "miR-17-5p+KRAS", 0.07),
        ("hti_high_above", "LUAD", "miR-17-5p+KRAS", 0.7),
        ("hti_low_at_most", "LUAD", "miR-17-5p+KRAS", 0.3),
    ],
)
def test_each_stated_number_is_there(quantity, cohort, trait, value):
    assert published.value(quantity, cohort=cohort, trait=trait) == value


def test_every_value_is_once_and_says_where_it_comes_from():
    table = published.table()
    assert not table.duplicated(["cohort", "trait", "quantity"]).any()
    assert (table["source"] != "").all()
    assert table["value"].notna().all()


def test_the_filters_aurocs_are_those_of_the_metastatic_origin_paper(shared_data):
    text = (shared_data.parent / "papers" / "metastatic-origin.txt").read_text()
    held_out, training = re.search(
        r"data \(red line, AUROC of ([\d.]+)\).*\(blue line, AUROC ([\d.]+)\)", text
    ).groups()
    assert published.value("tumour_filter_test_auroc", cohort="") == float(held_out)
    assert published.value("tumour_filter_train_auroc", cohort="") == float(training)
    assert f"AUROC {training} on training slides, {held_out} on held-out slides" in published.tumour_filter_note()


def test_what_the_metastatic_origin_paper_found_is_as_its_text_says(shared_data):
    text = (shared_data.parent / "papers" / "metastatic-origin.txt").read_text()
    means = dict(
        zip(("transfer", "primary", "metastatic"), re.findall(r"\(?(?:AUROC\)|AUROC) of (0\.\d+)", text), strict=False)
    )
    assert {name: published.value("mean_auroc", cohort="", trait=name) for name in means} == {
        name: float(mean) for name, mean in means.items()
    }
    assert (means["transfer"], means["primary"], means["metastatic"]) == ("0.779", "0.691", "0.675")
    metastatic, primary = re.search(r"(\d+) whole slide images of metastatic cancers and (\d+)", text).groups()
    assert published.value("n_slides", cohort="", trait="metastatic") == int(metastatic)
    assert published.value("n_slides", cohort="", trait="primary") == int(primary)
    assert f"correlation of {published.value('divergence_auroc_correlation', cohort=''):g}" in text
    assert f"correct {100 * published.value('top_1_share', cohort=''):.0f}% of the time" in text
    assert f"greater than {100 * published.value('top_6_share', cohort=''):.0f}%" in text


def test_table_1_of_the_cross_cancer_transfer_paper_is_that_of_its_text(shared_data):
    text = (shared_data.parent / "papers" / "cross-cancer-transfer.txt").read_text()
    rows = re.findall(r"^(Tile|Pixel)-level (None|ImageNet|CAMELYON16) ([\d. ]+)$", text, re.MULTILINE)
    assert len(rows) == 6
    names = [*(f"slide_{number}" for number in range(1, 7)), "overall"]
    for level, regime, printed in rows:
        found = [published.value(f"{level.lower()}_auc_{name}", cohort="", trait=regime) for name in names]
        assert found == [float(value) for value in printed.split()]
    assert published.value("tile_auc_overall", cohort="", trait="CAMELYON16") == 0.924
    assert published.value("pixel_auc_overall", cohort="", trait="None") == 0.879


def test_what_another_paper_states_is_of_no_cohort():
    assert published.cohorts() == ["BRCA", "LUAD"]
    assert not published.has("OHSU")


def test_what_the_paper_does_not_state_is_missing():
    assert math.isnan(published.value("logrank_p", cohort="LUAD", trait="KRAS+EGFR"))
    assert math.isnan(published.value("n_slides", cohort="demo"))
    assert published.table1("demo").empty


def test_a_cohort_is_found_by_either_of_its_names():
    assert published.has("TCGA-BRCA")
    assert published.has("luad")
    assert not published.has("colon")


def test_a_mature_mirna_may_carry_its_species_and_a_precursor_is_another_molecule():
    assert published.value("ensemble_test_auc", cohort="BRCA", trait="hsa-miR-17-5p") == 0.87
    assert math.isnan(published.value("ensemble_test_auc", cohort="BRCA", trait="hsa-mir-17"))


def test_an_unknown_quantity_is_an_error_that_names_the_known_ones():
    with pytest.raises(InputError, match=r"no published quantity 'auc'.*spearman_test"):
        published.value("auc", cohort="BRCA")


def test_the_table_cannot_be_changed_by_its_reader():
    mine = published.table()
    mine["value"] = 0.0
    assert published.value("n_slides", cohort="BRCA") == 761


def test_the_note_on_survival_states_both_p_values():
    note = published.survival_note().replace("\u00a0", " ")
    assert "BRCA, HTI > 0.5 against ≤ 0.5: p = 0.04" in note
    assert "LUAD, HTI > 0.7 against ≤ 0.3: p = 0.07" in note


def compression_text(shared_data) -> str:
    return (shared_data.parent / "papers" / "neural-image-compression.txt").read_text()


def test_table_1_of_neural_image_compression_is_that_of_its_text(shared_data):
    method, number = r"(NIC \w+|TUPAC16 [\w-]+|Streaming CNNs)", r"([\d.]+)"
    row = rf"^{method} .*\)\t([\d.-]+)\t\$?{number}(?:.*\[{number}, {number}\])?"
    rows = re.findall(row, compression_text(shared_data), re.MULTILINE)
    assert len(rows) == 7
    quantities = [
        f"proliferation_{of}_spearman{end}"
        for of, end in (("development", ""), ("external", ""), ("external", "_low"), ("external", "_high"))
    ]
    for name, *values in rows:
        expected = [float(value) if value not in ("", "-") else math.nan for value in values]
        found = [published.value(quantity, cohort="", trait=name) for quantity in quantities]
        assert found == pytest.approx(expected, nan_ok=True)


def test_tables_2_and_3_and_the_accuracies_are_those_of_its_text(shared_data):
    text = compression_text(shared_data)
    tasks = ("Lymph", "Mitosis", "Prostate", "Colorectal")
    (table_2,) = re.findall(r"^Correlation((?:\t[\d.]+){4})$", text, re.MULTILINE)
    for task, value in zip(tasks, table_2.split(), strict=True):
        assert published.value("task_correlation", cohort="", trait=task) == float(value)
    seen: dict[str, int] = {}
    rows = re.findall(r"^((?:(?:Yes|No)\t){4})([\d.]+)$", text, re.MULTILINE)
    assert len(rows) == 18
    for which, value in rows:
        name = "+".join(task for task, said in zip(tasks, which.split(), strict=True) if said == "Yes")
        seen[name] = seen.get(name, 0) + 1
        assert published.value(f"ablation_spearman_{seen[name]}", cohort="", trait=name) == float(value)
    accuracies = [float(value) for value in re.findall(r"\(([\d.]+)%\)", text)]
    found = [100 * published.value("patch_accuracy", cohort="", trait=task) for task in tasks]
    assert found == pytest.approx(accuracies)
    assert f"AUC of {published.value('growth_pattern_auc', cohort=''):g}" in text
    for name in ("growth_pattern", "survival"):
        assert f"p < {published.value(f'{name}_logrank_p_below', cohort=''):g})" in text


def adaptation_text(shared_data) -> str:
    return (shared_data.parent / "papers" / "microscopy-adaptation.txt").read_text()


def test_table_1_of_microscope_adaptation_is_that_of_its_text(shared_data):
    rows = re.findall(r"^(WSI|MSI)((?:\t[\d,]+){8})$", adaptation_text(shared_data), re.MULTILINE)
    assert [domain for domain, _ in rows] == ["WSI", "MSI"]
    names = ("normal", "adenoma", "adenocarcinoma", "total")
    for domain, numbers in rows:
        found = [
            published.value(f"{of}_patches_{name}", cohort="", trait=domain)
            for of in ("train", "test")
            for name in names
        ]
        assert found == [float(number.replace(",", "")) for number in numbers.split()]
        assert sum(found[:3]) == found[3]
        assert sum(found[4:7]) == found[7]


def test_table_2_of_microscope_adaptation_is_that_of_its_text(shared_data):
    row = r"^([\w-]+)\t(?:WSI|Both)\t(WSI|MSI)((?:\t[\d.]+){4})$"
    rows = re.findall(row, adaptation_text(shared_data), re.MULTILINE)
    assert len(rows) == 11
    for method, domain, numbers in rows:
        quantities = [f"{domain.lower()}_{name}" for name in ("accuracy", "precision", "recall", "f1")]
        found = [100 * published.value(quantity, cohort="", trait=method) for quantity in quantities]
        assert found == pytest.approx([float(number) for number in numbers.split()])
