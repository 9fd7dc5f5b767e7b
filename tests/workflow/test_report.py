"""Snakemake's report of a finished cohort: every caption can be filled in, every figure is there."""


def test_the_report_has_the_figures_of_the_cohort_and_of_its_filter(finished, tmp_path):
    run = finished.snakemake("--report", str(tmp_path / "report.html"))
    assert run.returncode == 0, run.stdout
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    for figure in ("Stains before and after", "Tumour filter", "Fig. 4 Survival by HTI", "Table 1"):
        assert figure in page
