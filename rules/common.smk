# What every stage asks for: the validated configuration, the paths of results, and the slides of a cohort.
import fcntl
import gc
import os
import re
import shutil
import sys
from functools import cache
from pathlib import Path

from snakemake.logging import logger
from snakemake.output_index import OutputIndex

from workflow_scripts.lib import (
    configuration,
    efficiency,
    interruption,
    model_sets,
    origins,
    orphans,
    planning,
    provenance,
    sources,
)
from workflow_scripts.lib.errors import InputError

# The Snakemake that runs a single job, as the first process of a step of SLURM's: its script, below it, hears nothing.
if workflow.remote_exec and "SLURM_STEP_ID" in os.environ:
    interruption.pass_on_to_descendants()

try:
    study = configuration.load(config)
except InputError as error:
    raise WorkflowError(str(error)) from None


def one_of(names):
    """A wildcard's pattern that these names match and nothing else; without a name, nothing does."""
    return "|".join(map(re.escape, names)) or "(?!)"


wildcard_constraints:
    # No other folder of results/ is a cohort's.
    cohort=one_of(study.cohorts),
    slide="[A-Za-z0-9][A-Za-z0-9._-]*",
    trait="[A-Za-z0-9][A-Za-z0-9._-]*",
    round=r"\d+",
    part="[A-Za-z0-9][A-Za-z0-9._-]*",
    chunk=r"\d+",


def code_of(rule_name):
    """Fingerprint of the code that a rule's script runs; as a parameter it reruns the rule when that code changes."""
    return provenance.code_version(Path(workflow.basedir) / "workflow_scripts" / f"{rule_name}.py")


def cohort_of(wildcards):
    return study.cohorts[wildcards.cohort]


def traits_of(wildcards):
    applied = applied_settings(wildcards.cohort)
    return applied["traits"] if applied else cohort_of(wildcards).traits


def heterogeneity_traits_of(wildcards):
    """The traits of the heterogeneity index; None where Table 1 chooses them."""
    applied = applied_settings(wildcards.cohort)
    return applied["heterogeneity_traits"] if applied else cohort_of(wildcards).heterogeneity_traits


def rounds():
    return range(1, study.splits.rounds + 1)


def given(*paths):
    """Those of some configured paths that are given, as Snakemake wants them."""
    return [str(path) for path in paths if path is not None]


def trained_cohorts():
    """The cohorts that models are trained in."""
    return [name for name, cohort in study.cohorts.items() if cohort.models is None]


def applied_cohorts():
    """The cohorts that trained models are applied to."""
    return [name for name, cohort in study.cohorts.items() if cohort.models is not None]


def origin_cohorts():
    return [study.origin.primary, study.origin.metastatic] if study.origin else []


def transfer_cohorts():
    """The target of the study of cross-cancer transfer, and then the cohorts that detectors see first."""
    if study.transfer is None:
        return []
    trained = study.with_starts(study.transfer.compared)
    seen = [cohort for name in trained for cohort in study.tumour_filters[name].cohorts]
    return list(dict.fromkeys([study.transfer.target, *seen]))


def compression_cohorts():
    """The cohorts of the study of neural image compression: whose patches encoders learn, and whose slides are compressed."""
    if study.compression is None:
        return []
    parts = [*study.compression.tasks.values(), *study.compression.encoders.values()]
    learnt = [cohort for part in parts for cohort in part.cohorts]
    compressed = [
        cohort
        for target in study.compression.targets.values()
        for cohort in (target.cohort, *given(target.test_cohort))
    ]
    return list(dict.fromkeys([*learnt, *compressed]))


def sister_cohorts():
    """The cohorts of the sister studies that are configured."""
    return list(dict.fromkeys([*origin_cohorts(), *transfer_cohorts(), *compression_cohorts()]))


def known_cohorts():
    """The cohorts of which all is known that was configured; of one that does not run the models need not be there."""
    return [cohort for cohort in study.cohorts if cohort in trained_cohorts() or cohort in study.study.cohorts]


# What a checkpoint made is remembered, because every slide asks for it. Before the checkpoint is done it raises, which is
# not remembered; once it is done, no job of this run writes its tables again.


