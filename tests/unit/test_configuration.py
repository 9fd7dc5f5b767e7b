"""The configuration is closed and explained, holds the published study, and says the same in all its places."""

import copy
import re
import subprocess
import sys
from functools import reduce
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError
from snakemake.utils import update_config

from workflow_scripts.lib import configuration, published, splits
from workflow_scripts.lib.configuration import reference
from workflow_scripts.lib.configuration.sections import Section
from workflow_scripts.lib.demo import roster
from workflow_scripts.lib.errors import InputError

REPOSITORY = Path(__file__).parents[2]
FIELDS = configuration.Configuration.model_fields
SECTIONS = [name for name, field in FIELDS.items() if isinstance(field.get_default(), Section)]
OVERLAYS = sorted((REPOSITORY / "studies").glob("*.yaml"))


def read(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


PUBLISHED = read(REPOSITORY / "config.yaml")


def changed(key: str, value: Any) -> dict[str, Any]:
    """The published study with the value at a dotted key replaced or added."""
    content = copy.deepcopy(PUBLISHED)
    *parents, last = key.split("/")
    section = reduce(lambda found, part: found[int(part) if part.isdigit() else part], parents, content)
    section[last] = value
    return content


def without(key: str) -> dict[str, Any]:
    content = copy.deepcopy(PUBLISHED)
    *parents, last = key.split("/")
    del reduce(lambda found, part: found[part], parents, content)[last]
    return content


def overlaid(*overlays: dict[str, Any]) -> dict[str, Any]:
    """The published study under overlays, as Snakemake merges them."""
    content = copy.deepcopy(PUBLISHED)
    for overlay in overlays:
        update_config(content, overlay)
    return content


def refusal(content: dict[str, Any]) -> str:
    with pytest.raises(InputError) as raised:
        configuration.load(content)
    return str(raised.value)


# The published study


def test_the_published_study_is_valid():
    assert configuration.load(PUBLISHED).study.cohorts == ["brca", "luad"]


@pytest.mark.parametrize("section", SECTIONS)
def test_config_yaml_holds_every_key_of_a_section_with_its_default(section):
    assert PUBLISHED[section] == FIELDS[section].get_default().model_dump(mode="json")


def test_the_published_study_filters_no_tile_by_tumour():
    assert PUBLISHED["tumour_filters"] == FIELDS["tumour_filters"].get_default() == {}
    assert all("tumour_filter" not in cohort for cohort in PUBLISHED["cohorts"].values())


def test_config_yaml_has_no_section_that_is_not_described():
    assert list(PUBLISHED) == list(FIELDS)


@pytest.mark.parametrize("section", [name for name in SECTIONS if name != "study"])
def test_a_comment_above_each_key_of_config_yaml_is_its_description(section):
    text = (REPOSITORY / "config.yaml").read_text(encoding="utf-8")
    lines = re.search(rf"^{section}:\n((?:  .*\n|\n)+)", text, re.MULTILINE).group(1).splitlines()
    comment_of = {
        line.split(":")[0].strip(): above.strip().removeprefix("# ")
        for above, line in pairwise(lines)
        if re.match(r"  [a-z]", line)
    }
    fields = type(FIELDS[section].get_default()).model_fields
    assert comment_of == {key: field.description for key, field in fields.items()}


def test_brca_has_the_ten_traits_of_table_1_in_its_order():
    traits = ["miR-17-5p", "MKI67", "FOXA1", "MYC", "miR-29a-3p", "ESR1", "CD24", "FOXC1", "ERBB2", "EGFR"]
    assert PUBLISHED["cohorts"]["brca"]["traits"] == traits


def test_luad_has_the_five_traits_of_table_1_in_its_order():
    assert PUBLISHED["cohorts"]["luad"]["traits"] == ["miR-17-5p", "KRAS", "CD274", "miR-21-5p", "EGFR"]


@pytest.mark.parametrize("cohort", ["brca", "luad"])
def test_the_traits_are_those_with_published_values(cohort):
    table = published.table()
    stated = table[(table["cohort"] == cohort.upper()) & (table["quantity"] == "mean_test_auc")]
    assert PUBLISHED["cohorts"][cohort]["traits"] == list(stated["trait"])


def test_every_defined_trait_is_one_of_a_cohort():
    used = {trait for cohort in PUBLISHED["cohorts"].values() for trait in cohort["traits"]}
    assert set(PUBLISHED["traits"]) == used


def test_mirnas_are_mature_ones():
    # hsa-miR-17-5p is measured; hsa-mir-17 is its precursor.
    features = [trait["feature"] for trait in PUBLISHED["traits"].values() if trait["table"] == "mirna"]
    assert len(features) == 3
    assert all(re.fullmatch(r"hsa-miR-\w+-[35]p", feature) for feature in features)


def test_the_heterogeneity_traits_are_those_of_fig_4():
    assert set(PUBLISHED["cohorts"]["brca"]["heterogeneity_traits"]) == {"MKI67", "miR-17-5p"}
    assert set(PUBLISHED["cohorts"]["luad"]["heterogeneity_traits"]) == {"KRAS", "miR-17-5p"}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("tiles.tile_px", 512),
        ("tiles.mpp", 0.5),
        ("tiles.max_background", 0.5),
        ("labels.low", 0.2),
        ("labels.high", 0.8),
        ("splits.test", 0.1),
        ("splits.rounds", 5),
        ("training.backbone", "inception_v3"),
        ("training.weights", "random"),
        ("training.batch_size", 144),
        ("training.learning_rate", 1e-3),
        ("training.evaluations_per_epoch", 16),
        ("training.plateau_patience", 10),
        ("training.stop_patience", 30),
        ("training.checkpoint_on", "slide_auc"),
        ("training.augmentations", ["horizontal_flip", "vertical_flip"]),
        ("predictions.tile_threshold", 0.5),
        ("ensembles.members", 3),
        ("heterogeneity.denominator", "positive"),
    ],
)
def test_what_the_paper_fixes_is_the_default(key, value):
    section, name = key.split(".")
    assert getattr(FIELDS[section].get_default(), name) == value


