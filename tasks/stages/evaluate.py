"""Stages "evaluate" and "evaluate-teacher": scores, per-image predictions and pictures, for a model or for cached
logits: a teacher's, or those of a probe that a student starts from.

Shape letters: N images of a batch, H W pixels.

Reads `images` (image-set), `model`, or `logits` in its place, and where given the clean view of `teacher` (logits);
writes SPLIT-predictions.parquet, SPLIT-*.png and SPLIT-*.txt for each split asked for.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from configs.data import ViewSettings
from configs.stages import EvaluateConfig
from storage.errors import CacheMismatchError
from storage.image_set import ImageSet
from storage.summaries import EvaluationSummary, NetworkSummary
from storage.tables import write_columns
from storage.view_attributes import LogitsAttributes
from storage.view_outputs import ViewOutputs
from tasks.data.batches import DecodedImages, ViewSource
from tasks.data.view_cache import ViewCache
from tasks.functional.views import CLEAN_VIEW
from tasks.inference.predictor import Predicted, cached, predict
from tasks.inference.speed import measured_speed
from tasks.models.device import device_of, on_device
from tasks.models.task_model import load_model
from tasks.problems.labelled import LabelledCache, LabelledViews
from tasks.problems.problem import Meter, Problem, problem_named
from tasks.stage import StageContext


class Scores(NamedTuple):
    """Each metric of one split, and its standard error where it has one."""

    values: dict[str, float]
    standard_errors: dict[str, float]


def run(config: EvaluateConfig, context: StageContext) -> EvaluationSummary:
    """Score a finished model on the clean view, and measure its speed.

    Raises CacheMismatchError where model, images and teacher are of different classes, ModelError where the model
    cannot be built or there is no device of the kind asked for.
    """
    images = ImageSet.open(context.inputs["images"])
    problem = problem_named(config.problem)
    classes = problem.classes(images)
    model, description = load_model(context.inputs["model"])
    if description.classes != classes:
        raise CacheMismatchError(f"the model knows the classes {description.classes}, the images have {classes}")
    device = device_of(context.runtime)
    on_device(model, device)
    teacher = _teacher(context, images, classes)
    decoded = DecodedImages(images, cache_mb=0, decode_mb=context.runtime.decode_memory_mb)
    labelled = LabelledViews(problem, ViewSource(decoded, ViewSettings(), model.preprocessing))
    scores: dict[str, Scores] = {}
    for split in config.splits:
        batches = predict(model, labelled, images.rows_of(split), context.runtime, device)
        scores[split] = _write(context, split, batches, images, problem.meter(classes), teacher)
        context.on_progress("splits", len(scores), len(config.splits))
    # Any images would do; the last split's are at hand, and every model is timed on the same.
    rows = images.rows_of(config.splits[-1]).tolist()
    network = NetworkSummary(
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        speed=measured_speed(model, labelled.source, rows, context.runtime, device),
    )
    return EvaluationSummary.joined(network, _summary(problem, images, scores))


def run_on_logits(config: EvaluateConfig, context: StageContext) -> EvaluationSummary:
    """Score a model by its cached logits of the clean view: it need not run again.

    Raises CacheMismatchError where the logits are of other images, classes, or another problem.
    """
    images = ImageSet.open(context.inputs["images"])
    problem = problem_named(config.problem)
    classes = problem.classes(images)
    logits = ViewOutputs(context.inputs["logits"])
    logits.require(images=images.fingerprint, classes=classes, problem=config.problem)
    teacher = _teacher(context, images, classes)
    scores: dict[str, Scores] = {}
    for split in config.splits:
        rows = images.rows_of(split)
        cache = LabelledCache(problem, images, rows, logits, size=LogitsAttributes.of(logits).size, budget_mb=0)
        batches = cached(cache, len(rows), batch_size=context.runtime.inference_batch_size)
        scores[split] = _write(context, split, batches, images, problem.meter(classes), teacher)
    return _summary(problem, images, scores)


def _teacher(context: StageContext, images: ImageSet, classes: Sequence[str]) -> ViewOutputs | None:
    if "teacher" not in context.inputs:
        return None
    teacher = ViewOutputs(context.inputs["teacher"])
    teacher.require(images=images.fingerprint, classes=list(classes))
    return teacher


def _write(
    context: StageContext,
    split: str,
    batches: Iterable[Predicted],
    images: ImageSet,
    meter: Meter,
    teacher: ViewOutputs | None,
) -> Scores:
    """Write one split's predictions and, after them, its pictures; returns its scores."""
    rows = images.rows_of(split)
    ids = [images.ids[row] for row in rows]
    teacher_cache = ViewCache(teacher, ids, budget_mb=0) if teacher else None
    for batch in batches:
        by_teacher = _clean_outputs(teacher_cache, batch.items) if teacher_cache else None
        meter.update(batch.outputs, batch.targets, teacher=by_teacher, pixels=batch.pixels_NHW3)
    # Predictions first: pictures are worth no run, and one that cannot be drawn must not cost the table.
    columns = {"id": ids, "label": images.labels[rows], **meter.columns()}
    write_columns(context.draft / f"{split}-predictions.parquet", columns)
    meter.draw(context.draft, split)
    return Scores(meter.compute(), meter.standard_errors())


def _clean_outputs(cache: ViewCache, items: npt.NDArray[np.int64]) -> Tensor:
    return torch.from_numpy(cache.take(items, np.full_like(items, CLEAN_VIEW)).outputs).float()


def _summary(problem: Problem, images: ImageSet, scores: Mapping[str, Scores]) -> EvaluationSummary:
    return EvaluationSummary(
        score_name=problem.metrics[0].name,
        num_images={split: len(images.rows_of(split)) for split in scores},
        scores={split: _rounded(found.values) for split, found in scores.items()},
        standard_errors={split: _rounded(found.standard_errors) for split, found in scores.items()},
    )


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 6) for name, value in values.items()}
