"""Trials of settings: short trainings of their own, each from the same start with a full schedule, judged once.
Warm-up, decay of the learning rate and averaging of weights take as large a part of a trial as of a whole training.

    trials/0-3.json    rung 0, candidate 3: the scores of its held-out images, when it is over
    trials/0-3/        its checkpoint until then

A killed search continues with the trial it was in, from its checkpoint, to the same bytes.

Shape letters: N held-out images.
"""

import copy
import logging
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import nn

from taskdistill.configs.training import TrainingSettings
from taskdistill.storage.files import make_folder, read_json_if_whole, write_json
from taskdistill.tasks.functional.successive_halving import Rung, Scores, Settings, words_of
from taskdistill.tasks.models.task_model import TaskModel
from taskdistill.tasks.problems.problem import Meter
from taskdistill.tasks.stage import StageContext
from taskdistill.tasks.training.averaging import decay_of_short
from taskdistill.tasks.training.held_out import Fold
from taskdistill.tasks.training.lesson import Lesson
from taskdistill.tasks.training.loss_notes import TrainingDivergedError
from taskdistill.tasks.training.trainer import Trainer

log = logging.getLogger(__name__)

FOLDER = "trials"


class Course(NamedTuple):
    """What one trial is trained with."""

    training: TrainingSettings
    lesson: Lesson[Any]


class Noted(NamedTuple):
    """The end of a trial."""

    scores: list[float]
    """Of each held-out image; none where it diverged."""
    diverged: str = ""

    def of_images(self, num_images: int) -> Scores:
        return np.full(num_images, np.nan) if self.diverged else np.asarray(self.scores, np.float64)


class Trials:
    """All trials of a search: those that are over, and the next ones."""

    def __init__(
        self,
        start: TaskModel,
        folds: Sequence[Fold],
        candidates: Sequence[Settings],
        course: Callable[[Fold, Settings, int], Course],
        judge: Callable[[nn.Module, Fold], Meter],
        *,
        num_steps: int,
        of_training: int,
        context: StageContext,
    ) -> None:
        self._start, self._folds, self._candidates, self._course, self._judge = start, folds, candidates, course, judge
        self._num_steps, self._of_training, self._context = num_steps, of_training, context
        self._done = 0
        self.noted: dict[tuple[int, int], Noted] = {}
        """How each trial ended, by rung and candidate."""

    def tried(self, rung: Rung, candidate: int) -> Scores:
        """Train a candidate; returns the scores of the rung's held-out images."""
        folder = self._context.draft / FOLDER / f"{rung.number}-{candidate}"
        note, fold = folder.with_suffix(".json"), self._folds[rung.fold]
        if (found := read_json_if_whole(note)) is None:
            found = self._trained(rung, candidate, fold, folder)._asdict()
            write_json(note, found)
            tried = words_of(self._candidates[candidate])
            log.info("trial of %d steps with %s: %s", rung.steps, tried, found["diverged"] or "done")
        shutil.rmtree(folder, ignore_errors=True)  # of no more use, and as large as three networks
        self._done += rung.steps
        self._context.on_progress("steps", self._done, self._num_steps)
        noted = self.noted[rung.number, candidate] = Noted(**found)
        return noted.of_images(len(fold.held_out_N))

    def _trained(self, rung: Rung, candidate: int, fold: Fold, folder: Path) -> Noted:
        training, lesson = self._course(fold, self._candidates[candidate], rung.seed)
        model = copy.deepcopy(self._start)
        device = next(model.parameters()).device
        if fold.head is not None:
            model.head = copy.deepcopy(fold.head).to(device)
        # At its own decay the mean of a few dozen steps would be the start, whatever was tried.
        ema = decay_of_short(training.ema, num_steps=rung.steps, of_training=self._of_training)
        training = training.model_copy(update={"ema": ema})
        trainer = _UnwatchedTrainer(model, training, lesson, seed=rung.seed, device=device, num_steps=rung.steps)
        try:
            self._fit(trainer, folder)
            return Noted(self._scores(trainer, fold))
        except TrainingDivergedError as error:
            return Noted([], str(error))

    def _fit(self, trainer: Trainer, folder: Path) -> None:
        runtime, done = self._context.runtime, self._done

        def on_progress(unit: str, step: int, total: int) -> None:
            self._context.on_progress(unit, done + step, self._num_steps)

        make_folder(folder)
        seconds = runtime.checkpoint_seconds
        trainer.fit(folder, workers=runtime.workers, checkpoint_seconds=seconds, on_progress=on_progress)

    def _scores(self, trainer: "_UnwatchedTrainer", fold: Fold) -> list[float]:
        scores_N = np.asarray(self._judge(trainer.last(), fold).columns()["score"], np.float64)
        if not np.isfinite(scores_N).all():
            raise TrainingDivergedError(
                f"after {trainer.num_steps} steps the scores are not numbers: lower training.learning_rate"
            )
        return [float(score) for score in scores_N]


class _UnwatchedTrainer(Trainer):
    """A training that is judged when it is over, by its last weights: to validate on the way would cost too much."""

    def _validate(self) -> None:
        self.state.sums = {}

    def _save(self, draft: Path) -> None:
        # Of a training that is over its scores alone are wanted, in a moment: dozens of checkpoints are not written.
        if self.state.step < self.num_steps:
            super()._save(draft)

    def last(self) -> nn.Module:
        """Return the network as it is now; the averaged one, where weights are averaged."""
        return self._evaluated().eval()
