"""The training engine: one loop for every study, which resumes exactly.

What a step does depends on nothing but the seed and the number of the step: the tiles of its batch, how they are
flipped, and the random state of dropout. So a run that was killed and goes on from its last saved state ends with the
weights of one that was not, however often that happens. State is saved after each evaluation, after MOST_UNSAVED_S
without one, and when a signal says that the end may be near.

Several processes share a step: each takes its part of the batch, and gradients, batch statistics (on GPUs) and losses
are those of the whole batch.
"""

import logging
import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from workflow_scripts.lib import devices, interruption
from workflow_scripts.lib.errors import InputError
from workflow_scripts.lib.files import writing

if TYPE_CHECKING:
    from lightning_fabric import Fabric

log = logging.getLogger(__name__)

# A validation measure is better when it is higher, or lower.
HIGHER_IS_BETTER = {
    "slide_auc": True,
    "tile_auc": True,
    "accuracy": True,
    "spearman": True,
    "c_index": True,
    "loss": False,
}
# In place of a measure: the weights of the last evaluation are kept.
LAST = "last"
# Seconds: what a node that loses power may cost, since it sends no signal, where evaluations are further apart. A state
# of Inception v3 is 0.4 GB, and a few seconds of writing in ten minutes are less than 1 %.
MOST_UNSAVED_S = 600.0


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How a model is trained: keys of `training` in the configuration, where each is described."""

    learning_rate: float
    weight_decay: float
    weight_averaging: float
    steps_per_epoch: int | None
    epoch_factor: float
    evaluations_per_epoch: int
    max_epochs: int
    checkpoint_on: str
    plateau_on: str
    plateau_patience: int
    plateau_factor: float
    lowest_learning_rate: float
    stop_on: str
    stop_patience: int


class Problem(Protocol):
    """What is learnt, and from what: all that the engine knows of it.

    `network` is all that has weights. `n_examples` are the training examples, of which a step takes `batch_size`.
    """

    network: nn.Module
    n_examples: int
    batch_size: int

    def batches(self, first_step: int) -> Iterator[Any]:
        """What this process takes of the batch of `first_step`, and of every step after it, without end."""

    def loss(self, network: nn.Module, batch: Any, generator: torch.Generator) -> torch.Tensor:
        """The loss whose mean over the processes is that of the whole batch.

        `network` is the problem's own, as it is to be called. All randomness but dropout's comes from `generator`,
        which is the same in all processes.
        """

    def evaluate(self, network: nn.Module, look_up: Callable[[], None]) -> dict[str, float]:
        """Measures on the validation set, `loss` and any others; a loss of infinity is divergence.

        Those of HIGHER_IS_BETTER may decide when the rate decays, when training stops, and what is kept. `network` has
        the averaged weights. `look_up` is called after each batch.
        """


@dataclass(frozen=True)
class Trained:
    """The weights that `checkpoint_on` keeps, and a row per evaluation of how they came about."""

    weights: dict[str, torch.Tensor]
    curve: list[dict[str, Any]]


@dataclass
class Patience:
    """Counts evaluations since the best value of a measure. No equal value is better, nor NaN, nor infinity."""

    measure: str
    best: float = math.nan
    waited: int = 0

    def update(self, measured: Mapping[str, float]) -> int:
        """Take one more evaluation; return for how many there has been no improvement."""
        value = measured[self.measure]
        sign = 1 if HIGHER_IS_BETTER[self.measure] else -1
        improved = math.isfinite(value) and (math.isnan(self.best) or sign * value > sign * self.best)
        self.best, self.waited = (value, 0) if improved else (self.best, self.waited + 1)
        return self.waited


@dataclass(frozen=True)
class Learner:
    """What each step changes: the network, the moving average of its weights, and the optimiser.

    The average is what is evaluated and kept (`training.weight_averaging`); with an averaging of 0 it is the network.
    """

    network: nn.Module
    averaged: AveragedModel
    optimizer: torch.optim.Optimizer

    @classmethod
    def of(cls, network: nn.Module, schedule: Schedule, fabric: "Fabric") -> "Learner":
        """A learner at its start, on the devices of `fabric`."""
        # Batches are normalised as wholes; on a CPU torch has no layer for that.
        if fabric.world_size > 1 and fabric.device.type == "cuda":
            network = nn.SyncBatchNorm.convert_sync_batchnorm(network)
        # Fused: in the loop over a small network's many layers, torch's own default on a CPU, goes a sixth of a step.
        optimizer = torch.optim.AdamW(
            network.parameters(), lr=schedule.learning_rate, weight_decay=schedule.weight_decay, fused=True
        )
        set_up, optimizer = fabric.setup(network, optimizer)
        averaged = AveragedModel(
            network, multi_avg_fn=_moving_average(kept=schedule.weight_averaging), use_buffers=True
        )
        return cls(set_up, averaged, optimizer)

    def step(self, loss: torch.Tensor, fabric: "Fabric") -> None:
        """Take one step down the gradient of a loss."""
        self.optimizer.zero_grad()
        fabric.backward(loss)
        self.optimizer.step()
        self.averaged.update_parameters(self.network.module)

    def decay(self, factor: float, *, lowest: float = 0.0) -> None:
        """Multiply the learning rate, which does not fall below `lowest`."""
        for group in self.optimizer.param_groups:
            group["lr"] = max(group["lr"] * factor, min(lowest, group["lr"]))

    def share_buffers(self, fabric: "Fabric") -> None:
        """Give all processes the first one's batch statistics: what is evaluated is then what is kept and saved."""
        if fabric.world_size == 1:
            return
        buffers = list(self.averaged.module.buffers())
        # A message for each type, in an order that is the same in all processes.
        for dtype in dict.fromkeys(buffer.dtype for buffer in buffers):
            alike = [buffer for buffer in buffers if buffer.dtype == dtype]
            together = torch.cat([buffer.flatten() for buffer in alike])
            torch.distributed.broadcast(together, src=0)
            for buffer, shared in zip(alike, together.split([buffer.numel() for buffer in alike]), strict=True):
                buffer.copy_(shared.view_as(buffer))

    def state_dict(self, fabric: "Fabric") -> dict[str, Any]:
        """All of it, to be saved; the loss scale of 16-mixed is `precision`, which is empty in other precisions."""
        return {
            "network": self.network.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "precision": fabric.strategy.precision.state_dict(),
        }

    def load_state_dict(self, saved: Mapping[str, Any], fabric: "Fabric") -> None:
        """Go on from what `state_dict` gave."""
        self.network.load_state_dict(saved["network"])
        self.averaged.load_state_dict(saved["averaged"])
        self.optimizer.load_state_dict(saved["optimizer"])
        fabric.strategy.precision.load_state_dict(saved["precision"])