@cache
def tables_of(cohort):
    """Outputs of a trained cohort's checkpoint: after it, which slides there are and what each model learns is known."""
    return checkpoints.assemble_cohort.get(cohort=cohort).output


def assembled(wildcards):
    return tables_of(wildcards.cohort)


@cache
def sheet_of_cohort(cohort):
    if study.cohorts[cohort].models is None:
        return tables_of(cohort).sheet
    return checkpoints.list_new_slides.get(cohort=cohort).output.sheet


def sheet_of(wildcards):
    """A cohort's slide sheet, which is made by a checkpoint."""
    return sheet_of_cohort(wildcards.cohort)


@cache
def slides_listed(cohort):
    return planning.usable_files(sheet_of_cohort(cohort))


def listed_slides(wildcards):
    """The usable rows of a cohort's sheet, file by slide id."""
    return slides_listed(wildcards.cohort)


@cache
def in_sheet(cohort, column):
    """What a cohort's sheet says in a column, as text, by slide id; '' where it says nothing."""
    return planning.in_sheet(sheet_of_cohort(cohort), column)


def tile_store(wildcards, slide):
    return f"results/{wildcards.cohort}/tiles/{slide}.h5"


def tile_stores(wildcards):
    return [tile_store(wildcards, slide) for slide in listed_slides(wildcards)]


