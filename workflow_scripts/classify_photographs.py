"""Classify the photographs of a folder with an exported model: two tables, and contact sheets to look through.

A command of its own, which needs neither Snakemake nor torch: `python -m workflow_scripts.classify_photographs --help`.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from workflow_scripts.lib import exported_models, files, photograph_classes
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.exported_models import ExportedModel
from workflow_scripts.lib.photograph_classes import Classified, Photograph, class_of
from workflow_scripts.lib.tiles import EXCLUDED

# Photographs on a contact sheet.
PER_SHEET = 24


def main() -> None:
    """Classify photographs of a microscope's camera with an exported model, and write tables and contact sheets."""
    parser = argparse.ArgumentParser(prog="python -m workflow_scripts.classify_photographs", description=main.__doc__)
    parser.add_argument("model", type=Path, help="the exported model, an .onnx file")
    parser.add_argument("folder", type=Path, help="the folder of photographs (JPEG, PNG, TIFF, BMP)")
    scale = parser.add_mutually_exclusive_group(required=True)
    scale.add_argument("--mpp", type=float, help="µm/px of all photographs; tags in the files are never used")
    scale.add_argument("--sheet", type=Path, help="TSV with file and mpp, where photographs differ in µm/px")
    parser.add_argument("--to", type=Path, required=True, help="the folder for what is found, outside the photographs'")
    parser.add_argument("--recursive", action="store_true", help="photographs in folders below count too")
    parser.add_argument(
        "--threads", type=int, default=len(os.sched_getaffinity(0)), help="CPU threads (default: %(default)s)"
    )
    asked = parser.parse_args()
    try:
        _classify(asked)
    except InputError as error:
        sys.exit(f"{parser.prog}: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


def _classify(asked: argparse.Namespace) -> None:
    if asked.threads < 1:
        raise InputError(f"--threads: found {asked.threads}, expected 1 or more")
    if asked.to.resolve().is_relative_to(asked.folder.resolve()):
        raise InputError(f"--to: {asked.to} lies in the folder of photographs, among which contact sheets would count")
    model = exported_models.open_model(asked.model, threads=asked.threads)
    photographs = photograph_classes.list_photographs(
        asked.folder, mpp=asked.mpp, path_to_sheet=asked.sheet, recursive=asked.recursive
    )
    write_classes(photographs, model, asked.to)


def write_classes(photographs: Sequence[Photograph], model: ExportedModel, folder: Path) -> None:
    """Classify photographs, and write `photographs.tsv`, `patches.tsv` and contact sheets into a folder.

    Tables of an earlier run go first, so that none stands beside the sheets of a run that was broken off.
    """
    for name in ("photographs.tsv", "patches.tsv"):
        (folder / name).unlink(missing_ok=True)
    classes = model.description["classes"]
    classified: list[Classified] = []
    page: list[Classified] = []
    for number, photograph in enumerate(photographs, start=1):
        one = photograph_classes.classify(photograph, model)
        _say(f"{number} of {len(photographs)}  {one.file}: {_said(one, classes)}")
        page.append(one)
        # The tables need no pictures, which would fill the memory.
        classified.append(replace(one, thumbnail=None))
        if number % PER_SHEET == 0 or number == len(photographs):
            _draw(folder, page, model, first=number - len(page) + 1, of=len(photographs))
            page = []
    _remove_sheets_beyond(folder, -(-len(photographs) // PER_SHEET))
    files.write_table(photograph_classes.patch_table(classified, classes), folder / "patches.tsv")
    files.write_table(photograph_classes.photograph_table(classified, classes), folder / "photographs.tsv")
    excluded = sum(one.status == EXCLUDED for one in classified)
    _say(f"{len(classified) - excluded} photographs classified, {excluded} excluded: {folder / 'photographs.tsv'}")


def _draw(folder: Path, page: list[Classified], model: ExportedModel, *, first: int, of: int) -> None:
    # Here, because it takes most of the start, and what is wrong with the arguments is said without it.
    from workflow_scripts.lib.figures import contact_sheets, style

    described = model.description
    figure = contact_sheets.contact_sheet(page, described["classes"], first=first, of=of, model=described["method"])
    style.save(figure, folder / _sheet_name(first // PER_SHEET + 1), made_by=described)


def _sheet_name(number: int) -> str:
    return f"contact_sheet_{number}.png"


def _remove_sheets_beyond(folder: Path, number: int) -> None:
    """Remove the sheets that an earlier run of more photographs has left."""
    while (left := folder / _sheet_name(number := number + 1)).exists():
        left.unlink()


def _said(one: Classified, classes: list[str]) -> str:
    if one.status == EXCLUDED:
        return f"excluded, {one.reason}"
    count = len(one.coords)
    return f"{class_of(one, classes)} {one.means.max():.2f}, {count} patch{'' if count == 1 else 'es'}"


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