def test_the_groups_of_survival_are_those_of_fig_4():
    groups = configuration.load(PUBLISHED).survival.groups
    assert [(group.low, group.high) for group in groups] == [(0.5, 0.5), (0.3, 0.7)]


# The page


def test_docs_configuration_md_is_what_the_descriptions_make():
    page = REPOSITORY / "docs" / "configuration.md"
    assert page.read_text(encoding="utf-8") == reference.reference(), (
        "make it anew: python -m workflow_scripts.lib.configuration > docs/configuration.md"
    )


def test_the_module_prints_the_page():
    command = [sys.executable, "-X", "utf8", "-m", "workflow_scripts.lib.configuration"]
    printed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, encoding="utf-8", check=True)
    assert printed.stdout == reference.reference()


def test_every_section_and_key_is_described():
    for place, section in reference.places("", configuration.Configuration):
        assert section.__doc__, place
        for key, field in section.model_fields.items():
            assert field.description, f"{place}.{key}"
            assert field.description.endswith("."), f"{place}.{key}"


def test_the_page_has_a_row_of_three_cells_for_every_key():
    page = reference.reference()
    for place, section in reference.places("", configuration.Configuration):
        table = page.split(f"\n## `{place}`\n")[1].split("\n## ")[0]
        rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in table.splitlines() if line.startswith("| `")]
        assert [row[0].strip(" `") for row in rows] == list(section.model_fields)
        assert all(len(row) == 3 and all(cell.strip() for cell in row) for row in rows)


def test_the_page_says_default_and_choices():
    page = reference.reference()
    row = '| `denominator` | `"positive"` | Tiles that a combination\'s share refers to: those with any trait, or all.'
    assert f"{row} Choices: `positive`, `all`. |" in page
    assert "| `title` | required |" in page
    assert "| `censor_at_months` | `null` |" in page


# What is refused, and how


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("tile", "tiles"),
        ("study/seeds", "seed"),
        ("cohorts/brca/trait", "traits"),
        ("cohorts/brca/slides/foldr", "folder"),
        ("cohorts/brca/expression/mirnas", "mirna"),
        ("traits/MKI67/features", "feature"),
        ("tiles/tile_size", "tile_px"),
        ("training/evaluations_per_epochs", "evaluations_per_epoch"),
        ("survival/group", "groups"),
        ("survival/groups/0/hihg", "high"),
    ],
)
def test_a_wrong_key_is_answered_with_the_nearest_right_one(key, meant):
    said = refusal(changed(key, 1))
    assert f"  {key.replace('/', '.')}: unknown key; did you mean {meant!r}?" in said.splitlines()


def test_a_key_that_resembles_none_is_answered_with_all():
    assert "ensembles.xyz: unknown key (members)" in refusal(changed("ensembles/xyz", 1))


