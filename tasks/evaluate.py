"""Stages "evaluate" and "evaluate-teacher": scores, per-image predictions and pictures, for a model or for cached
logits.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from configs.data import ViewSettings
from configs.stages import EvaluateConfig
from storage.errors import CacheMismatchError
from storage.image_set import ImageSet
from storage.tables import write_columns
from storage.teacher_outputs import TeacherOutputs
from tasks.data.batches import DecodedImages, ViewSource
from tasks.data.view_cache import ViewCache
from tasks.models.task_model import device_of, load_model, on_device
from tasks.predict import predict
from tasks.problems.problem import Problem, problem_named, targets_of
from tasks.stage import Job, Summary


def run(config: EvaluateConfig, job: Job) -> Summary:
    images = ImageSet.open(job.inputs["images"])
    problem = problem_named(config.problem)
    model, description = load_model(job.inputs["model"])
    if description.classes != images.classes:
        raise CacheMismatchError(f"the model knows the classes {description.classes}, the images have {images.classes}")
    device = device_of(job.runtime)
    on_device(model, device)
    teacher = TeacherOutputs(job.inputs["teacher"]) if "teacher" in job.inputs else None
    if teacher:
        teacher.require(images=images.fingerprint, classes=images.classes)
    decoded = DecodedImages(images, cache_mb=0, decode_mb=job.runtime.decode_memory_mb)
    source = ViewSource(decoded, ViewSettings(), model.preprocessing)
    summary: Summary = {"parameters": sum(parameter.numel() for parameter in model.parameters()), "scores": {}}
    for split in config.splits:
        rows = images.rows_of(split)
        found = predict(model, problem, source, rows, job.runtime, device)
        taught = _clean_outputs(teacher, images, rows) if teacher else None
        summary["scores"][split] = _write(problem, job, images, split, found.outputs, found.targets, taught)
        summary["images_per_second"] = round(found.images_per_second, 1)
        job.report("splits", len(summary["scores"]), len(config.splits))
    return summary


def run_on_logits(config: EvaluateConfig, job: Job) -> Summary:
    """Score a teacher by its cached logits of the clean view: it need not run again."""
    images = ImageSet.open(job.inputs["images"])
    problem = problem_named(config.problem)
    logits = TeacherOutputs(job.inputs["logits"])
    logits.require(images=images.fingerprint, classes=images.classes, problem=config.problem)
    summary: Summary = {"scores": {}}
    for split in config.splits:
        rows = images.rows_of(split)
        views_N9 = logits.view_fields(0, logits.shape[0], 0)[rows]
        targets = torch.from_numpy(targets_of(problem, images, rows, views_N9, logits.attributes["side_px"]))
        summary["scores"][split] = _write(
            problem, job, images, split, _clean_outputs(logits, images, rows), targets, None
        )
    return summary


def _clean_outputs(logits: TeacherOutputs, images: ImageSet, rows: np.ndarray) -> Tensor:
    cache = ViewCache(logits, [images.ids[row] for row in rows], budget_mb=0)
    seen = cache.take(np.arange(len(rows)), np.zeros(len(rows), np.int64))
    return torch.from_numpy(seen.outputs).float()


def _write(
    problem: Problem,
    job: Job,
    images: ImageSet,
    split: str,
    outputs: Tensor,
    targets: Tensor,
    teacher: Tensor | None,
) -> dict[str, float]:
    """Write one split's predictions and pictures; returns its scores."""
    rows: Sequence[int] = images.rows_of(split).tolist()
    scores = problem.metrics(outputs, targets)
    columns = {
        "id": [images.ids[row] for row in rows],
        "label": images.labels[rows],
        **problem.predictions(outputs),
        "outputs": list(outputs.numpy()),
    }
    if teacher is not None:
        scores["teacher_agreement"] = problem.agreement(outputs, teacher)
        columns |= {f"teacher_{name}": column for name, column in problem.predictions(teacher).items()}
    write_columns(job.draft / f"{split}-predictions.parquet", columns)
    problem.draw(job.draft, split, outputs, targets, images.classes)
    return {name: round(value, 6) for name, value in scores.items()}
