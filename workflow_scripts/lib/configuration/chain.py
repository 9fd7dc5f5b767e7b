"""The sections of the main chain: slides, tiles, stains, labels, training, maps, heterogeneity, survival."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from workflow_scripts.lib import sources
from workflow_scripts.lib.configuration.sections import Augmentation, Metric, Name, Positive, Section, Share

# Paths, or places on a portal.
Url = Annotated[str, StringConstraints(pattern=r"^https?://[^\s/?#@]+(/[^\s?#@]*)?$")]
ManifestSource = Annotated[str, AfterValidator(partial(sources.checked, kind="manifest"))]
TableSource = Annotated[str, AfterValidator(partial(sources.checked, kind="table"))]
ClinicalSource = Annotated[str, AfterValidator(partial(sources.checked, kind="clinical"))]
StainSource = Annotated[str, StringConstraints(min_length=1), AfterValidator(partial(sources.checked, kind="stain"))]

PUBLISHED_TABLES = ("mrna", "mirna")
# The maps that are not a trait's, see `layers`.
HETEROGENEITY, TUMOUR = "heterogeneity", "tumour"
# All traits' maps together.
TRAITS = "traits"
# The label of tiles under no annotation, see `annotations.label_tiles`.
BACKGROUND = "background"


class Study(Section):
    """What runs. Lists here are replaced whole by an overlay; dictionaries elsewhere are merged."""

    cohorts: list[Name] = Field(
        ["brca", "luad"], description="Cohorts that run, defined under `cohorts`; none for a sister study alone."
    )
    seed: int = Field(20201102, ge=0, description="Seed of every random choice (the paper's date of publication).")


class Slides(Section):
    """Where a cohort's slides are: a manifest, with a folder, a download, or both; a folder alone; or a sheet."""

    manifest: ManifestSource | None = Field(
        None,
        description="GDC manifest (id, filename, md5, size, state): a path, or `gdc:<project>` to query the GDC for "
        "the project's open diagnostic slides (Methods, Data).",
    )
    folder: Path | None = Field(
        None,
        description="Folder of slides: all of them, or with a manifest those listed, which may lie in folders below.",
    )
    download: bool = Field(
        False, description="Slides of the manifest that are not in `folder` are downloaded from the GDC."
    )
    sheet: Path | None = Field(
        None, description="TSV with a column `file`, and any of the slide sheet's other columns."
    )
    mpp: float | None = Field(
        None, ge=0.05, le=20, description="µm/px of slides whose file does not say; none: they are excluded."
    )
    check_md5: bool = Field(
        True, description="Slides are compared with the md5 that their list gives; a file of another is excluded."
    )
    photographs: bool = Field(
        False,
        description="The files are plain images of a microscope's camera (JPEG, PNG, TIFF), not whole slides; their "
        "µm/px is that of the sheet, or `mpp`.",
    )
    exclude: dict[str, Annotated[str, StringConstraints(min_length=1)]] = Field(
        {}, description="Slides that are left out, by file name or slide_id, each with its reason."
    )

    @model_validator(mode="after")
    def _check_one_source(self) -> Self:
        if (self.sheet is None) == (self.folder is None and self.manifest is None):
            given = [name for name in ("sheet", "manifest", "folder") if getattr(self, name) is not None]
            raise ValueError(
                "expected either `sheet`, or `manifest` or `folder` or both, found "
                f"{' and '.join(given) or 'none of them'}. An overlay adds to what config.yaml gives a cohort of the "
                "same name: set to null what is not wanted, and `download` to false"
            )
        if self.photographs and self.manifest is not None:
            raise ValueError("`photographs` are listed by a `sheet` or in a `folder`; the GDC's manifests list slides")
        if self.download and self.manifest is None:
            raise ValueError("`download` needs a `manifest`, which says what to download")
        if self.manifest is not None and self.folder is None and not self.download:
            raise ValueError("`manifest` needs the `folder` that its files are in, or `download: true`")
        return self


