# The study of microscope adaptation: can what was learnt on labelled slides classify unlabelled photographs of a microscope?
#
# Requires the tiles of two cohorts, annotated slides and photographs, and their labels; and their stains where a method
# normalises them, which the chain makes. Makes a model per method and seed, predictions of the held-out patches of both,
# the tables under results/adaptation/, and one file that classifies photographs anywhere. A method that starts from
# another's weights waits for them. No method that is unsupervised has the target's labels among its inputs.


localrules:
    adaptation,
    draw_adaptation_examples,
    draw_adaptation_tsne,
    draw_adaptation_table2,
    draw_adaptation_confusion,
    draw_adaptation_learning,
    write_adaptation_table1,
    write_adaptation_table2,


rule describe_adaptation_data:
    input:
        stores=lambda wildcards: [f"results/{cohort}/tiles/{slide}.h5" for cohort, slide in all_places()],
        labels=lambda wildcards: label_tables(labelled_places()),
    output:
        data="results/adaptation/tables/data.tsv",
    log:
        "results/adaptation/logs/describe_adaptation_data.log",
    benchmark:
        "results/adaptation/benchmarks/describe_adaptation_data.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        slides=lambda wildcards: described_slides(("train", "validation", "test")),
        annotated=lambda wildcards: annotated_keys(labelled_places()),
        slide_labels=lambda wildcards: labels_of_slides(labelled_places()),
        classes=study.adaptation.classes,
        code=code_of("describe_adaptation_data"),
    script:
        "../workflow_scripts/describe_adaptation_data.py"


rule train_adaptation:
    input:
        unpack(patches_of_method),
        start=start_of_method,
    output:
        **files_of_a_method,
    log:
        "results/adaptation/logs/train_adaptation/{method}/{seed}.log",
    benchmark:
        "results/adaptation/benchmarks/train_adaptation/{method}/{seed}.tsv"
    wildcard_constraints:
        method=one_of(methods_of_adaptation(learnt=True)),
        seed=r"\d+",
    conda:
        "../envs/histocarta.yaml"
    threads: study.adaptation.training.threads
    resources:
        gpu=1,
        decoders=study.adaptation.training.workers,
        cpus_per_task=processors_of(study.adaptation.training),
    params:
        slides=parts_of_method,
        slide_labels=lambda wildcards: labels_of_slides(places_with_labels(wildcards)),
        classes=study.adaptation.classes,
        method=learning_of_method,
        focal_gamma=study.adaptation.focal_gamma,
        label_weight=study.adaptation.label_weight,
        discriminator=study.adaptation.discriminator,
        training=training_of_method,
        # By which labelled photographs are sampled, where not all are used.
        study_seed=lambda wildcards: study.study.seed if method_of(wildcards).target_patches else 0,
        code=code_of("train_adaptation"),
    script:
        "../workflow_scripts/train_adaptation.py"


rule measure_batch_statistics:
    input:
        unpack(patches_of_method),
        start=start_of_method,
    output:
        **files_of_a_method,
    log:
        "results/adaptation/logs/measure_batch_statistics/{method}/{seed}.log",
    benchmark:
        "results/adaptation/benchmarks/measure_batch_statistics/{method}/{seed}.tsv"
    wildcard_constraints:
        method=one_of(methods_of_adaptation(learnt=False)),
        seed=r"\d+",
    conda:
        "../envs/histocarta.yaml"
    threads: study.adaptation.training.threads
    resources:
        gpu=1,
    params:
        slides=parts_of_method,
        classes=study.adaptation.classes,
        batch_size=study.adaptation.training.batch_size,
        threads=study.adaptation.training.threads,
        code=code_of("measure_batch_statistics"),
    script:
        "../workflow_scripts/measure_batch_statistics.py"


rule predict_adaptation:
    input:
        unpack(
            lambda wildcards: tile_inputs(
                tested_in(wildcards.domain), filtered=False, stained=wildcards.colours == STAINED
            )
        ),
        weights=lambda wildcards: [
            f"results/adaptation/training/{method}/{wildcards.seed}/weights.safetensors"
            for method in methods_by_colours()[wildcards.colours]
        ],
    output:
        predictions="results/adaptation/predictions/{seed}/{domain}_{colours}.h5",
    log:
        "results/adaptation/logs/predict_adaptation/{seed}/{domain}_{colours}.log",
    benchmark:
        "results/adaptation/benchmarks/predict_adaptation/{seed}/{domain}_{colours}.tsv"
    wildcard_constraints:
        domain=one_of([SOURCE, TARGET]),
        colours=one_of([RAW, STAINED]),
        seed=r"\d+",
    conda:
        "../envs/histocarta.yaml"
    threads: study.predictions.threads
    resources:
        gpu=1,
    params:
        slides=lambda wildcards: [slide for _, slide in tested_in(wildcards.domain)],
        methods=lambda wildcards: methods_by_colours()[wildcards.colours],
        batch_size=study.predictions.batch_size,
        threads=study.predictions.threads,
        code=code_of("predict_adaptation"),
    script:
        "../workflow_scripts/predict_adaptation.py"