def test_every_problem_is_told_at_once():
    content = changed("tiles/tile_pixels", 256)
    content["splits"]["rounds"] = 0
    del content["cohorts"]["luad"]["clinical"]
    said = refusal(content)
    assert "tiles.tile_pixels: unknown key; did you mean 'tile_px'?" in said
    assert "splits.rounds: Input should be greater than or equal to 1 (found 0)" in said
    assert "cohorts.luad: expected clinical to train models on, or the folder of trained `models` to apply" in said


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("study/cohorts", ["brac"], "study.cohorts: 'brac' is not among cohorts; did you mean 'brca'?"),
        ("study/cohorts", [], "study.cohorts: expected a cohort or more, or the section of a sister study"),
        ("study/cohorts", ["brca", "brca"], "study.cohorts: expected each name once"),
        (
            "cohorts/brca/traits",
            ["MKI67", "FOXA"],
            "cohorts.brca.traits: 'FOXA' is not among traits; did you mean 'FOXA1'?",
        ),
        ("cohorts/brca/traits", ["MKI67", "miR-17-5p", "MKI67"], "cohorts.brca.traits: expected each name once"),
        (
            "cohorts/brca/heterogeneity_traits",
            ["MKI67", "KRAS"],
            "cohorts.brca.heterogeneity_traits: 'KRAS' is not among cohorts.brca.traits",
        ),
        ("cohorts/brca/heterogeneity_traits", ["MKI67"], "heterogeneity_traits: List should have at least 2"),
        (
            "cohorts/brca/heterogeneity_traits",
            ["MKI67", "MKI67"],
            "cohorts.brca.heterogeneity_traits: expected each name once",
        ),
        ("cohorts/brca/expression/mrna", None, "is in the mrna table, and cohorts.brca.expression.mrna is not given"),
        ("cohorts/brca/slides/sheet", "s.tsv", "cohorts.brca.slides: expected either `sheet`, or `manifest`"),
        ("cohorts/brca/slides/manifest", None, "cohorts.brca.slides: expected either `sheet`, or `manifest`"),
        ("cohorts/brca/slides/download", False, "`manifest` needs the `folder` that its files are in, or `download"),
        ("cohorts/brca/slides/manifest", "gdc:tcga/brca", "expected a path or gdc:<project> (gdc:TCGA-BRCA), found"),
        ("cohorts/brca/slides/exclude", {"a.svs": ""}, "cohorts.brca.slides.exclude.a.svs: String should have at"),
        ("cohorts/brca/expression/mrna", "gdc:3586c0da/x.tsv", "expected a path or gdc:<id>/<file name>, found"),
        ("cohorts/brca/expression/mirna", f"gdc:{'0' * 8}-0000-0000-0000-{'0' * 12}/../x", "gdc:<id>/<file name>"),
        ("cohorts/brca/expression/tables", {"mrna": {"path": "x.tsv"}}, "tables.mrna: 'mrna' is the key of a PanCan"),
        ("cohorts/brca/slides/manifest", "GDC:TCGA-BRCA", "expected a path or gdc:<project> (gdc:TCGA-BRCA), found"),
        ("cohorts/brca/slides/sheet", "s.tsv", "found sheet and manifest. An overlay adds to what config.yaml gives"),
        ("cohorts/input", PUBLISHED["cohorts"]["luad"], "cohorts.input: results/input is of all cohorts; rename"),
        ("cohorts/brca/clinical", "cbioportal:../brca", "expected a path or cbioportal:<study>"),
        ("cohorts/brca/missing_traits", {"MYC": "lost"}, "cohorts.brca.missing_traits: MYC is among cohorts.brca.tr"),
        ("downloads/gdc", "ftp://gdc", "downloads.gdc: String should match pattern"),
        ("traits/MKI67/table", "rna", "trait MKI67 is in the rna table, and cohorts.brca.expression.tables.rna is not"),
        ("training/batch_size", 1, "training.batch_size: Input should be greater than or equal to 2 (found 1)"),
        ("ensembles/members", 6, "ensembles.members is 6, of only 5 rounds"),
        ("labels/near", 0.4, "labels: expected low + near ≤ 0.5 ≤ high − near, found 0.2, 0.4, 0.8"),
        ("splits/validation", 0.9, "splits: test and validation leave no one to train on: 0.1 + 0.9"),
        ("survival/groups", [{"low": 0.7, "high": 0.3}], "survival.groups.0: expected low ≤ high, found 0.7 and 0.3"),
        ("survival/groups", [], "survival.groups: List should have at least 1 item"),
        ("tiles/tile_px", "big", "tiles.tile_px: Input should be a valid integer"),
        ("tiles/background_rule", "otsu", "tiles.background_rule: Input should be 'saturation' or 'channel_220'"),
        ("training/stop_on", "auc", "training.stop_on: Input should be 'slide_auc', 'tile_auc' or 'loss' (found"),
        ("training", None, "training: Input should be"),
        ("predictions/tile_threshold", 1, "predictions.tile_threshold: Input should be less than 1 (found 1)"),
    ],
)
def test_what_cannot_be_used_is_said_with_its_place(key, value, said):
    assert said in refusal(changed(key, value))