class OwnTable(Section):
    """An expression table of one's own: TSV, or CSV by its suffix; a row per sample or patient, its id first."""

    path: TableSource = Field(description="The file: a path, or `gdc:<id>/<file name>` to fetch.")
    sample_type: Annotated[str, StringConstraints(pattern="^[0-9]{2}$")] | None = Field(
        None, description="Sample type of rows whose id is a patient's alone (`01`: primary tumour); none: unknown."
    )


class Expression(Section):
    """Bulk expression tables of a cohort."""

    mrna: TableSource | None = Field(
        None,
        description="PanCanAtlas mRNA: rows SYMBOL|ENTREZ, columns aliquots (Methods, Data). A path, or "
        "`gdc:<id>/<file name>` to fetch.",
    )
    mirna: TableSource | None = Field(
        None, description="PanCanAtlas miRNA: rows mature miRNAs, columns aliquots (Methods, Data). As `mrna`."
    )
    tables: dict[Name, OwnTable] = Field({}, description="Tables of one's own, by a name that traits refer to.")

    def by_name(self) -> dict[str, dict[str, Any]]:
        """Source, kind (a form that `expression.read_features` reads) and sample_type of each given table, by name."""
        published = {kind: getattr(self, kind) for kind in PUBLISHED_TABLES}
        given = {
            kind: {"source": source, "kind": kind, "sample_type": None}
            for kind, source in published.items()
            if source is not None
        }
        own = {
            name: {"source": table.path, "kind": "table", "sample_type": table.sample_type}
            for name, table in self.tables.items()
        }
        return given | own

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        for name in PUBLISHED_TABLES:
            if name in self.tables:
                raise ValueError(f"tables.{name}: {name!r} is the key of a PanCanAtlas table; rename the table")
        return self


class Truth(Section):
    """The known truth of a generated cohort. Read by scoring alone, never by training."""

    tiles: Path = Field(
        description="Table slide_id, col, row, kind (`A`, `B`, `AB`, `0`) on the tile lattice, and maybe tumour "
        "(0 or 1; without it, all tiles are)."
    )
    trait_a: Name = Field(description="The trait that kinds `A` and `AB` carry.")
    trait_b: Name = Field(description="The trait that kinds `B` and `AB` carry.")


class Annotations(Section):
    """What pathologists drew on a cohort's slides, and which label that gives a tile. Not in the paper."""

    folder: Path = Field(
        description="Folder of annotations (QuPath's GeoJSON, ASAP's XML, CAMELYON16's JSON), a file per slide: its "
        "slide_id or its file's name, and `.geojson`, `.json` or `.xml`."
    )
    classes: dict[Annotated[str, StringConstraints(min_length=1)], Name] = Field(
        min_length=1,
        description="Label of the tiles under each class of annotation, in order: where labels overlap, the first "
        "holds. Classes that are not named are background.",
    )
    rule: Literal["majority", "any", "fraction", "centre"] = Field(
        "majority",
        description="Which label a tile gets: what covers most of it; the first that covers any of it; the first that "
        "covers `fraction`; or the first that covers its centre.",
    )
    fraction: float | None = Field(None, gt=0, le=1, description="Share of a tile for the rule `fraction`.")

    @model_validator(mode="after")
    def _check_labels(self) -> Self:
        if BACKGROUND in self.classes.values():
            raise ValueError(f"classes: {BACKGROUND!r} is the label of what is in no class; leave such a class out")
        if (self.rule == "fraction") != (self.fraction is not None):
            raise ValueError(f"`fraction` goes with the rule `fraction`, found {self.fraction} with {self.rule!r}")
        return self


