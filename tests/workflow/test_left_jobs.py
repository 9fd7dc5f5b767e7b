"""SLURM is asked for the jobs of a run that died by the next run itself, once: not in dry runs, and not in jobs."""

import os


def test_only_the_run_itself_asks(copy, tmp_path, monkeypatch):
    squeue, asked = tmp_path / "bin" / "squeue", tmp_path / "asked"
    squeue.parent.mkdir()
    squeue.write_text(f"#!/bin/sh\necho asked >> '{asked}'\n")
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", f"{squeue.parent}{os.pathsep}{os.environ['PATH']}")
    target = copy.folder / "results" / "mini" / "slides.tsv"
    target.unlink()
    assert copy.planned("results/mini/slides.tsv") == {"list_slides": 1}
    assert not asked.exists()
    run = copy.snakemake("results/mini/slides.tsv")
    assert run.returncode == 0, run.stdout
    assert target.exists()
    assert asked.read_text().split() == ["asked"]