@pytest.mark.parametrize("name", ["../escape", "a/b", ".hidden", "", "two words", "n" * 101])
@pytest.mark.parametrize("kind", ["cohorts", "traits"])
def test_a_name_that_is_not_safe_as_a_folder_is_refused(kind, name):
    content = copy.deepcopy(PUBLISHED)
    content[kind][name] = next(iter(content[kind].values()))
    assert "String should match pattern" in refusal(content)


def test_a_manifest_needs_the_folder_of_its_files_or_a_download():
    said = refusal(changed("cohorts/brca/slides", {"manifest": "m.txt"}))
    assert "cohorts.brca.slides: `manifest` needs the `folder` that its files are in, or `download: true`" in said
    said = refusal(changed("cohorts/brca/slides", {"manifest": "m.txt", "sheet": "s.tsv"}))
    assert "cohorts.brca.slides: expected either `sheet`, or `manifest` or `folder` or both" in said


def test_the_index_of_a_cohort_with_one_trait_is_refused():
    content = changed("cohorts/luad/traits", ["KRAS"])
    del content["cohorts"]["luad"]["heterogeneity_traits"]
    assert "cohorts.luad: a heterogeneity index needs two traits or more, found ['KRAS']" in refusal(content)


def test_a_truth_of_a_trait_that_the_cohort_has_not_is_refused_before_anything_runs():
    content = overlaid(read(REPOSITORY / "studies" / "demo.yaml"))
    content["cohorts"]["demo"]["truth"]["trait_b"] = "hsa-miR-demo-5p"
    said = refusal(content)
    assert "cohorts.demo.truth.trait_b: 'hsa-miR-demo-5p' is not among cohorts.demo.traits" in said
    assert "did you mean 'miR-demo-5p'?" in said


@pytest.mark.parametrize("given", [None, ["GLDA", "other"], ["GLDA", "miR-demo-5p", "other"]])
def test_a_truth_of_other_traits_than_those_of_the_index_is_refused(given):
    content = overlaid(read(REPOSITORY / "studies" / "demo.yaml"))
    content["traits"]["other"] = content["traits"]["GLDA"]
    content["cohorts"]["demo"] |= {"traits": ["GLDA", "miR-demo-5p", "other"], "heterogeneity_traits": given}
    said = refusal(content)
    assert "cohorts.demo.heterogeneity_traits: the truth is of GLDA and miR-demo-5p; expected exactly these two" in said
    assert f"found {given}" in said


def test_a_truth_of_some_of_the_traits_is_valid_in_any_order():
    content = overlaid(read(REPOSITORY / "studies" / "demo.yaml"))
    content["traits"]["other"] = content["traits"]["GLDA"]
    traits = {"traits": ["other", "GLDA", "miR-demo-5p"], "heterogeneity_traits": ["miR-demo-5p", "GLDA"]}
    content["cohorts"]["demo"] |= traits
    assert configuration.load(content).cohorts["demo"].truth.trait_a == "GLDA"


@pytest.mark.parametrize("name", ["none", "coords"])
def test_a_trait_named_as_something_else_in_the_results_is_refused(name):
    said = refusal(changed(f"traits/{name}", {"table": "mrna", "feature": "MKI67"}))
    assert f"traits.{name}: {name!r} means something else in the results; rename the trait" in said


def test_a_cohort_that_does_not_run_may_name_what_is_not_there():
    content = changed("cohorts/luad/traits", ["unheard-of", "unseen"])
    content["study"]["cohorts"] = ["brca"]
    assert configuration.load(content).study.cohorts == ["brca"]


def test_heterogeneity_traits_may_be_left_to_the_ranking():
    found = configuration.load(without("cohorts/brca/heterogeneity_traits"))
    assert found.cohorts["brca"].heterogeneity_traits is None


@pytest.mark.parametrize("thresholds", [(0.3, 0.7, 0.2), (0.4, 0.6, 0.1), (0.2, 0.8, 0.3), (0.2, 0.8, 0)])
def test_tiers_that_meet_in_the_middle_are_valid(thresholds):
    low, high, near = thresholds
    found = configuration.load(changed("labels", {"low": low, "high": high, "near": near}))
    assert found.labels.near == near


