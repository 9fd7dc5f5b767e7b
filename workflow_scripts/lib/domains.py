"""The domains of the sister studies, as their tables name them."""

# Of metastatic origin; primaries come first.
PRIMARY, METASTATIC = "primary", "metastatic"
DOMAINS = (PRIMARY, METASTATIC)
# Of microscope adaptation: labelled slides, and photographs.
SOURCE, TARGET = "source", "target"
