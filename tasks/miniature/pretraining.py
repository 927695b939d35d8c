"""The one loop that pretrains every network of the miniature.

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

from configs.errors import UserError
from storage.files import open_as_others_are, sync_tree, write_json
from tasks.stage import OnProgress
from tasks.training import checkpoint

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
    mean: dict[str, Tensor]
    facts: dict[str, Any]
    """step, cpu_seconds, and the curve: mean losses of each stretch of steps."""


def pretrain(part: Part, settings: Settings, folder: Path, on_progress: OnProgress) -> dict[str, Any]:
    """Train a part, or continue where it was; writes it and its history to the folder, and returns
    the history."""
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
            state.facts["curve"].append({"images": step * settings.batch_size} | _mean(stretch))
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


def learning_rate(settings: Settings, step: int) -> float:
    """Linear warm-up, then half a cosine to 0."""
    rising = max(settings.warmup * settings.num_steps, 1)
    if step < rising:
        return settings.learning_rate * (step + 1) / rising
    done = (step - rising) / max(settings.num_steps - rising, 1)
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


def _step(part: Part, settings: Settings, state: _State) -> dict[str, float]:
    step = state.facts["step"]
    for group in state.optimizer.param_groups:
        group["lr"] = learning_rate(settings, step)
    losses = part.losses(settings.batch_size, step_generator(settings.seed, step))
    state.optimizer.zero_grad()
    torch.autograd.backward(torch.stack(list(losses.values())).sum())
    nn.utils.clip_grad_norm_(part.trained.parameters(), 1.0)
    state.optimizer.step()
    # The mean follows fast at first, or it would remember the random weights for long.
    kept = min(settings.average, (1 + step) / (10 + step))
    current = dict(part.trained.named_parameters())
    with torch.no_grad():
        for name, mean in state.mean.items():
            mean.lerp_(current[name], 1 - kept)
    told = {name: float(loss.detach()) for name, loss in losses.items()}
    if not all(map(math.isfinite, told.values())):
        raise PretrainingError(
            f"the loss is no longer a number at step {step}: {told}. Start again in a new folder with a smaller "
            "learning rate"
        )
    return told


def _mean(stretch: list[dict[str, float]]) -> dict[str, float]:
    return {name: round(sum(losses[name] for losses in stretch) / len(stretch), 5) for name in stretch[0]}


def _optimizer(trained: nn.Module, settings: Settings) -> torch.optim.Optimizer:
    decayed = [parameter for parameter in trained.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in trained.parameters() if parameter.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(0.9, 0.98))


def _resume(part: Part, settings: Settings, folder: Path) -> _State:
    optimizer = _optimizer(part.trained, settings)
    mean = {name: parameter.detach().clone() for name, parameter in part.trained.named_parameters()}
    asked = list(settings)
    saved = checkpoint.load(folder)
    if saved is None:
        return _State(optimizer, mean, {"step": 0, "cpu_seconds": 0.0, "curve": [], "settings": asked})
    groups, facts = saved
    if facts["settings"] != asked:
        raise PretrainingError(
            f"{folder} holds a run with other settings, {facts['settings']} instead of {asked}: continue it with the "
            "same number of images, or name another folder"
        )
    part.trained.load_state_dict(groups["trained"])
    checkpoint.restore_optimizer(optimizer, groups["optimizer"])
    return _State(optimizer, groups["mean"], facts)


def _save(part: Part, state: _State, folder: Path) -> None:
    groups: Mapping[str, Mapping[str, Tensor]] = {
        "trained": part.trained.state_dict(),
        "mean": state.mean,
        "optimizer": checkpoint.optimizer_tensors(state.optimizer),
    }
    checkpoint.save(folder, groups, state.facts)


def _finish(part: Part, settings: Settings, state: _State, folder: Path) -> dict[str, Any]:
    part.trained.load_state_dict(state.mean, strict=False)
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