def test_it_cannot_be_changed_after_it_was_checked():
    with pytest.raises(ValidationError, match="frozen"):
        configuration.load(PUBLISHED).study.seed = 1


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"clases": {}}, ".clases: unknown key; did you mean 'classes'?"),
        ({"classes": {}}, ".classes: Dictionary should have at least 1 item"),
        ({"classes": {"Tumor": "two words"}}, ".classes.Tumor: String should match pattern"),
        ({"classes": {"Fat": "background"}}, ": classes: 'background' is the label of what is in no class"),
        ({"rule": "most"}, ".rule: Input should be 'majority', 'any', 'fraction' or 'centre' (found 'most')"),
        ({"rule": "fraction"}, ": `fraction` goes with the rule `fraction`, found None with 'fraction'"),
        ({"fraction": 0.5}, ": `fraction` goes with the rule `fraction`, found 0.5 with 'majority'"),
        ({"rule": "fraction", "fraction": 0}, ".fraction: Input should be greater than 0 (found 0)"),
    ],
)
def test_annotations_that_make_no_sense_are_refused(wrong, said):
    given = {"folder": "drawn", "classes": {"Tumor": "tumour"}} | wrong
    assert f"cohorts.brca.annotations{said}" in refusal(changed("cohorts/brca/annotations", given))


def test_the_classes_of_annotations_keep_their_order():
    given = {"folder": "drawn", "classes": {"Tumor": "tumour", "_2": "normal", "Fat": "stroma"}}
    found = configuration.load(changed("cohorts/brca/annotations", given)).cohorts["brca"].annotations
    assert list(found.classes) == ["Tumor", "_2", "Fat"]
    assert (found.rule, found.fraction) == ("majority", None)


def test_a_stain_reference_is_published_a_tile_or_an_image():
    for given in ("published", "tile:brca/TCGA-A1-A0SB-01Z-00-DX1.B34C/3/14", "references/good.png"):
        found = configuration.load(changed("stain", {"method": "macenko", "reference": given})).stain
        assert found.reference == given
    assert configuration.load(PUBLISHED).stain.method == "none"


@pytest.mark.parametrize(
    ("stain", "said"),
    [
        ({"method": "reinhard"}, "stain: reference: the published values are stains, and reinhard moves colours"),
        ({"method": "macenco"}, "stain.method: Input should be 'none', 'reinhard', 'macenko'"),
        ({"method": "macenko", "reference": "tile:brca/S/3"}, "expected a path or tile:<cohort>/<slide_id>/"),
        (
            {"method": "macenko", "reference": "tile:brac/S/3/4"},
            "stain.reference: 'brac' is not among cohorts; did you",
        ),
        ({"method": "macenko", "applied": "later"}, "stain.applied: Input should be 'on_read' or 'at_tiling'"),
    ],
)
def test_a_stain_that_makes_no_sense_is_refused(stain, said):
    assert said in refusal(changed("stain", stain))


# Overlays


@pytest.mark.parametrize("path", OVERLAYS, ids=[path.stem for path in OVERLAYS])
def test_an_overlay_gives_a_valid_study_of_what_it_lists(path):
    overlay = read(path)
    found = configuration.load(overlaid(overlay))
    assert found.study.cohorts == overlay["study"]["cohorts"]
    assert set(found.cohorts) == {*PUBLISHED["cohorts"], *overlay["cohorts"]}


def test_an_overlay_replaces_lists_whole_and_merges_dictionaries():
    overlay = {
        "study": {"cohorts": ["luad"]},
        "cohorts": {"luad": {"traits": ["KRAS", "EGFR"], "heterogeneity_traits": ["KRAS", "EGFR"]}},
        "survival": {"groups": [{"low": 0.4, "high": 0.6}]},
    }
    found = configuration.load(overlaid(overlay))
    assert found.study.cohorts == ["luad"]
    assert found.study.seed == PUBLISHED["study"]["seed"]
    assert found.cohorts["luad"].traits == ["KRAS", "EGFR"]
    assert found.cohorts["luad"].title == "TCGA-LUAD"
    assert [(group.low, group.high) for group in found.survival.groups] == [(0.4, 0.6)]


def test_the_demo_is_of_the_traits_that_are_generated():
    demo = configuration.load(overlaid(read(REPOSITORY / "studies" / "demo.yaml")))
    truth = demo.cohorts["demo"].truth
    assert (demo.traits[truth.trait_a].table, demo.traits[truth.trait_a].feature) == ("mrna", demo.demo.gene)
    assert (demo.traits[truth.trait_b].table, demo.traits[truth.trait_b].feature) == ("mirna", demo.demo.mirna)


