"""An input is a path, a place on a portal that a run fetches from, or a tile; nothing between these passes."""

import pytest

from workflow_scripts.lib import sources

ID = "3586c0da-64d0-4b74-a449-5ff4d9136611"


@pytest.mark.parametrize("kind", ["manifest", "table", "clinical", "stain"])
@pytest.mark.parametrize("path", ["m.txt", "../shared/a b.tsv", "/data/gdc/x.tsv", "results/demo/input/mrna.tsv"])
def test_a_path_is_itself(path, kind):
    assert sources.checked(path, kind=kind) == path
    assert sources.parts(path, kind=kind) is None
    assert sources.local_path(path, kind=kind, cohort="brca") == path


@pytest.mark.parametrize(
    ("source", "kind", "parts", "path"),
    [
        ("gdc:TCGA-BRCA", "manifest", {"project": "TCGA-BRCA"}, "results/brca/input/gdc_manifest.txt"),
        (f"gdc:{ID}/a.geneExp.tsv", "table", {"id": ID, "name": "a.geneExp.tsv"}, "results/input/gdc/a.geneExp.tsv"),
        (
            "cbioportal:brca_tcga",
            "clinical",
            {"study": "brca_tcga"},
            "results/input/cbioportal/brca_tcga/data_clinical_patient.txt",
        ),
        (
            "tile:other/TCGA-A1-A0SB-01Z-00-DX1.B34C/3/14",
            "stain",
            {"cohort": "other", "slide": "TCGA-A1-A0SB-01Z-00-DX1.B34C", "column": "3", "row": "14"},
            "results/other/tiles/TCGA-A1-A0SB-01Z-00-DX1.B34C.h5",
        ),
    ],
)
def test_a_place_on_a_portal_or_a_lattice_lies_under_results(source, kind, parts, path):
    assert sources.checked(source, kind=kind) == source
    assert sources.parts(source, kind=kind) == parts
    assert sources.local_path(source, kind=kind, cohort="brca") == path


def test_the_manifest_is_a_cohorts_own_and_tables_are_shared():
    of_two = [sources.local_path("gdc:TCGA-BRCA", kind="manifest", cohort=name) for name in ("one", "two")]
    assert of_two == ["results/one/input/gdc_manifest.txt", "results/two/input/gdc_manifest.txt"]
    assert len({sources.local_path(f"gdc:{ID}/a.tsv", kind="table", cohort=name) for name in ("one", "two")}) == 1


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("gdc:tcga-brca", "manifest"),
        ("gdc:TCGA-BRCA/..", "manifest"),
        (f"gdc:{ID}", "manifest"),
        ("gdc:TCGA-BRCA", "table"),
        (f"gdc:{ID}", "table"),
        (f"gdc:{ID}/", "table"),
        (f"gdc:{ID}/..", "table"),
        (f"gdc:{ID}/../../x", "table"),
        (f"gdc:{ID}/a/b", "table"),
        (f"gdc:{ID.upper()}/a.tsv", "table"),
        ("cbioportal:", "clinical"),
        ("cbioportal:../x", "clinical"),
        ("cbioportal:brca_tcga/data", "clinical"),
        ("gdc:brca_tcga", "clinical"),
        ("cbioportal:brca_tcga\n", "clinical"),
        ("tile:brca/S1/3", "stain"),
        ("tile:brca/S1/3/-1", "stain"),
        ("tile:brca/../S1/3/1", "stain"),
        ("tile:brca/S1/3/1/2", "stain"),
        ("Tile:brca/S1/3/1", "stain"),
        ("gdc:TCGA-BRCA", "stain"),
    ],
)
def test_what_is_neither_is_refused_with_the_form_that_is_expected(source, kind):
    with pytest.raises(ValueError, match=r"expected a path or (gdc|cbioportal|tile):<"):
        sources.checked(source, kind=kind)