rule score_adaptation:
    input:
        predictions=lambda wildcards: predicted_files(),
        labels=lambda wildcards: label_tables(tested_places()),
    output:
        patches="results/adaptation/tables/patches.tsv",
        table2="results/adaptation/tables/table2.tsv",
        seeds="results/adaptation/tables/seeds.tsv",
        tests="results/adaptation/tables/tests.tsv",
        confusion="results/adaptation/tables/confusion.tsv",
        classes="results/adaptation/tables/classes.tsv",
    log:
        "results/adaptation/logs/score_adaptation.log",
    benchmark:
        "results/adaptation/benchmarks/score_adaptation.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        predictions=lambda wildcards: described_predictions(),
        slides=lambda wildcards: described_slides(("test",)),
        annotated=lambda wildcards: annotated_keys(tested_places()),
        slide_labels=lambda wildcards: labels_of_slides(tested_places()),
        methods=described_methods(),
        classes=study.adaptation.classes,
        exported=study.adaptation.exported,
        resamples=study.evaluation.resamples,
        seed=study.study.seed,
        code=code_of("score_adaptation"),
    script:
        "../workflow_scripts/score_adaptation.py"


rule embed_adaptation_patches:
    input:
        unpack(lambda wildcards: tile_inputs(tested_places(), filtered=False, stained=False)),
        labels=lambda wildcards: label_tables(tested_places()),
        weights=of_shown_methods("weights.safetensors"),
    output:
        tsne="results/adaptation/tables/tsne.tsv",
    log:
        "results/adaptation/logs/embed_adaptation_patches.log",
    benchmark:
        "results/adaptation/benchmarks/embed_adaptation_patches.tsv"
    conda:
        "../envs/histocarta.yaml"
    threads: study.predictions.threads
    resources:
        gpu=1,
    params:
        slides=lambda wildcards: {SOURCE: {"test": tested_in(SOURCE)}, LABELLED_TARGET: {"test": tested_in(TARGET)}},
        slide_labels=lambda wildcards: labels_of_slides(tested_places()),
        methods=study.adaptation.shown,
        classes=study.adaptation.classes,
        embedded=study.adaptation.embedded,
        perplexity=study.adaptation.perplexity,
        batch_size=study.predictions.batch_size,
        threads=study.predictions.threads,
        seed=study.study.seed,
        code=code_of("embed_adaptation_patches"),
    script:
        "../workflow_scripts/embed_adaptation_patches.py"


rule export_adapted_model:
    input:
        unpack(exported_weights),
    output:
        model=f"results/adaptation/exported/{study.adaptation.exported}.onnx",
    log:
        "results/adaptation/logs/export_adapted_model.log",
    benchmark:
        "results/adaptation/benchmarks/export_adapted_model.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        tiles=study.tiles.model_dump(exclude={"threads"}),
        method=study.adaptation.exported,
        code=code_of("export_adapted_model"),
    script:
        "../workflow_scripts/export_adapted_model.py"


rule classify_test_photographs:
    input:
        model=rules.export_adapted_model.output.model,
        photographs=lambda wildcards: [
            planning.find_slide(slides_listed(cohort)[slide]) for cohort, slide in tested_photographs()
        ],
    output:
        classified=directory("results/adaptation/classified"),
    log:
        "results/adaptation/logs/classify_test_photographs.log",
    benchmark:
        "results/adaptation/benchmarks/classify_test_photographs.tsv"
    conda:
        "../envs/histocarta.yaml"
    threads: study.predictions.threads
    params:
        threads=study.predictions.threads,
        mpp=lambda wildcards: [configured_mpp(cohort, slide) for cohort, slide in tested_photographs()],
        code=code_of("classify_test_photographs"),
    script:
        "../workflow_scripts/classify_test_photographs.py"


rule adaptation:
    input:
        results_of_adaptation,
