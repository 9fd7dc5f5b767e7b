"""Sum up a cohort's run in a few lines, and record what it was made from."""

import json

from workflow_scripts.lib import files, provenance, summary
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    tables = {
        name: files.read_table(snakemake.input[name], text=text) if snakemake.input.get(name) else None
        for name, text in {
            "slides": ["slide_id", "status", "reason"],
            "table1": ["trait", "note"],
            "hti": ["slide_id", "traits", "flag"],
            "logrank": ["direction", "note"],
            "recovery": ["trait", "measure"],
        }.items()
    }
    with files.writing(snakemake.output.summary) as partial:
        partial.write_text(summary.summarise(snakemake.params.title, **tables), encoding="utf-8")
    with files.writing(snakemake.output.provenance) as partial:
        made_by = provenance.made_by(snakemake.rule, snakemake.params.inputs, snakemake.params)
        partial.write_text(json.dumps(made_by, indent=2, sort_keys=True) + "\n", encoding="utf-8")