def test_the_mini_cohort_has_an_annotated_patient_in_each_set_of_the_first_round():
    study = configuration.load(overlaid(read(REPOSITORY / "tests" / "workflow" / "mini.yaml")))
    demo, split = study.demo, study.splits
    patients = roster.enrol(demo.slides, special_cases=demo.special_cases, seed=demo.seed)
    slides = roster.list_slides(patients, slide_px=demo.slide_px, mpp=(0.249, 0.253), seed=demo.seed)
    annotated = {slide_id[:12] for slide_id in roster.choose_annotated(slides, demo.annotated, seed=demo.seed)}
    sets = splits.split_patients(
        (patient.patient_id for patient in patients),
        seed=study.study.seed, test=split.test, validation=split.validation, rounds=split.rounds,
    )  # fmt: skip
    of_annotated = sets[sets["patient_id"].isin(annotated)]
    assert sorted(of_annotated["set"]) == ["development", "development", "test"]
    assert sorted(of_annotated["round_1"]) == ["", "train", "validation"]


# What a cohort's results stand on


def test_the_configuration_of_a_cohort_has_no_other_cohort_or_trait():
    content = configuration.load(PUBLISHED).of_cohort("luad")
    assert list(content["cohorts"]) == ["luad"]
    assert list(content["traits"]) == PUBLISHED["cohorts"]["luad"]["traits"]
    assert content["training"] == PUBLISHED["training"]
    assert content["cohorts"]["luad"]["clinical"] == PUBLISHED["cohorts"]["luad"]["clinical"]


# Exports


def test_nothing_is_exported_unless_it_is_asked_for():
    found = configuration.load(PUBLISHED).exports
    assert found.among(["heterogeneity", "MKI67"], key="maps") == found.among(["MKI67"], key="heatmaps") == []


def test_a_cohort_exports_those_of_the_maps_that_it_has():
    exports = {"maps": ["KRAS", "heterogeneity", "MKI67"], "heatmaps": ["traits"]}
    found = configuration.load(changed("exports", exports)).exports
    brca, luad = ["heterogeneity", "MKI67", "ESR1"], ["heterogeneity", "KRAS", "tumour"]
    assert found.among(brca, key="maps") == ["heterogeneity", "MKI67"]
    assert found.among(luad, key="maps") == ["heterogeneity", "KRAS"]
    assert (found.among(brca, key="heatmaps"), found.among(luad, key="heatmaps")) == (["MKI67", "ESR1"], ["KRAS"])


@pytest.mark.parametrize(
    ("exports", "said"),
    [
        (
            {"maps": ["heterogenity"]},
            "exports.maps: 'heterogenity' is not among the maps of brca, luad; did you mean 'heterogeneity'?",
        ),
        ({"maps": ["MKI76"]}, "exports.maps: 'MKI76' is not among the maps of brca, luad; did you mean 'MKI67'?"),
        ({"heatmaps": ["FOXA"]}, "exports.heatmaps: 'FOXA' is not among the maps of brca, luad; did you mean 'FOXA1'?"),
        # It has a category for each tile, and no score.
        ({"heatmaps": ["heterogeneity"]}, "exports.heatmaps: 'heterogeneity' is not among"),
        ({"maps": ["tumour"]}, "exports.maps: 'tumour' is not among the maps of brca, luad"),
        ({"maps": ["EGFR", "EGFR"]}, "exports.maps: expected each name once"),
        ({"formats": ["geojson", "geojson"]}, "exports.formats: expected each name once"),
        ({"formats": ["svg"]}, "exports.formats.0: Input should be 'geojson' or 'ome_tiff'"),
        ({"formats": []}, "exports.formats"),
    ],
)
def test_a_map_that_no_cohort_has_is_an_error_with_the_nearest_right_one(exports, said):
    assert said in refusal(changed("exports", exports))


def test_a_trait_of_a_cohort_that_does_not_run_is_no_map():
    content = changed("exports", {"maps": ["KRAS"]})
    content["study"]["cohorts"] = ["brca"]
    assert "exports.maps: 'KRAS' is not among the maps of brca" in refusal(content)


@pytest.mark.parametrize("name", ["heterogeneity", "tumour"])
def test_a_trait_cannot_have_the_name_of_another_map(name):
    said = refusal(changed(f"traits/{name}", {"table": "mrna", "feature": "MKI67"}))
    assert f"traits.{name}: {name!r} means something else in the results" in said


