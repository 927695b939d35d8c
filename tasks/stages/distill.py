"""Stage "distill": train the student on labels and on the teacher's cached logits; no teacher runs.

One batch holds B real images and, where there is a synthetic image-set, B * synthetic_ratio synthetic ones. The
labels teach on the real ones only, the teacher on all: L = (1 - alpha) * mean_real(task) + alpha * mean_all(distill).
The views are those stored with the logits, cut again at the student's size; a sample of them is compared with the
thumbnails of what the teacher saw.
"""

import functools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from torch import nn

from configs.stages import DistillConfig, DistillSettings
from storage.errors import CacheMismatchError
from storage.image_set import ImageSet
from storage.manifest import Manifest
from storage.summaries import ModelSummary
from storage.tables import read_table
from storage.view_outputs import ViewOutputs
from tasks.data.batches import DecodedImages, ViewSource
from tasks.data.view_cache import CachedViews, ViewCache
from tasks.functional.losses import combined
from tasks.functional.order import visits
from tasks.functional.views import thumbnail, thumbnail_distance
from tasks.models.preprocessing import Preprocessing
from tasks.problems.problem import Problem, problem_named, targets_of
from tasks.stage import StageContext
from tasks.training.student import probed_model, train_and_write, validation_score
from tasks.training.trainer import Batch, Part, Terms, Work

CHECK_EVERY = 64
"""One in this many images is compared with what the teacher saw."""
CHECK_TOLERANCE = 8.0
"""Mean grey levels (0-255) by which two sizes of one view may differ; other views of the same image differ by tens.
"""


class DistillSource(NamedTuple):
    """Images with cached teacher outputs: the real training images, or the synthetic ones."""

    source: ViewSource
    cache: ViewCache
    rows: npt.NDArray[np.int64]
    num_views: int


class Draw(NamedTuple):
    """Some of them, chosen for one batch."""

    items: npt.NDArray[np.int64]
    """Positions among the images that can be drawn."""
    rows: npt.NDArray[np.int64]
    seen: CachedViews


def run(config: DistillConfig, context: StageContext) -> ModelSummary:
    images = ImageSet.open(context.inputs["images"])
    problem = problem_named(config.problem)
    model = probed_model(config.backbone, config.training, images, context)
    real = _distill_source(config, images, "logits", model.preprocessing, context)
    synthetic = None
    _check_synthetic_inputs(context)
    if "synthetic" in context.inputs:
        blends = ImageSet.open(context.inputs["synthetic"])
        synthetic = _distill_source(config, blends, "synthetic_logits", model.preprocessing, context)
        if "selection" in context.inputs:
            synthetic = _selected(synthetic, context)
    for role in ("logits", "synthetic_logits"):
        if role in context.inputs:
            ViewOutputs(context.inputs[role]).require(classes=images.classes, problem=config.problem)
    work = Work(
        num_images=len(real.rows),
        jobs=functools.partial(_batches, config, problem, real, synthetic),
        terms=functools.partial(_terms, problem, config.distill),
        score=validation_score(problem, real.source, context, config.training.precision),
        score_name=problem.score_name,
    )
    summary = train_and_write(model, config.training, work, config.problem, config.seed, images, context)
    return summary.model_copy(update={"synthetic_images": len(synthetic.rows) if synthetic else 0})


def _distill_source(
    config: DistillConfig, images: ImageSet, role: str, preprocessing: Preprocessing, context: StageContext
) -> DistillSource:
    logits = ViewOutputs(context.inputs[role])
    logits.require(images=images.fingerprint, views=config.views.identity())
    rows = images.rows_of("train")
    decoded = DecodedImages(images, cache_mb=context.runtime.image_cache_mb, decode_mb=context.runtime.decode_memory_mb)
    return DistillSource(
        source=ViewSource(decoded, config.views, preprocessing),
        cache=ViewCache(logits, [images.ids[row] for row in rows], budget_mb=context.runtime.logits_cache_mb),
        rows=rows,
        num_views=config.views.num_views,
    )


