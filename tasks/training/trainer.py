"""The one optimisation loop: finetune and distill differ in the batch they make and the loss they compute, and in
nothing else.

Everything a step depends on is a function of (seed, step) or in the checkpoint, so a killed run continues to the same
weights, bit for bit on a CPU: data order from `functional.order`, learning rate from `functional.schedules`, and the
random numbers of stochastic depth from a generator seeded anew at each step.
"""

import itertools
import logging
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from configs.errors import UserError
from configs.stages import TrainingSettings
from storage.tables import HISTORY, write_table
from storage.weights import write_tensors
from tasks.data.batches import prefetch
from tasks.functional.schedules import warmup_cosine
from tasks.functional.views import Pixels
from tasks.models.preprocessing import normalise
from tasks.models.task_model import TaskModel, as_arrays, autocast
from tasks.problems.problem import Score
from tasks.stage import OnProgress
from tasks.training import checkpoint

log = logging.getLogger(__name__)

RARER = 20
"""Checkpoints that take long are written less often, at most so many times, to take a twentieth of the time."""
BATCHNORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


class TrainingDivergedError(UserError, RuntimeError):
    """The loss stopped being a number; the message names the images of that batch."""


class Batch(NamedTuple):
    """What one step trains on: real images first, then synthetic ones, which have no targets."""

    ids: list[str]
    pixels_NSS3: Pixels
    targets: npt.NDArray[Any]
    """One for each real image."""
    teacher: npt.NDArray[np.float16] | None = None
    """The teacher's outputs for all images, where there is a teacher."""


class Part(NamedTuple):
    """A batch, or a part of one when gradients are accumulated, on the device."""

    images_NCHW: Tensor
    targets: Tensor
    teacher: Tensor | None


class Terms(NamedTuple):
    """The loss and what it is made of, as scalars."""

    loss: Tensor
    task: Tensor
    distill: Tensor | None = None


@dataclass(frozen=True)
class Work:
    """What one training run does: the batches, the loss, and the score on validation."""

    num_images: int
    """Labelled training images: an epoch."""
    jobs: Callable[[int], Iterator[Callable[[], Batch]]]
    """From a first step on, what makes each step's batch; called by several threads."""
    terms: Callable[[nn.Module, Part, int], Terms]
    """Model, part, step -> loss."""
    score: Callable[[nn.Module], Score]
    """The score on validation, higher is better."""
    score_name: str


@dataclass
class State:
    """What changes during training, apart from the tensors."""

    step: int = 0
    best_score: float = -math.inf
    best_error: float = 0.0
    """The standard error of the best score."""
    best_step: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    sums: dict[str, float] = field(default_factory=dict)
    """Sums of the losses since the last row of history, and their number."""


