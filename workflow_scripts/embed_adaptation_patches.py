"""Lay the features of held-out patches of both domains out in a plane, for each shown method."""

from pathlib import Path

from workflow_scripts.lib import adaptation_features, tile_sources
from workflow_scripts.lib.journal import logging_to

with logging_to(snakemake.log[0]):
    asked, found = snakemake.params, snakemake.input
    sources = tile_sources.list_sources(found.stores)
    adaptation_features.write_plane(
        snakemake.output.tsne,
        model_folders={method: Path(path).parent for method, path in zip(asked.methods, found.weights, strict=True)},
        slides=asked.slides,
        sources=dict.fromkeys(asked.methods, sources),
        paths_to_labels=found.labels,
        slide_labels=asked.slide_labels,
        stain=None,
        classes=asked.classes,
        most=asked.embedded,
        perplexity=asked.perplexity,
        seed=asked.seed,
        batch_size=asked.batch_size,
        threads=asked.threads,
    )
