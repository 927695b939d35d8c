"""Stage "probe": train a grid of heads on frozen features, all at once, and keep the one that is best on validation.

The protocol is DINOv2's linear evaluation (arXiv 2304.07193, appendix B.3): SGD with momentum 0.9, no weight decay,
cosine to 0, 13 learning rates times a choice of inputs. The heads see the same batches and do not touch each other,
so one pass over the features trains all of them.

Shape letters: N images, R blocks, D width; 9 numbers cut a view.

Reads `images` (image-set), for their labels, and `features` of them; writes model.json, head.safetensors and
grid.parquet.
"""

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from configs.stages import ProbeConfig, ProbeSettings
from storage.errors import CacheMismatchError
from storage.image_set import ImageSet
from storage.summaries import ProbeSummary
from storage.tables import PROBE_GRID, write_table
from storage.view_attributes import FeaturesAttributes
from storage.view_outputs import ViewOutputs
from storage.weights import ModelDescription, write_tensors
from tasks.data.view_cache import ViewCache
from tasks.functional.order import visits
from tasks.functional.schedules import warmup_cosine
from tasks.functional.views import CLEAN_VIEW
from tasks.models.device import device_of
from tasks.models.encoder import Block, blocks_named
from tasks.models.task_model import as_arrays
from tasks.problems.labelled import LabelledCache
from tasks.problems.problem import Meter, Problem, problem_named, score_of, targets_of
from tasks.stage import StageContext

LEARNING_RATE_BATCH = 256


class Cell(NamedTuple):
    """One cell of the grid."""

    input: str
    learning_rate: float
    indices: list[int]
    head: nn.Module

    def outputs(self, features_NRD: Tensor) -> Tensor:
        """Return what the head gives for cached features."""
        outputs: Tensor = self.head(*(features_NRD[:, index] for index in self.indices))
        return outputs


class Validation(NamedTuple):
    """Features [N, R, D] of the validation images, and their targets, on the device."""

    features_NRD: Tensor
    targets: Tensor


def run(config: ProbeConfig, context: StageContext) -> ProbeSummary:
    images = ImageSet.open(context.inputs["images"])
    features = ViewOutputs(context.inputs["features"])
    features.require(images=images.fingerprint)
    problem = problem_named(config.problem)
    device = device_of(context.runtime)
    classes = problem.classes(images)
    grid = _grid(config.probe, features, problem, len(classes), device)
    _train(grid, images, features, config.probe, problem, context)
    val = _validation(images, features, problem, device)
    rows = [_scored(candidate, val, problem, problem.meter(classes)) for candidate in grid]
    best = max(range(len(grid)), key=lambda cell: _rank(rows[cell]))
    write_table(context.draft / "grid.parquet", PROBE_GRID, rows)
    write_tensors(context.draft / "head.safetensors", as_arrays(grid[best].head.state_dict()))
    extracted = FeaturesAttributes.of(features)
    ModelDescription(
        problem=config.problem,
        backbone=extracted.backbone,
        preprocessing=extracted.preprocessing,
        encoder=extracted.encoder,
        blocks=list(problem.inputs()[grid[best].input]),
        classes=classes,
        weights="head.safetensors",
    ).write(context.draft)
    return ProbeSummary(
        input=grid[best].input,
        learning_rate=grid[best].learning_rate,
        score_name=problem.metrics[0].name,
        val_score=float(rows[best]["val_score"]),
        val_score_standard_error=_error(grid[best], val, problem, problem.meter(classes)),
        grid=len(grid),
        images=len(images.rows_of("train")),
    )


def _grid(
    settings: ProbeSettings, features: ViewOutputs, problem: Problem, num_classes: int, device: torch.device
) -> list[Cell]:
    names = FeaturesAttributes.of(features).blocks
    cached = [Block(name, features.row_shape[-1]) for name in names]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        grid = []
        for name in settings.inputs:
            seen = blocks_named(cached, problem.inputs()[name])
            indices = [names.index(block.name) for block in seen]
            for learning_rate in settings.learning_rates:
                head = problem.head(seen, num_classes).to(device)
                grid.append(Cell(name, learning_rate, indices, head))
    return grid


def _train(
    grid: list[Cell],
    images: ImageSet,
    features: ViewOutputs,
    settings: ProbeSettings,
    problem: Problem,
    context: StageContext,
) -> None:
    first_view, num_views = (1, features.num_views - 1) if settings.train_on == "augmented" else (CLEAN_VIEW, 1)
    if not num_views:
        raise CacheMismatchError(
            "probe.train_on is 'augmented', but these features hold the clean view only: set it to 'clean', or "
            "views.num_views to at least 1"
        )
    rows = images.rows_of("train")
    cache = ViewCache(features, [images.ids[row] for row in rows], budget_mb=context.runtime.logits_cache_mb)
    side_px = FeaturesAttributes.of(features).side_px
    device = next(grid[0].head.parameters()).device
    peaks = [candidate.learning_rate * settings.batch_size / LEARNING_RATE_BATCH for candidate in grid]
    optimizer = torch.optim.SGD(
        [{"params": c.head.parameters(), "lr": peak} for c, peak in zip(grid, peaks, strict=True)], momentum=0.9
    )
    for step in range(settings.steps):
        for group, peak in zip(optimizer.param_groups, peaks, strict=True):
            group["lr"] = peak * warmup_cosine(step, num_steps=settings.steps, num_warmup=0)
        start = step * settings.batch_size
        items, epochs = visits(start, settings.batch_size, size=len(rows), seed=settings.seed)
        seen = cache.take(items, first_view + epochs % num_views)
        features_NRD = torch.from_numpy(seen.outputs).to(device).float()
        targets = torch.from_numpy(targets_of(problem, images, rows[items], seen.views_N9, side_px)).to(device)
        optimizer.zero_grad()
        losses = [problem.task_loss(c.outputs(features_NRD), targets).mean() for c in grid]
        torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        context.on_progress("steps", step + 1, settings.steps)


def _validation(images: ImageSet, features: ViewOutputs, problem: Problem, device: torch.device) -> Validation:
    """Return features [N, R, D] of the clean view of the validation images, with their targets."""
    rows = images.rows_of("val")
    side_px = FeaturesAttributes.of(features).side_px
    cache = LabelledCache(problem, images, rows, features, side_px=side_px, budget_mb=0)
    seen = cache.take(np.arange(len(rows)), np.full(len(rows), CLEAN_VIEW))
    return Validation(torch.from_numpy(seen.outputs).to(device).float(), torch.from_numpy(seen.targets).to(device))


@torch.inference_mode()
def _scored(candidate: Cell, val: Validation, problem: Problem, meter: Meter) -> dict[str, str | float]:
    candidate.head.eval()
    outputs = candidate.outputs(val.features_NRD)
    meter.update(outputs, val.targets)
    return {
        "input": candidate.input,
        "learning_rate": candidate.learning_rate,
        "val_score": meter.compute()[problem.metrics[0].name],
        "val_loss": float(problem.task_loss(outputs, val.targets).mean()),
    }


@torch.inference_mode()
def _error(chosen: Cell, val: Validation, problem: Problem, meter: Meter) -> float:
    chosen.head.eval()
    meter.update(chosen.outputs(val.features_NRD), val.targets)
    return score_of(problem, meter).standard_error


def _rank(row: dict[str, Any]) -> tuple[bool, float, float]:
    """Best score first, then smallest loss; a head that diverged comes last."""
    finite = math.isfinite(row["val_loss"])
    return finite, row["val_score"] if finite else 0.0, -row["val_loss"] if finite else 0.0
