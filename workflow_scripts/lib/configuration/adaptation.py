"""The section of the study of microscope adaptation (Zhang et al. 2019, "From Whole Slide Imaging to Microscopy")."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from workflow_scripts.lib.configuration.chain import Network, Optimisation
from workflow_scripts.lib.configuration.sections import (
    Augmentation,
    Name,
    Positive,
    Section,
    check_known,
    check_once,
    check_starts,
)

if TYPE_CHECKING:
    from workflow_scripts.lib.configuration.whole import Configuration

# What stands beside the methods' names in the predictions.
COORDS = "coords"


class AdaptationTraining(Optimisation, Network):
    """How every method is trained (microscope adaptation, 3): the same network, steps and rate for all."""

    backbone: str = Field("mobilenet_v2", description="A torchvision classifier, by its name there (2.2: MobileNetV2).")
    weights: Literal["random", "imagenet"] = Field(
        "imagenet", description="Initial weights, which the paper does not state; random ones learn nothing at 1e-5."
    )
    batch_size: int = Field(16, ge=2, description="Patches of each domain that a method sees, per step (3: 16).")
    balanced_batches: Literal[True] = Field(True, description="As many patches of each domain in every batch.")
    learning_rate: float = Field(1e-5, gt=0, description="Adam's learning rate (3: 1e-5, fixed).")
    augmentations: list[Augmentation] = Field(
        ["horizontal_flip", "vertical_flip"], description="Of training patches only; the paper names none."
    )
    crop_px: Positive | None = Field(
        None,
        description="Side of the square that is cut at random out of a training patch, and of the middle of others; "
        "none: the whole patch. A related release cuts 224 of 256 px.",
    )
    steps_per_epoch: Positive | None = Field(
        2672, description="Steps that are called an epoch (42,754 source patches by 16); null: all patches once."
    )
    evaluations_per_epoch: Positive = Field(1, description="Evaluations on the validation set per epoch.")
    max_epochs: Positive = Field(20, description="Epochs, of which the paper gives no number.")
    checkpoint_on: Literal["accuracy", "loss", "last"] = Field(
        "last", description="The weights kept: the last, or the best by this on the source's validation set."
    )
    plateau_on: Literal["accuracy", "loss"] = Field("loss", description="Validation measure of the plateau.")
    plateau_patience: Positive = Field(
        20, description="Evaluations without improvement before the rate decays; not reached in 20."
    )
    stop_on: Literal["accuracy", "loss"] = Field("loss", description="Validation measure of early stopping.")
    stop_patience: Positive = Field(
        20, description="Evaluations without improvement before training stops; not reached in 20."
    )


class AdaptationMethod(Section):
    """A way to classify photographs: which labels it learns from, by which losses, and from which weights."""

    title: str = Field(description="Name in tables and figures.")
    labelled: Literal["source", "target", "both"] = Field("source", description="Whose labels it learns from.")
    target_patches: Positive | None = Field(
        None, description="So many labelled patches of the target are used; null: all (3: 500 for two rivals)."
    )
    pooled: bool = Field(
        False, description="Labelled patches of both domains come in their numbers, not half and half in each batch."
    )
    loss: Literal["focal", "cross_entropy"] = Field("focal", description="Of the labelled patches (Eq. 6, Eq. 5).")
    domain: Literal["least_squares", "cross_entropy", "focal", "mmd", "coral", "adda"] | None = Field(
        None,
        description="What brings the domains together: a discriminator with least squares (Eq. 3), sigmoid "
        "cross-entropy (Eq. 2) or the focal loss behind a gradient reversal; the distance of mean features (mmd) or of "
        "the logits' covariances (coral); or an encoder of the target's own against a discriminator (adda). None.",
    )
    domain_weight: float = Field(0.1, ge=0, description="Weight of the domain loss, α (3: 0.1).")
    domain_schedule: Literal["constant", "dann"] = Field(
        "constant",
        description="What the reversed gradient is multiplied with: 1, or DANN's 2 / (1 + exp(−10 p)) − 1 of the "
        "training's progress p.",
    )
    entropy_weight: float = Field(0.0, ge=0, description="Weight of the entropy of predictions, β (3: 0.1 in DMAN).")
    starts_from: Name | None = Field(
        None, description="The method whose weights it starts from, of the same seed; none: `training.weights`."
    )
    batch_statistics: bool = Field(
        False,
        description="Nothing is learnt: batch statistics of the method that it starts from are measured anew on the "
        "target's unlabelled patches.",
    )
    stain: bool = Field(False, description="Patches have their stain normalised, as `stain` says; others never have.")
    max_epochs: Positive | None = Field(None, description="Epochs; none: `training.max_epochs`.")
    learning_rate: float | None = Field(None, gt=0, description="Adam's rate; none: `training.learning_rate`.")
    in_paper: str | None = Field(None, description="Which row of the paper's Table 2 stands beside it.")

    @property
    def sees_target(self) -> bool:
        """Whether it learns from unlabelled patches of the target."""
        return self.domain is not None or self.entropy_weight > 0 or self.batch_statistics

    @model_validator(mode="after")
    def _check_losses(self) -> Self:
        if self.labelled != "source" and self.sees_target:
            raise ValueError(
                f"labelled: {self.labelled}; a method with a domain or entropy loss learns from labels of the source "
                "alone"
            )
        if self.labelled == "source" and self.target_patches is not None:
            raise ValueError("target_patches: not used by a method that learns from labels of the source alone")
        if self.pooled and self.labelled != "both":
            raise ValueError("pooled: only of a method that learns from labels of both domains")
        if self.starts_from is None and (self.batch_statistics or self.domain == "adda"):
            raise ValueError("starts_from: expected the method whose weights are adapted, found none")
        if self.batch_statistics and (self.domain is not None or self.entropy_weight):
            raise ValueError("batch_statistics: nothing is learnt with them; expected no domain or entropy loss")
        if self.domain_schedule == "dann" and self.domain not in ("least_squares", "cross_entropy", "focal"):
            raise ValueError("domain_schedule: of a reversed gradient alone, which this method does not have")
        return self


def _published_methods() -> dict[str, AdaptationMethod]:
    def of(title: str, **given: object) -> AdaptationMethod:
        return AdaptationMethod(title=title, **given)

    few = {"target_patches": 500}
    return {
        "source_only_c": of("Source-only-C", loss="cross_entropy", in_paper="Source-only-C"),
        "source_only": of("Source-only", in_paper="Source-only"),
        "fine_tuning": of("Fine-tuning", labelled="target", starts_from="source_only", in_paper="Fine-tuning", **few),
        "mix": of("Mix", labelled="both", in_paper="Mix", **few),
        "ddc": of("DDC", loss="cross_entropy", domain="mmd", domain_weight=0.25, in_paper="DDC"),
        "adda": of(
            "ADDA", loss="cross_entropy", domain="adda", domain_weight=1.0, starts_from="source_only_c", in_paper="ADDA"
        ),
        "dann": of("DANN", loss="cross_entropy", domain="cross_entropy", in_paper="DANN"),
        "dman_f": of("DMAN-F", domain="focal", entropy_weight=0.1, in_paper="DMAN-F"),
        "dman_h": of("DMAN-H", domain="least_squares", in_paper="DMAN-H"),
        "dman": of("DMAN", domain="least_squares", entropy_weight=0.1, in_paper="DMAN"),
        "coral": of("Deep CORAL", loss="cross_entropy", domain="coral", domain_weight=1.0),
        "batch_norm": of("Target batch norm", starts_from="source_only", batch_statistics=True),
        "stain_normalised": of("Stain-normalised", stain=True),
        "oracle": of("Target-trained", labelled="target"),
    }


class Camera(Section):
    """The simulated camera of a microscope: what its photographs do to the tissue of a slide."""

    strength: float = Field(
        1.0,
        ge=0,
        le=3,
        description="Colour, light, vignette, blur and noise are multiplied with it; 0: a camera that shifts nothing.",
    )
    mpp: float = Field(1.1, ge=0.2, le=4, description="µm/px of its photographs.")
    colour: float = Field(
        0.1, ge=0, description="White balance: the strongest channel's factor to the weakest, above 1."
    )
    light: float = Field(0.06, ge=0, description="Exposure: spread of a photograph's brightness, as a share.")
    vignette: float = Field(0.12, ge=0, le=1, description="Share of the light that the darkest corner lacks.")
    blur_um: float = Field(0.35, ge=0, description="Blur of lens and focus, a Gaussian's σ in µm, up to twice of it.")
    noise: float = Field(5.0, ge=0, description="White noise, standard deviation in grey levels.")
    jpeg_quality: int = Field(90, ge=30, le=100, description="Quality of those photographs that are JPEG.")


class AdaptationDemo(Section):
    """The cohorts that the workflow generates for microscope adaptation: slides, and photographs of others."""

    slides: int = Field(30, ge=6, description="Slides of the source, of a patient each.")
    photographed: int = Field(30, ge=6, description="Other slides, which are photographed, of a patient each.")
    photographs: int = Field(2, ge=1, description="Photographs of each.")
    slide_px: int = Field(1536, ge=512, description="Longest side of a slide at its finest level, in px of 0.5 µm.")
    photograph_um: float = Field(440.0, ge=64, description="Side of the field that a photograph shows, µm.")
    camera: Camera = Field(Camera(), description="The camera.")
    seed: int = Field(7, ge=0, description="Seed of the cohorts, apart from the study's.")


class Adaptation(Section):
    """The study of microscope adaptation: from labelled slides to unlabelled photographs (Zhang et al. 2019).

    Two cohorts: annotated slides, and photographs. Patches are tiles of the chain; each has the label of its centre
    where `annotations.rule` is `centre`, or its slide's `class` in the sheet of a cohort without annotations.
    """

    source: Name = Field(description="The cohort of labelled slides, defined under `cohorts`.")
    target: Name = Field(description="The cohort of photographs (`slides.photographs`), defined under `cohorts`.")
    classes: list[Name] = Field(
        min_length=2,
        max_length=8,
        description="Labels of patches that are told apart, in the order of models; others are left out.",
    )
    methods: dict[Name, AdaptationMethod] = Field(
        _published_methods(),
        description="Ways to classify (3, Table 2), beside those here or, by their names, changing keys of theirs; "
        "`compared` says which are judged.",
    )
    compared: list[Name] = Field(
        [*_published_methods()],
        min_length=1,
        max_length=16,
        description="Methods that are judged, in the order of tables; more than 16 no figure tells apart.",
    )
    seeds: list[Annotated[int, Field(ge=0)]] | None = Field(
        None, min_length=1, description="Each method is trained once with each of these; none: with `study.seed`."
    )
    focal_gamma: float = Field(2.0, ge=0, description="γ of the focal losses (3: 2).")
    label_weight: float = Field(1.0, gt=0, description="Weight of the loss of labelled patches, μ (3: 1).")
    discriminator: list[Positive] = Field(
        [1024, 1024], min_length=1, description="Units of the discriminator before its output (3: 1024, 1024)."
    )
    training: AdaptationTraining = Field(AdaptationTraining(), description="How each method is trained.")
    shown: list[Name] = Field(
        ["source_only", "ddc", "dann", "dman"],
        min_length=1,
        max_length=6,
        description="Methods whose features are laid out by t-SNE (Fig. 3: DDC, DANN and DMAN), and confusions drawn.",
    )
    embedded: Positive = Field(200, description="Patches of each class and domain in the plane of a t-SNE.")
    perplexity: float = Field(30, gt=0, description="Perplexity of the t-SNE; the paper names none.")
    exported: Name | None = Field(
        "dman", description="The method that is exported as one file, to classify photographs anywhere; none."
    )
    demo: AdaptationDemo = Field(AdaptationDemo(), description="The generated cohorts of the demo.")

    @field_validator("methods", mode="before")
    @classmethod
    def _add_published(cls, given: Any) -> Any:
        """Those of the default that are not given, and the keys that are not given of those that are."""
        if not isinstance(given, Mapping) or not all(isinstance(method, Mapping) for method in given.values()):
            return given
        published = {name: method.model_dump() for name, method in _published_methods().items()}
        return published | {name: published.get(name, {}) | dict(method) for name, method in given.items()}

    def starts_of(self, name: str) -> list[str]:
        """A method and those that it starts from, the last of them first."""
        chain = [name]
        while (start := self.methods[chain[-1]].starts_from) is not None:
            chain.append(start)
        return chain[::-1]

    def used_methods(self) -> list[str]:
        """The compared methods and those that they start from, each once and before those that need it."""
        return list(dict.fromkeys(each for name in self.compared for each in self.starts_of(name)))

    @model_validator(mode="after")
    def _check_methods(self) -> Self:
        if self.source == self.target:
            raise ValueError(f"expected two cohorts, found {self.source} as `source` and as `target`")
        for key in ("classes", "compared", "shown"):
            check_once(getattr(self, key), key)
        if len(set(self.seeds or [])) < len(self.seeds or []):
            raise ValueError(f"seeds: expected each number once, found {self.seeds}")
        if COORDS in self.methods:
            raise ValueError(f"methods.{COORDS}: {COORDS!r} means something else in the predictions; rename the method")
        for name in self.compared:
            check_known(name, self.methods, "compared", "methods")
        for name in self.methods:
            check_starts(name, self.methods, "methods")
        for key, names in (("shown", self.shown), ("exported", [self.exported] if self.exported else [])):
            for name in names:
                check_known(name, self.compared, key, "compared")
                if self.methods[name].stain:
                    raise ValueError(f"{key}: {name} sees patches with normalised stains; expected a method without")
        for name in self.used_methods():
            start = self.methods[name].starts_from
            if start is not None and self.methods[start].stain != self.methods[name].stain:
                raise ValueError(f"methods.{name}.stain: {start}, which it starts from, sees other colours")
        return self

    def check_within(self, study: "Configuration") -> None:
        """Raise ValueError where the rest of a study does not have what this section names."""
        if study.tiles.mpp == "native":
            raise ValueError("tiles.mpp: native; expected µm/px, at which slides and photographs are compared")
        for key in ("source", "target"):
            name, where = getattr(self, key), f"adaptation.{key}"
            check_known(name, study.cohorts, where, "cohorts")
            if study.cohorts[name].models is not None:
                raise ValueError(f"{where}: {name} is a cohort of applied `models`; expected one of slides of its own")
            annotations = study.cohorts[name].annotations
            for label in self.classes if annotations else ():
                known = list(annotations.classes.values())
                check_known(label, known, "adaptation.classes", f"labels of cohorts.{name}.annotations")
        if not study.cohorts[self.target].slides.photographs:
            raise ValueError(
                f"cohorts.{self.target}.slides.photographs: false, and it is adaptation.target; expected a cohort of "
                "photographs"
            )
        if self.training.crop_px and self.training.crop_px > study.tiles.tile_px:
            raise ValueError(
                f"adaptation.training.crop_px: {self.training.crop_px}, and patches have {study.tiles.tile_px} px"
            )
        stained = [name for name in self.used_methods() if self.methods[name].stain]
        if stained and study.stain.method == "none":
            raise ValueError(
                f"stain.method: none, and adaptation.methods.{stained[0]} normalises stains; name a method of stain "
                "normalisation, or take it out of adaptation.compared"
            )