class Cohort(Section):
    """A set of slides with their tables. Each is processed, trained and evaluated apart (Results, Training models).

    A cohort of a sister study is its slides alone: it has no expression, no clinical table and no traits.
    """

    title: str = Field(description="Name in figures and in the report.")
    slides: Slides = Field(description="Where the slides are.")
    models: Path | None = Field(
        None,
        description="Folder of trained models (`results/<cohort>/models` of a run) that map the slides, tiled "
        "as these need; such a cohort has no other key but `title`, `slides` and `tumour_filter`.",
    )
    expression: Expression | None = Field(None, description="Bulk expression tables; needed for `traits`.")
    clinical: ClinicalSource | None = Field(
        None,
        description="cBioPortal clinical file, in any of its header styles (Methods, Data); needed for `traits`. A "
        "path, or `cbioportal:<study>` to fetch.",
    )
    traits: list[Name] = Field(
        [],
        description="Traits that are trained in this cohort, defined under `traits`; one or more where it runs.",
    )
    missing_traits: dict[Name, Annotated[str, StringConstraints(min_length=1)]] = Field(
        {}, description="Traits of the study that no table of this cohort holds, each with the reason: listed, not run."
    )
    heterogeneity_traits: list[Name] | None = Field(
        None,
        min_length=2,
        description="Traits of the heterogeneity index; none: the top two by mean test AUC (Results, survival).",
    )
    split: Path | None = Field(None, description="A table patient_id, set, round_1… that replaces the seeded split.")
    covariates: list[str] = Field([], description="Clinical columns that enter the Cox model beside the HTI.")
    categories: list[str] = Field([], description="Clinical columns to compare the HTI over, as in Fig. 6.")
    annotations: Annotations | None = Field(
        None, description="Pathologists' annotations: read, drawn for checking, and turned into labels of tiles."
    )
    tumour_filter: Name | None = Field(
        None, description="Only tumour tiles are used, by this one of the `tumour_filters`; none: all (the paper)."
    )
    truth: Truth | None = Field(
        None, description="Known truth of the two `heterogeneity_traits`: adds recovery scores."
    )

    @model_validator(mode="after")
    def _check_models(self) -> Self:
        if self.models is None:
            needed = ("expression", "clinical", "traits")
            missing = [key for key in needed if not getattr(self, key)]
            if missing and len(missing) < len(needed):
                raise ValueError(
                    f"expected {', '.join(missing)} to train models on, or the folder of trained `models` to apply"
                )
            return self
        given = sorted(self.model_fields_set - {"title", "slides", "models", "tumour_filter"})
        if given:
            raise ValueError(
                "`models` are applied as they were trained: expected no other key but `title`, `slides` and "
                f"`tumour_filter`, found {', '.join(given)}"
            )
        return self


class Trait(Section):
    """A molecular trait: one row of one expression table."""

    table: Name = Field(description="Which expression table it is in: `mrna`, `mirna`, or a name among `tables`.")
    feature: str = Field(description="Gene symbol, SYMBOL|ENTREZ, mature miRNA name, or column.")


class Patience(Section):
    """How long a portal is waited for."""

    attempts: Positive = Field(8, description="Attempts in a row that bring nothing before a file is given up.")
    stall_s: float = Field(60, gt=0, description="A transfer that gives nothing for so many seconds is broken off.")


class Downloads(Section):
    """What is fetched from the portals, and how."""

    gdc: Url = Field("https://api.gdc.cancer.gov", description="The GDC's API.")
    cbioportal: Url = Field(
        "https://media.githubusercontent.com/media/cBioPortal/datahub/master/public",
        description="cBioPortal's data hub, a folder per study.",
    )
    token_file: Path | None = Field(
        None, description="File with a GDC token, for tables that are not open. Read at use; never logged or written."
    )
    keep_slides: bool = Field(
        True,
        description="false: the job that tiles a slide downloads it and deletes it, so that few are on the disk.",
    )
    at_once: Positive = Field(4, description="Slides that are downloaded at once.")
    patience: Patience = Field(Patience(), description="How long a portal is waited for.")


