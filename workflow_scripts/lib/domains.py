"""The two domains of the study of metastatic origin, as its tables name them; primaries come first."""

PRIMARY, METASTATIC = "primary", "metastatic"
DOMAINS = (PRIMARY, METASTATIC)
