"""Models of compressed slides, from a target's table and grids to files: trained, applied, asked where they look."""

import hashlib
import json
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pandas as pd
import torch

from workflow_scripts.lib import grids, inference, models, slide_problems
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.files import write_table, writing
from workflow_scripts.lib.grids import Place
from workflow_scripts.lib.slide_networks import SlideNetwork
from workflow_scripts.lib.slide_problems import ClassProblem, GridProblem, GridSet, NumberProblem, RiskProblem
from workflow_scripts.lib.slide_targets import CLASS, NUMBER, SURVIVAL
from workflow_scripts.lib.training import LAST, Schedule, Trained, make_fabric, train

if TYPE_CHECKING:
    from lightning_fabric import Fabric

log = logging.getLogger(__name__)

# What `model.json` calls such a network.
BACKBONE = "slide_network"
# The measure that each kind of target has beside the loss, and what `scores.tsv` calls it.
MEASURES = {CLASS: "slide_auc", NUMBER: "spearman", SURVIVAL: "c_index"}
SCORES = {CLASS: "validation_auc", NUMBER: "validation_spearman", SURVIVAL: "validation_c_index"}
# Columns of a target's table that hold what a slide of each kind is to be.
LABELS = {CLASS: ["value"], NUMBER: ["value"], SURVIVAL: ["time", "event"]}
# The parts that a model does not learn from.
ROLES = ("validation", "test")
# Slides between two lines of progress.
REPORT_EVERY = 100


def train_slide_models(
    folder: str | Path,
    *,
    folder_of_states: str | Path,
    target: str,
    encoder: str,
    kind: str,
    classes: Sequence[str],
    slides: pd.DataFrame,
    grid_files: Mapping[str, Sequence[str | Path]],
    network: Mapping[str, Any],
    settings: Mapping[str, Any],
    seed: int,
    code_version: str,
) -> None:
    """Train the models of a target on the grids of an encoder, one after the other, each in its folder `model_<k>`.

    kind: `class` (of `classes`), `number` or `survival`; slides: the table of the target, a row per slide with cohort,
    slide_id, what it is to be (`value`, or `time` in months and `event`), and in columns `model_<k>` what it is to each
    model; grid_files: of each cohort; network: `filters`, `dropout`, `l2`, and of survival `ties`, of
    `compression.network` in the configuration, where each is described; settings: its `training`, without `workers`.
    Numbers are standardised by the mean and spread of the slides that train; `balanced_batches` counts for classes
    alone. A slide that has no grid, having no tissue, is left out. One GPU is used where there are more, since a step
    has few slides.

    The files of a model are `weights.safetensors` and `model.json` (see `models.save`), `curve.tsv` (a row per
    evaluation, the kept one marked in `chosen`), and `scores.tsv` (one row: target, encoder, model, validation_loss,
    and validation_auc, validation_spearman or validation_c_index; evaluation, evaluations, train_slides and
    validation_slides). The states to go on from lie in a folder of their own, since that of the models is emptied when
    a job is tried again, and stay: from that of a model that is finished its files are written at once. Paper: neural
    image compression, A.1, 4.2 and 4.4.

    Raises InputError as `train` and `slide_problems` do, naming the model; when grids are missing, or of unlike
    patches; and when weights are to be kept by a measure that the target does not have.
    """
    if settings["checkpoint_on"] not in ("loss", LAST, MEASURES[kind]):
        raise InputError(
            f"{target}: checkpoint_on is {settings['checkpoint_on']}, which a target of kind {kind} does not have; use "
            f"loss, {LAST} or {MEASURES[kind]}"
        )
    places = _places(slides, grid_files, ("train", "validation"))
    fabric = make_fabric(precision=settings["precision"], threads=settings["threads"], most_gpus=1)
    for number in range(1, number_of_models(slides) + 1):
        identity = {"target": target, "encoder": encoder, "model": number}
        name = ", ".join(f"{key} {value}" for key, value in identity.items())
        sets = [_set_of(slides, places, number, role, kind) for role in ("train", "validation")]
        for data, verb in zip(sets, ("training", "validating"), strict=True):
            log.info("%s: %s on %d slides", name, verb, len(data))
        description = {
            **identity,
            "kind": kind,
            "backbone": BACKBONE,
            **({"classes": list(classes)} if kind == CLASS else {}),
            **(_spread(sets[0].labels) if kind == NUMBER else {}),
            **_grid_facts(next(iter(places.values()))),
            "network": dict(network),
            "settings": dict(settings),
            "seed": seed,
            "code_version": code_version,
            "learned_from": _digest([_labelled(data) for data in sets]),
        }
        run_key = _run_key(description, sets, fabric)
        run_seed = int(hashlib.sha256(f"{seed}:{target}:{encoder}:{number}".encode()).hexdigest()[:8], 16)
        torch.manual_seed(run_seed)
        try:
            trained = train(
                _problem(description, sets, seed=run_seed, fabric=fabric),
                Schedule(**{key: settings[key] for key in Schedule.__dataclass_fields__}), seed=run_seed,
                fabric=fabric, path_to_state=Path(folder_of_states) / f"model_{number}.pt", run_key=run_key,
            )  # fmt: skip
        except InputError as error:
            raise InputError(f"{name}: {error}") from None
        _write_results(Path(folder) / f"model_{number}", trained, identity, description, sets)