class Tiles(Section):
    """Slides to tiles (Methods, Preprocessing)."""

    tile_px: int = Field(512, ge=16, le=4096, description="Side of a tile in px (Methods, Preprocessing: 512 × 512).")
    mpp: Annotated[float, Field(ge=0.1, le=20)] | Literal["native"] = Field(
        0.5, description="µm/px of a tile; the paper's ×20 zoom is 0.5 µm/px. native: each slide's own."
    )
    max_background: Share = Field(0.5, description="Tiles with more background than this are removed (Preprocessing).")
    background_rule: Literal["saturation", "channel_220"] = Field(
        "saturation",
        description="What background is: pale and unsaturated pixels, or the released code's channel values above 220.",
    )
    max_pen: Share | None = Field(
        0.5,
        description="Tiles with more pen ink than this are dropped; none: kept. Not in the paper, which chose slides.",
    )
    max_dark: Share | None = Field(
        None, description="Tiles with more dark, saturated area (folds) are dropped, 0.5 say; the stain matters: none."
    )
    min_sharpness: float | None = Field(
        None, ge=0, description="Tiles less sharp than this are dropped, 100 say; stain and scanner matter: none."
    )
    jpeg_quality: int = Field(
        90, ge=50, le=100, description="Quality of stored tiles (JPEG, full chroma). Not in the paper."
    )
    mpp_tolerance: float = Field(
        0.02,
        ge=0,
        le=0.25,
        description="How much coarser than `mpp` the pixels read may be, as a share of it: 0.2525 halved is 0.505.",
    )
    threads: Positive = Field(2, description="CPU threads of a job; they change no byte of a store.")


class Stain(Section):
    """Colours of tiles normalised to a reference. Not in the paper: none."""

    method: Literal["none", "reinhard", "macenko", "macenko_least_squares", "vahadane"] = Field(
        "none",
        description="How stains are found and moved; none: tiles as scanned. macenko and vahadane are staintools'.",
    )
    reference: StainSource = Field(
        sources.PUBLISHED,
        description="What slides are to look like: `published` values, `tile:<cohort>/<slide_id>/<column>/<row>`, or "
        "an image's path.",
    )
    applied: Literal["on_read", "at_tiling"] = Field(
        "on_read", description="Tiles are recoloured where models read them, or stored recoloured beside the raw ones."
    )

    @model_validator(mode="after")
    def _check_reference(self) -> Self:
        if self.method == "reinhard" and self.reference == sources.PUBLISHED:
            raise ValueError(
                "reference: the published values are stains, and reinhard moves colours; give it an image or a tile"
            )
        return self


class Labels(Section):
    """Bulk expression to slide labels (Results, Training models)."""

    low: Share = Field(0.2, description="A percentile at or below this is labelled 0 (Methods, Training).")
    high: Share = Field(0.8, description="A percentile at or above this is labelled 1 (Methods, Training).")
    near: Share = Field(0.1, description="Width of the OOD-near tier: 0.2-0.3 and 0.7-0.8 (Results, OOD).")
    population: Literal["cohort", "slides"] = Field(
        "cohort",
        description="Whom a percentile ranks among: patients of the clinical file, or those with slides.",
    )

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        # 0.7 - 0.2 is a little less than 0.5.
        if not self.low + self.near <= 0.5 <= self.high - self.near + 1e-9:
            raise ValueError(f"expected low + near ≤ 0.5 ≤ high − near, found {self.low}, {self.near}, {self.high}")
        return self


class Splits(Section):
    """Patients to sets, before any trait is looked at (Results, Training models)."""

    test: Share = Field(0.1, gt=0, lt=1, description="Share of patients held out for testing (10 %).")
    validation: Share = Field(0.1, gt=0, lt=1, description="Share of patients that validate in a round (10 %).")
    rounds: int = Field(5, ge=1, le=50, description="Random train-validation sets, and models per trait (5).")

    @model_validator(mode="after")
    def _check_sum(self) -> Self:
        if self.test + self.validation >= 1:
            raise ValueError(f"test and validation leave no one to train on: {self.test} + {self.validation}")
        return self


