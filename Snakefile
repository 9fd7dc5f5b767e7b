# Histocarta: from whole-slide images to maps of molecular traits, tumour heterogeneity and survival.
#
#   snakemake --cores 8                                          the published study (config.yaml)
#   snakemake --cores 2 --configfile studies/demo.yaml           a generated cohort, in minutes
#   snakemake --profile slurm                                    on a cluster
#   snakemake --cores 8 --configfile studies/origin.yaml -- origin   a sister study
from snakemake.utils import min_version

min_version("9.0")


configfile: f"{workflow.basedir}/config.yaml"


report: "rules/report/workflow.rst"


include: "rules/common.smk"
include: "rules/running.smk"
include: "rules/apply_inputs.smk"
include: "rules/cohort_inputs.smk"
include: "rules/tiles_inputs.smk"
include: "rules/tumour_inputs.smk"
include: "rules/models_inputs.smk"
include: "rules/results_inputs.smk"
include: "rules/demo.smk"
include: "rules/cohort.smk"
include: "rules/inputs.smk"
include: "rules/tiles.smk"
include: "rules/stains.smk"
include: "rules/annotations.smk"
include: "rules/tumour.smk"
include: "rules/training.smk"
include: "rules/predictions.smk"
include: "rules/evaluation.smk"
include: "rules/cartography.smk"
include: "rules/survival.smk"
include: "rules/recovery.smk"
include: "rules/apply.smk"
include: "rules/figures.smk"
include: "rules/exports.smk"
include: "rules/controls.smk"
include: "rules/summary.smk"
include: "rules/doctor.smk"


# The sister studies, where the configuration has their sections.
if study.origin is not None:

    include: "rules/origin_inputs.smk"
    include: "rules/origin.smk"
    include: "rules/origin_figures.smk"
    include: "rules/origin_demo.smk"


if study.transfer is not None:

    include: "rules/transfer_inputs.smk"
    include: "rules/transfer.smk"
    include: "rules/transfer_figures.smk"
    include: "rules/transfer_demo.smk"


if study.compression is not None:

    include: "rules/compression_inputs.smk"
    include: "rules/compression.smk"
    include: "rules/compression_figures.smk"
    include: "rules/compression_demo.smk"


if study.adaptation is not None:

    include: "rules/adaptation_inputs.smk"
    include: "rules/adaptation.smk"
    include: "rules/adaptation_figures.smk"
    include: "rules/adaptation_demo.smk"


onstart:
    end_orphans(is_held=hold_results())
    schedule_when_jobs_end()


onsuccess:
    remove_states()
    write_efficiency(log)
    print_summaries()


onerror:
    write_efficiency(log)


# On a cluster these run beside Snakemake: they take seconds, which a job of their own would spend on its start, or need a
# network, which nodes often lack.
localrules:
    all,
    annotations,
    cohort,
    negative_controls,
    doctor,
    query_manifest,
    fetch_gdc_table,
    fetch_clinical,
    download_slide,
    list_new_slides,
    list_slides,
    list_stains,
    list_annotations,
    describe_clinical,
    describe_cohort,
    fit_reference,
    rank_models,
    choose_threshold,
    gather_models,
    analyse_survival,
    score_recovery,
    score_controls,
    summarise,
    write_table1,
    draw_cohort_flow,
    draw_slide_verdicts,
    draw_stains,
    draw_filter,
    draw_training_curves,
    draw_score_distributions,
    draw_correlations,
    draw_heterogeneity_examples,
    draw_survival_curves,
    draw_hazard_ratios,
    draw_expression_survival,
    draw_hti_by_expression,
    draw_hti_by_category,
    draw_recovery,
    draw_controls,


rule all:
    default_target: True
    input:
        # A cohort whose assembly failed has lost these, and nothing else asks for them before it is assembled.
        [f"results/{cohort}/sheet.tsv" for cohort in study.study.cohorts],
        [figures_of(cohort) for cohort in study.study.cohorts],
        [exports_of(cohort) for cohort in study.study.cohorts],
        [summary_of(cohort) for cohort in study.study.cohorts],
        [models_of(cohort) for cohort in study.study.cohorts],
        checked_annotations,
        results_of_origin if study.origin else [],
        results_of_transfer if study.transfer else [],
        results_of_compression if study.compression else [],
        results_of_adaptation if study.adaptation else [],