@dataclass
class State:
    """How far a run has come: with its learner, all that it needs to go on as if nothing had happened."""

    step: int = 0
    # Of the steps since the last evaluation, each the mean over its whole batch.
    losses: list[torch.Tensor] = field(default_factory=list)
    plateau: Patience = field(default_factory=lambda: Patience("loss"))
    stop: Patience = field(default_factory=lambda: Patience("loss"))
    curve: list[dict[str, Any]] = field(default_factory=list)
    best_weights: dict[str, torch.Tensor] = field(default_factory=dict)


@dataclass
class Run:
    """A run at work, and its state on the disk. `heard` tells of signals (see `interruption.listening`)."""

    state: State
    learner: Learner
    fabric: "Fabric"
    path: str | Path
    run_key: str
    heard: Callable[[], int]
    saved_at: float = field(default_factory=time.monotonic)
    saved_step: int | None = None

    def save(self) -> None:
        """Write the state as it is now."""
        if self.fabric.is_global_zero:
            _save_state(self.path, self.run_key, self.state, self.learner, self.fabric)
        self.saved_at, self.saved_step = time.monotonic(), self.state.step

    def look_up(self) -> None:
        """Between two steps or batches of an evaluation: save when it is time or a signal came, and end if one asked.

        All processes call this at the same moments, and a signal to any of them counts for all. What an evaluation has
        come to is not saved, so that a step is written once. Raises Interrupted.
        """
        number = self.heard()
        if self.fabric.world_size > 1:
            number = interruption.most_pressing(self.fabric.all_gather(torch.tensor(number)).tolist())
        is_time = number or time.monotonic() - self.saved_at >= MOST_UNSAVED_S
        if is_time and self.saved_step != self.state.step:
            self.save()
        if not number:
            return
        ends = number in interruption.ENDING
        if self.fabric.is_global_zero:
            log.warning(
                "%s: the state is saved at step %d; training %s", signal.Signals(number).name, self.state.step,
                "ends here, and goes on from there when run again" if ends else "goes on",
            )  # fmt: skip
        if ends:
            # The first process is killed when another ends before it.
            self.fabric.barrier()
            raise interruption.Interrupted(number)


