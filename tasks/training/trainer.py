"""The one optimisation loop: finetune and distill differ in their lesson (`tasks.training.lesson`) alone.

Everything a step depends on is a function of (seed, step) or in the checkpoint, so a killed run continues to the same
weights, bit for bit on a CPU: data order from `functional.order`, learning rate from `functional.schedules`, and the
random numbers of stochastic depth from a generator seeded anew at each step.

Several ranks (`tasks.training.ranks`) train one network together: each computes the gradient of its share of the batch,
and all take the same step by their sum. The first one also validates and writes.

Shape letters: N images of a batch, H W pixels; 4 numbers are the area in which a view shows its image.
"""

import logging
import math
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from taskdistill.configs.training import TrainingSettings
from taskdistill.storage.tables import HISTORY, write_table
from taskdistill.storage.weights import write_tensors
from taskdistill.tasks.data.threads import prefetch
from taskdistill.tasks.functional.lengths import is_validated
from taskdistill.tasks.functional.mixup import WeightedTargets
from taskdistill.tasks.functional.schedules import warmup_cosine
from taskdistill.tasks.functional.sums import Sum, weighted_sum
from taskdistill.tasks.models.device import autocast, seed_generators
from taskdistill.tasks.models.preprocessing import normalise
from taskdistill.tasks.models.task_model import TaskModel, as_arrays
from taskdistill.tasks.models.transfer import to_device
from taskdistill.tasks.stage import OnProgress
from taskdistill.tasks.training import checkpoint
from taskdistill.tasks.training.averaging import RunningMean
from taskdistill.tasks.training.event_files import OnValues, to_nobody
from taskdistill.tasks.training.lesson import Batch, Lesson, MicroBatch, micro_batches
from taskdistill.tasks.training.loss_notes import LossNotes, add
from taskdistill.tasks.training.parameters import Trained, freeze_batchnorm, parameter_groups
from taskdistill.tasks.training.ranks import Ranks
from taskdistill.tasks.training.state import State

log = logging.getLogger(__name__)

RARER = 20
"""Checkpoints that take long are written less often, at most so many times, to take a twentieth of the time."""


