"""The section of the study of neural image compression (Tellez et al. 2020)."""

from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from workflow_scripts.lib.configuration.chain import BACKGROUND, Optimisation
from workflow_scripts.lib.configuration.sections import Augmentation, Name, Positive, Section, check_known, check_once

if TYPE_CHECKING:
    from workflow_scripts.lib.configuration.whole import Configuration

# The smallest patch of which an encoder's four convolutions leave a pixel, see `encoders`.
LEAST_PATCH_PX = 31
# The columns of the ablation's table beside the tasks' own.
ABLATION_COLUMNS = ("encoder", "tasks", "repeat", "spearman", "low", "high", "patients", "note")


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
        check_once(self.tasks, "tasks")
        check_once(self.cohorts, "cohorts")
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
            check_once(self.classes, "classes")
        if self.favourable is not None:
            check_known(self.favourable, self.classes, "favourable", "classes")
        if self.test_cohort == self.cohort:
            raise ValueError(f"test_cohort: expected another cohort than {self.cohort}; none deals its own folds")
        check_once(self.encoders, "encoders")
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
        check_once(self.tasks, "tasks")
        for task in self.tasks:
            if task in ABLATION_COLUMNS:
                raise ValueError(f"tasks: {task!r} means something else in the ablation's table; rename the task")
        for subset in self.subsets or []:
            if not subset:
                raise ValueError("subsets: expected a task or more in each, found an empty one")
            for task in subset:
                check_known(task, self.tasks, "subsets", "tasks")
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

    def check_within(self, study: "Configuration") -> None:
        """Raise ValueError where the rest of a study does not have what this section names."""
        if study.tiles.mpp == "native":
            raise ValueError("tiles.mpp: native; expected µm/px, since grids of slides are compared")
        for name, task in self.tasks.items():
            where = f"compression.tasks.{name}"
            check_once(task.cohorts, f"{where}.cohorts")
            check_once(task.classes, f"{where}.classes")
            for cohort in task.cohorts:
                check_known(cohort, study.cohorts, f"{where}.cohorts", "cohorts")
                annotations = study.cohorts[cohort].annotations
                if annotations is None:
                    raise ValueError(f"{where}.cohorts: {cohort} has no cohorts.{cohort}.annotations")
                for label in task.classes:
                    known = [*annotations.classes.values(), BACKGROUND]
                    check_known(label, known, f"{where}.classes", f"labels of cohorts.{cohort}.annotations")
        for name, encoder in self.encoders.items():
            for key, known in (("tasks", self.tasks), ("cohorts", study.cohorts)):
                for each in getattr(encoder, key):
                    check_known(each, known, f"compression.encoders.{name}.{key}", key)
        if not self.targets and self.trait_encoder is None:
            raise ValueError("compression.targets: expected a target or more, or a `trait_encoder`")
        if self.trait_encoder is not None:
            check_known(self.trait_encoder, self.encoders, "compression.trait_encoder", "encoders")
        for name, target in self.targets.items():
            where = f"compression.targets.{name}"
            for key in ("cohort", "test_cohort"):
                if getattr(target, key) is not None:
                    check_known(getattr(target, key), study.cohorts, f"{where}.{key}", "cohorts")
            for encoder in target.encoders:
                check_known(encoder, self.encoders, f"{where}.encoders", "compression.encoders")
            self._check_unseen(target.test_cohort, f"{where}.test_cohort")
        if self.compared is not None:
            classes = [name for name, target in self.targets.items() if target.kind == "class"]
            check_known(self.compared, classes, "compression.compared", "targets of kind class")
        self._check_patches(study.tiles.tile_px)
        self._check_measures()
        if self.ablation:
            self._check_ablation(self.ablation)

    def add_ablation(self) -> None:
        """Define the encoders of `ablation`, which have names and files as all encoders do.

        Raises ValueError where an encoder of one's own has the name of one of these.
        """
        for name, tasks in self.ablation.encoders().items() if self.ablation else ():
            encoder = Encoder(kind="multitask", tasks=tasks, features=self.ablation.features)
            if self.encoders.setdefault(name, encoder) != encoder:
                raise ValueError(f"compression.encoders.{name}: the ablation has an encoder of this name; rename yours")

    def _check_unseen(self, cohort: str | None, where: str) -> None:
        """Raise ValueError where an encoder in use learns from a cohort that only tests."""
        for name in self.used_encoders():
            encoder = self.encoders[name]
            tasks = [one for task in encoder.tasks if task in self.tasks for one in self.tasks[task].cohorts]
            if cohort in (*encoder.cohorts, *tasks):
                raise ValueError(
                    f"{where}: the encoder {name} learns from {cohort}, which is to test what nothing has seen"
                )

    def _check_patches(self, px: int) -> None:
        """Raise ValueError where the networks of the encoders that are trained cannot take patches of this size."""
        kinds = {self.encoders[name].kind for name in self.used_encoders()}
        least = LEAST_PATCH_PX * self.shrink
        if kinds & {"multitask", "bigan"} and px < least:
            raise ValueError(
                f"tiles.tile_px: {px}, of which the convolutions of encoders leave nothing; expected {least} or more"
            )
        if kinds & {"autoencoder", "bigan"} and px % (16 * self.shrink):
            raise ValueError(f"tiles.tile_px: {px}; an autoencoder or a bigan draws multiples of {16 * self.shrink} px")

    def _check_measures(self) -> None:
        """Raise ValueError where weights are kept, or rates fall, by a measure that a network does not have."""
        unlabelled = [n for n in self.used_encoders() if self.encoders[n].kind in ("autoencoder", "bigan")]
        for key in ("checkpoint_on", "plateau_on", "stop_on"):
            if unlabelled and getattr(self.training, key) == "accuracy":
                raise ValueError(f"compression.training.{key}: the encoder {unlabelled[0]} has no accuracy; use loss")
        measures = {"class": "slide_auc", "number": "spearman", "survival": "c_index"}
        asked = self.network.training.checkpoint_on
        kinds = {target.kind for target in self.targets.values()} | ({"class"} if self.trait_encoder else set())
        lacking = [kind for kind in sorted(kinds) if asked in measures.values() and measures[kind] != asked]
        if lacking:
            raise ValueError(
                f"compression.network.training.checkpoint_on: a target of kind {lacking[0]} has no {asked}; expected "
                "loss or last"
            )

    def _check_ablation(self, ablation: Ablation) -> None:
        numbers = [name for name, target in self.targets.items() if target.kind == "number"]
        check_known(ablation.target, numbers, "compression.ablation.target", "targets of kind number")
        for task in ablation.tasks:
            check_known(task, self.tasks, "compression.ablation.tasks", "compression.tasks")
