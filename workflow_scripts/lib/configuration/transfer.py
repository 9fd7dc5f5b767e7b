"""The section of the study of cross-cancer transfer."""

from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from workflow_scripts.lib.configuration.sections import Name, Positive, Section, check_known, check_once

if TYPE_CHECKING:
    from workflow_scripts.lib.configuration.whole import Configuration


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
        check_once(self.compared, "compared")
        if len(set(self.fewer)) < len(self.fewer):
            raise ValueError(f"fewer: expected each number once, found {self.fewer}")
        return self

    def check_within(self, study: "Configuration") -> None:
        """Raise ValueError where the rest of a study does not have what this section names."""
        check_known(self.target, study.cohorts, "transfer.target", "cohorts")
        for name in self.compared:
            check_known(name, study.tumour_filters, "transfer.compared", "tumour_filters")
            if study.tumour_filters[name].cohorts != [self.target]:
                raise ValueError(
                    f"tumour_filters.{name}.cohorts: it is among transfer.compared; expected {self.target} alone, "
                    f"found {', '.join(study.tumour_filters[name].cohorts) or 'none'}"
                )
            _check_sample(study, name, self.compared[0])
        for name in self.in_paper:
            check_known(name, self.compared, "transfer.in_paper", "transfer.compared")
        for name in study.with_starts(self.compared):
            study.check_training(name)


def with_fewer_slides(name: str, slides: int) -> str:
    """What a filter is called that is trained as another on `slides` slides only."""
    return f"{name}_of_{slides}_slides"


def _check_sample(study: "Configuration", name: str, first: str) -> None:
    """Raise ValueError where a compared filter does not learn from the same slides and tiles as the first (3.2)."""
    if not study.tumour_filters[name].held_out:
        raise ValueError(f"tumour_filters.{name}.held_out: it is among transfer.compared, and judged on its test set")
    for key in ("label", "slides", "tiles_per_class"):
        found, expected = (getattr(study.tumour_filters[one], key) for one in (name, first))
        if found != expected:
            raise ValueError(
                f"tumour_filters.{name}.{key}: {found!r}, and {first} has {expected!r}; detectors in "
                "transfer.compared see the same"
            )
