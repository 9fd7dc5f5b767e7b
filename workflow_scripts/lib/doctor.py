"""What a long run will need, and what it will miss: said before it begins.

A finding has a state: `ok`; `note`, something to know; `warning`, something that costs slides, patients or time;
`error`, something that will stop the run.
"""

import logging
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import openslide
import pandas as pd

from workflow_scripts.lib import cohorts, downloads, files, models, planning, slides
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.flow import MISSING, PLANNED
from workflow_scripts.lib.slides import SlideRefused

log = logging.getLogger(__name__)

State = Literal["ok", "note", "warning", "error"]

# What a slide's file becomes, as measured on a region of a TCGA slide of 35 MB (40x, JPEG quality 70): 101 tiles of
# 512 px at 0.5 µm/px were kept, and took 15 MB. Slides with much blank glass, or stored otherwise, give other numbers.
TISSUE_MM2_PER_GB = 191.0
STORED_BYTES_PER_PX = 0.57
# The paper's: a model took at most 12 h on one machine with 8 Tesla K80 (Methods, Training).
HOURS_PER_MODEL = 12
# µm/px of most scanners at 40x.
USUAL_MPP = 0.25


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: what, how it stands, and in words."""

    subject: str
    state: State
    words: str


def examine_machine(*, gpus: int, backbone: str) -> list[Finding]:
    """What this machine has: the reader of slides, processors, SLURM, and `gpus`, which the caller has counted."""
    found = [
        Finding("reader", "ok", f"OpenSlide {openslide.__library_version__}"),
        Finding("processors", "ok", f"{len(os.sched_getaffinity(0))} CPU cores"),
    ]
    slurm = shutil.which("sbatch") is not None
    found.append(
        Finding("SLURM", "ok", "sbatch is here: run with --profile slurm")
        if slurm
        else Finding("SLURM", "note", "no sbatch here: jobs run on this machine")
    )
    if gpus:
        found.append(Finding("GPU", "ok", f"{gpus} visible"))
    elif slurm:
        found.append(Finding("GPU", "note", "none on this machine; the nodes that SLURM gives may have some"))
    else:
        found.append(Finding("GPU", "warning", f"none: {backbone} will train on CPUs"))
    return found


def examine_weights(needed: Iterable[Mapping[str, Any]], wanted: Iterable[Mapping[str, Any]]) -> list[Finding]:
    """Whether the ImageNet weights that trainings begin with are here; nothing where none begins with any.

    Each training is `backbone`, `weights` and `imagenet` of the configuration. Without what is `needed` a run stops;
    without what is `wanted` a regime of cross-cancer transfer is left out.
    """
    found: dict[str, Finding] = {}
    for state, trained in (("error", needed), ("warning", wanted)):
        for settings in trained:
            if settings["weights"] == "imagenet":
                try:
                    file = models.pretrained_file(settings["backbone"], settings["imagenet"])
                    finding = Finding("weights", "ok", f"{settings['backbone']} of ImageNet: {file}")
                except InputError as lack:
                    finding = Finding("weights", state, str(lack))
                found.setdefault(finding.words, finding)
    return list(found.values())


def examine_slides(
    sheet: pd.DataFrame,
    *,
    target_mpp: float | str,
    configured_mpp: float | None,
    downloaded_to: str | Path | None,
    tolerance: float = slides.MPP_TOLERANCE,
    photographs: bool = False,
) -> list[Finding]:
    """Whether a cohort's slides are there, and what is the matter with those that are.

    sheet: the slide sheet before tiling, of which the listed rows are looked at. Each slide that is there is opened and
    read at a few places; reasons are counted by kind, with a slide that has it. `downloaded_to` is the folder that a
    run downloads missing slides to, None where it does not; `tolerance` is that of `slides.inspect_slide`;
    `photographs` says whether the slides are.
    """
    listed = sheet[sheet["status"] == "listed"]
    refused: dict[str, list[str]] = {}
    absent = 0
    for number, row in enumerate(listed.itertuples(), start=1):
        file = planning.find_slide(row.file)
        if file is None:
            absent += 1
            continue
        mpp = row.mpp if pd.notna(row.mpp) else configured_mpp
        try:
            slides.inspect_slide(
                file, target_mpp=target_mpp, configured_mpp=mpp, tolerance=tolerance, photograph=photographs
            )
        except SlideRefused as error:
            refused.setdefault(error.reason, []).append(row.slide_id)
        if number % 100 == 0:
            log.info("%d of %d slides looked at", number, len(listed))
    here = len(listed) - absent
    found = [Finding("slides", "ok" if here or downloaded_to else "error", f"{here} of {len(listed)} are here")]
    if absent and downloaded_to:
        found.append(Finding("slides", "note", f"{absent} will be downloaded to {downloaded_to}"))
    elif absent:
        found.append(Finding("slides", "warning", f"{absent} are not here and will be excluded"))
    for reason, names in sorted(refused.items(), key=lambda item: -len(item[1])):
        found.append(Finding("slides", "warning", f"{_slides(len(names))} will be excluded: {reason} (as {names[0]})"))
    return found


def examine_patients(flow: pd.DataFrame, traits: pd.DataFrame, clinical: pd.DataFrame) -> list[Finding]:
    """What patients and traits lack; the tables are `flow.tsv`, `flow_traits.tsv` and `survival/clinical.tsv`."""
    rows = flow.set_index("step")
    listed, known = rows.loc["listed"], rows.loc["survival"]
    excluded = int(flow.loc[flow["step"] == "excluded", "n_slides"].sum())
    found = [
        Finding("patients", "ok", f"{listed['n_patients']} patients with {_slides(listed['n_slides'])}"),
        _counted("list", "excluded lines (sheet.tsv says why)", excluded),
        _counted("expression", "patients without a value of any trait", rows.loc["unlabelled", "n_patients"]),
        _counted("survival", "patients without time or event", listed["n_patients"] - known["n_patients"]),
        _counted("DX1", "patients without a DX1 slide", listed["n_patients"] - rows.loc["dx1", "n_patients"]),
    ]
    for row in traits[traits["status"] == PLANNED].itertuples():
        if row.n_unlabelled:
            share = row.n_unlabelled / row.n_slides
            words = f"{row.trait}: {_slides(int(row.n_unlabelled))} without a value ({share:.0%})"
            found.append(Finding("traits", "warning" if share > 0.2 else "note", words))
    for row in traits[traits["status"] == MISSING].itertuples():
        found.append(Finding("traits", "note", f"{row.trait} is not run: {row.reason}"))
    for row in clinical.itertuples():
        if row.n_known < row.n_patients:
            words = f"{row.column}: known of {row.n_known} of {row.n_patients} patients"
            found.append(Finding("clinical", "warning" if row.n_known < row.n_patients / 2 else "note", words))
    return found


@dataclass(frozen=True)
class Estimate:
    """What is still to come of a cohort: bytes of slides, and to download, tiles, bytes of stores, models, jobs."""

    slide_bytes: int
    download_bytes: int
    tiles: int
    store_bytes: int
    models: int
    jobs: Mapping[str, int]

    def lines(self) -> list[str]:
        """The estimate in words, a line each."""
        jobs = ", ".join(f"{name} {number:,}" for name, number in self.jobs.items())
        lines = [
            f"slides: {downloads.in_bytes(self.slide_bytes)}, {downloads.in_bytes(self.download_bytes)} to download",
            f"tiles: about {self.tiles:,}, {downloads.in_bytes(self.store_bytes)}",
            f"jobs: {sum(self.jobs.values()):,} ({jobs})",
        ]
        if self.models:
            lines.append(
                f"training: {self.models} models; the paper's took at most {HOURS_PER_MODEL} h each on 8 Tesla K80: "
                f"at most {self.models * HOURS_PER_MODEL:,} h of such a machine"
            )
        return lines


def estimate(
    sheet: pd.DataFrame,
    sizes: Mapping[str, int],
    *,
    folder_of_stores: str | Path,
    is_downloaded: bool,
    tile_px: int,
    mpp: float | str,
    traits: int,
    rounds: int,
    chunks: int,
    figures: int,
) -> Estimate:
    """Estimate a cohort's run from its slides' bytes: of files that are here, or else `sizes` (of a manifest, by name).

    Slides that have a tile store in `folder_of_stores` are done. `is_downloaded` says whether slides that are not here
    are; else they count for nothing. Tiles and their stores are
    in proportion to the slides' bytes (TISSUE_MM2_PER_GB, STORED_BYTES_PER_PX). Without traits, as a sister study's
    cohort is, only downloads and tiling are known.
    """
    listed = sheet[sheet["status"] == "listed"]
    tiled = [(Path(folder_of_stores) / f"{slide}.h5").is_file() for slide in listed["slide_id"]]
    listed = listed.loc[[not done for done in tiled], "file"]
    here = {file: planning.find_slide(file) for file in listed}
    present = sum(Path(path).stat().st_size for path in here.values() if path)
    absent = [Path(file).name for file, path in here.items() if path is None] if is_downloaded else []
    to_come = sum(sizes.get(name, 0) for name in absent)
    tissue_mm2 = (present + to_come) / 1e9 * TISSUE_MM2_PER_GB
    # What slides have of their own is known when they are opened; most scanners have near this.
    tile_mpp = USUAL_MPP if mpp == slides.NATIVE else mpp
    tiles = round(tissue_mm2 / (tile_px * tile_mpp / 1000) ** 2)
    jobs = {"downloads": len(absent), "tiling": len(listed)}
    if traits:
        jobs |= {"training": traits * rounds, "predictions": chunks, "figures and tables": figures}
    return Estimate(
        slide_bytes=present + to_come,
        download_bytes=to_come,
        tiles=tiles,
        store_bytes=round(tiles * tile_px**2 * STORED_BYTES_PER_PX),
        models=traits * rounds,
        jobs=jobs,
    )


def examine_cohort(
    *,
    title: str,
    path_to_sheet: str | Path,
    path_to_flow: str | Path | None,
    path_to_traits: str | Path | None,
    path_to_clinical: str | Path | None,
    path_to_manifest: str | Path | None,
    folder_of_stores: str | Path,
    downloaded_to: str | Path | None,
    configured_mpp: float | None,
    tile_px: int,
    mpp: float | str,
    mpp_tolerance: float = slides.MPP_TOLERANCE,
    photographs: bool = False,
    **counts: int,
) -> tuple[str, Estimate]:
    """The report on a cohort, from the tables of its assembly, and the estimate in it; `counts` as `estimate` has.

    A sister study's cohort is its slides alone: it has no flow, traits nor clinical table.
    """
    sheet = files.read_table(path_to_sheet, text=cohorts.SHEET_TEXT)
    findings = examine_slides(
        sheet,
        target_mpp=mpp,
        configured_mpp=configured_mpp,
        downloaded_to=downloaded_to,
        tolerance=mpp_tolerance,
        photographs=photographs,
    )
    if path_to_flow is not None:
        flow = files.read_table(path_to_flow, text=["step", "name"])
        traits = files.read_table(path_to_traits, text=["trait", "status", "reason"])
        findings += examine_patients(flow, traits, files.read_table(path_to_clinical))
    sizes, is_downloaded = _sizes_in_manifest(path_to_manifest), downloaded_to is not None
    found = estimate(
        sheet,
        sizes,
        folder_of_stores=folder_of_stores,
        is_downloaded=is_downloaded,
        tile_px=tile_px,
        mpp=mpp,
        **counts,
    )
    return report(title, findings, found.lines()), found


def examine_disk(folder: str | Path, estimates: Iterable[Estimate], *, kept: bool) -> Finding:
    """Whether the disk of `folder` holds what is to come: the downloads, where they are `kept`, and the tile stores."""
    needed = sum(found.store_bytes + (found.download_bytes if kept else 0) for found in estimates)
    free = shutil.disk_usage(folder).free
    words = f"about {downloads.in_bytes(needed)} needed, {downloads.in_bytes(free)} free"
    return Finding("disk", "ok" if needed < free else "error", words)


def _sizes_in_manifest(path: str | Path | None) -> dict[str, int]:
    """Bytes of the files of a manifest, by name; nothing for None, nor for lines that do not say."""
    if path is None:
        return {}
    manifest = cohorts.read_manifest(path)
    known = manifest[manifest["size"].notna()]
    return dict(zip(known["filename"], known["size"].astype(int), strict=True))


def report(title: str, findings: Sequence[Finding], lines: Sequence[str] = ()) -> str:
    """The findings as text, errors and warnings first, then the lines of an estimate."""
    order = ("error", "warning", "note", "ok")
    found = sorted(findings, key=lambda finding: order.index(finding.state))
    width = max(len(finding.subject) for finding in found)
    said = [f"  {finding.state:<8} {finding.subject:<{width}}  {finding.words}" for finding in found]
    return "\n".join([title, *said, *(f"  estimate {line}" for line in lines)])


def _counted(subject: str, words: str, number: int) -> Finding:
    return Finding(subject, "note" if number else "ok", f"{words}: {number}")


def _slides(number: int) -> str:
    return f"{number:,} slide{'' if number == 1 else 's'}"
