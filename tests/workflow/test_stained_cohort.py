"""A cohort whose stain is normalised: fitted per slide, listed, drawn, and stored recoloured."""

import pytest
from checkouts import MINI

from workflow_scripts.lib import files, planning, stained_slides, stains, tiles

SECTION = "stain:\n  method: macenko\n\n"
RULES = {"fit_reference", "fit_stain", "list_stains", "normalise_tiles", "draw_stains"}
FIGURE = "results/mini/figures/stains.png"


@pytest.mark.slow
def test_a_cohort_whose_stain_is_normalised_shows_it(copy):
    slides = list(planning.usable_files(copy.folder / "results/mini/sheet.tsv"))
    recoloured_stores = [f"results/mini/normalised/{slide}.h5" for slide in slides[:2]]
    assert copy.planned(FIGURE, *recoloured_stores) == {"normalise_tiles": 2}
    run = copy.snakemake(*recoloured_stores)
    assert run.returncode == 0, run.stdout

    results = copy.folder / "results/mini"
    table = files.read_table(results / "stains.tsv", text=stained_slides.TABLE_TEXT)
    assert table["slide_id"].tolist() == slides
    assert (table["status"] == "normalised").all()
    for slide in slides[:2]:
        found = stains.read_normalisation(results / f"stains/{slide}.json")
        stores = (results / folder / f"{slide}.h5" for folder in ("tiles", "normalised"))
        with tiles.open_store(next(stores)) as raw, tiles.open_store(next(stores)) as normalised:
            assert len(raw) == len(normalised) > 0
            recoloured = stains.recolour(tiles.decode(raw.encoded(0)), found)
            assert abs(tiles.decode(normalised.encoded(0)).astype(int) - recoloured).mean() < 3

    # Nothing is left to do; another reference fits all slides anew, and a tile that is none is said at once.
    assert copy.planned(FIGURE, *recoloured_stores) == {}
    with tiles.open_store(results / f"tiles/{slides[0]}.h5") as raw:
        column, row = raw.coords[0]
    copy.edit(MINI, "  method: macenko\n", f"  method: reinhard\n  reference: tile:mini/{slides[0]}/{column}/{row}\n")
    assert copy.planned(FIGURE) == {"fit_reference": 1, "fit_stain": 8, "list_stains": 1, "draw_stains": 1}
    run = copy.snakemake(FIGURE)
    assert run.returncode == 0, run.stdout
    assert list(files.read_table(results / "stains.tsv").columns[5:]) == list(stained_slides.COLOUR_COLUMNS)
    copy.edit(MINI, f"tile:mini/{slides[0]}", "tile:mini/nobody")
    run = copy.snakemake("--dry-run", FIGURE)
    assert run.returncode != 0
    assert "cohort mini lists no slide nobody" in run.stdout


def test_models_read_the_recoloured_stores_where_stain_is_applied_at_tiling(copy):
    copy.edit(MINI, "  method: macenko\n", "  method: macenko\n  applied: at_tiling\n")
    planned = copy.planned()
    assert planned["normalise_tiles"] == 8
    assert planned["train_model"] == 4
    assert not {"tile_slide", "fit_stain"} & set(planned)


def test_a_cohort_as_scanned_has_no_job_for_stains(copy):
    copy.edit(MINI, SECTION, "")
    assert not RULES & set(copy.planned("--forcerun", "tile_slide"))