def train(
    problem: Problem, schedule: Schedule, *, seed: int, fabric: "Fabric", path_to_state: str | Path, run_key: str
) -> Trained:
    """Train a network until it stops improving, and return its best weights.

    Paper: Methods, Training. Evaluations, patience and what each decision looks at are in `schedule`. The state is
    saved at `path_to_state` (see `Run`) and read from there when it is one of the same `run_key`, which stands for all
    that shapes the result. It stays, for whoever knows that the results are safe to delete it.

    Raises InputError when training diverged; and Interrupted, after the step or the batch in work, when a signal asked
    the process to end.
    """
    learner = Learner.of(problem.network, schedule, fabric)
    state = _resume(path_to_state, run_key, learner, schedule, fabric)
    per_epoch = schedule.steps_per_epoch or problem.n_examples // problem.batch_size
    interval = max(1, round(per_epoch / schedule.evaluations_per_epoch))
    with interruption.listening() as heard:
        run = Run(state, learner, fabric, path_to_state, run_key, heard)
        batches = problem.batches(state.step)
        started, first_step = time.monotonic(), state.step
        # What was begun is evaluated, in whichever attempt.
        while state.losses or (
            state.step < schedule.max_epochs * per_epoch and state.stop.waited < schedule.stop_patience
        ):
            _train_steps(run, problem, batches, interval, per_epoch, schedule, seed)
            learner.share_buffers(fabric)
            learner.averaged.module.eval()
            with torch.inference_mode():
                measured = problem.evaluate(learner.averaged.module, run.look_up)
            row = {
                "evaluation": len(state.curve) + 1,
                "step": state.step,
                "epoch": state.step / per_epoch,
                "learning_rate": learner.optimizer.param_groups[0]["lr"],
                "train_loss": float(torch.stack(state.losses).double().mean()),
                **{f"validation_{name}": value for name, value in measured.items()},
            }
            state.losses = []
            _decide(state, row, measured, learner, schedule)
            run.save()
            speed = (state.step - first_step) * problem.batch_size / max(time.monotonic() - started, 1e-9)
            if fabric.is_global_zero:
                _report(row, measured, schedule, state, speed)
    _check_converged(state.curve, schedule.learning_rate)
    return Trained(state.best_weights, _mark_chosen(state.curve, schedule.checkpoint_on))


def make_fabric(*, precision: str = "auto", threads: int, most_gpus: int | None = None) -> "Fabric":
    """All visible GPUs (see `devices`) with mixed precision, or the CPU in 32 bits with a fixed number of threads.

    most_gpus: how many are used at most; None for all.

    With more than one GPU the script of this process is started again for each of the others. Sums in torch change with
    the number of threads, so it is the caller's constant.
    """
    # Here, because the import takes two seconds, and what applies models needs none of it.
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments import LightningEnvironment

    torch.backends.cudnn.deterministic = True
    gpus = torch.cuda.device_count() if most_gpus is None else min(torch.cuda.device_count(), most_gpus)
    if precision == "auto":
        # GPUs before Ampere only emulate bfloat16, and have float16 in hardware.
        has_bf16 = gpus and torch.cuda.is_bf16_supported(including_emulation=False)
        precision = "32-true" if not gpus else "bf16-mixed" if has_bf16 else "16-mixed"
    # Lightning must not take a workflow's SLURM job for a run of its own (Lightning #19883).
    fabric = Fabric(
        accelerator="cuda" if gpus else "cpu",
        devices=max(gpus, 1),
        strategy="ddp" if gpus > 1 else "auto",
        precision=precision,
        plugins=[LightningEnvironment()],
    )
    fabric.launch()
    # Not before: a launch of several processes sets the number to one of its own.
    torch.set_num_threads(threads)
    log.info("training on %s", devices.describe(gpus))
    return fabric


def _moving_average(*, kept: float) -> Callable[[list[torch.Tensor], list[torch.Tensor], torch.Tensor], None]:
    """An update, in place, of averages by the values of a step, which keeps the share `kept` of the averages.

    The first step replaces them; after n steps the next keeps (1 + n) / (10 + n) at most, so that the random start is
    soon forgotten (the warm-up of TensorFlow's ExponentialMovingAverage).
    """

    def update(averages: list[torch.Tensor], values: list[torch.Tensor], n: torch.Tensor) -> None:
        share = min(kept, float((1 + n) / (10 + n)))
        get_ema_multi_avg_fn(share)(averages, values, n)

    return update


def _check_converged(curve: Sequence[dict[str, Any]], learning_rate: float) -> None:
    if not any(math.isfinite(row["validation_loss"]) for row in curve):
        raise InputError(
            f"diverged: the network's output was not finite at any of {len(curve)} evaluations; "
            f"lower training.learning_rate, which is {learning_rate:g}"
        )


def _seed_of(seed: int, step: int, process: int = 0) -> int:
    # Of the first process it is that of [seed, step]: zeros at the end change nothing.
    return int(np.random.SeedSequence([seed, step, process]).generate_state(1, np.uint64)[0] >> 1)


