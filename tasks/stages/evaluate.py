"""Stages "evaluate" and "evaluate-teacher": scores, per-image predictions and pictures, for a model or for cached
logits: a teacher's, or those of a probe that a student starts from.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
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
from tasks.functional.comparison import standard_error
from tasks.inference.predictor import Predicted, predict
from tasks.inference.speed import measured_speed
from tasks.models.task_model import device_of, load_model, on_device
from tasks.problems.problem import Problem, problem_named, targets_of
from tasks.stage import StageContext


class Scores(NamedTuple):
    """Each metric of one split, and its standard error where it has one."""

    values: dict[str, float]
    standard_errors: dict[str, float]


def run(config: EvaluateConfig, context: StageContext) -> EvaluationSummary:
    images = ImageSet.open(context.inputs["images"])
    problem = problem_named(config.problem)
    model, description = load_model(context.inputs["model"])
    if description.classes != images.classes:
        raise CacheMismatchError(f"the model knows the classes {description.classes}, the images have {images.classes}")
    device = device_of(context.runtime)
    on_device(model, device)
    teacher = _teacher(context, images)
    decoded = DecodedImages(images, cache_mb=0, decode_mb=context.runtime.decode_memory_mb)
    source = ViewSource(decoded, ViewSettings(), model.preprocessing)
    scores: dict[str, Scores] = {}
    for split in config.splits:
        found = predict(model, problem, source, images.rows_of(split), context.runtime, device)
        scores[split] = _write(problem, context, images, split, found, teacher)
        context.on_progress("splits", len(scores), len(config.splits))
    rows = images.rows_of(config.splits[-1]).tolist()
    network = NetworkSummary(
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        speed=measured_speed(model, source, rows, context.runtime, device),
    )
    return EvaluationSummary.joined(network, _summary(problem, images, scores))


def run_on_logits(config: EvaluateConfig, context: StageContext) -> EvaluationSummary:
    """Score a model by its cached logits of the clean view: it need not run again."""
    images = ImageSet.open(context.inputs["images"])
    problem = problem_named(config.problem)
    logits = ViewOutputs(context.inputs["logits"])
    logits.require(images=images.fingerprint, classes=images.classes, problem=config.problem)
    teacher = _teacher(context, images)
    scores: dict[str, Scores] = {}
    for split in config.splits:
        rows = images.rows_of(split)
        views_N9 = logits.view_fields(0, logits.shape[0], 0)[rows]
        targets = torch.from_numpy(targets_of(problem, images, rows, views_N9, LogitsAttributes.of(logits).side_px))
        found = Predicted(_clean_outputs(logits, images, rows), targets)
        scores[split] = _write(problem, context, images, split, found, teacher)
    return _summary(problem, images, scores)


def _teacher(context: StageContext, images: ImageSet) -> ViewOutputs | None:
    if "teacher" not in context.inputs:
        return None
    teacher = ViewOutputs(context.inputs["teacher"])
    teacher.require(images=images.fingerprint, classes=images.classes)
    return teacher


def _clean_outputs(logits: ViewOutputs, images: ImageSet, rows: np.ndarray) -> Tensor:
    cache = ViewCache(logits, [images.ids[row] for row in rows], budget_mb=0)
    seen = cache.take(np.arange(len(rows)), np.zeros(len(rows), np.int64))
    return torch.from_numpy(seen.outputs).float()


def _write(
    problem: Problem, context: StageContext, images: ImageSet, split: str, found: Predicted, teacher: ViewOutputs | None
) -> Scores:
    """Write one split's predictions and, after them, its pictures; returns its scores."""
    rows = images.rows_of(split)
    values = problem.metrics(found.outputs, found.targets)
    by_image = dict(problem.image_scores(found.outputs, found.targets))
    columns = {
        "id": [images.ids[row] for row in rows],
        "label": images.labels[rows],
        **problem.predictions(found.outputs),
        "score": by_image[problem.score_name].numpy(),
        "outputs": list(found.outputs.numpy()),
    }
    if teacher is not None:
        said = _clean_outputs(teacher, images, rows)
        by_image["teacher_agreement"] = agreement_N = problem.agreement(found.outputs, said)
        values["teacher_agreement"] = float(agreement_N.mean())
        columns |= {f"teacher_{name}": column for name, column in problem.predictions(said).items()}
    write_columns(context.draft / f"{split}-predictions.parquet", columns)
    problem.draw(context.draft, split, found.outputs, found.targets, images.classes)
    return Scores(values, {name: standard_error(values_N.numpy()) for name, values_N in by_image.items()})


def _summary(problem: Problem, images: ImageSet, scores: Mapping[str, Scores]) -> EvaluationSummary:
    return EvaluationSummary(
        score_name=problem.score_name,
        num_images={split: len(images.rows_of(split)) for split in scores},
        scores={split: _rounded(found.values) for split, found in scores.items()},
        standard_errors={split: _rounded(found.standard_errors) for split, found in scores.items()},
    )


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 6) for name, value in values.items()}