class Network(Section):
    """Which classifier of tiles is trained, and from what weights."""

    backbone: str = Field("inception_v3", description="Any torchvision classifier, by its name there (Inception v3).")
    weights: Literal["random", "imagenet"] = Field("random", description="Initial weights (random initialisation).")
    imagenet: Path | None = Field(
        None, description="File of the backbone's ImageNet weights; null: torchvision's, in torch's cache."
    )
    head: list[Positive] = Field(
        [],
        description="Units of dense layers, with ReLU, before the output. Not in the paper: its own last layer.",
    )
    dropout: float = Field(0.0, ge=0, lt=1, description="Share of the head's units that dropout puts out in training.")

    @model_validator(mode="after")
    def _check_network(self) -> Self:
        if self.dropout and not self.head:
            raise ValueError(f"dropout {self.dropout:g} is of the layers of a `head`, and there is none")
        if self.imagenet is not None and self.weights != "imagenet":
            raise ValueError(f"imagenet: {self.imagenet} is not used, since weights is {self.weights!r}")
        return self


class Optimisation(Section):
    """How a network is trained."""

    batch_size: int = Field(144, ge=2, description="Tiles per step over all GPUs (18 × 8 = 144).")
    balanced_batches: bool = Field(
        False, description="As many tiles of each class in every batch. Not in the paper: tiles as they come."
    )
    learning_rate: float = Field(1e-3, gt=0, description="Adam's initial learning rate (0.001).")
    weight_decay: float = Field(0.0, ge=0, description="Decoupled weight decay. Not in the paper: none.")
    weight_averaging: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Weights are a moving average that keeps this share of itself per step. Not in the paper: 0, none.",
    )
    augmentations: list[Augmentation] = Field(
        ["horizontal_flip", "vertical_flip"], description="Of training tiles only (random flips, and no other)."
    )
    steps_per_epoch: Positive | None = Field(
        None, description="Steps that are called an epoch; null: as many as all training tiles once are."
    )
    epoch_factor: float = Field(
        1.0, gt=0, le=1, description="Factor by which the rate decays after each epoch. Not in the paper: 1, none."
    )
    evaluations_per_epoch: Positive = Field(16, description="Evaluations on the validation set per epoch (every 1/16).")
    max_epochs: Positive = Field(100, description="Bound on training. Not in the paper, which stops early alone.")
    checkpoint_on: Literal["slide_auc", "tile_auc", "loss", "last"] = Field(
        "slide_auc", description="The weights kept are the best by this (slide-level AUC; Results, Training models)."
    )
    plateau_on: Metric = Field("loss", description="Validation measure of the plateau (unnamed in text; code: loss).")
    plateau_patience: Positive = Field(10, description="Evaluations without improvement before the rate decays (10).")
    plateau_factor: float = Field(0.1, gt=0, lt=1, description="Factor of the decay (not in the text; Keras' default).")
    lowest_learning_rate: float = Field(
        0.0, ge=0, description="The rate below which no plateau takes it. Not in the paper: 0, none."
    )
    stop_on: Metric = Field("loss", description="Validation measure of early stopping (unnamed in text; code: loss).")
    stop_patience: Positive = Field(30, description="Evaluations without improvement before training stops (30).")
    precision: Literal["auto", "32-true", "16-mixed", "bf16-mixed"] = Field(
        "auto", description="auto: mixed on GPUs, 32-bit on CPUs. Not in the paper."
    )
    threads: Positive = Field(4, description="CPU threads of a job: a constant, because sums change with it.")
    workers: int = Field(
        4, ge=0, description="Processes that decode tiles beside the training process; with 0 a thread does."
    )


class Training(Optimisation, Network):
    """One model per trait and round (Methods, Training)."""


