# What every stage asks for: the validated configuration, the paths of results, and the slides of a cohort.
import fcntl
import os
import re
import sys
from functools import cache
from pathlib import Path

from workflow_scripts.lib import configuration, planning, provenance, sources
from workflow_scripts.lib.errors import InputError

try:
    study = configuration.load(config)
except InputError as error:
    raise WorkflowError(str(error)) from None


wildcard_constraints:
    cohort="[A-Za-z0-9][A-Za-z0-9._-]*",
    slide="[A-Za-z0-9][A-Za-z0-9._-]*",
    trait="[A-Za-z0-9][A-Za-z0-9._-]*",
    round=r"\d+",
    chunk=r"\d+",


def code_of(rule_name):
    """Fingerprint of the code that a rule's script runs; as a parameter it reruns the rule when that code changes."""
    return provenance.code_version(Path(workflow.basedir) / "workflow_scripts" / f"{rule_name}.py")


def one_of(names):
    """A wildcard's pattern that these names match and nothing else; without a name, nothing does."""
    return "|".join(map(re.escape, names)) or "(?!)"


def cohort_of(wildcards):
    return study.cohorts[wildcards.cohort]


def traits_of(wildcards):
    return cohort_of(wildcards).traits


def rounds():
    return range(1, study.splits.rounds + 1)


def given(*paths):
    """Those of some configured paths that are given, as Snakemake wants them."""
    return [str(path) for path in paths if path is not None]


def assembled(wildcards):
    """Outputs of the one checkpoint: after it, which slides there are and what each model trains on is known."""
    return checkpoints.assemble_cohort.get(cohort=wildcards.cohort).output


def listed_slides(wildcards):
    """The usable rows of a cohort's sheet, file by slide id."""
    return planning.usable_files(assembled(wildcards).sheet)


def tile_store(wildcards, slide):
    return f"results/{wildcards.cohort}/tiles/{slide}.h5"


def tile_stores(wildcards):
    return [tile_store(wildcards, slide) for slide in listed_slides(wildcards)]


