"""The domains of the sister studies, and what else their rules and tables name alike."""

# Of metastatic origin; primaries come first.
PRIMARY, METASTATIC = "primary", "metastatic"
DOMAINS = (PRIMARY, METASTATIC)
# Of microscope adaptation: labelled slides, and photographs.
SOURCE, TARGET = "source", "target"
# Photographs with labels, as a part of what a method learns from or is tested on; those of TARGET come without.
LABELLED_TARGET = "labelled_target"
# Colours in which models see patches: as scanned or photographed, or with their stain normalised.
RAW, STAINED = "raw", "stained"