def _check_synthetic_inputs(context: StageContext) -> None:
    if ("synthetic" in context.inputs) != ("synthetic_logits" in context.inputs):
        raise CacheMismatchError(
            "synthetic images teach by their logits: pass both 'synthetic' and 'synthetic_logits', or neither"
        )
    if "selection" in context.inputs and "synthetic" not in context.inputs:
        raise CacheMismatchError("a 'selection' is one of synthetic images: pass 'synthetic' too, or neither")


def _selected(taught: DistillSource, context: StageContext) -> DistillSource:
    """Leave the images that the selection keeps."""
    images = taught.source.images
    folder = context.inputs["selection"]
    if (of := Manifest.read(folder).input_refs["synthetic"]).fingerprint != images.fingerprint:
        raise CacheMismatchError(
            f"the selection is of {of.short}, the synthetic images are image-set@{images.fingerprint[:12]}: run select "
            "on these first"
        )
    kept = {row["id"] for row in read_table(folder / "selection.parquet") if row["is_kept"]}
    rows = np.asarray([row for row in taught.rows if images.ids[row] in kept], np.int64)
    cache = ViewCache(
        ViewOutputs(context.inputs["synthetic_logits"]),
        [images.ids[row] for row in rows],
        budget_mb=context.runtime.logits_cache_mb,
    )
    return taught._replace(rows=rows, cache=cache)


def _batches(
    config: DistillConfig, problem: Problem, real: DistillSource, synthetic: DistillSource | None, first_step: int
) -> Iterator[Callable[[], Batch]]:
    """Choose images and their teacher outputs in the order of steps; the returned callables do the slow part."""
    size = config.training.batch_size
    num_synthetic = config.distill.num_synthetic(size)
    step = first_step
    while True:
        drawn = [(real, _draw(real, step, size, config.seed))]
        if synthetic and num_synthetic:
            drawn.append((synthetic, _draw(synthetic, step, num_synthetic, config.seed)))
        yield functools.partial(_batch, problem, drawn)
        step += 1


def _draw(taught: DistillSource, step: int, count: int, seed: int) -> Draw:
    items, epochs = visits(step * count, count, size=len(taught.rows), seed=seed)
    return Draw(items, taught.rows[items], taught.cache.take(items, 1 + epochs % taught.num_views))


def _batch(problem: Problem, drawn: list[tuple[DistillSource, Draw]]) -> Batch:
    cut = [taught.source.cut(chosen.rows.tolist(), chosen.seen.views_N9) for taught, chosen in drawn]
    for (taught, chosen), pixels_NSS3 in zip(drawn, cut, strict=True):
        _check_seen(taught.source, chosen, pixels_NSS3)
    source, real = drawn[0][0].source, drawn[0][1]
    return Batch(
        ids=[taught.source.images.ids[row] for taught, chosen in drawn for row in chosen.rows],
        pixels_NSS3=np.concatenate(cut),
        targets=targets_of(problem, source.images, real.rows, real.seen.views_N9, source.preprocessing.side_px),
        teacher=np.concatenate([chosen.seen.outputs for _, chosen in drawn]),
    )


def _check_seen(source: ViewSource, chosen: Draw, pixels_NSS3: npt.NDArray[np.uint8]) -> None:
    for index, row in enumerate(chosen.rows):
        if chosen.items[index] % CHECK_EVERY:
            continue
        distance = thumbnail_distance(thumbnail(pixels_NSS3[index]), chosen.seen.thumbnails_N64[index])
        if distance > CHECK_TOLERANCE:
            raise CacheMismatchError(
                f"image {source.images.ids[row]!r}: the view cut now differs from the one the teacher saw by "
                f"{distance:.0f} grey levels on average (at most {CHECK_TOLERANCE:.0f} for the same view): Pillow "
                "decodes or resizes differently than when the logits were made. Install the versions named in the "
                "manifest of the logits, or extract again"
            )


def _terms(problem: Problem, settings: DistillSettings, model: nn.Module, part: Part, step: int) -> Terms:
    if part.teacher is None:
        raise TypeError("a distillation batch holds the teacher's outputs")
    outputs = model(part.images_NCHW)
    task = problem.task_loss(outputs[: len(part.targets)], part.targets)
    distill = problem.distill_loss(outputs, part.teacher, settings.temperature)
    return Terms(combined(task, distill, settings.alpha), task, distill)