def hold_results():
    """Let one run at a time write into results/; return whether this disk has the locks for it.

    The kernel drops the hold with the process, however that ends.
    """
    Path("results").mkdir(exist_ok=True)
    hold = open("results/.held", "a")
    is_held = True
    try:
        fcntl.flock(hold, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit("another run is writing into results/ of this folder: wait for it, or stop it, then run this again")
    except OSError as error:
        is_held = False
        print(f"results/ cannot be held on this disk ({error}): take care that no other run writes into it")
    # Its time is when the run began; downloads tell their rate from it.
    os.utime("results/.held")
    globals()["held_results"] = hold
    return is_held


# The job of SLURM that this run itself is in, if it is in one; the executor takes these away before a run starts.
own_jobs = [os.environ[name] for name in ("SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID") if name in os.environ]


def end_orphans(is_held):
    """Cancel the jobs that a run which died left in SLURM, also where this run sends none there."""
    if shutil.which("squeue") is None:
        return
    # The executor's logs: it makes their folder before it sends the first job.
    is_used = workflow.non_local_exec or Path(".snakemake/slurm_logs").exists()
    try:
        orphans.end_orphans(Path.cwd(), own=own_jobs, is_held=is_held, is_used=is_used, tell=logger.warning)
    except InputError as error:
        sys.exit(str(error))


def write_efficiency(logs):
    """Write what the jobs that this run sent to SLURM used of what they asked for; one of `logs` is Snakemake's own."""
    ending = ".snakemake.log"
    log = next((log for log in map(Path, logs) if log.name.endswith(ending)), None)
    if not workflow.non_local_exec or log is None:
        return
    path = Path("results/efficiency") / log.name.replace(ending, ".tsv")
    try:
        efficiency.write_efficiency(log, path, rules=[rule.name for rule in workflow.rules])
    except InputError as error:
        logger.warning(str(error))


def remove_states():
    """Remove the states (`state.pt`) of trainings that have ended.

    Not earlier: a job whose node is lost after its last step, but before Snakemake has seen its end, is done again, and
    what it wrote is removed.
    """
    for pattern in ("*/training/*/*/state.pt", "filters/*/state.pt", "origin/training/*/state.pt", "origin/*/state.pt"):
        for state in Path("results").glob(pattern):
            if (state.parent / "weights.safetensors").is_file():
                state.unlink()


def schedule_when_jobs_end():
    """Take Snakemake's default limit away, 100 new jobs a second; one that the user gives stays.

    By that limit Snakemake 9.27 looks for jobs to start once a second for every job that has ended, as long as one
    waits: after some hundred jobs that takes a core. Without it, it looks when a job ends.
    """
    limiter = workflow.scheduler.job_rate_limiter
    if limiter is not None and (limiter.max_jobs, limiter.timespan) == (100, 1):
        workflow.scheduler.job_rate_limiter = None


def plan_swiftly():
    """Have Snakemake remember what it looks up again and again while it plans.

    Snakemake 9.27 looks through all rules for the one that makes a file each time that a job takes it, which some 25 do
    of a tile store; what it finds does not change. A plan is millions of objects that stay, in which Python looks for
    garbage all the time: it may do so less often.
    """
    if hasattr(OutputIndex, "match_producers"):
        OutputIndex.match_producers = cache(OutputIndex.match_producers)
    gc.set_threshold(100_000, 20, 20)


plan_swiftly()


# Trained models that are applied


@cache
def applied_settings(cohort):
    """How the models that are applied to a cohort were trained; None of a cohort that trains its own."""
    folder = study.cohorts[cohort].models
    if folder is None:
        return None
    for other in study.study.cohorts:
        if Path(folder).resolve() == Path(f"results/{other}/models").resolve():
            raise WorkflowError(
                f"cohorts.{cohort}.models: {folder} are the models of {other}, which this run may train anew; run "
                f"{other} first, and {cohort} by itself after it"
            )
    try:
        return model_sets.read_settings(folder)
    except InputError as error:
        raise WorkflowError(f"cohorts.{cohort}.models: {error}") from None


def applied_file(cohort, name):
    return str(study.cohorts[cohort].models / name)


# The cohort


def input_path(source, *, kind, cohort):
    """Where a configured source lies, fetched or not; None where it is not given."""
    return None if source is None else sources.local_path(source, kind=kind, cohort=cohort)


def tables_of_expression(cohort):
    """Source, kind and sample type of a cohort's expression tables by name; none of a sister study's cohort."""
    expression = study.cohorts[cohort].expression
    return expression.by_name() if expression else {}


def expression_tables(wildcards):
    """Path, kind and sample type of the expression tables that a cohort's traits are in, by name."""
    tables = tables_of_expression(wildcards.cohort)
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


def slides_brought(wildcards):
    """The files that list a cohort's slides; none where a folder does."""
    slides = slides_listed_in(wildcards)
    return given(slides["manifest"], slides["sheet"])


def assembly_inputs(wildcards):
    cohort = cohort_of(wildcards)
    return {
        "slides": slides_brought(wildcards),
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
    named = [table["source"] for cohort in trained_cohorts() for table in tables_of_expression(cohort).values()]
    found = [sources.parts(source, kind="table") for source in named]
    return {parts["name"]: parts["id"] for parts in found if parts}


# A job that downloads a slide takes one.
workflow.register_resource("downloads", study.downloads.at_once)


# Slides and tiles


def tile_settings(wildcards):
    """`tiles` of the configuration, or of the models that are applied, without `threads`, which shapes no tile."""
    applied = applied_settings(wildcards.cohort)
    settings = applied["tiles"] if applied else study.tiles.model_dump()
    return {name: value for name, value in settings.items() if name != "threads"}


def slide_file(wildcards):
    """A slide's file: where it lies, or where a job of its own downloads it to.

    One that is not there and is not to be downloaded, or is downloaded by the job that tiles it, is no input; in the
    first case its store says so, and its coming reruns it. One that is gone after it was tiled stays the input, so that
    its tiles are kept.
    """
    file = listed_slides(wildcards)[wildcards.slide]
    found = planning.find_slide(file)
    if found:
        return found
    tiled = Path(tile_store(wildcards, wildcards.slide)).is_file()
    if not cohort_of(wildcards).slides.download:
        return file if tiled else []
    if not study.downloads.keep_slides:
        return []
    name = Path(file).name
    came = not tiled or Path(f"results/{wildcards.cohort}/logs/download_slide/{name}.log").is_file()
    return f"results/{wildcards.cohort}/slides/{name}" if came else file


def slide_to_bring(wildcards):
    """Where the job that tiles a slide downloads it to, if it does."""
    if study.downloads.keep_slides or not cohort_of(wildcards).slides.download:
        return None
    file = listed_slides(wildcards)[wildcards.slide]
    return None if planning.find_slide(file) else f"results/{wildcards.cohort}/slides/{Path(file).name}"


def configured_mpp(wildcards):
    """µm/px for a slide whose file does not say: of the sheet, or else of the cohort."""
    given_in_sheet = in_sheet(wildcards.cohort, "mpp")[wildcards.slide]
    return float(given_in_sheet) if given_in_sheet else cohort_of(wildcards).slides.mpp


def listed_md5(wildcards):
    """The md5 that a slide's file must have; '' for any."""
    is_checked = cohort_of(wildcards).slides.check_md5
    return in_sheet(wildcards.cohort, "md5")[wildcards.slide] if is_checked else ""


# Stains


@cache
def stain_settings(cohort):
    """`stain` of the configuration; where models are applied, that of their own cohort."""
    applied = applied_settings(cohort)
    return applied["stain"] if applied else study.stain.model_dump()


@cache
def is_stained(cohort):
    """Whether a cohort's stains are normalised."""
    return stain_settings(cohort)["method"] != "none"


def stained_cohorts():
    return [cohort for cohort in known_cohorts() if is_stained(cohort)]


def file_of_stain_reference(wildcards):
    """The image or the tile store that the stains' reference is in; the published values are in none."""
    reference = study.stain.reference
    if reference == sources.PUBLISHED:
        return []
    tile = sources.parts(reference, kind="stain")
    if tile and tile["slide"] not in slides_listed(tile["cohort"]):
        raise InputError(f"stain.reference: {reference}: cohort {tile['cohort']} lists no slide {tile['slide']}")
    return sources.local_path(reference, kind="stain", cohort=wildcards.cohort)


def stain_reference(cohort):
    """What a cohort's stains are normalised to; no file where they are not."""
    if not is_stained(cohort):
        return []
    brought = study.cohorts[cohort].models is not None
    return [applied_file(cohort, "stain_reference.json") if brought else f"results/{cohort}/stain_reference.json"]


def stain_files(wildcards):
    return [f"results/{wildcards.cohort}/stains/{slide}.json" for slide in listed_slides(wildcards)]


def stain_file(cohort, slide):
    """What is done to the colours of a slide's tiles where models read them; no file where nothing is."""
    is_done = is_stained(cohort) and stain_settings(cohort)["applied"] == "on_read"
    return [f"results/{cohort}/stains/{slide}.json"] if is_done else []


def model_store(cohort, slide):
    """The tile store that models read: with tiles as scanned, or recoloured at tiling."""
    is_recoloured = is_stained(cohort) and stain_settings(cohort)["applied"] == "at_tiling"
    return f"results/{cohort}/{'normalised' if is_recoloured else 'tiles'}/{slide}.h5"


# Annotations


def annotated_cohorts():
    return [name for name, cohort in study.cohorts.items() if cohort.annotations]


def annotation_files(cohort):
    """The annotation file of each slide of a cohort that has one, by slide id."""
    return planning.files_of_slides(
        tables_of(cohort).sheet, study.cohorts[cohort].annotations.folder, planning.ANNOTATIONS
    )


def annotation_file(wildcards):
    return annotation_files(wildcards.cohort)[wildcards.slide]


def annotations_of_no_slide(wildcards):
    """Names in a folder of annotations that are no slide's: the list of annotations says so."""
    folder = cohort_of(wildcards).annotations.folder
    return planning.files_of_no_slide(sheet_of(wildcards), folder, planning.ANNOTATIONS)


def checked_annotations(_wildcards):
    """Tables and pictures of all cohorts that have annotations; which slides have some is known once it is assembled."""
    return [
        f"results/{cohort}/{name}"
        for cohort in annotated_cohorts()
        if cohort in (*study.study.cohorts, *sister_cohorts())
        for name in (
            "annotations/regions.tsv",
            *(f"figures/annotations/{slide}.png" for slide in annotation_files(cohort)),
        )
    ]


# Tumour filters


def filter_of(cohort):
    """The definition of a cohort's tumour filter; None where all tiles are used, or models bring a filter."""
    name = study.cohorts[cohort].tumour_filter
    return None if name is None else study.tumour_filters[name]


def trained_filters():
    return [name for name, definition in study.tumour_filters.items() if definition.cohorts]


def kind_of_filter(cohort):
    """Whether only a cohort's tumour tiles are used: by a model, by files of the user's own, or not (None)."""
    used, applied = filter_of(cohort), applied_settings(cohort)
    if used is not None:
        return model_sets.BY_MODEL if used.cohorts else model_sets.BY_FILES
    if applied and applied["tumour_filter"] == model_sets.BY_FILES:
        raise WorkflowError(
            f"cohorts.{cohort}: its models are for tumour tiles, by files that the new slides need too: give the cohort "
            "a `tumour_filter` with such a `folder`"
        )
    return applied["tumour_filter"] if applied else None


def cohorts_filtered(kind):
    return [cohort for cohort in known_cohorts() if kind_of_filter(cohort) == kind]


def filter_file(cohort, name):
    """A file of the trained filter that a cohort uses."""
    if study.cohorts[cohort].models is not None:
        return applied_file(cohort, f"tumour_filter/{name}")
    return f"results/filters/{study.cohorts[cohort].tumour_filter}/{name}"


def filter_model_of(cohort):
    """The weights of the filter that a cohort uses, if that is a model."""
    return [filter_file(cohort, "weights.safetensors")] if kind_of_filter(cohort) == model_sets.BY_MODEL else []


def threshold_of(cohort):
    """The threshold of a cohort's filter: a number, the file of the one that is chosen, or None without a filter."""
    used, applied = filter_of(cohort), applied_settings(cohort)
    if used is None:
        return applied["tumour_threshold"] if applied else None
    if applied and applied["tumour_threshold"] != used.threshold:
        raise WorkflowError(
            f"cohorts.{cohort}.tumour_filter: its threshold is {used.threshold}, and that of the models "
            f"{applied['tumour_threshold']}; give it theirs"
        )
    return filter_file(cohort, "threshold.json") if isinstance(used.threshold, str) else used.threshold


@cache
def annotated_by_set(filter_name):
    """A trained filter's annotated slides in each set, as (cohort, slide)."""
    definition = study.tumour_filters[filter_name]
    found = {"train": [], "validation": [], "test": []}
    sets_of = {}
    for cohort in definition.cohorts:
        tables = tables_of(cohort)
        sets = planning.sets_of_slides(tables.sheet, tables.splits, list(annotation_files(cohort)), round_number=1)
        for name, slides in sets.items():
            found[name] += [(cohort, slide) for slide in slides]
            for slide in slides:
                sets_of.setdefault(in_sheet(cohort, "patient_id")[slide], set()).add(name)
    torn = [patient for patient, names in sets_of.items() if len(names) > 1]
    if torn:
        raise WorkflowError(
            f"tumour_filters.{filter_name}: {len(torn)} patients are in one set by one cohort's split and in another by "
            f"another's, the first of them {torn[0]}; give the cohorts splits that agree (cohorts.<name>.split)"
        )
    if not definition.held_out:
        found["train"] += found["test"]
        found["test"] = []
    if definition.slides is not None:
        if len(found["train"]) < definition.slides:
            raise WorkflowError(
                f"tumour_filters.{filter_name}.slides: {definition.slides}, and {len(found['train'])} annotated slides "
                "are in the training set; annotate more, or ask for fewer"
            )
        found["train"] = planning.drawn(found["train"], definition.slides, seed=study.study.seed)
    check_starts_unseen(filter_name, found["test"])
    return found


def check_starts_unseen(filter_name, held_out):
    """Refuse a filter that starts from one that learns from patients whom it holds out itself."""
    patients = dict(zip(patients_of(held_out), held_out, strict=True))
    for start in study.with_starts([filter_name])[:-1]:
        sets = annotated_by_set(start)
        seen = [patient for patient in patients_of(sets["train"] + sets["validation"]) if patient in patients]
        if seen:
            raise WorkflowError(
                f"tumour_filters.{filter_name}.starts_from: {len(set(seen))} of its held-out patients teach {start}, that "
                f"of {'/'.join(patients[seen[0]])} for one; hold them out there too (held_out, cohorts.<name>.split)"
            )


def start_of_filter(wildcards):
    """The files that a trained filter's first weights are read from, if there are any."""
    definition = study.tumour_filters[wildcards.filter]
    if definition.starts_from is None:
        return given(definition.training.imagenet)
    folder = f"results/filters/{definition.starts_from}"
    return [f"{folder}/weights.safetensors", f"{folder}/model.json"]


def annotated_in(*sets):
    """A trained filter's annotated slides in some sets, for a job's parameters."""

    def slides(wildcards):
        found = annotated_by_set(wildcards.filter)
        return {name: found[name] for name in sets}

    return slides


def patients_of(places):
    """The patient of each of some slides, as (cohort, slide), in their order."""
    return [in_sheet(cohort, "patient_id")[slide] for cohort, slide in places]


def tiles_of_annotated(*sets):
    """The tiles, and the labels of the tiles, of a filter's annotated slides in some sets."""

    def inputs(wildcards):
        chosen = [place for slides in annotated_in(*sets)(wildcards).values() for place in slides]
        labels = [f"results/{cohort}/annotations/tiles/{slide}.tsv" for cohort, slide in chosen]
        return tile_inputs(chosen, filtered=False) | {"labels": labels}

    return inputs


def tumour_part(cohort, slide):
    """The name of the file that has a slide's tumour probabilities: its own, or that of a chunk of slides.

    Where models learn from tumour tiles, a replaced slide trains none that does not see it: in the main chain, whose
    models have sets of their own each, by a file per slide; in a sister study by chunks of slides of one set.
    """
    if kind_of_filter(cohort) == model_sets.BY_FILES or learns_from_tumour(cohort):
        return slide
    chunk = planning.chunk_of(slide, chunks=study.predictions.chunks)
    return f"{origin_sets()[slide] or 'unused'}_{chunk}" if cohort in origin_cohorts() else str(chunk)


def tumour_file(cohort, slide):
    return f"results/{cohort}/tumour/{tumour_part(cohort, slide)}.h5"


@cache
def slides_by_tumour_part(cohort):
    found = {}
    for slide in planning.usable_files(sheet_of_cohort(cohort)):
        found.setdefault(tumour_part(cohort, slide), []).append(slide)
    return found


def slides_of_tumour_file(wildcards):
    return slides_by_tumour_part(wildcards.cohort)[wildcards.part]


def own_tumour_file(wildcards):
    """The user's own file of a slide's tumour, in place of a filter's model."""
    sheet, folder = sheet_of(wildcards), filter_of(wildcards.cohort).folder
    lacking = planning.slides_without_file(sheet, folder, planning.TILE_SCORES)
    if lacking:
        raise WorkflowError(
            f"{folder}: {len(lacking)} slides of {wildcards.cohort} have no tumour file there, the first of them "
            f"{lacking[0]}; add them, or take the slides out (slides.exclude)"
        )
    return planning.files_of_slides(sheet, folder, planning.TILE_SCORES)[wildcards.slide]


# What models read


def tile_inputs(places, *, filtered):
    """The files that make some slides' tiles, places of (cohort, slide), what models see; `filtered` by tumour or not.

    See `tile_sources.list_sources`; a threshold that is a number is a parameter, see `threshold_of`.
    """
    cohorts = {cohort for cohort, _ in places}
    found = {
        "stores": [model_store(cohort, slide) for cohort, slide in places],
        "stains": [path for cohort, slide in places for path in stain_file(cohort, slide)],
        "reference": [path for cohort in sorted(cohorts) for path in stain_reference(cohort)],
    }
    if filtered:
        chosen = [threshold_of(cohort) for cohort in cohorts]
        found["tumour"] = [tumour_file(cohort, slide) for cohort, slide in places if kind_of_filter(cohort)]
        found["threshold"] = [path for path in chosen if isinstance(path, str)]
    return found


# Training


def selection_of(wildcards):
    """Labels of the slides of a model's two sets, by slide id; the job's parameters, so that it reruns with them."""
    return selection_of_model(wildcards.cohort, wildcards.trait, int(wildcards.round))


@cache
def selection_of_model(cohort, trait, number):
    tables = tables_of(cohort)
    return planning.selection(tables.splits, Path(tables.labels) / f"{trait}.tsv", round_number=number)


def processors_of(training):
    """What a training asks of a cluster: the threads that compute, and the processes that decode tiles."""
    return training.threads + training.workers


def learns_from_tumour(cohort):
    """Whether a cohort's trait models learn from tumour tiles alone."""
    used = filter_of(cohort)
    return used is not None and used.in_training


def tiles_of_model(wildcards):
    """What a model learns from: the tiles of its training slides, then those of its validation slides."""
    places = [(wildcards.cohort, slide) for labels in selection_of(wildcards).values() for slide in labels]
    return tile_inputs(places, filtered=learns_from_tumour(wildcards.cohort))


# Predictions


def prediction_settings(wildcards):
    """`predictions` of the configuration but its chunks; where models are applied, those of their own cohort."""
    applied = applied_settings(wildcards.cohort)
    return applied["predictions"] if applied else study.predictions.model_dump(exclude={"chunks"})


def model_digests(wildcards):
    """The digests of the models that are applied, for a job's parameters: files of one name and another content."""
    applied = applied_settings(wildcards.cohort)
    return applied["files"] if applied else None


def prediction_threads(wildcards):
    return prediction_settings(wildcards)["threads"]


def slides_of_chunk(wildcards):
    chunks = planning.slides_by_chunk(sheet_of(wildcards), chunks=study.predictions.chunks)
    return chunks[int(wildcards.chunk)]


def tiles_of_chunk(wildcards):
    places = [(wildcards.cohort, slide) for slide in slides_of_chunk(wildcards)]
    return tile_inputs(places, filtered=True)


def tiles_of_cohort(wildcards):
    places = [(wildcards.cohort, slide) for slide in listed_slides(wildcards)]
    return tile_inputs(places, filtered=True)


def chunk_files(wildcards):
    """The predictions of a cohort: a file for each chunk that has slides."""
    chunks = planning.slides_by_chunk(sheet_of(wildcards), chunks=study.predictions.chunks)
    return [f"results/{wildcards.cohort}/predictions/{chunk}.h5" for chunk in sorted(chunks)]


def ensembles_of(wildcards):
    """The table of a cohort's ensembles: its own, or that of the models that are applied."""
    if cohort_of(wildcards).models is not None:
        return applied_file(wildcards.cohort, "ensembles.tsv")
    return f"results/{wildcards.cohort}/ensembles.tsv"


def model_files(wildcards):
    applied = applied_settings(wildcards.cohort)
    if applied:
        return [applied_file(wildcards.cohort, f"{name}/weights.safetensors") for name in applied["members"]]
    return [
        f"results/{wildcards.cohort}/training/{trait}/round_{number}/weights.safetensors"
        for trait in traits_of(wildcards)
        for number in rounds()
    ]


def test_slides_of_chunk(wildcards):
    if cohort_of(wildcards).models is not None:
        return []
    found = assembled(wildcards)
    return planning.held_out_slides(found.sheet, found.splits, slides_of_chunk(wildcards))


# Cartography


def table1_where_traits_are_chosen_by_it(wildcards):
    return rules.evaluate_models.output.table1 if heterogeneity_traits_of(wildcards) is None else []


# Figures


def figures_of_slides(cohort):
    """What shows a cohort's slides before anything is learnt from them."""
    names = ("slide_verdicts.png", "quality.png", *(["stains.png"] if is_stained(cohort) else []))
    return [f"results/{cohort}/figures/{name}" for name in names]


def figures_of(cohort):
    """All figures of a cohort."""
    of_maps = ["fig3_heterogeneity_examples.png", "heterogeneity_maps"]
    of_models = [
        "cohort_flow.png",
        "table1.html",
        "fig2_score_distributions.png",
        "s1_correlations.png",
        "fig4_survival.png",
        "hazard_ratios.png",
        "fig5a_expression_survival.png",
        "fig5b_hti_by_expression.png",
        *(["fig6_hti_by_category.png"] if study.cohorts[cohort].categories else []),
        *(f"training/{trait}.png" for trait in study.cohorts[cohort].traits),
        *(["recovery.png"] if study.cohorts[cohort].truth else []),
    ]
    named = of_maps + (of_models if cohort in trained_cohorts() else [])
    others = [f"results/{cohort}/figures/{name}" for name in named]
    return figures_of_slides(cohort) + others + figures_of_filter(cohort)


def figures_of_filter(cohort):
    used = filter_of(cohort)
    return [filter_file(cohort, "figures/tumour_filter.png")] if used and used.cohorts else []


def models_of(cohort):
    """The trained models of a cohort, gathered to be applied elsewhere."""
    return [f"results/{cohort}/models"] if cohort in trained_cohorts() else []


# The paper's values stand beside ours; by their digest, because a clone's files are all new.
published = provenance.file_digest(Path(workflow.basedir) / "workflow_scripts" / "lib" / "published.tsv")


def title_of(wildcards):
    return cohort_of(wildcards).title


# Exports


def maps_of(cohort):
    """Every map that a cohort has: of heterogeneity, of each trait, and of tumour where that is asked of tiles."""
    applied = applied_settings(cohort)
    traits = applied["traits"] if applied else study.cohorts[cohort].traits
    return [configuration.HETEROGENEITY, *([configuration.TUMOUR] if kind_of_filter(cohort) else []), *traits]


def all_maps():
    return list(dict.fromkeys(name for cohort in known_cohorts() for name in maps_of(cohort)))


def check_exports():
    """Refuse a map that no cohort has. Those of applied models are known here, and not to the configuration."""
    known = {*all_maps(), configuration.TRAITS}
    for key in ("maps", "heatmaps"):
        unknown = [name for name in getattr(study.exports, key) if name not in known]
        if unknown:
            raise WorkflowError(f"exports.{key}: {unknown[0]!r} is not among {', '.join(sorted(known))}")


check_exports()


def heterogeneity_settings(wildcards):
    applied = applied_settings(wildcards.cohort)
    return applied["heterogeneity"] if applied else study.heterogeneity.model_dump()


def exports_of(cohort):
    """The exports and the heatmaps that the configuration asks for, of those maps that a cohort has."""
    return [
        *(f"results/{cohort}/exports/{name}" for name in study.exports.among(maps_of(cohort), key="maps")),
        *(f"results/{cohort}/figures/heatmaps/{name}" for name in study.exports.among(maps_of(cohort), key="heatmaps")),
    ]


def what_a_map_is_of(wildcards):
    """The files that a map is made from, see `layers.read_layers`; it depends on no other."""
    if wildcards.map == configuration.TUMOUR:
        places = [(wildcards.cohort, slide) for slide in listed_slides(wildcards)]
        read = tile_inputs(places, filtered=True)
        return {name: read[name] for name in ("stores", "tumour", "threshold")}
    found = {"maps": rules.map_slides.output.maps}
    if wildcards.map == configuration.HETEROGENEITY:
        found["hti"] = rules.measure_heterogeneity.output.hti
    return found


def tumour_threshold_of_map(wildcards):
    return threshold_of(wildcards.cohort) if wildcards.map == configuration.TUMOUR else None


# The doctor


def tables_of_assembly(wildcards):
    """What is known of the cohorts before any slide is opened."""
    run = [cohort for cohort in study.study.cohorts if cohort in trained_cohorts()]
    for cohort in run:
        tables_of(cohort)
    return [
        f"results/{cohort}/{name}"
        for cohort in run
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


def what_training_found(wildcards):
    """The tables that a summary has of a cohort that models are trained in."""
    if cohort_of(wildcards).models is not None:
        return {}
    tables = {"table1": rules.evaluate_models.output.table1, "logrank": rules.analyse_survival.output.logrank}
    return tables | ({"recovery": rules.score_recovery.output.recovery} if cohort_of(wildcards).truth else {})


def brought_files(wildcards):
    """What a cohort was made from: the user's tables, or the trained models."""
    applied = applied_settings(wildcards.cohort)
    if applied:
        names = [model_sets.SETTINGS_FILE, *applied["files"]]
        return [*slides_brought(wildcards), *(applied_file(wildcards.cohort, name) for name in names)]
    return sum(assembly_inputs(wildcards).values(), [])


def configuration_of(wildcards):
    """What a cohort's results stand on: the configuration, in which models that are applied replace what is theirs."""
    found = study.of_cohort(wildcards.cohort)
    applied = applied_settings(wildcards.cohort)
    if applied is None:
        return found
    theirs = {"tiles", "stain", "predictions", "heterogeneity"}
    own = {"study", "cohorts", "tumour_filters", "exports"}
    return {name: found[name] for name in own} | {name: applied[name] for name in theirs} | {"models": applied}


def print_summaries():
    """Print the summaries of the cohorts that have one, at the end of a run that succeeded."""
    for cohort in study.study.cohorts:
        summary = Path(summary_of(cohort))
        if summary.is_file():
            print(summary.read_text(), file=sys.stderr)
