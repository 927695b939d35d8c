"""The one loop that pretrains every network of the miniature.

It shares schedule, running mean and checkpoints with `tasks.training`, and is a loop of its own because of what the
Trainer is about: a TaskModel shown views of an image-set, epochs, the best weights on validation. Here pictures are
drawn anew without end, a mixer has neither encoder nor head, and what is kept is the mean, which starts fast. Led
through the Trainer the shipped weights could not be made again bit for bit: it takes other random numbers for a step,
and AdamW with other betas.

Step k of a run sees pictures that depend on the seed and k alone, and the whole state lies in one file that is
replaced by a rename, at least every 20 seconds: a run that is killed continues to the same weights as one that is not.
What is kept is the running mean of the weights, which is steadier than the last ones.
"""

import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from taskdistill.configs.errors import UserError
from taskdistill.storage.files import open_as_others_are, sync_tree, write_json
from taskdistill.tasks.functional.schedules import warmup_cosine
from taskdistill.tasks.stage import OnProgress
from taskdistill.tasks.training import checkpoint
from taskdistill.tasks.training.averaging import RunningMean

HISTORY = "history.json"
CHECKPOINT_SECONDS = 20.0
NUM_POINTS = 100
"""Points of the loss curve that is kept."""

Losses = dict[str, Tensor]


class PretrainingError(UserError, ValueError):
    """A run that cannot start or go on as asked."""