class FilterTraining(Training):
    """How a tumour filter is trained: as in metastatic origin, 2.2, where that says, else our choice."""

    backbone: str = Field("resnet50", description="Any torchvision classifier, by its name there (2.1: ResNet50).")
    batch_size: int = Field(32, ge=2, description="Tiles per step over all GPUs (2.2: 32).")
    balanced_batches: bool = Field(True, description="As many tiles of each class in every batch (2.2).")
    learning_rate: float = Field(1e-3, gt=0, description="Adam's initial learning rate (2.2: 0.001).")
    augmentations: list[Augmentation] = Field(
        ["horizontal_flip", "vertical_flip", "rotation", "saturation", "brightness", "hue"],
        description="Of training tiles only (2.2: flipping, rotating, and colour by saturation, brightness and hue).",
    )
    evaluations_per_epoch: Positive = Field(1, description="Evaluations on the validation set per epoch.")
    max_epochs: Positive = Field(10, description="Bound on training (2.2: 10 epochs).")
    checkpoint_on: Literal["tile_auc", "loss", "last"] = Field(
        "tile_auc", description="The weights kept are the best by this; tiles have the labels here, not slides."
    )
    plateau_on: Literal["tile_auc", "loss"] = Field("loss", description="Validation measure of the plateau.")
    plateau_patience: Positive = Field(2, description="Evaluations without improvement before the rate decays.")
    stop_on: Literal["tile_auc", "loss"] = Field("loss", description="Validation measure of early stopping.")
    stop_patience: Positive = Field(4, description="Evaluations without improvement before training stops.")


class TumourFilter(Section):
    """Which tiles are tumour: by a classifier that annotated slides train, or by files of one's own in its place.

    Source: metastatic origin, 2.1, which has one filter for primary tumours and one for metastases.
    """

    cohorts: list[Name] = Field(
        [], description="Cohorts whose annotated slides train it; patients are in the sets of the cohort's round 1."
    )
    label: Name = Field("tumour", description="Label of the annotated tiles that are tumour; all others are not.")
    held_out: bool = Field(
        True, description="Patients of the test set are held out; false: they train as well, and nothing is tested."
    )
    slides: Positive | None = Field(
        None, description="It learns from so many of its training slides, chosen by a hash; null: from all."
    )
    tiles_per_class: Positive | None = Field(
        None, description="It learns from so many tiles of either class, drawn from all of its slides; null: from all."
    )
    starts_from: Name | None = Field(
        None, description="Another filter whose weights training begins with, but for those of the head or last layer."
    )
    folder: Path | None = Field(
        None,
        description="In place of a classifier: folder with a file per slide, named as annotations are: probabilities "
        "(`.tsv`, `.h5`), a mask (`.h5`), or outlines (`.geojson`, `.xml`).",
    )
    classes: list[Annotated[str, StringConstraints(min_length=1)]] = Field(
        [], description="Classes of such outlines that are tumour; a tile's probability is the share they cover."
    )
    threshold: Literal["youden", "f1", "sensitivity_95", "specificity_95"] | Share = Field(
        "youden", description="A tile is used from this probability on: a number, or chosen on the validation slides."
    )
    in_training: bool = Field(
        False,
        description="Trait models learn from tumour tiles alone, anew after a new threshold; false: from all tiles.",
    )
    training: FilterTraining = Field(FilterTraining(), description="How the classifier is trained.")

    @model_validator(mode="after")
    def _check_source(self) -> Self:
        if bool(self.cohorts) == (self.folder is not None):
            raise ValueError(
                "expected `cohorts`, whose annotations train the filter, or a `folder` of one's own probabilities, "
                f"found {'both' if self.cohorts else 'neither'}"
            )
        if self.starts_from is not None and self.training.weights != "random":
            raise ValueError(
                f"it starts from the weights of {self.starts_from}, and training.weights says "
                f"{self.training.weights!r}; give one of the two"
            )
        if self.folder is not None and isinstance(self.threshold, str):
            raise ValueError(
                f"threshold: {self.threshold!r} is chosen on annotated slides; of a `folder` give a number, 0.5 say"
            )
        return self


class Predictions(Section):
    """Models to tile probabilities, and slides' scores (Results, Training models)."""

    tile_threshold: float = Field(0.5, gt=0, lt=1, description="A tile is positive at this probability or above.")
    batch_size: Positive = Field(256, description="Tiles per forward pass.")
    chunks: Positive = Field(64, description="Jobs that the slides of a cohort are dealt to, by a hash of their name.")
    threads: Positive = Field(4, description="CPU threads of a job.")


