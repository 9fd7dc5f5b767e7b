# Exports: maps for other programs, and heatmaps of what the maps stand on.
#
# Requires maps/, hti.tsv for the map `heterogeneity`, tumour/ for the map `tumour`, and the tile stores for heatmaps.
# Makes exports/<map>/, a GeoJSON for QuPath and an OME-TIFF for each slide, and figures/heatmaps/<map>/, a picture for
# each slide. `exports` in the configuration says which of them a run makes; each can be asked for by its name.


rule export_maps:
    input:
        unpack(what_a_map_is_of),
    output:
        exports=directory("results/{cohort}/exports/{map}"),
    log:
        "results/{cohort}/logs/export_maps/{map}.log",
    benchmark:
        "results/{cohort}/benchmarks/export_maps/{map}.tsv"
    wildcard_constraints:
        map=one_of(all_maps()),
    conda:
        "../envs/histocarta.yaml"
    params:
        tumour_threshold=tumour_threshold_of_map,
        formats=study.exports.formats,
        code=code_of("export_maps"),
    script:
        "../workflow_scripts/export_maps.py"


# Not in the report, which would grow by a megabyte with each slide.
rule draw_heatmaps:
    input:
        unpack(what_a_map_is_of),
        thumbnails=tile_stores,
    output:
        heatmaps=directory("results/{cohort}/figures/heatmaps/{map}"),
    log:
        "results/{cohort}/logs/draw_heatmaps/{map}.log",
    benchmark:
        "results/{cohort}/benchmarks/draw_heatmaps/{map}.tsv"
    wildcard_constraints:
        map=one_of([name for name in all_maps() if name != HETEROGENEITY]),
    conda:
        "../envs/histocarta.yaml"
    params:
        tumour_threshold=tumour_threshold_of_map,
        code=code_of("draw_heatmaps"),
    script:
        "../workflow_scripts/draw_heatmaps.py"