def hold_results():
    """Let one run at a time write into results/. The kernel drops the hold with the process, however that ends."""
    Path("results").mkdir(exist_ok=True)
    hold = open("results/.held", "a")
    try:
        fcntl.flock(hold, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit("another run is writing into results/ of this folder: wait for it, or stop it, then run this again")
    except OSError as error:
        print(f"results/ cannot be held on this disk ({error}): take care that no other run writes into it")
    # Its time is when the run began; downloads tell their rate from it.
    os.utime("results/.held")
    globals()["held_results"] = hold


# The cohort


def input_path(source, *, kind, cohort):
    """Where a configured source lies, fetched or not; None where it is not given."""
    return None if source is None else sources.local_path(source, kind=kind, cohort=cohort)


def expression_tables(wildcards):
    """Path, kind and sample type of the expression tables that a cohort's traits are in, by name."""
    tables = cohort_of(wildcards).expression.by_name()
    used = {study.traits[trait].table for trait in traits_of(wildcards)}
    return {
        name: table | {"path": input_path(table["source"], kind="table", cohort=wildcards.cohort)}
        for name, table in tables.items()
        if name in used
    }


def slides_listed_in(wildcards):
    """Where a cohort's slides are listed, for `assembly.list_slides`."""
    slides = cohort_of(wildcards).slides
    folder = f"results/{wildcards.cohort}/slides" if slides.folder is None and slides.sheet is None else slides.folder
    return {
        "manifest": input_path(slides.manifest, kind="manifest", cohort=wildcards.cohort),
        "folder": folder and str(folder),
        "sheet": slides.sheet and str(slides.sheet),
        "exclude": slides.exclude,
    }


def assembly_inputs(wildcards):
    cohort = cohort_of(wildcards)
    slides = slides_listed_in(wildcards)
    return {
        "slides": given(slides["manifest"], slides["sheet"]),
        "expression": [table["path"] for table in expression_tables(wildcards).values()],
        "clinical": given(clinical_table(wildcards)),
        "split": given(cohort.split),
    }


def clinical_table(wildcards):
    return input_path(cohort_of(wildcards).clinical, kind="clinical", cohort=wildcards.cohort)


def folder_listing(wildcards):
    """Names in a folder of slides that has no manifest: a slide that is added or removed changes the cohort."""
    slides = cohort_of(wildcards).slides
    if slides.folder is None or slides.manifest is not None or not slides.folder.is_dir():
        return []
    return sorted(path.name for path in slides.folder.iterdir())


# Inputs from the portals


def queried_cohorts():
    """The cohorts whose manifest is asked for at the GDC."""
    manifests = {name: cohort.slides.manifest for name, cohort in study.cohorts.items()}
    return [name for name, manifest in manifests.items() if manifest and sources.parts(manifest, kind="manifest")]


def gdc_tables():
    """Ids of the tables that are fetched from the GDC, by file name."""
    named = [table["source"] for cohort in study.cohorts.values() for table in cohort.expression.by_name().values()]
    found = [sources.parts(source, kind="table") for source in named]
    return {parts["name"]: parts["id"] for parts in found if parts}


# A job that downloads a slide takes one.
workflow.register_resource("downloads", study.downloads.at_once)


# Slides and tiles


def slide_file(wildcards):
    """A slide's file: where it lies, or where a job of its own downloads it to.

    One that is not there and is not to be downloaded, or is downloaded by the job that tiles it, is no input; in the
    first case its store says so, and its coming reruns it. One that is gone after it was tiled stays the input, so that
    its tiles are kept.
    """
    file = listed_slides(wildcards)[wildcards.slide]
    found = planning.find_slide(file)
    tiled = Path(tile_store(wildcards, wildcards.slide)).is_file()
    if found or not cohort_of(wildcards).slides.download:
        return found or (file if tiled else [])
    if not study.downloads.keep_slides:
        return []
    name = Path(file).name
    came = Path(f"results/{wildcards.cohort}/logs/download_slide/{name}.log").is_file()
    return f"results/{wildcards.cohort}/slides/{name}" if came or not tiled else file


def slide_to_bring(wildcards):
    """Where the job that tiles a slide downloads it to, if it does."""
    if study.downloads.keep_slides or not cohort_of(wildcards).slides.download:
        return None
    file = listed_slides(wildcards)[wildcards.slide]
    return None if planning.find_slide(file) else f"results/{wildcards.cohort}/slides/{Path(file).name}"


def configured_mpp(wildcards):
    """µm/px for a slide whose file does not say: of the sheet, or else of the cohort."""
    given_in_sheet = planning.in_sheet(assembled(wildcards).sheet, wildcards.slide, "mpp")
    return float(given_in_sheet) if given_in_sheet else cohort_of(wildcards).slides.mpp


def listed_md5(wildcards):
    """The md5 that a slide's file must have; '' for any."""
    is_checked = cohort_of(wildcards).slides.check_md5
    return planning.in_sheet(assembled(wildcards).sheet, wildcards.slide, "md5") if is_checked else ""


# Annotations


def annotated_cohorts():
    return [cohort for cohort in study.study.cohorts if study.cohorts[cohort].annotations]


def annotation_files(cohort):
    """The annotation file of each slide of a cohort that has one, by slide id."""
    sheet = checkpoints.assemble_cohort.get(cohort=cohort).output.sheet
    return planning.annotation_files(sheet, study.cohorts[cohort].annotations.folder)


def annotation_file(wildcards):
    return annotation_files(wildcards.cohort)[wildcards.slide]


def annotations_of_no_slide(wildcards):
    """Names in a folder of annotations that are no slide's: the list of annotations says so."""
    return planning.files_of_no_slide(assembled(wildcards).sheet, cohort_of(wildcards).annotations.folder)


def checked_annotations(_wildcards):
    """Tables and pictures of all cohorts that have annotations; which slides have some is known once it is assembled."""
    return [
        f"results/{cohort}/{name}"
        for cohort in annotated_cohorts()
        for name in (
            "annotations/regions.tsv",
            *(f"figures/annotations/{slide}.png" for slide in annotation_files(cohort)),
        )
    ]


# Training


def selection_of(wildcards):
    """Labels of the slides of a model's two sets, by slide id; the job's parameters, so that it reruns with them."""
    found = assembled(wildcards)
    return planning.selection(
        found.splits, Path(found.labels) / f"{wildcards.trait}.tsv", round_number=int(wildcards.round)
    )


def stores_of_set(name):
    def stores(wildcards):
        return [tile_store(wildcards, slide) for slide in selection_of(wildcards)[name]]

    return stores


# Predictions


def slides_of_chunk(wildcards):
    chunks = planning.slides_by_chunk(assembled(wildcards).sheet, chunks=study.predictions.chunks)
    return chunks[int(wildcards.chunk)]


def chunk_files(wildcards):
    """The predictions of a cohort: a file for each chunk that has slides."""
    chunks = planning.slides_by_chunk(assembled(wildcards).sheet, chunks=study.predictions.chunks)
    return [f"results/{wildcards.cohort}/predictions/{chunk}.h5" for chunk in sorted(chunks)]


def model_files(wildcards):
    return [
        f"results/{wildcards.cohort}/training/{trait}/round_{number}/weights.safetensors"
        for trait in traits_of(wildcards)
        for number in rounds()
    ]


def test_slides_of_chunk(wildcards):
    found = assembled(wildcards)
    return planning.held_out_slides(found.sheet, found.splits, slides_of_chunk(wildcards))


# Cartography


def table1_where_traits_are_chosen_by_it(wildcards):
    return rules.evaluate_models.output.table1 if cohort_of(wildcards).heterogeneity_traits is None else []


# Figures


def figures_of(cohort):
    """All figures of a cohort."""
    named = [
        "cohort_flow.png",
        "slide_verdicts.png",
        "quality.png",
        "table1.html",
        "fig2_score_distributions.png",
        "s1_correlations.png",
        "fig3_heterogeneity_examples.png",
        "heterogeneity_maps",
        "fig4_survival.png",
        "hazard_ratios.png",
        "fig5a_expression_survival.png",
        "fig5b_hti_by_expression.png",
        *(["fig6_hti_by_category.png"] if study.cohorts[cohort].categories else []),
        *(f"training/{trait}.png" for trait in study.cohorts[cohort].traits),
        *(["recovery.png"] if study.cohorts[cohort].truth else []),
    ]
    return [f"results/{cohort}/figures/{name}" for name in named]


# The paper's values stand beside ours; by their digest, because a clone's files are all new.
published = provenance.file_digest(Path(workflow.basedir) / "workflow_scripts" / "lib" / "published.tsv")


def title_of(wildcards):
    return cohort_of(wildcards).title


# The doctor


def tables_of_assembly(wildcards):
    """What is known of the cohorts before any slide is opened."""
    for cohort in study.study.cohorts:
        checkpoints.assemble_cohort.get(cohort=cohort)
    return [
        f"results/{cohort}/{name}"
        for cohort in study.study.cohorts
        for name in ("sheet.tsv", "flow.tsv", "flow_traits.tsv", "survival/clinical.tsv")
    ]


def what_the_doctor_asks(cohort):
    """A cohort's part of `doctor.examine_cohort`."""
    slides = study.cohorts[cohort].slides
    return {
        "title": study.cohorts[cohort].title,
        "path_to_sheet": f"results/{cohort}/sheet.tsv",
        "path_to_flow": f"results/{cohort}/flow.tsv",
        "path_to_traits": f"results/{cohort}/flow_traits.tsv",
        "path_to_clinical": f"results/{cohort}/survival/clinical.tsv",
        "path_to_manifest": input_path(slides.manifest, kind="manifest", cohort=cohort),
        "folder_of_stores": f"results/{cohort}/tiles",
        "downloaded_to": f"results/{cohort}/slides" if slides.download else None,
        "configured_mpp": slides.mpp,
        "traits": len(study.cohorts[cohort].traits),
        "figures": len(figures_of(cohort)),
    }


# Negative controls


def generated_cohorts():
    """The cohorts that are generated: those whose manifest is among their results."""
    return [name for name, cohort in study.cohorts.items() if cohort.slides.manifest == generated_manifest(name)]


def generated_manifest(cohort):
    return f"results/{cohort}/input/gdc_manifest.txt"


def cohorts_with_truth():
    return [cohort for cohort in study.study.cohorts if study.cohorts[cohort].truth]


def true_traits(wildcards):
    """Table and feature of the traits whose truth is known."""
    truth = cohort_of(wildcards).truth
    return {trait: study.traits[trait].model_dump() for trait in (truth.trait_a, truth.trait_b)}


def true_tables(wildcards):
    """The expression tables of these traits."""
    used = {trait["table"] for trait in true_traits(wildcards).values()}
    return {name: table for name, table in expression_tables(wildcards).items() if name in used}


# Summary


def summary_of(cohort):
    return f"results/{cohort}/summary.txt"


def print_summaries():
    """Print the summaries of the cohorts that have one, at the end of a run that succeeded."""
    for cohort in study.study.cohorts:
        summary = Path(summary_of(cohort))
        if summary.is_file():
            print(summary.read_text(), file=sys.stderr)