def number_of_models(slides: pd.DataFrame) -> int:
    """How many models a target's table is of."""
    return sum(str(column).startswith("model_") for column in slides.columns)


def build(description: Mapping[str, Any]) -> SlideNetwork:
    """A network as `model.json` describes it, with random weights."""
    shape = {key: description["network"][key] for key in ("filters", "dropout")}
    outputs = len(description["classes"]) if description["kind"] == CLASS else 1
    return SlideNetwork(features=description["features"], outputs=outputs, **shape)


def predict_targets(
    path_to_predictions: str | Path,
    *,
    target: str,
    encoder: str,
    slides: pd.DataFrame,
    grid_files: Mapping[str, Sequence[str | Path]],
    folder: str | Path,
    threads: int,
) -> None:
    """Apply each model to the slides that it does not learn from, and write the table of predictions.

    folder: that has `model_<k>`; the rest as in `train_slide_models`. The table has a row per slide and model that
    validates on it or tests it, slides in the order of their table: target, encoder, cohort, slide_id, patient_id,
    model, set (`validation`, `test`), and `prediction` (a number, or the logarithm of a risk) or `p_0`, `p_1`, … (the
    probability of each class). Slides without a grid have no row.
    """
    rows = []
    for row, _, given, trained in _each_slide(slides, grid_files, folder, ROLES, threads):
        for number, (network, description) in trained.items():
            with torch.inference_mode():
                outputs = network(*given)[0].double().cpu()
            identity = {
                "target": target, "encoder": encoder, "cohort": row.cohort, "slide_id": row.slide_id,
                "patient_id": row.patient_id, "model": number, "set": getattr(row, f"model_{number}"),
            }  # fmt: skip
            rows.append(identity | _predicted(outputs, description))
    if not rows:
        raise InputError(f"{target}: no slide of a validation or test set has a grid of {encoder}: nothing to predict")
    write_table(pd.DataFrame(rows), path_to_predictions)


def attribute(
    path_to_attributions: str | Path,
    *,
    slides: pd.DataFrame,
    grid_files: Mapping[str, Sequence[str | Path]],
    folder: str | Path,
    threads: int,
) -> None:
    """Write where models look: how much each patch of a slide adds to what the models that test it say.

    Of a patch it is the gradient times the input, summed over its numbers, of the output: a number, the logarithm of a
    risk, or the logit of the last class less the mean of the others'; the mean over the models that test the slide. The
    file has a group per slide with `attribution` (H, W) float32, NaN where there is no tissue, and the attributes of
    its grid. Beyond the paper. Source: Ancona et al., Towards better understanding of gradient-based attribution
    methods, 2018.
    """
    with writing(path_to_attributions) as partial, h5py.File(partial, "w", libver="v110", locking=False) as file:
        for row, place, (values, tissue), trained in _each_slide(slides, grid_files, folder, ("test",), threads):
            found = torch.zeros(tissue.shape[1:], dtype=torch.float64)
            for network, description in trained.values():
                given = values.detach().requires_grad_()
                _shown(network(given, tissue)[0], description).backward()
                found += (given.grad * values)[0].double().sum(dim=0).cpu() / len(trained)
            group = file.create_group(row.slide_id)
            attribution = np.where(tissue[0].cpu(), found, np.nan).astype(np.float32)
            group.create_dataset("attribution", data=attribution, track_times=False)
            group.attrs.update({"cohort": row.cohort} | place.attributes)