class Ensembles(Section):
    """The best models of a trait vote (Results, Training models)."""

    members: Positive = Field(3, description="Top models by validation slide AUC that vote (top three).")


class Evaluation(Section):
    """Table 1 and its intervals."""

    resamples: Positive = Field(2000, description="Bootstrap resamples of patients for each AUC's interval.")


class Heterogeneity(Section):
    """Maps to the heterogeneity index (Results, Quantifying tumor heterogeneity)."""

    denominator: Literal["positive", "all"] = Field(
        "positive", description="Tiles that a combination's share refers to: those with any trait, or all."
    )
    permutations: Positive = Field(
        999, description="Permutations for the p value of co-location of three traits or more; of two, p is exact."
    )
    block_tiles: Positive = Field(4, description="Side, in tiles, of a block of the spatial bootstrap.")
    resamples: Positive = Field(500, description="Resamples of the spatial block bootstrap.")


class Groups(Section):
    """Two groups of patients by their HTI: at most `low`, and above `high`."""

    low: Share = Field(description="HTI at or below this is the low group.")
    high: Share = Field(description="HTI above this is the high group; patients between are in neither.")

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"expected low ≤ high, found {self.low} and {self.high}")
        return self


class Survival(Section):
    """HTI to survival (Results, A statistically significant link)."""

    groups: list[Groups] = Field(
        [Groups(low=0.5, high=0.5), Groups(low=0.3, high=0.7)],
        min_length=1,
        description="Comparisons: > 0.5 with ≤ 0.5, and > 0.7 with ≤ 0.3 (Fig. 4).",
    )
    censor_at_months: float | None = Field(
        None, gt=0, description="Follow-up ends here; none in the text, 120 in the released code."
    )


class Exports(Section):
    """Maps for other programs, and heatmaps: a file for each slide. A cohort without a trait has none of it."""

    maps: list[Name] = Field(
        [], description="Maps that are exported: `heterogeneity`, `tumour`, traits by name, `traits` for all. None."
    )
    formats: list[Literal["geojson", "ome_tiff"]] = Field(
        ["geojson", "ome_tiff"],
        min_length=1,
        description="As what: tiles for QuPath, and a picture that lies on the slide.",
    )
    heatmaps: list[Name] = Field(
        [], description="Maps whose probabilities are drawn over each slide's thumbnail: all but `heterogeneity`. None."
    )

    def among(self, maps: Sequence[str], *, key: str) -> list[str]:
        """Those of a cohort's `maps` that `key` (`maps` or `heatmaps`) asks for, in the order of the cohort's."""
        asked = getattr(self, key)
        all_traits = set(maps) - {HETEROGENEITY, TUMOUR} if TRAITS in asked else set()
        return [name for name in maps if name in asked or name in all_traits]


class DemoCohort(Section):
    """The cohort that the workflow generates for the demo and for tests."""

    gene: str = Field("GLDA", description="Its trait A, an mRNA: large crowded nuclei in solid nests.")
    mirna: str = Field("hsa-miR-demo-5p", description="Its trait B, a mature miRNA: wavy collagen with spindle nuclei.")
    slides: int = Field(84, ge=4, description="Slides, special cases included.")
    slide_px: int = Field(3072, ge=512, description="Longest side of a slide at its finest level, in px.")
    special_cases: bool = Field(
        True, description="Patients and slides with everything that goes wrong in real cohorts."
    )
    normal_tissue: bool = Field(True, description="Slides have normal tissue beside the tumour.")
    annotated: int = Field(16, ge=0, description="Slides on which a pathologist outlined the tumour.")
    seed: int = Field(7, ge=0, description="Seed of the cohort, apart from the study's.")


class Controls(Section):
    """The negative controls of a cohort with known truth."""

    shuffles: int = Field(8, ge=1, description="Traits made of each true one by shuffling its expression.")
    draws: int = Field(200, ge=20, description="Times that survival is drawn independently of the HTI.")
    tolerance: Share = Field(0.1, description="How far from 0.5 the mean tile AUC of shuffled expression may lie.")
