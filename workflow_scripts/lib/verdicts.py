"""The verdict on each slide of a cohort: accepted with so many tiles, or excluded for a reason."""

import logging
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from workflow_scripts.lib import tiles

log = logging.getLogger(__name__)


def list_slides(sheet: pd.DataFrame, stores: Iterable[str | Path]) -> pd.DataFrame:
    """The slide sheet with what tiling found: the table `slides.tsv`.

    `sheet` has a row per line of the user's list; `stores` are the tile stores of those that it lists for use. Their
    mpp, source of the mpp, status and reason replace the sheet's, and `n_tiles` (kept) and `n_dropped` (by quality) are
    added. A row that the sheet excludes stays as it is, with no tile.
    """
    found = pd.DataFrame(
        [tiles.slide_row(path) for path in stores],
        columns=["slide_id", "mpp", "source", "status", "reason", "n_tiles", "n_dropped"],
    ).set_index("slide_id")
    table = sheet.assign(n_tiles=0, n_dropped=0)
    listed = table["slide_id"].isin(found.index)
    for column in found:
        judged = table["slide_id"].map(found[column])
        table[column] = judged.where(listed, table[column])
    _report(table)
    return table.astype({"n_tiles": int, "n_dropped": int})


def _report(table: pd.DataFrame) -> None:
    accepted = table[table["status"] == tiles.ACCEPTED]
    log.info("%d of %d slides accepted, %d tiles", len(accepted), len(table), accepted["n_tiles"].sum())
    for row in table[table["reason"] != ""].itertuples():
        log.info("%s %s: %s", row.status, row.slide_id, row.reason)