# Detectors that start from others


def with_filter(name: str, **changes):
    """The demo of cross-cancer transfer, with a filter changed."""
    content = overlaid(read(REPOSITORY / "studies" / "transfer-demo.yaml"))
    content["tumour_filters"].setdefault(name, {}).update(changes)
    return content


@pytest.mark.parametrize(("start", "said"), [
    ("nobody", "tumour_filters.demo.starts_from: 'nobody' is not among tumour_filters"),
    ("demo", "tumour_filters.demo.starts_from: demo starts from demo"),
])  # fmt: skip
def test_a_filter_of_the_chain_starts_from_another_that_there_is(start, said):
    content = overlaid(read(REPOSITORY / "studies" / "demo.yaml"))
    content["tumour_filters"]["demo"]["starts_from"] = start
    assert said in refusal(content)


@pytest.mark.parametrize(("filter_name", "changes", "said"), [
    ("source", {"tiles_per_class": 5}, "tumour_filters.source.tiles_per_class: 5, and random has 1200"),
    ("source", {"slides": 3}, "tumour_filters.source.slides: 3, and random has None"),
    ("unrelated", {"held_out": False}, "tumour_filters.unrelated.held_out: it is among transfer.compared"),
    ("source_detector", {"training": {"backbone": "resnet18"}}, "found source_detector, of resnet18"),
    ("source_detector", {"cohorts": [], "folder": "own", "threshold": 0.5}, "found source_detector, which is a folder"),
    ("source", {"cohorts": ["transfer_source"]}, "expected transfer_target alone, found transfer_source"),
    ("random", {"training": {"imagenet": "w.pth"}}, "imagenet: w.pth is not used, since weights is 'random'"),
    ("random", {"training": {"dropout": 0.5}}, "dropout 0.5 is of the layers of a `head`, and there is none"),
    ("source", {"training": {"weights": "imagenet"}}, "it starts from the weights of source_detector"),
])  # fmt: skip
def test_detectors_that_cannot_be_compared_are_refused(filter_name, changes, said):
    assert said in refusal(with_filter(filter_name, **changes))


def test_a_row_of_the_paper_is_of_a_compared_detector():
    content = overlaid(read(REPOSITORY / "studies" / "transfer-demo.yaml"))
    content["transfer"]["in_paper"] = {"sauce": "CAMELYON16"}
    assert "transfer.in_paper: 'sauce' is not among transfer.compared; did you mean 'source'?" in refusal(content)


def test_fewer_slides_make_filters_of_their_own_that_start_alike():
    filters = configuration.load(overlaid(read(REPOSITORY / "studies" / "transfer-demo.yaml"))).tumour_filters
    assert filters["source_of_2_slides"] == filters["source"].model_copy(update={"slides": 2})
    assert "source_detector_of_2_slides" not in filters


# Neural image compression


def compression(part: str, name: str | None = None, **changes):
    """The study as published, with one of its encoders, targets or tasks changed, or a section of it."""
    content = overlaid(read(REPOSITORY / "studies" / "compression.yaml"))
    section = content["compression"].setdefault(part, {})
    (section if name is None else section.setdefault(name, {})).update(changes)
    return content


