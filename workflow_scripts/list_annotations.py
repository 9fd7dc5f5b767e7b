"""List a cohort's annotated slides, and the classes of their regions beside those that have a label."""

import pandas as pd

from workflow_scripts.lib import annotated_slides, files
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    annotated_slides.report_files_of_no_slide(snakemake.params.files_of_no_slide)
    found = pd.concat([files.read_table(path, text=annotated_slides.TEXT) for path in snakemake.input.classes])
    files.write_table(annotated_slides.list_annotations(found), snakemake.output.regions)
    files.write_table(annotated_slides.compare_classes(found, snakemake.params.classes), snakemake.output.classes)