class Trainer:
    """A model in training; `fit` runs it to the end, from wherever an earlier attempt in the same draft stopped."""

    def __init__(
        self, model: TaskModel, settings: TrainingSettings, work: Work, *, seed: int, device: torch.device
    ) -> None:
        self.model, self._settings, self._work, self._seed, self._device = model, settings, work, seed, device
        self._optimizer = torch.optim.AdamW(_parameter_groups(model, settings))
        self._peaks = [group["lr"] for group in self._optimizer.param_groups]
        averaging = get_ema_multi_avg_fn(settings.ema)  # type: ignore[no-untyped-call]
        self._ema = AveragedModel(model, multi_avg_fn=averaging, use_buffers=True) if settings.ema else None
        self._best: dict[str, Tensor] = {}
        self.state = State()
        self.num_steps = math.ceil(settings.epochs * work.num_images / settings.batch_size)

    def fit(self, draft: Path, *, workers: int, checkpoint_seconds: float, on_progress: OnProgress) -> None:
        """Score the model it starts from and train to the last step, writing checkpoints into the draft; raises
        TrainingDivergedError.
        """
        self._restore(draft)
        saved, pause = time.monotonic(), checkpoint_seconds
        jobs = itertools.islice(self._work.jobs(self.state.step), self.num_steps - self.state.step)
        with torch.random.fork_rng(devices=[self._device] if self._device.type == "cuda" else []):
            if self.state.step == 0:  # a checkpoint is of a later step, and holds this score
                self._validate()
            for batch in prefetch(lambda make: make(), jobs, workers=workers):
                self._step(batch)
                if self._is_validated(self.state.step):
                    self._validate()
                on_progress("steps", self.state.step, self.num_steps)
                is_last = self.state.step == self.num_steps  # pictures and digests, still to come, may be killed too
                if (began := time.monotonic()) - saved >= pause or is_last:
                    self._save(draft)
                    saved = time.monotonic()
                    pause = checkpoint_seconds * min(max(1.0, (saved - began) * RARER / checkpoint_seconds), RARER)

    @property
    def kept_step(self) -> int:
        """The step after which the weights were as they are kept; 0: as they were at the start."""
        return self.state.best_step if self._settings.keep == "best" else self.num_steps

    def write(self, draft: Path) -> str:
        """Write best and last weights and the learning curve; returns the name of the weights to keep."""
        write_tensors(draft / "last.safetensors", as_arrays(self._evaluated().state_dict()))
        write_tensors(draft / "best.safetensors", as_arrays(self._best))
        write_table(draft / "history.parquet", HISTORY, self.state.history)
        return f"{self._settings.keep}.safetensors"

    def _step(self, batch: Batch) -> None:
        settings, step = self._settings, self.state.step
        torch.manual_seed(int(np.random.SeedSequence([self._seed, step]).generate_state(1, np.uint64)[0]))
        self.model.train()
        if settings.batchnorm == "frozen":
            freeze_batchnorm(self.model)
        factor = warmup_cosine(step, num_steps=self.num_steps, num_warmup=round(settings.warmup * self.num_steps))
        for group, peak in zip(self._optimizer.param_groups, self._peaks, strict=True):
            group["lr"] = peak * factor
        self._optimizer.zero_grad()
        for part in self._parts(batch):
            with autocast(self._device, settings.precision):
                terms = self._work.terms(self.model, part, step)
            if not torch.isfinite(terms.loss):
                raise TrainingDivergedError(
                    f"the loss is {terms.loss.item()} at step {step} of {self.num_steps}. Lower "
                    f"training.learning_rate, or look at the images of this batch: {', '.join(batch.ids)}"
                )
            (terms.loss / settings.accumulate).backward()  # type: ignore[no-untyped-call]
            self._note(terms)
        if settings.clip_norm:
            nn.utils.clip_grad_norm_(self.model.parameters(), settings.clip_norm)
        self._optimizer.step()
        if self._ema:
            self._ema.update_parameters(self.model)
        self.state.step += 1

    def _parts(self, batch: Batch) -> Iterator[Part]:
        """Cut a batch into `accumulate` parts, each with its share of real and of synthetic images."""
        num_parts, num_real = self._settings.accumulate, len(batch.targets)
        for part in range(num_parts):
            real = np.arange(part * num_real // num_parts, (part + 1) * num_real // num_parts)
            synthetic = num_real + np.arange(len(batch.ids) - num_real)[part::num_parts]
            chosen = np.concatenate([real, synthetic])
            yield Part(
                normalise(batch.pixels_NSS3[chosen], self.model.preprocessing, self._device),
                torch.from_numpy(batch.targets[real]).to(self._device),
                None if batch.teacher is None else torch.from_numpy(batch.teacher[chosen]).to(self._device),
            )

    def _note(self, terms: Terms) -> None:
        sums = self.state.sums
        sums["count"] = sums.get("count", 0) + 1
        for name, value in (("loss", terms.loss), ("task_loss", terms.task), ("distill_loss", terms.distill)):
            if value is not None:
                sums[name] = sums.get(name, 0.0) + float(value.detach())

    def _is_validated(self, step: int) -> bool:
        """Whether the step is the last, or ends one of the stretches of `validate_every` epochs."""
        batch, stretch = self._settings.batch_size, self._work.num_images * self._settings.validate_every
        return step == self.num_steps or step * batch // stretch > (step - 1) * batch // stretch

    def _evaluated(self) -> nn.Module:
        """The weights that are validated and kept: the averaged ones, where there are any."""
        return self._ema.module if self._ema else self.model

    def _validate(self) -> None:
        state, sums = self.state, self.state.sums
        score, error = self._work.score(self._evaluated().eval())
        state.history.append(
            {
                "step": state.step,
                "epoch": state.step * self._settings.batch_size / self._work.num_images,
                "learning_rate": max(group["lr"] for group in self._optimizer.param_groups) if state.step else None,
                "val_score": score,
                **{name: total / sums["count"] for name, total in sums.items() if name != "count"},
            }
        )
        state.sums = {}
        log.info(
            "step %d of %d: %s %.4f (SE %.4f) on validation",
            state.step, self.num_steps, self._work.score_name, score, error,
        )  # fmt: skip
        if score > state.best_score:
            state.best_score, state.best_error, state.best_step = score, error, state.step
            self._best = {name: tensor.detach().clone() for name, tensor in self._evaluated().state_dict().items()}

    def _save(self, draft: Path) -> None:
        groups = {
            "model": self.model.state_dict(),
            "optimizer": checkpoint.optimizer_tensors(self._optimizer),
            "best": self._best,
            "ema": self._ema.state_dict() if self._ema else {},
        }
        facts = vars(self.state) | {"best_score": self.state.best_score if self._best else None}
        checkpoint.save(draft, groups, facts)

    def _restore(self, draft: Path) -> None:
        if (found := checkpoint.load(draft)) is None:
            return
        groups, facts = found
        self.model.load_state_dict(groups["model"])
        checkpoint.restore_optimizer(self._optimizer, groups["optimizer"])
        if self._ema:
            self._ema.load_state_dict(groups["ema"])
        self._best = {name: tensor.to(self._device) for name, tensor in groups.get("best", {}).items()}
        self.state = State(**(facts | ({} if self._best else {"best_score": -math.inf})))
        log.info("continuing at step %d of %d", self.state.step, self.num_steps)


def freeze_batchnorm(model: nn.Module) -> None:
    """Let BatchNorm layers normalise with their pretrained statistics; their scale and shift still learn."""
    for module in model.modules():
        if isinstance(module, BATCHNORMS):
            module.eval()


def _parameter_groups(model: TaskModel, settings: TrainingSettings) -> list[dict[str, Any]]:
    rate, decay = settings.learning_rate, settings.weight_decay
    head = [parameter for parameter in model.head.parameters() if parameter.requires_grad]
    return [
        *model.encoder.parameter_groups(rate, decay, settings.layer_decay),
        {"params": [parameter for parameter in head if parameter.ndim > 1], "lr": rate, "weight_decay": decay},
        {"params": [parameter for parameter in head if parameter.ndim <= 1], "lr": rate, "weight_decay": 0.0},
    ]