class Trainer:
    """A model in training; `fit` runs it to the end, from wherever an earlier attempt in the same draft stopped.

    It ends after `num_steps`, and the learning rate has fallen to 0 there: of a whole training they are
    `tasks.functional.lengths.num_steps`.
    """

    def __init__(
        self,
        model: TaskModel,
        settings: TrainingSettings,
        lesson: Lesson[Any],
        *,
        seed: int,
        device: torch.device,
        num_steps: int,
        on_values: OnValues = to_nobody,
    ) -> None:
        """`on_values` is told losses, learning rates and scores on validation by step."""
        self.model, self.settings, self.lesson, self._seed, self._device = model, settings, lesson, seed, device
        self._on_values = on_values
        self._ranks = Ranks.joined()
        # At least one step is left in which all learns.
        self._num_head_steps = min(round(settings.head_first * num_steps), num_steps - 1)
        # Fused: of a small student's 158 tensors a step takes a third of the time that the default takes on a CPU.
        self._optimizer = torch.optim.AdamW(parameter_groups(model, settings, self._num_head_steps), fused=True)
        self._peaks = [group["lr"] for group in self._optimizer.param_groups]
        # Found once: to go through a network for them, or for its layers (`_wake`), takes as long as some layers do.
        self._parameters = list(model.parameters())
        self._is_awake = False
        self._of_encoder = [parameter for parameter in model.encoder.parameters() if parameter.requires_grad]
        self._trained = Trained(model, settings, self._num_head_steps)
        self._ema = RunningMean(model, lambda _: settings.ema) if settings.ema else None
        self._best: dict[str, Tensor] = {}
        self._losses = LossNotes()
        self.state = State()
        self.num_steps = num_steps

    def fit(self, draft: Path, *, workers: int, checkpoint_seconds: float, on_progress: OnProgress) -> None:
        """Score the model it starts from and train to the last step, writing checkpoints into the draft; raises
        TrainingDivergedError.
        """
        self._restore(draft)
        self._ranks.check_start(self.state.step, self._device)
        is_first = self._ranks.is_first
        saved, pause = time.monotonic(), checkpoint_seconds
        # `prefetch` takes from `draws` here, in the training thread and in the order of steps, as a lesson may keep
        # state; its threads only load. None is drawn beyond the last step.
        draws = map(self.lesson.draw, range(self.state.step, self.num_steps))
        load = partial(self.lesson.load, share=self._ranks.share)
        # Steps seed the global generator: whoever called gets it back as it was.
        with torch.random.fork_rng(devices=[self._device] if self._device.type == "cuda" else []):
            if is_first and self.state.step == 0:  # a checkpoint is of a later step, and holds this score
                self._validate()
            for batch in prefetch(load, draws, workers=workers):
                self._step(batch)
                is_validated, is_last = self._is_validated(self.state.step), self.state.step == self.num_steps
                is_saved = is_first and (time.monotonic() - saved >= pause or is_last)
                # Before validation and before any checkpoint, so that neither ever meets weights that are not finite.
                if is_validated or is_saved or self._losses.is_full:
                    self._read_losses()
                # Validated before it is saved: a checkpoint of this step holds its score, and is not scored again.
                if is_first and is_validated:
                    self._validate()
                on_progress("steps", self.state.step, self.num_steps)
                if is_saved:  # after the last step too: pictures and digests, still to come, may be killed
                    began = time.monotonic()
                    self._save(draft)
                    saved = time.monotonic()
                    # A large model on a slow disk: the pause grows until saving takes 1 / RARER of the time.
                    pause = checkpoint_seconds * min(max(1.0, (saved - began) * RARER / checkpoint_seconds), RARER)

    @property
    def kept_step(self) -> int:
        """The step after which the weights were as they are kept; 0: as they were at the start."""
        return self.state.best_step if self.state.kept(self.settings.keep) == "best" else self.num_steps

    def write(self, draft: Path) -> str:
        """Write best and last weights and the learning curve; returns the name of the weights to keep."""
        write_tensors(draft / "last.safetensors", as_arrays(self._evaluated().state_dict()))
        write_tensors(draft / "best.safetensors", as_arrays(self._best))
        write_table(draft / "history.parquet", HISTORY, self.state.history)
        return f"{self.state.kept(self.settings.keep)}.safetensors"

    def backward(self, batch: Batch) -> list[dict[str, Tensor]]:
        """Add the gradient of a batch to the parameters', computed in `accumulate` parts; returns the loss and its
        terms of each part, scalars on the device that add up to those of the batch.

        Parts may count differently: ignored targets, synthetic images that do not divide. So each is divided by what
        the whole batch counts, never by its own count, and their gradients add up to that of the whole batch. Only
        what looks at several images at once, BatchNorm in training, and random depth see the parts. The share of a
        rank is one more cut: of several ranks gradients and losses are the sums over all.
        """
        settings, lesson, step = self.settings, self.lesson, self.state.step
        # Mixed before it is cut: whom an image is mixed with does not depend on the number of parts.
        whole = lesson.mixed(self._on_device(batch), step)
        counts = self._ranks.total(lesson.counts(whole), self._device)
        noted: list[dict[str, Tensor]] = []
        for part in micro_batches(whole, settings.accumulate):
            with autocast(self._device, settings.precision):
                losses = lesson.losses(self.model, part, step)
            # This part's total over the count of the whole batch: the sum over parts is the mean over the batch.
            terms = {name: Sum(loss.total, counts[name]).mean() for name, loss in losses.items()}
            loss = weighted_sum(terms, lesson.weights)
            # At once, not after the last part: the activations of one part at a time are all that is held.
            loss.backward()  # type: ignore[no-untyped-call]
            noted.append({"loss": loss.detach()} | {f"{name}_loss": term.detach() for name, term in terms.items()})
        gradients = [parameter.grad for parameter in self._parameters if parameter.grad is not None]
        self._ranks.add_up([*gradients, *(term for part in noted for term in part.values())])
        return noted

    def _step(self, batch: Batch) -> None:
        settings, step = self.settings, self.state.step
        # Stochastic depth draws from the global generator: seeded by the step, a continued run draws the same.
        seeds = np.random.SeedSequence(self._ranks.seeds(self._seed, step))
        seed_generators(int(seeds.generate_state(1, np.uint64)[0]), self._device)
        if not self._is_awake or step == self._num_head_steps:
            self._wake()
        # A factor of each group's own peak: with layer_decay every depth has another learning rate.
        for group, peak in zip(self._optimizer.param_groups, self._peaks, strict=True):
            group["lr"] = peak * self._rate_factor(group["first_step"])
        self._optimizer.zero_grad()
        self._losses.add(batch.ids, self.backward(batch))
        if settings.clip_norm:  # of the whole batch's gradient, so after its last part
            nn.utils.clip_grad_norm_(self._parameters, settings.clip_norm)
        self._optimizer.step()
        if self._ema:
            self._ema.update_parameters(self.model)
        # Counted last: until here `state.step` is the step being made, which the lesson's random numbers depend on.
        self.state.step += 1

    def _read_losses(self) -> None:
        read = self._losses.read(self.state.step, self.num_steps)
        for step, losses in enumerate(read, start=self.state.step - len(read) + 1):
            add(self.state.sums, {"count": 1, **losses})
            self._on_values(step, {f"train/{name}": value for name, value in losses.items()})
        if read:
            self._on_values(self.state.step, {"train/learning_rate": self._largest_rate()})

    def _largest_rate(self) -> float:
        return max(float(group["lr"]) for group in self._optimizer.param_groups)

    def _wake(self) -> None:
        """Put each layer in the mode in which this step trains it: to be validated, all were taken out of that."""
        self.model.train()
        if self._num_head_steps:
            self._freeze_encoder_at_first()
        if self.settings.batchnorm == "frozen":
            freeze_batchnorm(self.model)  # `train` has just woken them
        self._is_awake = True

    def _freeze_encoder_at_first(self) -> None:
        """Freeze the encoder while the head learns alone, and let it learn from the step it joins at."""
        learns = self.state.step >= self._num_head_steps
        # Frozen, it says what the head was probed on: its statistics stay, and no layer is dropped.
        self.model.encoder.train(learns)
        # Without a gradient the optimiser passes over it: no decay either, and its moments start when it joins.
        for parameter in self._of_encoder:
            parameter.requires_grad_(learns)

    def _rate_factor(self, first_step: int) -> float:
        """Return the factor on the peak learning rate of parameters that begin to learn at `first_step`: each rises
        from there, since the first steps of AdamW are as large as its rate, and all fall to 0 together.
        """
        step, num_steps = self.state.step - first_step, self.num_steps - first_step
        if step < 0:
            return 0.0
        return warmup_cosine(step, num_steps=num_steps, num_warmup=round(self.settings.warmup * num_steps))

    def _on_device(self, batch: Batch) -> MicroBatch:
        """Return a batch as the model wants it: bytes travel to the device, a quarter of what floats would be.

        The whole batch lies there even when it is computed in parts: little beside what a forward pass keeps.
        """
        return MicroBatch(
            normalise(batch.pixels_NHW3, self.model.preprocessing, self._device),
            (WeightedTargets(1.0, to_device(batch.targets, self._device)),),
            None if batch.teacher is None else to_device(batch.teacher, self._device),
            None if batch.shown_N4 is None else to_device(batch.shown_N4, self._device),
        )

    def _is_validated(self, step: int) -> bool:
        return step == self.num_steps or is_validated(step, self.settings, self.lesson.num_images)

    def _evaluated(self) -> nn.Module:
        """The weights that are validated and kept: the averaged ones, where there are any."""
        return self._ema.module if self._ema else self.model

    def _validate(self) -> None:
        state, sums, self._is_awake = self.state, self.state.sums, False
        score, error = self.lesson.score(self._evaluated().eval())
        state.history.append(
            {
                "step": state.step,
                "epoch": state.step * self.settings.batch_size / self.lesson.num_images,
                "learning_rate": self._largest_rate() if state.step else None,
                "val_score": score,
                **{name: total / sums["count"] for name, total in sums.items() if name != "count"},
            }
        )
        state.sums = {}
        self._on_values(state.step, {f"val/{self.lesson.score_name}": score})
        log.info(
            "step %d of %d: %s %.4f (SE %.4f) on validation",
            state.step, self.num_steps, self.lesson.score_name, score, error,
        )  # fmt: skip
        # Greater, not equal: of two steps with the same score the earlier is kept, in a continued run as in another.
        if score > state.best_score:
            state.best_score, state.best_error, state.best_step = score, error, state.step
            # A copy on the device: the weights themselves go on changing, and a file now would be a write each time.
            self._best = {name: tensor.detach().clone() for name, tensor in self._evaluated().state_dict().items()}

    def _save(self, draft: Path) -> None:
        # What is trained, and not what is frozen: that is in the model as it starts.
        trained, step = self._trained, self.state.step
        groups = {
            "model": trained.of(self.model.state_dict(), step),
            "optimizer": checkpoint.optimizer_tensors(self._optimizer),
            "best": trained.of(self._best, self.state.best_step),
            "ema": trained.of(self._ema.state_dict(), step, within="module.") if self._ema else {},
        }
        # JSON has no -inf: before any score is kept there is none, and `_restore` puts it back.
        facts = vars(self.state) | {"best_score": self.state.best_score if self._best else None}
        checkpoint.save(draft, groups, facts)

    def _restore(self, draft: Path) -> None:
        # Nothing else is in the checkpoint because nothing else has a state, or is trained: draws, mixing and the
        # schedule are functions of the step. Earlier versions wrote what is frozen too.
        if (found := checkpoint.load(draft)) is None:
            return
        groups, facts = found
        if facts["best_score"] is not None:
            self._best = {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}
            self._best |= {name: tensor.to(self._device) for name, tensor in groups.get("best", {}).items()}
        self.model.load_state_dict({**self.model.state_dict(), **groups["model"]})
        checkpoint.restore_optimizer(self._optimizer, groups["optimizer"])
        if self._ema:
            self._ema.load_state_dict({**self._ema.state_dict(), **groups["ema"]})
        self.state = State(**(facts | ({} if self._best else {"best_score": -math.inf})))
        log.info("continuing at step %d of %d", self.state.step, self.num_steps)
