"""TCGA barcodes are read by field, or not at all."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow_scripts.lib import barcodes
from workflow_scripts.lib.barcodes import SampleBarcode, SlideBarcode

UPPER = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "TCGA-AR-A5QM-01Z-00-DX1.A9017CED-FF57-4090-95B9-94DC91854347.svs",
            SlideBarcode("TCGA-AR-A5QM", "01", "Z", "DX", 1),
        ),
        ("TCGA-50-5066-02Z-00-DX1.A2CA045A.svs", SlideBarcode("TCGA-50-5066", "02", "Z", "DX", 1)),
        ("TCGA-49-4488-01Z-00-DX10.F7B.svs", SlideBarcode("TCGA-49-4488", "01", "Z", "DX", 10)),
        ("TCGA-E2-A15E-06Z-00-DX1.D394A007.svs", SlideBarcode("TCGA-E2-A15E", "06", "Z", "DX", 1)),
        ("TCGA-PL-A8LZ-01A-03-DX3.E5D16DBF.svs", SlideBarcode("TCGA-PL-A8LZ", "01", "A", "DX", 3)),
        ("TCGA-CR-7395-01A-01-TS1.svs", SlideBarcode("TCGA-CR-7395", "01", "A", "TS", 1)),
        ("TCGA-CR-7395-01A-01-BS2", SlideBarcode("TCGA-CR-7395", "01", "A", "BS", 2)),
        ("TCGA-A7-A0DB-11A-01-TSC.svs", SlideBarcode("TCGA-A7-A0DB", "11", "A", "TS", 3)),
        ("TCGA-C8-A1HN-01Z-00-DX1.region40x.svs", SlideBarcode("TCGA-C8-A1HN", "01", "Z", "DX", 1)),
    ],
)
def test_a_slide_name_is_read_by_field(name, expected):
    assert barcodes.parse_slide(name) == expected


@pytest.mark.parametrize(
    "name",
    [
        "",
        "CMU-1-Small-Region.svs",
        "truncated_half_TCGA-CR-7395.svs",
        "xTCGA-AR-A5QM-01Z-00-DX1.svs",
        "TCGA-AR-A5QM",
        "TCGA-AR-A5QM-01Z",
        "TCGA-AR-A5QM-01Z-00",
        "TCGA-AR-A5QM-01-00-DX1.svs",
        "TCGA-AR-A5QM-01Z-00-DX.svs",
        "TCGA-AR-A5QM-01Z-00-DX0.svs",
        "TCGA-AR-A5QM-01Z-00-DX1_copy.svs",
        "TCGA-AR-A5QM-01Z-00-DX1-2.svs",
        "TCGA-AR-A5QMX-01Z-00-DX1.svs",
        "tcga-ar-a5qm-01z-00-dx1.svs",
        "TCGA-AR-A5QM-01Z-00-DX1.a/b.svs",
        "TCGA-AR-A5QM-01Z-00-DX1.svs\n",
        "TCGA-AR-A5QM-٠١Z-00-DX1.svs",
        "TCGA-3C-AAAU-01A-11R-A085-13",
    ],
)
def test_a_name_that_is_no_slide_barcode_gives_none(name):
    assert barcodes.parse_slide(name) is None


def test_only_dx_slides_are_diagnostic():
    diagnostic = barcodes.parse_slide("TCGA-49-4488-01Z-00-DX10.svs")
    frozen = barcodes.parse_slide("TCGA-CR-7395-01A-01-TS1.svs")
    assert diagnostic.is_diagnostic
    assert diagnostic.diagnostic_index == 10
    assert not frozen.is_diagnostic
    assert frozen.diagnostic_index is None


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("TCGA-A1-A0SE-01A-11R-A085-13", SampleBarcode("TCGA-A1-A0SE", "01", "A")),
        ("TCGA-3C-AAAU-01", SampleBarcode("TCGA-3C-AAAU", "01", "")),
        ("TCGA-3C-AAAU-06B", SampleBarcode("TCGA-3C-AAAU", "06", "B")),
        ("TCGA-3C-AAAU-11A-12", SampleBarcode("TCGA-3C-AAAU", "11", "A")),
        ("TCGA-3C-AAAU-01A-11H", SampleBarcode("TCGA-3C-AAAU", "01", "A")),
        ("TCGA-3C-AAAU-01A-11H-A10J", SampleBarcode("TCGA-3C-AAAU", "01", "A")),
    ],
)
def test_a_sample_or_aliquot_is_read_by_field(name, expected):
    assert barcodes.parse_sample(name) == expected


@pytest.mark.parametrize(
    "name",
    [
        "TCGA-3C-AAAU",
        "TCGA-3C-AAAU-1",
        "TCGA-3C-AAAU-01-11R",
        "TCGA-3C-AAAU-01A-11-A085",
        "TCGA-3C-AAAU-01A-11R-A085-13-99",
        "TCGA-3C-AAAU-01Z-00-DX1",
        "TCGA.3C.AAAU.01A",
        "patient 7",
    ],
)
def test_a_name_that_is_no_sample_barcode_gives_none(name):
    assert barcodes.parse_sample(name) is None


@given(
    site=st.text(alphabet=UPPER + "0123456789", min_size=2, max_size=2),
    participant=st.text(alphabet=UPPER + "0123456789", min_size=4, max_size=4),
    sample_type=st.integers(1, 99),
    vial=st.sampled_from(UPPER),
    portion=st.integers(0, 99),
    kind=st.sampled_from(["DX", "TS", "MS", "BS"]),
    number=st.integers(1, 999),
)
def test_every_field_comes_back(site, participant, sample_type, vial, portion, kind, number):
    name = f"TCGA-{site}-{participant}-{sample_type:02d}{vial}-{portion:02d}-{kind}{number}.0A1B.svs"
    expected = SlideBarcode(f"TCGA-{site}-{participant}", f"{sample_type:02d}", vial, kind, number)
    assert barcodes.parse_slide(name) == expected


@given(name=st.text())
def test_any_text_is_parsed_or_refused(name):
    assert barcodes.parse_slide(name) is None or name.startswith("TCGA-")
    assert barcodes.parse_sample(name) is None or name.startswith("TCGA-")


@pytest.mark.parametrize(("name", "claims"), [("TCGA-x", True), ("tcga_1.svs", True), ("TCGAx", False), ("a", False)])
def test_what_begins_like_tcga_claims_to_be_it(name, claims):
    assert barcodes.claims_to_be_tcga(name) is claims


@pytest.mark.parametrize("suffix", [".svs", ""])
@pytest.mark.parametrize(("cohort", "n"), [("brca", 761), ("luad", 469)])
def test_every_slide_of_the_published_manifests_is_read(shared_data: Path, cohort, n, suffix):
    lines = (shared_data / "tcga" / f"gdc_manifest_{cohort}_PathoMCH.txt").read_text().splitlines()[1:]
    names = [line.split("\t")[1].removesuffix(".svs") + suffix for line in lines]
    read = [barcodes.parse_slide(name) for name in names]
    assert len(read) == n
    assert all(barcode is not None and barcode.is_diagnostic for barcode in read)


def test_every_aliquot_of_the_expression_tables_is_read(shared_data: Path):
    lines = (shared_data / "tcga" / "BRCA_mirna_rpm.csv").read_text().splitlines()[1:]
    for line in lines:
        sample, patient, sample_type = line.split(",")[:3]
        barcode = barcodes.parse_sample(sample)
        assert (barcode.patient_id, barcode.sample_type) == (patient, sample_type)
    pam50 = shared_data / "tcga" / "TCGA_breast_cancer_ERpositive_vs_ERnegative_PAM50.tsv"
    samples = pam50.read_text().splitlines()[0].split("\t")[1:]
    assert len(samples) == 1036
    assert all(barcodes.parse_sample(sample) for sample in samples)
