"""The whole configuration, what its parts must agree on, and how it is read."""

from collections.abc import Mapping
from typing import Any, Self

from pydantic import Field, ValidationError, model_validator

from workflow_scripts.lib import sources
from workflow_scripts.lib.configuration.adaptation import Adaptation
from workflow_scripts.lib.configuration.chain import (
    HETEROGENEITY,
    PUBLISHED_TABLES,
    TRAITS,
    TUMOUR,
    Cohort,
    Controls,
    DemoCohort,
    Downloads,
    Ensembles,
    Evaluation,
    Exports,
    Heterogeneity,
    Labels,
    Predictions,
    Splits,
    Stain,
    Study,
    Survival,
    Tiles,
    Training,
    Trait,
    TumourFilter,
)
from workflow_scripts.lib.configuration.compression import Compression
from workflow_scripts.lib.configuration.origin import Origin
from workflow_scripts.lib.configuration.sections import (
    Name,
    Section,
    check_known,
    check_once,
    check_starts,
    sections_in,
    suggestion,
)
from workflow_scripts.lib.configuration.transfer import Transfer, with_fewer_slides
from workflow_scripts.lib.errors import InputError

# What stands beside the traits' names in our files: tiles without a trait, the tiles' places, and other maps.
RESERVED_TRAITS = ("none", "coords", HETEROGENEITY, TUMOUR, TRAITS)
# What stands beside the cohorts' folders under results/.
RESERVED_COHORTS = ("input", "filters", "efficiency", "benchmarks", "origin", "transfer", "compression", "adaptation")


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
    adaptation: Adaptation | None = Field(
        None, description="The study of microscope adaptation; see studies/adaptation.yaml."
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
        check_once(self.study.cohorts, "study.cohorts")
        for name in self.tumour_filters:
            check_starts(name, self.tumour_filters, "tumour_filters")
        sisters = (self.origin, self.transfer, self.compression, self.adaptation)
        if not self.study.cohorts and all(sister is None for sister in sisters):
            raise ValueError(
                "study.cohorts: expected a cohort or more, or the section of a sister study (origin, transfer, "
                "compression, adaptation)"
            )
        for trait in RESERVED_TRAITS:
            if trait in self.traits:
                raise ValueError(f"traits.{trait}: {trait!r} means something else in the results; rename the trait")
        for cohort in RESERVED_COHORTS:
            if cohort in self.cohorts:
                raise ValueError(f"cohorts.{cohort}: results/{cohort} is of all cohorts; rename the cohort")
        for cohort in self.study.cohorts:
            check_known(cohort, self.cohorts, "study.cohorts", "cohorts")
            self._check_cohort(cohort)
        self._check_fetched_tables()
        for name in {self.cohorts[cohort].tumour_filter for cohort in self.study.cohorts} - {None}:
            self.check_filter(name)
        tile = sources.parts(self.stain.reference, kind="stain")
        if tile:
            trained = [name for name, cohort in self.cohorts.items() if cohort.models is None]
            check_known(tile["cohort"], trained, "stain.reference", "cohorts")
        self._check_exports()
        for sister in sisters:
            if sister is not None:
                sister.check_within(self)
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
        if self.compression:
            self.compression.add_ablation()
        return self

    def check_filter(self, name: str) -> None:
        """Raise ValueError where a filter cannot be trained, or a cohort that trains it does not use it."""
        for trained in self.with_starts([name]):
            self.check_training(trained)
        for cohort in self.tumour_filters[name].cohorts:
            if self.cohorts[cohort].tumour_filter != name:
                raise ValueError(
                    f"tumour_filters.{name}.cohorts: {cohort} trains the filter and does not use it; set "
                    f"cohorts.{cohort}.tumour_filter to {name}"
                )

    def check_training(self, name: str) -> None:
        """Raise ValueError where a tumour filter cannot be trained as it is defined."""
        trained_filter, where = self.tumour_filters[name], f"tumour_filters.{name}"
        if trained_filter.starts_from is not None:
            start = self.tumour_filters[trained_filter.starts_from]
            if not start.cohorts or start.training.backbone != trained_filter.training.backbone:
                raise ValueError(
                    f"{where}.starts_from: expected a filter that is trained, of the backbone "
                    f"{trained_filter.training.backbone}, found {trained_filter.starts_from}, "
                    f"{'of ' + start.training.backbone if start.cohorts else 'which is a folder of files'}"
                )
        check_once(trained_filter.cohorts, f"{where}.cohorts")
        for cohort in trained_filter.cohorts:
            check_known(cohort, self.cohorts, f"{where}.cohorts", "cohorts")
            annotations = self.cohorts[cohort].annotations
            if annotations is None:
                raise ValueError(
                    f"{where}.cohorts: {cohort} trains the filter, and has no cohorts.{cohort}.annotations"
                )
            labels = list(annotations.classes.values())
            check_known(trained_filter.label, labels, f"{where}.label", f"labels of cohorts.{cohort}.annotations")

    def _check_applied(self, name: str) -> None:
        used, where = self.cohorts[name].tumour_filter, f"cohorts.{name}.tumour_filter"
        if used is None:
            return
        check_known(used, self.tumour_filters, where, "tumour_filters")
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
            check_once(names, f"exports.{key}")
            if key == "heatmaps" and HETEROGENEITY in names:
                raise ValueError(f"exports.{key}: {HETEROGENEITY!r} is not among those with probabilities; it has none")
            for name in names if not applied else ():
                known = [*others, TRAITS, *traits]
                check_known(name, known, f"exports.{key}", f"the maps of {', '.join(self.study.cohorts)}")
        check_once(self.exports.formats, "exports.formats")

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
        check_once(cohort.traits, f"{where}.traits")
        check_once(cohort.heterogeneity_traits or [], f"{where}.heterogeneity_traits")
        for trait in cohort.traits:
            check_known(trait, self.traits, f"{where}.traits", "traits")
            table = self.traits[trait].table
            if table not in cohort.expression.by_name():
                key = table if table in PUBLISHED_TABLES else f"tables.{table}"
                raise ValueError(f"trait {trait} is in the {table} table, and {where}.expression.{key} is not given")
        for trait in cohort.missing_traits:
            if trait in cohort.traits:
                raise ValueError(f"{where}.missing_traits: {trait} is among {where}.traits too")
        if cohort.tumour_filter is not None:
            check_known(cohort.tumour_filter, self.tumour_filters, f"{where}.tumour_filter", "tumour_filters")
        for trait in cohort.heterogeneity_traits or []:
            check_known(trait, cohort.traits, f"{where}.heterogeneity_traits", f"{where}.traits")
        if cohort.heterogeneity_traits is None and len(cohort.traits) < 2:
            raise ValueError(f"{where}: a heterogeneity index needs two traits or more, found {cohort.traits}")
        if cohort.truth:
            for key in ("trait_a", "trait_b"):
                check_known(getattr(cohort.truth, key), cohort.traits, f"{where}.truth.{key}", f"{where}.traits")
            true = [cohort.truth.trait_a, cohort.truth.trait_b]
            if set(cohort.heterogeneity_traits or []) != set(true):
                raise ValueError(
                    f"{where}.heterogeneity_traits: the truth is of {' and '.join(true)}; expected exactly these two, "
                    f"found {cohort.heterogeneity_traits}"
                )


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
        return f"{key}: unknown key{suggestion(str(problem['loc'][-1]), section.model_fields)}"
    message = problem["msg"].removeprefix("Value error, ")
    found = "" if problem["type"] in ("missing", "value_error") else f" (found {problem['input']!r})"
    return f"{key}: {message}{found}" if key else message


def _section_at(location: tuple[str | int, ...]) -> type[Section]:
    """The model that a location of a validation error points to; names of dictionary entries are passed over."""
    section: type[Section] = Configuration
    for part in location:
        if part in section.model_fields:
            found = [*sections_in(section.model_fields[str(part)].annotation)]
            section = found[0] if found else section
    return section