# A model's slides


def _places(
    slides: pd.DataFrame, grid_files: Mapping[str, Sequence[str | Path]], roles: Sequence[str]
) -> dict[tuple[str, str], Place]:
    """Where the grids are of the slides that have one of some roles in a model, by cohort and slide id.

    Raises InputError where none of a cohort's slides has one, and where they are of unlike patches.
    """
    used = slides[slides[_model_columns(slides)].isin(roles).any(axis=1)]
    found: dict[tuple[str, str], Place] = {}
    for cohort, of_cohort in used.groupby("cohort", sort=False):
        listed = grids.list_slides(grid_files.get(cohort, []))
        here = {(cohort, slide): listed[slide] for slide in of_cohort["slide_id"] if slide in listed}
        without = [slide for slide in of_cohort["slide_id"] if slide not in listed]
        if not here:
            raise InputError(
                f"{cohort}: expected grids of its {len(without)} slides, found none of them in "
                f"{len(grid_files.get(cohort, []))} files; compress the cohort's slides"
            )
        if without:
            log.info(
                "%s: %d of %d slides have no tissue and no grid, and are left out: %s%s", cohort, len(without),
                len(of_cohort), ", ".join(without[:5]), ", …" if len(without) > 5 else "",
            )  # fmt: skip
        found |= here
    alike = {json.dumps(_grid_facts(place), sort_keys=True): place for place in found.values()}
    if len(alike) > 1:
        raise InputError(
            "expected grids of like patches, numbers and orientations, found "
            + " and ".join(f"{facts} ({place.path})" for facts, place in list(alike.items())[:2])
            + "; compress the slides again"
        )
    return found


def _grid_facts(place: Place) -> dict[str, Any]:
    """What all grids that a model reads have in common."""
    shape, known = place.shape, place.attributes
    shared = {"features": shape.features, "orientations": shape.orientations}
    return shared | {key: known[key] for key in ("patch_px", "mpp")}


def _set_of(slides: pd.DataFrame, places: Mapping[tuple[str, str], Place], model: int, role: str, kind: str) -> GridSet:
    """The slides that have a role in a model, and a grid, in the order of the table."""
    has_grid = np.array([key in places for key in zip(slides["cohort"], slides["slide_id"], strict=True)], bool)
    chosen = slides[(slides[f"model_{model}"] == role) & has_grid]
    labels = chosen[LABELS[kind]].to_numpy(np.float64)
    of_slides = [places[key] for key in zip(chosen["cohort"], chosen["slide_id"], strict=True)]
    return GridSet(of_slides, labels if kind == SURVIVAL else labels[:, 0])


def _model_columns(slides: pd.DataFrame) -> list[str]:
    return [f"model_{number}" for number in range(1, number_of_models(slides) + 1)]


# Training


def _problem(description: Mapping[str, Any], sets: Sequence[GridSet], **options: Any) -> GridProblem:
    """What a model learns, with a network of random weights from torch's global generator."""
    settings, network = description["settings"], description["network"]
    options |= {"batch_size": settings["batch_size"], "augmentations": settings["augmentations"], "l2": network["l2"]}
    given = (build(description), *sets)
    if description["kind"] == CLASS:
        balanced = settings["balanced_batches"]
        return ClassProblem(*given, classes=len(description["classes"]), balanced=balanced, **options)
    if description["kind"] == NUMBER:
        return NumberProblem(*given, mean=description["mean"], spread=description["spread"], **options)
    return RiskProblem(*given, ties=network["ties"], **options)


