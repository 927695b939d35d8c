"""What finetune and distill do alike: start from a probed encoder, validate, and write the model down.

Shape letters: N images.
"""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

from torch import nn

from taskdistill.configs.training import TrainingSettings
from taskdistill.storage.summaries import ModelSummary
from taskdistill.storage.weights import ModelDescription
from taskdistill.tasks.data.batches import ViewSource
from taskdistill.tasks.deploy.deployable import Deployable
from taskdistill.tasks.functional.lengths import num_steps
from taskdistill.tasks.inference.predictor import Numbers, predict
from taskdistill.tasks.models.device import device_of
from taskdistill.tasks.models.task_model import TaskModel
from taskdistill.tasks.problems.labelled import WholeImages
from taskdistill.tasks.problems.pictures import draw_history
from taskdistill.tasks.problems.problem import Meter, Problem, Score, score_of
from taskdistill.tasks.stage import StageContext
from taskdistill.tasks.training.event_files import event_files, to_nobody
from taskdistill.tasks.training.lesson import Lesson
from taskdistill.tasks.training.ranks import Ranks
from taskdistill.tasks.training.trainer import Trainer


def judge_on(
    problem: Problem, source: ViewSource, rows: Numbers, context: StageContext, precision: str
) -> Callable[[nn.Module], Meter]:
    """Return a function model -> meter that has seen the clean view of each of these rows, in their order.

    Raises ModelError where there is no device of the kind asked for.
    """
    images, classes = WholeImages(problem, source.images, rows), problem.classes(source.images)
    device = device_of(context.runtime)

    def judged(model: nn.Module) -> Meter:
        # A new meter each time: one that went on would average over all validations so far.
        meter = problem.meter(classes)
        shown = Deployable(model, problem, list(classes), source.preprocessing, device)
        for image in predict(shown, images, source, context.runtime, precision=precision):
            meter.update(image.outputs, image.truth)
        return meter

    return judged


def validation_score(
    problem: Problem, source: ViewSource, context: StageContext, precision: str
) -> Callable[[nn.Module], Score]:
    """Return a function model -> score on the clean view of the validation images; raises as `judge_on` does."""
    judged = judge_on(problem, source, source.images.rows_of("val"), context, precision)
    return lambda model: score_of(problem, judged(model))


def fitted(
    model: TaskModel, training: TrainingSettings, lesson: Lesson[Any], seed: int, context: StageContext
) -> Trainer:
    """Run the training to the end, alone or as one of several ranks; raises TrainingDivergedError, and
    MissingPackageError where event files are asked for without TensorBoard.
    """
    device, length = next(model.parameters()).device, num_steps(training, lesson.num_images)
    with event_files(context) if Ranks.joined().is_first else nullcontext(to_nobody) as on_values:
        trainer = Trainer(model, training, lesson, seed=seed, device=device, num_steps=length, on_values=on_values)
        if (mode := context.runtime.training_compile) != "none":
            model.compile(mode=mode)  # in place, so that weights keep their names
        trainer.fit(
            context.draft,
            workers=context.runtime.workers,
            checkpoint_seconds=context.runtime.checkpoint_seconds,
            on_progress=context.on_progress,
        )
    return trainer


def written(trainer: Trainer, problem: str, context: StageContext) -> ModelSummary:
    """Write weights, description and learning curve of a finished training; returns the summary."""
    weights = trainer.write(context.draft)
    probe = ModelDescription.read(context.inputs["probe"])
    probe.model_copy(update={"weights": weights, "problem": problem}).write(context.draft)
    draw_history(context.draft / "history.png", trainer.state.history, trainer.lesson.score_name)
    return ModelSummary(
        steps=trainer.num_steps,
        best_step=trainer.state.best_step,
        kept_step=trainer.kept_step,
        score_name=trainer.lesson.score_name,
        best_val_score=trainer.state.best_score,
        best_val_score_standard_error=trainer.state.best_error,
        parameters=sum(parameter.numel() for parameter in trainer.model.parameters()),
        images=trainer.lesson.num_images,
        learning_rate=trainer.settings.learning_rate,
    )
