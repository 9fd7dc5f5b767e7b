"""How fast the workflow is, beside its limits and beside what people use today; one module per subject."""