def _spread(numbers: np.ndarray) -> dict[str, float]:
    """Mean and standard deviation of the numbers of the slides that train; of none, which `GridProblem` refuses, 0."""
    found = numbers if len(numbers) else np.zeros(1)
    return {"mean": float(np.mean(found)), "spread": float(np.std(found))}


def _labelled(data: GridSet) -> list[list[Any]]:
    return [[place.slide_id, label] for place, label in zip(data.places, data.labels.tolist(), strict=True)]


def _run_key(description: Mapping[str, Any], sets: Sequence[GridSet], fabric: "Fabric") -> str:
    """Stands for all that shapes the weights: settings, code, what computes, labels, and the very files of the grids.

    A file is known by its size and its time of writing.
    """
    computed_by = {
        "accelerator": fabric.device.type,
        "precision": fabric.strategy.precision.precision,
        "torch": str(torch.__version__),
    }
    paths = sorted({place.path for data in sets for place in data.places})
    versions = [(path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    return _digest([description, computed_by, versions])


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _write_results(
    folder: Path,
    trained: Trained,
    identity: Mapping[str, Any],
    description: Mapping[str, Any],
    sets: Sequence[GridSet],
) -> None:
    chosen = next(row for row in trained.curve if row["chosen"])
    row = {
        **identity,
        "validation_loss": chosen["validation_loss"],
        SCORES[description["kind"]]: chosen[f"validation_{MEASURES[description['kind']]}"],
        "evaluation": chosen["evaluation"],
        "evaluations": len(trained.curve),
        "train_slides": len(sets[0]),
        "validation_slides": len(sets[1]),
    }
    models.save(folder, trained.weights, description)
    write_table(pd.DataFrame(trained.curve), folder / "curve.tsv")
    write_table(pd.DataFrame([row]), folder / "scores.tsv")


# Use


def _each_slide(
    slides: pd.DataFrame,
    grid_files: Mapping[str, Sequence[str | Path]],
    folder: str | Path,
    roles: Sequence[str],
    threads: int,
) -> Iterator[tuple[Any, Place, tuple[torch.Tensor, torch.Tensor], dict[int, tuple[SlideNetwork, dict[str, Any]]]]]:
    """Of each slide with one of some roles and a grid: its row, its place, network input, and the models by number."""
    device = inference.choose_device(threads)
    trained = {
        number: models.read(Path(folder) / name, build) for number, name in enumerate(_model_columns(slides), start=1)
    }
    for network, _ in trained.values():
        network.to(device)
    places = _places(slides, grid_files, roles)
    rows = [row for row in slides.itertuples(index=False) if (row.cohort, row.slide_id) in places]
    of_rows = [places[row.cohort, row.slide_id] for row in rows]
    batches = slide_problems.in_order(GridSet(of_rows, np.zeros(len(rows))))
    started = time.monotonic()
    for number, (row, place, batch) in enumerate(zip(rows, of_rows, batches, strict=True), start=1):
        judges = {model: trained[model] for model in trained if getattr(row, f"model_{model}") in roles}
        yield row, place, slide_problems.to_input(batch, device), judges
        if number % REPORT_EVERY == 0 or number == len(rows):
            speed = number / max(time.monotonic() - started, 1e-9)
            log.info("%d of %d slides, %.1f slides/s", number, len(rows), speed)


def _predicted(outputs: torch.Tensor, description: Mapping[str, Any]) -> dict[str, float]:
    """What a model says of a slide, from the network's outputs (k,): the columns of the table of predictions."""
    if description["kind"] == CLASS:
        return {f"p_{number}": value for number, value in enumerate(torch.softmax(outputs, dim=0).tolist())}
    value = float(outputs[0])
    return {"prediction": description["mean"] + description["spread"] * value if "mean" in description else value}


def _shown(outputs: torch.Tensor, description: Mapping[str, Any]) -> torch.Tensor:
    """What is attributed to a slide's patches, of the network's outputs (k,): see `attribute`."""
    if description["kind"] == CLASS:
        return outputs[-1] - outputs[:-1].mean()
    return outputs[0] * description.get("spread", 1.0)
