"""The configuration: what a study is, typed and closed.

Each key is described here with the place in the paper that fixes it (Levy-Jurgenson et al. 2020, "molecular
cartography", where no other source is named). `config.yaml` holds the same values as the defaults below; a test
fails when the two, or the page that is generated from the descriptions, drift apart.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import partial
from inspect import cleandoc
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic.fields import FieldInfo

from workflow_scripts.lib import sources
from workflow_scripts.lib.errors import InputError

# Names of cohorts and traits become folders.
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1)]
Metric = Literal["slide_auc", "tile_auc", "loss"]
# See `augmentations.augment`.
Augmentation = Literal[
    "horizontal_flip",
    "vertical_flip",
    "transpose",
    "rotation",
    "colour_jitter",
    "saturation",
    "brightness",
    "hue",
    "scaling",
    "elastic",
    "contrast",
    "hed_light",
    "hed_strong",
    "blur",
    "noise",
]
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
# What stands beside the traits' names in our files: tiles without a trait, the tiles' places, and other maps.
RESERVED_TRAITS = ("none", "coords", HETEROGENEITY, TUMOUR, TRAITS)
# What stands beside the cohorts' folders under results/.
RESERVED_COHORTS = ("input", "filters", "efficiency", "benchmarks", "origin", "transfer", "compression")
# The smallest patch of which an encoder's four convolutions leave a pixel, see `encoders`.
LEAST_PATCH_PX = 31
# The columns of the ablation's table beside the tasks' own.
ABLATION_COLUMNS = ("encoder", "tasks", "repeat", "spearman", "low", "high", "patients", "note")
# The label of tiles under no annotation, see `annotations.label_tiles`.
BACKGROUND = "background"


class Section(BaseModel):
    """A closed part of the configuration: an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


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
    rule: Literal["majority", "any", "fraction"] = Field(
        "majority",
        description="Which label a tile gets: what covers most of it; the first that covers any of it; or the first "
        "that covers `fraction`.",
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


class Regime(Section):
    """A way to train the model of origin: on which tumours, for how long, and from which weights."""

    domain: Literal["primary", "metastatic"] = Field(description="Whose tiles it learns from.")
    starts_from: Name | None = Field(
        None, description="The regime whose weights it starts from; none: `training.weights`."
    )
    max_epochs: Positive | None = Field(None, description="Epochs; none: `training.max_epochs`.")
    learning_rate: float | None = Field(
        None, gt=0, description="Adam's initial learning rate, also at transfer; none: `training.learning_rate`."
    )
    shuffled: bool = Field(
        False, description="Negative control: classes are shuffled between the slides of each set. Not in the paper."
    )


class OriginTraining(FilterTraining):
    """How a model of origin is trained (metastatic origin, 2.2): mostly as a tumour filter is."""

    steps_per_epoch: Positive | None = Field(
        8000, description="Steps that are called an epoch (2.2: 80,000 in 10 epochs); null: all training tiles once."
    )
    epoch_factor: float = Field(
        0.1, gt=0, le=1, description="Factor by which the rate decays after each epoch (2.2: decimated)."
    )
    max_epochs: Positive = Field(10, description="Epochs (2.2: 10).")
    checkpoint_on: Literal["slide_auc", "tile_auc", "loss", "last"] = Field(
        "last", description="The weights kept; 2.2 names no choice of weights: the last."
    )
    plateau_on: Metric = Field("loss", description="Validation measure of the plateau.")
    plateau_patience: Positive = Field(
        10, description="Evaluations without improvement before the rate decays; not reached in 10."
    )
    stop_on: Metric = Field("loss", description="Validation measure of early stopping.")
    stop_patience: Positive = Field(
        10, description="Evaluations without improvement before training stops; not reached in 10."
    )


class AutoencoderTraining(Optimisation):
    """How the autoencoder is trained, of which the paper says nothing."""

    batch_size: int = Field(128, ge=2, description="Tiles per step over all GPUs.")
    balanced_batches: bool = Field(True, description="As many tiles of each class in every batch.")
    learning_rate: float = Field(3e-4, gt=0, description="Adam's initial learning rate; 0.001 makes variances explode.")
    evaluations_per_epoch: Positive = Field(1, description="Evaluations on the validation set per epoch.")
    max_epochs: Positive = Field(50, description="Bound on training.")
    checkpoint_on: Literal["loss", "last"] = Field("loss", description="The weights kept are the best by this.")
    plateau_on: Literal["loss"] = Field("loss", description="Validation measure of the plateau.")
    plateau_patience: Positive = Field(3, description="Evaluations without improvement before the rate decays.")
    stop_on: Literal["loss"] = Field("loss", description="Validation measure of early stopping.")
    stop_patience: Positive = Field(8, description="Evaluations without improvement before training stops.")


class Autoencoder(Section):
    """The variational autoencoder whose latents say how far primaries and metastases lie apart (3.2)."""

    features: Positive = Field(64, description="Latent features (3.2: 64).")
    tiles_per_class: Positive = Field(5000, description="Tiles of each class, of all its slides (3.2: 5,000).")
    kl_weight: float = Field(1.0, gt=0, description="Weight of the divergence in its loss; 1 is the published bound.")
    training: AutoencoderTraining = Field(AutoencoderTraining(), description="How it is trained.")


class Divergence(Section):
    """How far primaries and metastases lie apart (3.2)."""

    estimator: Literal["mixture", "gaussian", "histogram"] = Field(
        "mixture", description="Of the densities that are compared, feature by feature; the paper names none."
    )
    embedded: Positive = Field(500, description="Tiles of each class and domain in the plane of the t-SNE (Fig. 5A).")
    perplexity: float = Field(30, gt=0, description="Perplexity of the t-SNE; the paper names none.")


class OriginDemo(Section):
    """The cohort that the workflow generates for the study of metastatic origin."""

    primary: int = Field(10, ge=3, description="Slides of primaries per class, and of the control.")
    metastatic: tuple[Annotated[int, Field(ge=3)], Annotated[int, Field(ge=3)]] = Field(
        (5, 12), description="Slides of metastases: of the rarest class and of the commonest; others lie between."
    )
    annotated: int = Field(
        28, ge=0, description="Slides of each domain on which a pathologist outlined the tumour (78 in the paper)."
    )
    slide_px: int = Field(
        1536, ge=512, description="Longest side of a slide at its finest level, in px of about 0.5 µm."
    )
    seed: int = Field(7, ge=0, description="Seed of the cohort, apart from the study's.")


class Origin(Section):
    """The study of metastatic origin: which tissue did a metastasis come from (Schau et al. 2020).

    Two cohorts, one of primary tumours and one of metastases, whose slides have a class in their sheets.
    """

    primary: Name = Field(description="The cohort of primary tumours, defined under `cohorts`.")
    metastatic: Name = Field(description="The cohort of metastases, defined under `cohorts`.")
    classes: list[Name] = Field(
        min_length=2,
        description="The classes of tumours, in the order of models and figures; slides of others are out.",
    )
    control: Name | None = Field(
        None,
        description="A class of normal tissue in both cohorts, all tiles of which are compared as a control (3.2).",
    )
    balanced: bool = Field(
        True, description="Of each class no more primary slides are used than metastatic ones, in each set (Fig. 2A)."
    )
    regimes: dict[Name, Regime] = Field(
        {
            "primary": Regime(domain="primary"),
            "metastatic": Regime(domain="metastatic"),
            "pretrained": Regime(domain="primary", max_epochs=5),
            "transfer": Regime(domain="metastatic", starts_from="pretrained", max_epochs=5),
        },
        description="Ways to train (2.2); `compared` says which are judged.",
    )
    compared: list[Name] = Field(
        ["primary", "metastatic", "transfer"],
        min_length=1,
        max_length=5,
        description="Regimes that are judged on held-out metastases, in the order of figures (Fig. 3).",
    )
    training: OriginTraining = Field(OriginTraining(), description="How each regime trains.")
    autoencoder: Autoencoder = Field(Autoencoder(), description="The autoencoder of tiles.")
    divergence: Divergence = Field(Divergence(), description="What is made of its latents.")
    demo: OriginDemo = Field(OriginDemo(), description="The generated cohort of the demo.")

    @model_validator(mode="after")
    def _check_regimes(self) -> Self:
        if self.primary == self.metastatic:
            raise ValueError(f"expected two cohorts, found {self.primary} as `primary` and as `metastatic`")
        for key in ("classes", "compared"):
            _check_once(getattr(self, key), key)
        if self.control in self.classes:
            raise ValueError(f"control: {self.control!r} is among `classes`; a control is no class of tumours")
        if "coords" in self.regimes:
            raise ValueError("regimes.coords: 'coords' means something else in the predictions; rename the regime")
        for name in self.compared:
            _check_known(name, self.regimes, "compared", "regimes")
        for name in self.regimes:
            _check_starts(name, self.regimes, "regimes")
        return self


class PixelMap(Section):
    """The map of probability that is compared with the outlines, pixel by pixel. The paper does not say how."""

    mpp: float = Field(4.0, ge=0.1, le=100, description="µm/px of the map; a published tile is 56 µm wide.")
    interpolation: Literal["bilinear", "nearest"] = Field(
        "bilinear", description="Between the centres of tiles, or each pixel as its tile."
    )
    domain: Literal["tissue", "image"] = Field(
        "tissue",
        description="Pixels that count: those of tissue tiles, or all of the slide; background raises the AUC.",
    )


class TransferDemo(Section):
    """The cohorts that the workflow generates for the study of cross-cancer transfer: of three organs."""

    target: int = Field(20, ge=3, description="Slides of the target organ, of a patient each (28 in the paper).")
    held_out: int = Field(6, ge=1, description="Slides of the target that are held out (6 in the paper).")
    source: int = Field(16, ge=2, description="Slides of the organ that resembles the target (110 in the paper).")
    unrelated: int = Field(16, ge=2, description="Slides of the organ that does not, a negative control.")
    slide_px: int = Field(
        1536, ge=512, description="Longest side of a slide at its finest level, in px of 0.44 to 0.5 µm."
    )
    seed: int = Field(7, ge=0, description="Seed of the cohorts, apart from the study's.")

    @model_validator(mode="after")
    def _check_held_out(self) -> Self:
        if self.target - self.held_out < 2:
            raise ValueError(
                f"held_out: {self.held_out} of {self.target} slides of the target; expected at least two that are not, "
                "to train and to validate"
            )
        return self


class Transfer(Section):
    """The study of cross-cancer transfer: does a detector of tumour that saw another cancer first do better?

    Regimes are tumour filters that train on one cohort and differ in the weights that they start from.
    """

    target: Name = Field(description="The cohort whose tumour is detected, with annotations; defined under `cohorts`.")
    compared: list[Name] = Field(
        min_length=1,
        max_length=6,
        description="Tumour filters of the target, in the order of tables and figures; gains are over the first.",
    )
    fewer: list[Positive] = Field(
        [], description="Numbers of training slides with which all of them are trained as well. Not in the paper."
    )
    in_paper: dict[Name, Literal["None", "ImageNet", "CAMELYON16"]] = Field(
        {}, description="Which row of the paper's Table 1 stands beside a detector's."
    )
    pixels: PixelMap = Field(PixelMap(), description="How tumour is compared pixel by pixel.")
    demo: TransferDemo = Field(TransferDemo(), description="The generated cohorts of the demo.")

    @model_validator(mode="after")
    def _check_compared(self) -> Self:
        _check_once(self.compared, "compared")
        if len(set(self.fewer)) < len(self.fewer):
            raise ValueError(f"fewer: expected each number once, found {self.fewer}")
        return self


def with_fewer_slides(name: str, slides: int) -> str:
    """What a filter is called that is trained as another on `slides` slides only."""
    return f"{name}_of_{slides}_slides"


class EncoderTraining(Optimisation):
    """How an encoder is trained (neural image compression, 3)."""

    batch_size: int = Field(128, ge=2, description="Patches per step over all GPUs (3: 128, 32 of each of four tasks).")
    balanced_batches: Literal[True] = Field(True, description="As many patches of each task in every batch (3).")
    learning_rate: float = Field(1e-3, gt=0, description="Adam's initial learning rate (3: 0.001).")
    augmentations: list[Augmentation] = Field(
        [
            "horizontal_flip", "vertical_flip", "rotation", "scaling", "elastic", "contrast", "brightness",
            "saturation", "hue", "hed_light", "blur", "noise",
        ],
        description="Of training patches only (3: heavy morphological and colour augmentation).",
    )  # fmt: skip
    evaluations_per_epoch: Positive = Field(4, description="Evaluations on the validation set per epoch.")
    max_epochs: Positive = Field(40, description="Bound on training, of which the paper names none.")
    checkpoint_on: Literal["accuracy", "loss", "last"] = Field(
        "loss",
        description="The weights kept are the best by this; only encoders with tasks have an accuracy, and a BiGAN "
        "keeps the last.",
    )
    plateau_on: Literal["accuracy", "loss"] = Field("loss", description="Validation measure of the plateau (3).")
    plateau_patience: Positive = Field(4, description="Evaluations without improvement before the rate decays.")
    lowest_learning_rate: float = Field(1e-5, ge=0, description="The rate below which no plateau takes it (3: 1e-5).")
    stop_on: Literal["accuracy", "loss"] = Field("loss", description="Validation measure of early stopping.")
    stop_patience: Positive = Field(12, description="Evaluations without improvement before training stops.")


class PatchTask(Section):
    """A classification of patches that encoders learn from (neural image compression, 2), by labels of tiles."""

    cohorts: list[Name] = Field(min_length=1, description="Annotated cohorts, each a centre; patches are drawn evenly.")
    classes: list[Name] = Field(
        min_length=2,
        description="Labels of tiles that are told apart, `background` where that is one; others are left out.",
    )


class Encoder(Section):
    """A network that compresses a patch into a few numbers."""

    kind: Literal["multitask", "autoencoder", "bigan", "mean_rgb", "trained"] = Field(
        description="Learnt from tasks; without labels, as a variational autoencoder or a BiGAN; the mean colour; or "
        "one that is trained already."
    )
    tasks: list[Name] = Field([], description="The tasks of a `multitask` encoder, one or more.")
    cohorts: list[Name] = Field([], description="Whose patches an `autoencoder` or a `bigan` learns from.")
    features: Positive = Field(128, description="Numbers that a patch is compressed into, C (3: 128).")
    augmentations: list[Augmentation] | None = Field(
        None, description="In place of those of `training` (4.5: a BiGAN with none)."
    )
    folder: Path | None = Field(
        None, description="The folder of a `trained` encoder (weights.safetensors, model.json)."
    )

    @model_validator(mode="after")
    def _check_kind(self) -> Self:
        needed = {"multitask": "tasks", "autoencoder": "cohorts", "bigan": "cohorts", "trained": "folder"}.get(
            self.kind
        )
        for key in ("tasks", "cohorts", "folder"):
            if bool(getattr(self, key)) != (key == needed):
                raise ValueError(
                    f"{key}: {'expected' if key == needed else 'not used'} with an encoder of kind {self.kind}"
                )
        _check_once(self.tasks, "tasks")
        _check_once(self.cohorts, "cohorts")
        if self.kind == "mean_rgb" and self.features != 3:
            raise ValueError(f"features: a mean colour has 3 numbers, found {self.features}")
        for key in ("features", "augmentations") if self.kind == "trained" else ():
            if key in self.model_fields_set:
                raise ValueError(f"{key}: not used with an encoder of kind trained, which has its own")
        return self


class SlideTraining(Optimisation):
    """How a slide-level network is trained on grids (neural image compression, A.1)."""

    batch_size: int = Field(16, ge=2, description="Slides per step (A.1: 16).")
    balanced_batches: bool = Field(False, description="As many slides of each class in every batch; not in the paper.")
    learning_rate: float = Field(1e-2, gt=0, description="Adam's initial learning rate (A.1: 0.01).")
    augmentations: list[Literal["horizontal_flip", "vertical_flip", "transpose"]] = Field(
        [], description="Turns of a grid alone, beside the orientations in which its patches were encoded."
    )
    evaluations_per_epoch: Positive = Field(1, description="Evaluations on the validation set per epoch.")
    max_epochs: Positive = Field(200, description="Bound on training, of which the paper names none.")
    checkpoint_on: Literal["slide_auc", "spearman", "c_index", "loss", "last"] = Field(
        "loss",
        description="The weights kept are the best by this; each kind of target has one measure beside the loss.",
    )
    plateau_on: Literal["loss"] = Field("loss", description="Validation measure of the plateau (A.1).")
    plateau_patience: Positive = Field(10, description="Evaluations without improvement before the rate decays.")
    lowest_learning_rate: float = Field(1e-5, ge=0, description="The rate below which no plateau takes it (A.1: 1e-5).")
    stop_on: Literal["loss"] = Field("loss", description="Validation measure of early stopping.")
    stop_patience: Positive = Field(30, description="Evaluations without improvement before training stops.")


class SlideNetwork(Section):
    """The network that reads a whole grid (neural image compression, A.1)."""

    filters: Positive = Field(
        128, description="Filters of each of the eight convolutions, and units after them (A.1: 128)."
    )
    dropout: float = Field(0.2, ge=0, lt=1, description="Share of feature maps that dropout puts out (A.1: 20 %).")
    l2: float = Field(
        1e-5, ge=0, description="Weight of the squared weights of the convolutions in the loss (A.1: 1e-5)."
    )
    ties: Literal["efron", "breslow"] = Field(
        "efron", description="Rule for deaths at one time in the partial likelihood; A.3 names none."
    )
    training: SlideTraining = Field(SlideTraining(), description="How it is trained.")


class SlideTarget(Section):
    """What is learnt from whole slides: a class, a number, or the risk of death."""

    title: str = Field(description="Name in figures and in the report.")
    cohort: Name = Field(description="Whose slides, which are dealt to folds by patient.")
    kind: Literal["class", "number", "survival"] = Field(description="What it is.")
    table: Path | None = Field(
        None, description="Table (TSV) of a class or number, by `slide_id` or by `patient_id`; for both cohorts."
    )
    column: str | None = Field(None, description="Its column in `table`.")
    classes: list[Annotated[str, StringConstraints(min_length=1)]] = Field(
        [], description="The classes, as `table` has them; slides of others are left out."
    )
    clinical: Path | None = Field(
        None, description="cBioPortal clinical file: of a survival target, or to follow the patients of a class by."
    )
    favourable: str | None = Field(
        None, description="Class whose probability, taken from 1, is a risk of death (4.4: desmoplastic)."
    )
    test_cohort: Name | None = Field(
        None,
        description="Another cohort that the mean of all folds' models predicts (4.2); none: of the folds two train, "
        "one validates and one tests, so that each patient is tested once (4.4).",
    )
    folds: int = Field(4, ge=3, le=20, description="Folds of patients, and models (4.2 and 4.4: 4).")
    slides_of_patient: Literal["mean", "max", "median"] = Field(
        "mean", description="How the predictions of a patient's slides become one; not in the paper."
    )
    encoders: list[Name] = Field(min_length=1, description="On whose grids it is learnt, in the order of tables.")
    shuffled: bool = Field(
        False, description="Negative control: values are shuffled between the patients of a cohort. Not in the paper."
    )

    @model_validator(mode="after")
    def _check_kind(self) -> Self:
        needed = {"class": {"table", "column", "classes"}, "number": {"table", "column"}, "survival": {"clinical"}}[
            self.kind
        ]
        if self.favourable is not None:
            needed |= {"clinical", "favourable"} if self.kind == "class" else set()
        for key in ("table", "column", "classes", "clinical", "favourable"):
            if bool(getattr(self, key)) != (key in needed):
                raise ValueError(
                    f"{key}: {'expected' if key in needed else 'not used'} with a target of kind {self.kind}"
                )
        if self.classes:
            if len(self.classes) < 2:
                raise ValueError(f"classes: expected two or more, found {self.classes}")
            _check_once(self.classes, "classes")
        if self.favourable is not None:
            _check_known(self.favourable, self.classes, "favourable", "classes")
        if self.test_cohort == self.cohort:
            raise ValueError(f"test_cohort: expected another cohort than {self.cohort}; none deals its own folds")
        _check_once(self.encoders, "encoders")
        return self


class Ablation(Section):
    """Which tasks help: encoders of every subset of tasks, judged by one target (neural image compression, 4.3)."""

    target: Name = Field(description="The target, among `targets`.")
    tasks: list[Name] = Field(min_length=1, description="The tasks, in the order of tables.")
    features: Positive = Field(16, description="Numbers that a patch is compressed into (4.3: 16).")
    repeats: Positive = Field(4, description="Encoders with all tasks, which differ in their random weights (4.3: 4).")
    subsets: list[list[Name]] | None = Field(
        None, description="Subsets of the tasks, beside all of them; none: every subset (4.3: 15 with all)."
    )

    def encoders(self) -> dict[str, list[Name]]:
        """The tasks of each encoder by its name: of smaller subsets first, those with all tasks last."""
        named = {"ablation_" + "-".join(chosen): chosen for chosen in self._parts()}
        return named | {f"ablation_all_{number}": list(self.tasks) for number in range(1, self.repeats + 1)}

    def _parts(self) -> list[list[Name]]:
        """The subsets that do not have all tasks, smaller ones first."""
        asked = None if self.subsets is None else [set(subset) for subset in self.subsets]
        every = (chosen for n in range(1, len(self.tasks)) for chosen in combinations(self.tasks, n))
        return [list(chosen) for chosen in every if asked is None or set(chosen) in asked]

    @model_validator(mode="after")
    def _check_subsets(self) -> Self:
        _check_once(self.tasks, "tasks")
        for task in self.tasks:
            if task in ABLATION_COLUMNS:
                raise ValueError(f"tasks: {task!r} means something else in the ablation's table; rename the task")
        for subset in self.subsets or []:
            if not subset:
                raise ValueError("subsets: expected a task or more in each, found an empty one")
            for task in subset:
                _check_known(task, self.tasks, "subsets", "tasks")
        if len(self.encoders()) < len(self._parts()) + self.repeats:
            raise ValueError(f"tasks: two subsets of {', '.join(self.tasks)} would have one name; rename a task")
        return self


class CompressionDemo(Section):
    """The cohorts that the workflow generates for the study of neural image compression."""

    annotated: int = Field(
        9, ge=3, description="Annotated slides of each of the four patch tasks; of two centres half each, rounded up."
    )
    development: int = Field(
        60, ge=8, description="Slides of the cohort whose targets are learnt; of every twelve two are of one patient."
    )
    external: int = Field(20, ge=2, description="Slides of another hospital, whose patients have as many.")
    slide_px: int = Field(
        1024, ge=256, description="Longest side of a slide at its finest level, in px of about 0.5 µm."
    )
    seed: int = Field(7, ge=0, description="Seed of the cohorts, apart from the study's.")


class Compression(Section):
    """The study of neural image compression: slides as grids of numbers, and what is learnt from whole grids.

    Slides are compressed tile by tile of the chain, so that a patch is a tile of `tiles.tile_px`; an encoder of smaller
    patches takes a tile apart.
    """

    tasks: dict[Name, PatchTask] = Field({}, description="Patch tasks that encoders learn from.")
    patches_per_task: Positive = Field(200_000, description="Patches of a task, or of an unsupervised encoder (2).")
    shrink: Literal[1, 2] = Field(
        1,
        description="Side of the squares of pixels that are averaged before the encoder: 1 for patches of 64 px (the "
        "text), 2 for patches of 128 px (the published pipeline).",
    )
    training: EncoderTraining = Field(EncoderTraining(), description="How encoders are trained.")
    encoders: dict[Name, Encoder] = Field(min_length=1, description="Definitions of encoders.")
    orientations: Literal[1, 8] = Field(
        8,
        description="Flips and quarter turns in which slides are encoded, each a grid of its own, to augment training "
        "with (the published pipeline: 8).",
    )
    targets: dict[Name, SlideTarget] = Field(
        {}, description="What is learnt from whole slides; none where only traits are (`trait_encoder`)."
    )
    risks: Literal["standardised", "as_predicted"] = Field(
        "standardised",
        description="Risks of different folds' models are put on one scale, by the mean and spread of each over its "
        "validation patients; or pooled as they are. The paper does not say.",
    )
    network: SlideNetwork = Field(SlideNetwork(), description="The network that reads grids.")
    ablation: Ablation | None = Field(None, description="Which tasks help; none: not asked.")
    trait_encoder: Name | None = Field(
        None, description="Encoder on whose grids the traits of `study.cohorts` are learnt too, beside the tile models."
    )
    compared: Name | None = Field(
        None, description="The class target that encoders are compared by (Fig. 4); none: the first that there is."
    )
    demo: CompressionDemo = Field(CompressionDemo(), description="The generated cohorts of the demo.")

    def used_encoders(self) -> list[str]:
        """The encoders that a target, the ablation or the traits use, in the order of their definitions."""
        used = {name for target in self.targets.values() for name in target.encoders} | {self.trait_encoder}
        return [name for name in self.encoders if name in used | set(self.ablation.encoders() if self.ablation else ())]

    def cohorts(self) -> list[str]:
        """The cohorts whose patches these learn from, and those of the targets; each once."""
        used = [self.encoders[name] for name in self.used_encoders()]
        learnt = [cohort for encoder in used for cohort in encoder.cohorts]
        tasks = [cohort for encoder in used for task in encoder.tasks for cohort in self.tasks[task].cohorts]
        targets = [name for target in self.targets.values() for name in (target.cohort, target.test_cohort) if name]
        return list(dict.fromkeys([*tasks, *learnt, *targets]))


class Controls(Section):
    """The negative controls of a cohort with known truth."""

    shuffles: int = Field(8, ge=1, description="Traits made of each true one by shuffling its expression.")
    draws: int = Field(200, ge=20, description="Times that survival is drawn independently of the HTI.")
    tolerance: Share = Field(0.1, description="How far from 0.5 the mean tile AUC of shuffled expression may lie.")


class Configuration(Section):
    """A whole study."""

    study: Study = Study()
    cohorts: dict[Name, Cohort] = Field(description="Definitions of cohorts; `study.cohorts` says which run.")
    traits: dict[Name, Trait] = Field(description="Definitions of traits; a cohort's `traits` says which run.")
    tumour_filters: dict[Name, TumourFilter] = Field(
        {}, description="Definitions of tumour filters; a cohort's `tumour_filter` names the one that it uses."
    )
    downloads: Downloads = Downloads()
    tiles: Tiles = Tiles()
    stain: Stain = Stain()
    labels: Labels = Labels()
    splits: Splits = Splits()
    training: Training = Training()
    predictions: Predictions = Predictions()
    ensembles: Ensembles = Ensembles()
    evaluation: Evaluation = Evaluation()
    heterogeneity: Heterogeneity = Heterogeneity()
    survival: Survival = Survival()
    exports: Exports = Exports()
    demo: DemoCohort = DemoCohort()
    controls: Controls = Controls()
    origin: Origin | None = Field(None, description="The study of metastatic origin; see studies/origin.yaml.")
    transfer: Transfer | None = Field(
        None, description="The study of cross-cancer transfer; see studies/transfer.yaml."
    )
    compression: Compression | None = Field(
        None, description="The study of neural image compression; see studies/compression.yaml."
    )

    def of_cohort(self, name: str) -> dict[str, Any]:
        """The configuration as plain values, of one cohort and its traits alone: what its results stand on.

        How files are fetched is left out: it makes no difference to what they are.
        """
        content = self.model_dump(mode="json", exclude={"downloads"})
        traits = {trait: content["traits"][trait] for trait in self.cohorts[name].traits}
        return content | {"cohorts": {name: content["cohorts"][name]}, "traits": traits}

    @model_validator(mode="after")
    def _check_references(self) -> Self:
        _check_once(self.study.cohorts, "study.cohorts")
        for name in self.tumour_filters:
            _check_starts(name, self.tumour_filters, "tumour_filters")
        sisters = (self.origin, self.transfer, self.compression)
        if not self.study.cohorts and all(sister is None for sister in sisters):
            raise ValueError(
                "study.cohorts: expected a cohort or more, or the section of a sister study (origin, transfer, "
                "compression)"
            )
        for trait in RESERVED_TRAITS:
            if trait in self.traits:
                raise ValueError(f"traits.{trait}: {trait!r} means something else in the results; rename the trait")
        for cohort in RESERVED_COHORTS:
            if cohort in self.cohorts:
                raise ValueError(f"cohorts.{cohort}: results/{cohort} is of all cohorts; rename the cohort")
        for cohort in self.study.cohorts:
            _check_known(cohort, self.cohorts, "study.cohorts", "cohorts")
            self._check_cohort(cohort)
        self._check_fetched_tables()
        for name in {self.cohorts[cohort].tumour_filter for cohort in self.study.cohorts} - {None}:
            self._check_filter(name)
        tile = sources.parts(self.stain.reference, kind="stain")
        if tile:
            trained = [name for name, cohort in self.cohorts.items() if cohort.models is None]
            _check_known(tile["cohort"], trained, "stain.reference", "cohorts")
        self._check_exports()
        self._check_origin()
        if self.transfer:
            self._check_transfer(self.transfer)
        if self.compression:
            self._check_compression(self.compression)
        if self.ensembles.members > self.splits.rounds:
            raise ValueError(f"ensembles.members is {self.ensembles.members}, of only {self.splits.rounds} rounds")
        return self

    def _check_fetched_tables(self) -> None:
        """Raise ValueError where two files of the GDC would have one place here."""
        ids: dict[str, str] = {}
        for cohort in self.cohorts.values():
            for table in cohort.expression.by_name().values() if cohort.expression else ():
                parts = sources.parts(table["source"], kind="table")
                if parts and ids.setdefault(parts["name"], parts["id"]) != parts["id"]:
                    raise ValueError(f"{parts['name']} has two ids of the GDC: {ids[parts['name']]} and {parts['id']}")

    def _check_origin(self) -> None:
        for key in ("primary", "metastatic") if self.origin else ():
            name, where = getattr(self.origin, key), f"origin.{key}"
            _check_known(name, self.cohorts, where, "cohorts")
            if self.cohorts[name].models is not None:
                raise ValueError(
                    f"{where}: {name} is a cohort of applied `models`; expected one with slides of its own"
                )
            used = self.cohorts[name].tumour_filter
            if used is not None:
                _check_known(used, self.tumour_filters, f"cohorts.{name}.tumour_filter", "tumour_filters")
                self._check_filter(used)

    def _check_transfer(self, transfer: Transfer) -> None:
        _check_known(transfer.target, self.cohorts, "transfer.target", "cohorts")
        for name in transfer.compared:
            _check_known(name, self.tumour_filters, "transfer.compared", "tumour_filters")
            if self.tumour_filters[name].cohorts != [transfer.target]:
                raise ValueError(
                    f"tumour_filters.{name}.cohorts: it is among transfer.compared; expected {transfer.target} alone, "
                    f"found {', '.join(self.tumour_filters[name].cohorts) or 'none'}"
                )
            self._check_sample(name, transfer.compared[0])
        for name in transfer.in_paper:
            _check_known(name, transfer.compared, "transfer.in_paper", "transfer.compared")
        for name in self.with_starts(transfer.compared):
            self._check_training(name)

    def _check_sample(self, name: str, first: str) -> None:
        """Raise ValueError where a compared filter does not learn from the same slides and tiles as the first (3.2)."""
        if not self.tumour_filters[name].held_out:
            raise ValueError(
                f"tumour_filters.{name}.held_out: it is among transfer.compared, and judged on its test set"
            )
        for key in ("label", "slides", "tiles_per_class"):
            found, expected = (getattr(self.tumour_filters[one], key) for one in (name, first))
            if found != expected:
                raise ValueError(
                    f"tumour_filters.{name}.{key}: {found!r}, and {first} has {expected!r}; detectors in "
                    "transfer.compared see the same"
                )

    def _check_compression(self, compression: Compression) -> None:
        if self.tiles.mpp == "native":
            raise ValueError("tiles.mpp: native; expected µm/px, since grids of slides are compared")
        for name, task in compression.tasks.items():
            where = f"compression.tasks.{name}"
            _check_once(task.cohorts, f"{where}.cohorts")
            _check_once(task.classes, f"{where}.classes")
            for cohort in task.cohorts:
                _check_known(cohort, self.cohorts, f"{where}.cohorts", "cohorts")
                annotations = self.cohorts[cohort].annotations
                if annotations is None:
                    raise ValueError(f"{where}.cohorts: {cohort} has no cohorts.{cohort}.annotations")
                for label in task.classes:
                    known = [*annotations.classes.values(), BACKGROUND]
                    _check_known(label, known, f"{where}.classes", f"labels of cohorts.{cohort}.annotations")
        for name, encoder in compression.encoders.items():
            for key, known in (("tasks", compression.tasks), ("cohorts", self.cohorts)):
                for each in getattr(encoder, key):
                    _check_known(each, known, f"compression.encoders.{name}.{key}", key)
        if not compression.targets and compression.trait_encoder is None:
            raise ValueError("compression.targets: expected a target or more, or a `trait_encoder`")
        if compression.trait_encoder is not None:
            _check_known(compression.trait_encoder, compression.encoders, "compression.trait_encoder", "encoders")
        for name, target in compression.targets.items():
            where = f"compression.targets.{name}"
            for key in ("cohort", "test_cohort"):
                if getattr(target, key) is not None:
                    _check_known(getattr(target, key), self.cohorts, f"{where}.{key}", "cohorts")
            for encoder in target.encoders:
                _check_known(encoder, compression.encoders, f"{where}.encoders", "compression.encoders")
            self._check_unseen(compression, target.test_cohort, f"{where}.test_cohort")
        if compression.compared is not None:
            classes = [name for name, target in compression.targets.items() if target.kind == "class"]
            _check_known(compression.compared, classes, "compression.compared", "targets of kind class")
        self._check_patches(compression)
        self._check_measures(compression)
        if compression.ablation:
            self._check_ablation(compression, compression.ablation)

    def _check_unseen(self, compression: Compression, cohort: str | None, where: str) -> None:
        """Raise ValueError where an encoder in use learns from a cohort that only tests."""
        for name in compression.used_encoders():
            encoder = compression.encoders[name]
            tasks = [
                cohort
                for task in encoder.tasks
                if task in compression.tasks
                for cohort in compression.tasks[task].cohorts
            ]
            if cohort in (*encoder.cohorts, *tasks):
                raise ValueError(
                    f"{where}: the encoder {name} learns from {cohort}, which is to test what nothing has seen"
                )

    def _check_patches(self, compression: Compression) -> None:
        """Raise ValueError where the networks of the encoders that are trained cannot take patches of this size."""
        kinds = {compression.encoders[name].kind for name in compression.used_encoders()}
        px, least = self.tiles.tile_px, LEAST_PATCH_PX * compression.shrink
        if kinds & {"multitask", "bigan"} and px < least:
            raise ValueError(
                f"tiles.tile_px: {px}, of which the convolutions of encoders leave nothing; expected {least} or more"
            )
        if kinds & {"autoencoder", "bigan"} and px % (16 * compression.shrink):
            raise ValueError(
                f"tiles.tile_px: {px}; an autoencoder or a bigan draws multiples of {16 * compression.shrink} px"
            )

    def _check_measures(self, compression: Compression) -> None:
        """Raise ValueError where weights are kept, or rates fall, by a measure that a network does not have."""
        unlabelled = [
            n for n in compression.used_encoders() if compression.encoders[n].kind in ("autoencoder", "bigan")
        ]
        for key in ("checkpoint_on", "plateau_on", "stop_on"):
            if unlabelled and getattr(compression.training, key) == "accuracy":
                raise ValueError(f"compression.training.{key}: the encoder {unlabelled[0]} has no accuracy; use loss")
        measures = {"class": "slide_auc", "number": "spearman", "survival": "c_index"}
        asked = compression.network.training.checkpoint_on
        kinds = {target.kind for target in compression.targets.values()} | (
            {"class"} if compression.trait_encoder else set()
        )
        lacking = [kind for kind in sorted(kinds) if asked in measures.values() and measures[kind] != asked]
        if lacking:
            raise ValueError(
                f"compression.network.training.checkpoint_on: a target of kind {lacking[0]} has no {asked}; expected "
                "loss or last"
            )

    def _check_ablation(self, compression: Compression, ablation: Ablation) -> None:
        numbers = [name for name, target in compression.targets.items() if target.kind == "number"]
        _check_known(ablation.target, numbers, "compression.ablation.target", "targets of kind number")
        for task in ablation.tasks:
            _check_known(task, compression.tasks, "compression.ablation.tasks", "compression.tasks")

    def with_starts(self, filters: list[str]) -> list[str]:
        """Some tumour filters, and those whose weights they start from, each once and before those that need it."""
        found: dict[str, None] = {}
        for name in filters:
            start = self.tumour_filters[name].starts_from
            found |= dict.fromkeys([*(self.with_starts([start]) if start else []), name])
        return list(found)

    @model_validator(mode="after")
    def _add_fewer(self) -> Self:
        """Define the filters of `transfer.fewer`, which have names and files as all filters do."""
        for name in self.transfer.compared if self.transfer else []:
            for slides in self.transfer.fewer:
                fewer = self.tumour_filters[name].model_copy(update={"slides": slides})
                self.tumour_filters.setdefault(with_fewer_slides(name, slides), fewer)
        return self

    @model_validator(mode="after")
    def _add_ablation(self) -> Self:
        """Define the encoders of `compression.ablation`, which have names and files as all encoders do."""
        if self.compression and self.compression.ablation:
            ablation = self.compression.ablation
            for name, tasks in ablation.encoders().items():
                encoder = Encoder(kind="multitask", tasks=tasks, features=ablation.features)
                if self.compression.encoders.setdefault(name, encoder) != encoder:
                    raise ValueError(
                        f"compression.encoders.{name}: the ablation has an encoder of this name; rename yours"
                    )
        return self

    def _check_filter(self, name: str) -> None:
        for trained in self.with_starts([name]):
            self._check_training(trained)
        for cohort in self.tumour_filters[name].cohorts:
            if self.cohorts[cohort].tumour_filter != name:
                raise ValueError(
                    f"tumour_filters.{name}.cohorts: {cohort} trains the filter and does not use it; set "
                    f"cohorts.{cohort}.tumour_filter to {name}"
                )

    def _check_training(self, name: str) -> None:
        trained_filter, where = self.tumour_filters[name], f"tumour_filters.{name}"
        if trained_filter.starts_from is not None:
            start = self.tumour_filters[trained_filter.starts_from]
            if not start.cohorts or start.training.backbone != trained_filter.training.backbone:
                raise ValueError(
                    f"{where}.starts_from: expected a filter that is trained, of the backbone "
                    f"{trained_filter.training.backbone}, found {trained_filter.starts_from}, "
                    f"{'of ' + start.training.backbone if start.cohorts else 'which is a folder of files'}"
                )
        _check_once(trained_filter.cohorts, f"{where}.cohorts")
        for cohort in trained_filter.cohorts:
            _check_known(cohort, self.cohorts, f"{where}.cohorts", "cohorts")
            annotations = self.cohorts[cohort].annotations
            if annotations is None:
                raise ValueError(
                    f"{where}.cohorts: {cohort} trains the filter, and has no cohorts.{cohort}.annotations"
                )
            labels = list(annotations.classes.values())
            _check_known(trained_filter.label, labels, f"{where}.label", f"labels of cohorts.{cohort}.annotations")

    def _check_applied(self, name: str) -> None:
        used, where = self.cohorts[name].tumour_filter, f"cohorts.{name}.tumour_filter"
        if used is None:
            return
        _check_known(used, self.tumour_filters, where, "tumour_filters")
        if self.tumour_filters[used].cohorts:
            raise ValueError(f"{where}: applied models bring the filter that they were trained with; give none here")

    def _check_exports(self) -> None:
        """Raise ValueError where a map is of no cohort that runs: those of several need not have the same traits."""
        run = [self.cohorts[name] for name in self.study.cohorts]
        traits = [trait for cohort in run for trait in cohort.traits]
        tumour = [TUMOUR] if any(cohort.tumour_filter or cohort.models for cohort in run) else []
        # The traits of models that are applied are known when their folder is read.
        applied = any(cohort.models for cohort in run)
        for key, others in (("maps", [HETEROGENEITY, *tumour]), ("heatmaps", tumour)):
            names = getattr(self.exports, key)
            _check_once(names, f"exports.{key}")
            if key == "heatmaps" and HETEROGENEITY in names:
                raise ValueError(f"exports.{key}: {HETEROGENEITY!r} is not among those with probabilities; it has none")
            for name in names if not applied else ():
                known = [*others, TRAITS, *traits]
                _check_known(name, known, f"exports.{key}", f"the maps of {', '.join(self.study.cohorts)}")
        _check_once(self.exports.formats, "exports.formats")

    def _check_cohort(self, name: str) -> None:
        cohort = self.cohorts[name]
        where = f"cohorts.{name}"
        if cohort.models is not None:
            self._check_applied(name)
            return
        if not cohort.traits:
            raise ValueError(
                f"{where}: expected expression, clinical, traits to train models on, or the folder of trained `models` "
                "to apply, since it is among study.cohorts"
            )
        _check_once(cohort.traits, f"{where}.traits")
        _check_once(cohort.heterogeneity_traits or [], f"{where}.heterogeneity_traits")
        for trait in cohort.traits:
            _check_known(trait, self.traits, f"{where}.traits", "traits")
            table = self.traits[trait].table
            if table not in cohort.expression.by_name():
                key = table if table in PUBLISHED_TABLES else f"tables.{table}"
                raise ValueError(f"trait {trait} is in the {table} table, and {where}.expression.{key} is not given")
        for trait in cohort.missing_traits:
            if trait in cohort.traits:
                raise ValueError(f"{where}.missing_traits: {trait} is among {where}.traits too")
        if cohort.tumour_filter is not None:
            _check_known(cohort.tumour_filter, self.tumour_filters, f"{where}.tumour_filter", "tumour_filters")
        for trait in cohort.heterogeneity_traits or []:
            _check_known(trait, cohort.traits, f"{where}.heterogeneity_traits", f"{where}.traits")
        if cohort.heterogeneity_traits is None and len(cohort.traits) < 2:
            raise ValueError(f"{where}: a heterogeneity index needs two traits or more, found {cohort.traits}")
        if cohort.truth:
            for key in ("trait_a", "trait_b"):
                _check_known(getattr(cohort.truth, key), cohort.traits, f"{where}.truth.{key}", f"{where}.traits")
            true = [cohort.truth.trait_a, cohort.truth.trait_b]
            if set(cohort.heterogeneity_traits or []) != set(true):
                raise ValueError(
                    f"{where}.heterogeneity_traits: the truth is of {' and '.join(true)}; expected exactly these two, "
                    f"found {cohort.heterogeneity_traits}"
                )


def _check_known(name: str, known: Any, where: str, defined: str) -> None:
    if name not in known:
        raise ValueError(f"{where}: {name!r} is not among {defined}{_suggestion(name, known)}")


def _check_starts(name: str, definitions: dict[str, Any], defined: str) -> None:
    """Raise ValueError where a model, by way of those that it starts from, starts from itself or an unknown one."""
    before, start = [name], definitions[name].starts_from
    while start is not None:
        _check_known(start, definitions, f"{defined}.{before[-1]}.starts_from", defined)
        if start in before:
            raise ValueError(f"{defined}.{name}.starts_from: {' starts from '.join([*before, start])}")
        before.append(start)
        start = definitions[start].starts_from


def _check_once(names: list[str], where: str) -> None:
    if len(set(names)) < len(names):
        raise ValueError(f"{where}: expected each name once, found {names}")


def _suggestion(name: str, known: Any) -> str:
    near = get_close_matches(name, list(known), n=1, cutoff=0.4)
    return f"; did you mean {near[0]!r}?" if near else f" ({', '.join(known)})"


def load(config: Mapping[str, Any]) -> Configuration:
    """Validate what Snakemake read. Raises InputError with every problem, each with its key and a suggestion."""
    try:
        return Configuration.model_validate(dict(config))
    except ValidationError as error:
        problems = "\n".join(f"  {_explain(problem)}" for problem in error.errors())
        raise InputError(f"the configuration cannot be used:\n{problems}") from None


def _explain(problem: Mapping[str, Any]) -> str:
    key = ".".join(map(str, problem["loc"]))
    if problem["type"] == "extra_forbidden":
        section = _section_at(problem["loc"][:-1])
        return f"{key}: unknown key{_suggestion(str(problem['loc'][-1]), section.model_fields)}"
    message = problem["msg"].removeprefix("Value error, ")
    found = "" if problem["type"] in ("missing", "value_error") else f" (found {problem['input']!r})"
    return f"{key}: {message}{found}" if key else message


def _section_at(location: tuple[str | int, ...]) -> type[Section]:
    """The model that a location of a validation error points to; names of dictionary entries are passed over."""
    section: type[Section] = Configuration
    for part in location:
        if part in section.model_fields:
            found = [*_sections_in(section.model_fields[str(part)].annotation)]
            section = found[0] if found else section
    return section


def _sections_in(annotation: Any) -> Iterator[type[Section]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
    for part in get_args(annotation):
        yield from _sections_in(part)


_PAGE_HEAD = """\
<!-- Made by `python -m workflow_scripts.lib.configuration > docs/configuration.md`; a test fails when it is not. -->

# Configuration

`config.yaml` is the published study, and holds the defaults below. An overlay, given with `--configfile`, replaces
single keys: dictionaries are merged entry by entry, lists are replaced whole. What runs is a list (`study.cohorts`, a
cohort's `traits`); the dictionaries `cohorts` and `traits` hold definitions. The configuration is checked before
anything runs: an unknown key is an error, answered with the nearest known one.
"""


def reference() -> str:
    """The page docs/configuration.md (Markdown): a table of keys, defaults and descriptions for each section."""
    parts = [_PAGE_HEAD]
    for place, section in _places("", Configuration):
        rows = [
            f"| `{key}` | {_default(field)} | {_description(field)} |" for key, field in section.model_fields.items()
        ]
        head = [
            f"## `{place}`",
            "",
            cleandoc(section.__doc__),
            "",
            "| key | default | description |",
            "| --- | --- | --- |",
        ]
        parts.append("\n".join([*head, *rows, ""]))
    return "\n".join(parts)


def _places(place: str, section: type[Section]) -> Iterator[tuple[str, type[Section]]]:
    """The sections below a section, depth first, with their keys; an entry of a dictionary is called `<name>`."""
    for key, field in section.model_fields.items():
        entry = {dict: ".<name>", list: "[]"}.get(get_origin(field.annotation), "")
        for below in _sections_in(field.annotation):
            yield f"{place}{key}{entry}", below
            yield from _places(f"{place}{key}{entry}.", below)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if isinstance(field.get_default(), Section):
        return "below"
    value = TypeAdapter(Any).dump_python(field.get_default(), mode="json", exclude_defaults=True)
    return f"`{json.dumps(value, ensure_ascii=False)}`"


def _description(field: FieldInfo) -> str:
    choices = ", ".join(f"`{choice}`" for choice in _choices_in(field.annotation))
    return (f"{field.description} Choices: {choices}." if choices else field.description).replace("|", "\\|")


def _choices_in(annotation: Any) -> Iterator[Any]:
    for part in get_args(annotation):
        if get_origin(annotation) is Literal:
            yield part
        else:
            yield from _choices_in(part)


if __name__ == "__main__":
    print(reference(), end="")
