# What the rules of figures, exports, the doctor, negative controls and the summary take.
from workflow_scripts.lib import model_sets
from workflow_scripts.lib.configuration.chain import HETEROGENEITY, TRAITS, TUMOUR

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


# Exports


def maps_of(cohort):
    """Every map that a cohort has: of heterogeneity, of each trait, and of tumour where that is asked of tiles."""
    applied = applied_settings(cohort)
    traits = applied["traits"] if applied else study.cohorts[cohort].traits
    return [HETEROGENEITY, *([TUMOUR] if kind_of_filter(cohort) else []), *traits]


def all_maps():
    return list(dict.fromkeys(name for cohort in known_cohorts() for name in maps_of(cohort)))


def check_exports():
    """Refuse a map that no cohort has. Those of applied models are known here, and not to the configuration."""
    known = {*all_maps(), TRAITS}
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
    if wildcards.map == TUMOUR:
        places = [(wildcards.cohort, slide) for slide in listed_slides(wildcards)]
        read = tile_inputs(places, filtered=True)
        return {name: read[name] for name in ("stores", "tumour", "threshold")}
    found = {"maps": rules.map_slides.output.maps}
    if wildcards.map == HETEROGENEITY:
        found["hti"] = rules.measure_heterogeneity.output.hti
    return found


def tumour_threshold_of_map(wildcards):
    return threshold_of(wildcards.cohort) if wildcards.map == TUMOUR else None


# The doctor


def examined_cohorts():
    """The cohorts of the run: the study's, and those of sister studies."""
    return list(dict.fromkeys([*study.study.cohorts, *sister_cohorts()]))


def tables_of_assembly(cohort):
    """What is known of a cohort before any slide is opened, by what `doctor.examine_cohort` calls it.

    Of a cohort that no trait is learnt in, applied or of a sister study, that is its list of slides.
    """
    folder, of_traits = f"results/{cohort}", cohort in study.study.cohorts and cohort in trained_cohorts()
    return {
        "path_to_sheet": f"{folder}/sheet.tsv",
        "path_to_flow": f"{folder}/flow.tsv" if of_traits else None,
        "path_to_traits": f"{folder}/flow_traits.tsv" if of_traits else None,
        "path_to_clinical": f"{folder}/survival/clinical.tsv" if of_traits else None,
    }


def all_tables_of_assembly(wildcards):
    return [path for cohort in examined_cohorts() for path in given(*tables_of_assembly(cohort).values())]


def what_the_doctor_asks(cohort):
    """A cohort's part of `doctor.examine_cohort`."""
    slides, tables = study.cohorts[cohort].slides, tables_of_assembly(cohort)
    of_traits = tables["path_to_traits"] is not None
    return tables | {
        "title": study.cohorts[cohort].title,
        "path_to_manifest": input_path(slides.manifest, kind="manifest", cohort=cohort),
        "folder_of_stores": f"results/{cohort}/tiles",
        "downloaded_to": f"results/{cohort}/slides" if slides.download else None,
        "configured_mpp": slides.mpp,
        "photographs": slides.photographs,
        "traits": len(study.cohorts[cohort].traits) if of_traits else 0,
        "figures": len(figures_of(cohort)) if of_traits else 0,
    }


def first_weights_of_trainings():
    """What each training of the run begins with, for `doctor.examine_weights`."""
    sections = [study.training] if set(study.study.cohorts) & set(trained_cohorts()) else []
    sections += [sister.training for sister in (study.origin, study.adaptation) if sister]
    used = study.with_starts([name for cohort in examined_cohorts() if (name := study.cohorts[cohort].tumour_filter)])
    keys = {"backbone", "weights", "imagenet"}
    of_filters = {name: study.tumour_filters[name].training.model_dump(include=keys) for name in trained_filters()}
    return {
        "needed": [
            *(section.model_dump(include=keys) for section in sections),
            *(first for name, first in of_filters.items() if name in used),
        ],
        "wanted": [first for name, first in of_filters.items() if study.transfer and name not in used],
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