def _train_steps(
    run: Run,
    problem: Problem,
    batches: Iterator[Any],
    steps: int,
    per_epoch: int,
    schedule: Schedule,
    seed: int,
) -> None:
    """Take the steps that are left until the next evaluation, of `steps` between two."""
    state, fabric = run.state, run.fabric
    run.learner.network.train()
    while len(state.losses) < steps:
        batch = next(batches)
        # Dropout draws from torch's global generator, all else from its own.
        torch.manual_seed(_seed_of(seed, state.step, fabric.global_rank))
        generator = torch.Generator().manual_seed(_seed_of(seed, state.step))
        if state.step and state.step % per_epoch == 0:
            run.learner.decay(schedule.epoch_factor)
        loss = problem.loss(run.learner.network, batch, generator)
        run.learner.step(loss, fabric)
        state.losses.append(fabric.all_gather(loss.detach()).mean())
        state.step += 1
        run.look_up()


def _decide(
    state: State,
    row: dict[str, Any],
    measured: Mapping[str, float],
    learner: Learner,
    schedule: Schedule,
) -> None:
    """Keep the weights when they are the best, decay the rate on a plateau, count towards stopping."""
    state.curve.append(row)
    if _best(state.curve, schedule.checkpoint_on) is row:
        weights = learner.averaged.module.state_dict()
        state.best_weights = {name: value.detach().cpu().clone() for name, value in weights.items()}
    state.stop.update(measured)
    if state.plateau.update(measured) >= schedule.plateau_patience:
        state.plateau.waited = 0
        learner.decay(schedule.plateau_factor, lowest=schedule.lowest_learning_rate)


def _best(curve: Sequence[dict[str, Any]], measure: str) -> dict[str, Any]:
    """The evaluation to keep: best by the measure, ties by the lower loss, then the earlier; or the LAST.

    Where the measure is not defined (an AUC of one class), the loss decides alone. One without a finite loss is behind
    all others.
    """
    if measure == LAST:
        return max(curve, key=lambda row: (math.isfinite(row["validation_loss"]), row["evaluation"]))
    sign = 1 if HIGHER_IS_BETTER[measure] else -1

    def key(row: dict[str, Any]) -> tuple[bool, float, float, int]:
        value, loss = row[f"validation_{measure}"], row["validation_loss"]
        if not math.isfinite(loss):
            return (False, -math.inf, -math.inf, -row["evaluation"])
        return (True, -math.inf if math.isnan(value) else sign * value, -loss, -row["evaluation"])

    return max(curve, key=key)


def _mark_chosen(curve: Sequence[dict[str, Any]], measure: str) -> list[dict[str, Any]]:
    best = _best(curve, measure)
    return [{**row, "chosen": int(row is best)} for row in curve]


def _resume(path: str | Path, run_key: str, learner: Learner, schedule: Schedule, fabric: "Fabric") -> State:
    """The saved state of the same run, with its learner set to it, or a fresh one."""
    saved = torch.load(path, weights_only=True, map_location="cpu") if Path(path).is_file() else {"run_key": None}
    if saved["run_key"] != run_key:
        return State(plateau=Patience(schedule.plateau_on), stop=Patience(schedule.stop_on))
    learner.load_state_dict(saved["learner"], fabric)
    log.info("resumed at step %d, evaluation %d", saved["step"], len(saved["curve"]))
    return State(
        step=saved["step"],
        losses=[loss.to(fabric.device) for loss in saved["losses"]],
        plateau=Patience(**saved["plateau"]),
        stop=Patience(**saved["stop"]),
        curve=saved["curve"],
        best_weights=saved["best_weights"],
    )


def _save_state(path: str | Path, run_key: str, state: State, learner: Learner, fabric: "Fabric") -> None:
    content = {
        "run_key": run_key,
        "step": state.step,
        "losses": state.losses,
        "plateau": asdict(state.plateau),
        "stop": asdict(state.stop),
        "curve": state.curve,
        "best_weights": state.best_weights,
        "learner": learner.state_dict(fabric),
    }
    with writing(path) as partial:
        torch.save(content, partial)


def _report(
    row: Mapping[str, Any], measured: Mapping[str, float], schedule: Schedule, state: State, speed: float
) -> None:
    """Say how an evaluation went; `speed` is in examples per second."""
    log.info(
        "evaluation %d, epoch %.2f of at most %d: train loss %.4f, validation %s; %.0f examples/s; "
        "stops after %d more without improvement",
        row["evaluation"], row["epoch"], schedule.max_epochs, row["train_loss"],
        ", ".join(f"{name.replace('_auc', ' AUC')} {value:.4f}" for name, value in measured.items()), speed,
        schedule.stop_patience - state.stop.waited,
    )  # fmt: skip
