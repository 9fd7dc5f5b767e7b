"""The section of the study of metastatic origin (Schau et al. 2020)."""

from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from workflow_scripts.lib.configuration.chain import FilterTraining, Optimisation
from workflow_scripts.lib.configuration.sections import (
    Metric,
    Name,
    Positive,
    Section,
    check_known,
    check_once,
    check_starts,
)

if TYPE_CHECKING:
    from workflow_scripts.lib.configuration.whole import Configuration


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
            check_once(getattr(self, key), key)
        if self.control in self.classes:
            raise ValueError(f"control: {self.control!r} is among `classes`; a control is no class of tumours")
        if "coords" in self.regimes:
            raise ValueError("regimes.coords: 'coords' means something else in the predictions; rename the regime")
        for name in self.compared:
            check_known(name, self.regimes, "compared", "regimes")
        for name in self.regimes:
            check_starts(name, self.regimes, "regimes")
        return self

    def check_within(self, study: "Configuration") -> None:
        """Raise ValueError where the rest of a study does not have what this section names."""
        for key in ("primary", "metastatic"):
            name, where = getattr(self, key), f"origin.{key}"
            check_known(name, study.cohorts, where, "cohorts")
            if study.cohorts[name].models is not None:
                raise ValueError(
                    f"{where}: {name} is a cohort of applied `models`; expected one with slides of its own"
                )
            used = study.cohorts[name].tumour_filter
            if used is not None:
                check_known(used, study.tumour_filters, f"cohorts.{name}.tumour_filter", "tumour_filters")
                study.check_filter(used)
