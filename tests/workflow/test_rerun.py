"""What a change reruns: exactly what depends on it."""

import os
import shutil
from pathlib import Path

import pytest
from checkouts import MINI

from workflow_scripts.lib import planning

TILES = "workflow_scripts/lib/tiles.py"
SURVIVAL = {
    "analyse_survival", "draw_survival_curves", "draw_hazard_ratios", "draw_expression_survival",
    "draw_hti_by_expression", "draw_hti_by_category", "summarise",
}  # fmt: skip


def test_a_finished_run_has_nothing_to_do(finished):
    assert finished.planned() == {}


def test_touched_files_comments_and_docstrings_rerun_nothing(copy):
    for path in [*copy.folder.glob("workflow_scripts/**/*.py"), *copy.folder.glob("rules/*.smk")]:
        os.utime(path)
    copy.edit(TILES, '"""Tiles: one lattice', '"""Tiles, of which there is one lattice')
    copy.edit(TILES, "# The lattice\n", "# The lattice of a slide\n")
    copy.edit("workflow_scripts/tile_slide.py", '"""Cut one slide', '"""Cut a slide')
    assert copy.planned() == {}


@pytest.mark.parametrize("history", [True, False], ids=["with Snakemake's records", "with results alone"])
def test_a_fresh_clone_with_the_same_results_reruns_nothing(copy, history):
    if not history:
        shutil.rmtree(copy.folder / ".snakemake")
    assert copy.planned() == {}


def test_changed_tiling_code_reruns_tiling_and_what_follows(copy):
    copy.edit(TILES, "THUMBNAIL_PX = 1024", "THUMBNAIL_PX = 1000")
    planned = copy.planned()
    assert planned["tile_slide"] == 8
    assert {"train_model", "predict_slides", "map_slides", "analyse_survival", "draw_survival_curves"} <= set(planned)
    assert not {"make_demo_cohort", "assemble_cohort"} & set(planned)


def test_a_changed_hti_threshold_reruns_survival_only(copy):
    copy.edit("config.yaml", "{low: 0.5, high: 0.5}", "{low: 0.4, high: 0.6}")
    assert set(copy.planned()) == SURVIVAL


def test_a_changed_tumour_threshold_trains_nothing(copy):
    copy.edit(MINI, "threshold: sensitivity_95", "threshold: 0.4")
    planned = copy.planned()
    assert {"judge_filter", "predict_slides", "map_slides", "measure_heterogeneity"} <= set(planned)
    assert not {"train_filter", "filter_slides", "score_annotated", "train_model", "fit_stain", "tile_slide"} & set(
        planned
    )


def test_models_that_learn_tumour_tiles_alone_learn_again_and_the_filter_does_not(copy):
    copy.edit(MINI, "    in_training: false\n", "    in_training: true\n")
    planned = copy.planned()
    assert planned["train_model"] == 4
    # Now each slide's tumour is a file of its own.
    assert planned["filter_slides"] == 8
    assert not {"train_filter", "score_annotated", "judge_filter", "fit_stain", "tile_slide"} & set(planned)


def test_another_stain_reruns_all_that_sees_colours_and_no_tile(copy):
    copy.edit(MINI, "  method: macenko\n", "  method: macenko_least_squares\n")
    planned = copy.planned()
    assert planned["fit_stain"] == 8
    assert {"train_filter", "train_model", "predict_slides", "map_slides"} <= set(planned)
    assert not {"tile_slide", "read_annotations", "assemble_cohort"} & set(planned)


def test_a_number_written_in_another_way_reruns_nothing(copy):
    copy.edit("config.yaml", "learning_rate: 0.001", "learning_rate: 1.0e-3")
    assert copy.planned() == {}


@pytest.mark.parametrize("of_a_set", [True, False], ids=["a training slide", "a slide in no set"])
def test_a_replaced_slide_reruns_its_tiles_its_chunk_and_the_models_that_learn_from_it(copy, of_a_set):
    results = copy.folder / "results" / "mini"
    slides = planning.usable_files(results / "sheet.tsv")
    learning = {
        slide: sum(slide in selection["train"] or slide in selection["validation"] for selection in selections(results))
        for slide in slides
    }
    slide = next(slide for slide, models in learning.items() if bool(models) == of_a_set)
    file = copy.folder / slides[slide]
    file.write_bytes(next(other for other in file.parent.iterdir() if other != file).read_bytes())
    planned = copy.planned()
    assert planned["tile_slide"] == 1
    assert planned.get("train_model", 0) == learning[slide]
    chunks = {planning.chunk_of(name, chunks=2) for name in slides}
    assert planned["predict_slides"] == (len(chunks) if learning[slide] else 1)
    assert "assemble_cohort" not in planned


def selections(results: Path) -> list[dict[str, dict[str, int]]]:
    return [
        planning.selection(results / "splits.tsv", results / "labels" / f"{trait}.tsv", round_number=number)
        for trait in ("GLDA", "miR-demo-5p")
        for number in (1, 2)
    ]


def test_an_added_patient_moves_no_one_between_sets(copy):
    manifest = copy.folder / "results/mini/input/gdc_manifest.txt"
    splits = copy.folder / "results/mini/splits.tsv"
    before = set(splits.read_text().splitlines())
    line = manifest.read_text().splitlines()[1]
    fields = line.replace("TCGA-DM-1000", "TCGA-DM-9999").split("\t")
    # Another patient's slide has other bytes; a second slide of the same md5 would be refused.
    added = "\t".join("0" * 32 if len(field) == 32 else field for field in fields)
    manifest.write_text(f"{manifest.read_text()}{added}\n")
    run = copy.snakemake("results/mini/splits.tsv")
    assert run.returncode == 0, run.stdout
    after = set(splits.read_text().splitlines())
    assert before < after
    assert len(after) == len(before) + 1


def test_a_wrong_key_is_answered_before_anything_runs(copy):
    copy.edit("tests/workflow/mini.yaml", "tile_px: 64", "tile_size: 64")
    run = copy.snakemake("--dry-run")
    assert run.returncode != 0
    assert "tiles.tile_size: unknown key; did you mean 'tile_px'?" in run.stdout


@pytest.mark.slow
def test_a_misspelt_clinical_column_stops_the_run_before_a_model_is_trained(copy):
    copy.edit(MINI, "covariates: [Sex]", "covariates: [Sexx]")
    copy.edit(MINI, "tile_px: 64", "tile_px: 32")
    run = copy.snakemake()
    assert run.returncode != 0
    assert "no clinical column 'Sexx'; did you mean 'Sex'?" in run.stdout
    assert "rule train_model:" not in run.stdout
    assert "rule tile_slide:" not in run.stdout.partition("rule describe_clinical:")[0]


def test_two_runs_do_not_write_at_once(copy):
    import fcntl

    with open(copy.folder / "results" / ".held", "w") as hold:
        fcntl.flock(hold, fcntl.LOCK_EX)
        run = copy.snakemake("--forcerun", "summarise")
    assert run.returncode != 0
    assert "another run is writing into results/" in run.stdout


@pytest.mark.slow
def test_a_cohort_whose_assembly_failed_is_not_taken_for_a_finished_one(copy):
    copy.edit(MINI, "validation: 0.3", "validation: 0.01")
    for _ in range(2):
        run = copy.snakemake()
        assert run.returncode != 0
        assert "expected a patient or more in each set" in run.stdout