class Settings(NamedTuple):
    """How long and how fast to learn."""

    num_images: int
    batch_size: int
    learning_rate: float
    weight_decay: float = 0.02
    warmup: float = 0.04
    """Share of the steps in which the learning rate rises; then it falls to 0 as a cosine."""
    average: float = 0.998
    """How much of the running mean of the weights is kept at each step."""
    seed: int = 0

    @property
    def num_steps(self) -> int:
        return max(self.num_images // self.batch_size, 1)


class Part(Protocol):
    """A network to pretrain."""

    @property
    def trained(self) -> nn.Module:
        """All that learns: the network and whatever heads only pretraining needs."""

    def losses(self, batch_size: int, generator: torch.Generator) -> Losses:
        """Return named terms on fresh pictures; their sum is made small."""

    def score(self) -> dict[str, float]:
        """Return how good the network is on pictures it was not trained on."""

    def save(self, folder: Path) -> None:
        """Write the network for its users."""


class _State(NamedTuple):
    """What a checkpoint holds."""

    optimizer: torch.optim.Optimizer
    mean: AveragedModel
    facts: dict[str, Any]
    """step, cpu_seconds, and the curve: mean losses of each stretch of steps."""


def pretrain(part: Part, settings: Settings, folder: Path, on_progress: OnProgress) -> dict[str, Any]:
    """Train a part, or continue where it was; writes it and its history to the folder, and returns the history.

    Raises PretrainingError where the folder holds a run with other settings, or the loss is no longer a number.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state = _resume(part, settings, folder)
    begun, saved = time.process_time() - state.facts["cpu_seconds"], time.monotonic()
    stretch: list[dict[str, float]] = []
    every = max(settings.num_steps // NUM_POINTS, 1)
    while state.facts["step"] < settings.num_steps:
        stretch.append(_step(part, settings, state))
        state.facts["step"] += 1
        step = state.facts["step"]
        on_progress("steps", step, settings.num_steps)
        if step % every == 0:
            state.facts["curve"].append({"images": step * settings.batch_size} | _rounded_mean(stretch))
            stretch.clear()
        if time.monotonic() - saved > CHECKPOINT_SECONDS:
            state.facts["cpu_seconds"] = time.process_time() - begun
            _save(part, state, folder)
            saved = time.monotonic()
    state.facts["cpu_seconds"] = time.process_time() - begun
    _save(part, state, folder)
    return _finish(part, settings, state, folder)


def step_generator(seed: int, step: int) -> torch.Generator:
    """Return the source of all randomness of one step."""
    return torch.Generator().manual_seed((seed + 1) * 100_000_007 + step)


def _step(part: Part, settings: Settings, state: _State) -> dict[str, float]:
    step, num_warmup = state.facts["step"], max(round(settings.warmup * settings.num_steps), 1)
    factor = warmup_cosine(step, num_steps=settings.num_steps, num_warmup=num_warmup)
    for group in state.optimizer.param_groups:
        group["lr"] = settings.learning_rate * factor
    losses = part.losses(settings.batch_size, step_generator(settings.seed, step))
    state.optimizer.zero_grad()
    torch.autograd.backward(torch.stack(list(losses.values())).sum())
    nn.utils.clip_grad_norm_(part.trained.parameters(), 1.0)
    state.optimizer.step()
    state.mean.update_parameters(part.trained)
    told = {name: float(loss.detach()) for name, loss in losses.items()}
    if not all(map(math.isfinite, told.values())):
        raise PretrainingError(
            f"the loss is no longer a number at step {step}: {told}. Start again in a new folder with a smaller "
            "learning rate"
        )
    return told


def _rounded_mean(stretch: list[dict[str, float]]) -> dict[str, float]:
    return {name: round(sum(losses[name] for losses in stretch) / len(stretch), 5) for name in stretch[0]}


def _optimizer(trained: nn.Module, settings: Settings) -> torch.optim.Optimizer:
    decayed = [parameter for parameter in trained.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in trained.parameters() if parameter.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(0.9, 0.98))


def _running_mean(trained: nn.Module, settings: Settings, step: int) -> AveragedModel:
    """The mean follows fast at first, or it would remember the random weights for long; these count as the first."""
    mean = RunningMean(trained, lambda updates: min(settings.average, updates / (9 + updates)))
    mean.n_averaged.fill_(step + 1)
    return mean


def _resume(part: Part, settings: Settings, folder: Path) -> _State:
    optimizer = _optimizer(part.trained, settings)
    asked = list(settings)
    saved = checkpoint.load(folder)
    if saved is None:
        facts: dict[str, Any] = {"step": 0, "cpu_seconds": 0.0, "curve": [], "settings": asked}
        return _State(optimizer, _running_mean(part.trained, settings, 0), facts)
    groups, facts = saved
    if facts["settings"] != asked:
        raise PretrainingError(
            f"{folder} holds a run with other settings, {facts['settings']} instead of {asked}: continue it with the "
            "same number of images, or name another folder"
        )
    part.trained.load_state_dict(groups["trained"])
    checkpoint.restore_optimizer(optimizer, groups["optimizer"])
    mean = _running_mean(part.trained, settings, facts["step"])
    mean.module.load_state_dict(groups["mean"], strict=False)  # parameters alone: other tensors do not move
    return _State(optimizer, mean, facts)


def _save(part: Part, state: _State, folder: Path) -> None:
    groups: Mapping[str, Mapping[str, Tensor]] = {
        "trained": part.trained.state_dict(),
        "mean": dict(state.mean.module.named_parameters()),
        "optimizer": checkpoint.optimizer_tensors(state.optimizer),
    }
    checkpoint.save(folder, groups, state.facts)


def _finish(part: Part, settings: Settings, state: _State, folder: Path) -> dict[str, Any]:
    part.trained.load_state_dict(state.mean.module.state_dict())
    part.trained.eval()
    scores = part.score()
    part.save(folder)
    open_as_others_are(folder)
    history = {
        "settings": settings._asdict(),
        "images": settings.num_steps * settings.batch_size,
        "cpu_seconds": round(state.facts["cpu_seconds"], 1),
        "parameters": sum(parameter.numel() for parameter in part.trained.parameters()),
        "scores": scores,
        "curve": state.facts["curve"],
    }
    sync_tree(folder)
    write_json(folder / HISTORY, history)
    return history