@pytest.mark.parametrize(("part", "name", "changes", "said"), [
    ("tasks", "lymph", {"cohorts": ["liver"]}, "lymph.cohorts: liver has no cohorts.liver.annotations"),
    ("tasks", "lymph", {"classes": ["tumor", "background"]}, "'tumor' is not among labels of cohorts.lymph_nodes"),
    ("encoders", "multitask", {"tasks": ["limph"]}, "compression.encoders.multitask.tasks: 'limph' is not among tasks"),
    ("encoders", "multitask", {"cohorts": ["liver"]}, "cohorts: not used with an encoder of kind multitask"),
    ("encoders", "bigan", {"cohorts": []}, "cohorts: expected with an encoder of kind bigan"),
    ("encoders", "mean_rgb", {"features": 16}, "features: a mean colour has 3 numbers, found 16"),
    ("targets", "survival", {"encoders": ["multi"]}, "compression.targets.survival.encoders: 'multi' is not among"),
    ("targets", "survival", {"clinical": None}, "clinical: expected with a target of kind survival"),
    ("targets", "survival", {"column": "months"}, "column: not used with a target of kind survival"),
    ("targets", "growth_pattern", {"favourable": "HGP"}, "favourable: 'HGP' is not among classes"),
    ("targets", "growth_pattern", {"classes": ["dHGP"]}, "classes: expected two or more, found ['dHGP']"),
    ("targets", "proliferation", {"test_cohort": "tupac_training"}, "test_cohort: expected another cohort"),
    ("ablation", None, {"target": "speed"}, "compression.ablation.target: 'speed' is not among targets"),
    ("ablation", None, {"subsets": [["lymph", "lungs"]]}, "subsets: 'lungs' is not among tasks"),
    ("ablation", None, {"subsets": [[]]}, "subsets: expected a task or more in each, found an empty one"),
    ("ablation", None, {"tasks": ["repeat"]}, "tasks: 'repeat' means something else in the ablation's table"),
    ("ablation", None, {"target": "survival"}, "ablation.target: 'survival' is not among targets of kind number"),
    ("encoders", "ablation_lymph", {"kind": "mean_rgb", "features": 3}, "the ablation has an encoder of this name"),
    ("encoders", "own", {"kind": "trained", "folder": "f", "features": 8}, "features: not used with an encoder"),
    ("training", None, {"stop_on": "accuracy"}, "compression.training.stop_on: the encoder bigan has no accuracy"),
    ("network", "training", {"checkpoint_on": "spearman"}, "checkpoint_on: a target of kind class has no spearman"),
    ("targets", "proliferation", {"test_cohort": "lymph_nodes"}, "the encoder multitask learns from lymph_nodes"),
])  # fmt: skip
def test_a_study_of_compression_that_cannot_be_run_is_refused(part, name, changes, said):
    assert said in refusal(compression(part, name, **changes))


def test_what_encoders_are_compared_by_is_a_class():
    content = overlaid(read(REPOSITORY / "studies" / "compression.yaml"))
    content["compression"]["compared"] = "growth_patern"
    assert "compression.compared: 'growth_patern' is not among targets of kind class" in refusal(content)


@pytest.mark.parametrize(("px", "shrink", "said"), [
    (30, 1, "tiles.tile_px: 30, of which the convolutions of encoders leave nothing; expected 31 or more"),
    (72, 1, "tiles.tile_px: 72; an autoencoder or a bigan draws multiples of 16 px"),
    (80, 2, "tiles.tile_px: 80; an autoencoder or a bigan draws multiples of 32 px"),
])  # fmt: skip
def test_patches_that_encoders_cannot_take_are_refused_before_any_slide_is_tiled(px, shrink, said):
    content = overlaid(read(REPOSITORY / "studies" / "compression.yaml"))
    content["tiles"]["tile_px"], content["compression"]["shrink"] = px, shrink
    assert said in refusal(content)


def test_two_subsets_of_one_name_are_refused():
    content = compression("ablation", tasks=["lymph", "mitosis", "lymph-mitosis"])
    content["compression"]["tasks"]["lymph-mitosis"] = content["compression"]["tasks"]["lymph"]
    assert "tasks: two subsets of lymph, mitosis, lymph-mitosis would have one name" in refusal(content)


def test_traits_on_grids_need_no_target():
    content = overlaid(read(REPOSITORY / "studies" / "compression.yaml"))
    content["compression"] |= {"targets": {}, "ablation": None}
    assert "compression.targets: expected a target or more, or a `trait_encoder`" in refusal(content)
    content["compression"]["trait_encoder"] = "multitask"
    assert configuration.load(content).compression.used_encoders() == ["multitask"]


def test_the_ablation_has_every_subset_of_tasks_and_repeats_the_whole():
    encoders = configuration.load(overlaid(read(REPOSITORY / "studies" / "compression.yaml"))).compression.encoders
    of_ablation = {name: encoder for name, encoder in encoders.items() if name.startswith("ablation_")}
    numbers = [len(encoder.tasks) for encoder in of_ablation.values()]
    # Paper, 4.3: four encoders of one task, six of two, four of three, and four of all.
    assert [numbers.count(n) for n in (1, 2, 3, 4)] == [4, 6, 4, 4]
    assert {encoder.features for encoder in of_ablation.values()} == {16}
    assert of_ablation["ablation_lymph-colorectal"].tasks == ["lymph", "colorectal"]


def test_an_ablation_may_have_some_of_the_subsets():
    asked = {"subsets": [["mitosis", "lymph"], ["prostate"]], "repeats": 2}
    encoders = configuration.load(compression("ablation", **asked)).compression.encoders
    names = [name for name in encoders if name.startswith("ablation_")]
    assert names == ["ablation_prostate", "ablation_lymph-mitosis", "ablation_all_1", "ablation_all_2"]
