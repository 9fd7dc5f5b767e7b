# Slides to tiles: each slide is opened, judged and cut into tiles on its one lattice.
#
# Requires the slides of sheet.tsv. Makes a tile store per slide, of a refused slide too (no tiles, and the reason),
# and slides.tsv, the sheet with each slide's verdict.


rule tile_slide:
    input:
        slide=slide_file,
    output:
        store="results/{cohort}/tiles/{slide}.h5",
    log:
        "results/{cohort}/logs/tile_slide/{slide}.log",
    benchmark:
        "results/{cohort}/benchmarks/tile_slide/{slide}.tsv"
    conda:
        "../envs/histocarta.yaml"
    threads: study.tiles.threads
    resources:
        downloads=lambda wildcards: 1 if slide_to_bring(wildcards) else 0,
    params:
        tiles=tile_settings,
        brought=slide_to_bring,
        configured_mpp=lambda wildcards: configured_mpp(wildcards.cohort, wildcards.slide),
        md5=listed_md5,
        photograph=is_photograph,
        code=code_of("tile_slide"),
    script:
        "../workflow_scripts/tile_slide.py"
        if study.downloads.keep_slides
        else "../workflow_scripts/tile_brought_slide.py"


rule list_slides:
    input:
        sheet=sheet_of,
        stores=tile_stores,
    output:
        slides="results/{cohort}/slides.tsv",
    log:
        "results/{cohort}/logs/list_slides.log",
    benchmark:
        "results/{cohort}/benchmarks/list_slides.tsv"
    conda:
        "../envs/histocarta.yaml"
    params:
        code=code_of("list_slides"),
    script:
        "../workflow_scripts/list_slides.py"
