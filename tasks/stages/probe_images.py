"""Stage "probe-images": train a grid of heads on what a frozen encoder gives for views of the images, each shown anew,
and keep the one that is best on validation: for blocks too large to cache, such as maps.

Reads an image-set; writes the head, its description, and the grid's scores.

Shape letters: N images, C channels, H W pixels.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from taskdistill.configs.data import views_of_train
from taskdistill.configs.stages import ProbeImagesConfig
from taskdistill.storage.image_set import ImageSet
from taskdistill.storage.summaries import NetworkSummary, ProbeSummary
from taskdistill.tasks.data.processes import view_source
from taskdistill.tasks.data.threads import prefetch
from taskdistill.tasks.functional.order import visits
from taskdistill.tasks.functional.views import CLEAN_VIEW, Pixels
from taskdistill.tasks.memory import memory_advice
from taskdistill.tasks.models.device import autocast, device_of, on_device
from taskdistill.tasks.models.encoder import build_encoder_as_named, encoder_fingerprint
from taskdistill.tasks.models.preprocessing import normalise
from taskdistill.tasks.models.transfer import to_device
from taskdistill.tasks.problems.labelled import Labelled, LabelledViews
from taskdistill.tasks.problems.problem import problem_named
from taskdistill.tasks.stage import StageContext
from taskdistill.tasks.training.probe_grid import Blocks, Encoded, ProbeGrid

Encode = Callable[[Pixels], Blocks]


def run(config: ProbeImagesConfig, context: StageContext) -> ProbeSummary:
    images, runtime = ImageSet.open(context.inputs["images"]), context.runtime
    problem, device = problem_named(config.problem), device_of(runtime)
    encoder = on_device(build_encoder_as_named(config.backbone, context.content_digests).eval(), device)
    grid = ProbeGrid(problem, config.probe, encoder.blocks, problem.classes(images), device)
    source = view_source(
        images, config.views, encoder.preprocessing, runtime, images_mb=runtime.image_cache_mb, kept_in=context.views
    )
    labelled = LabelledViews(problem, source)
    names = grid.names

    @torch.no_grad()  # not inference mode: the heads keep what they are given for their backward pass
    def encode(pixels_NHW3: Pixels) -> Blocks:
        # A batch of heads is larger than what a large encoder can take at once.
        size = runtime.inference_batch_size
        parts = [pixels_NHW3[start : start + size] for start in range(0, len(pixels_NHW3), size)]
        with autocast(device, config.precision):
            found = [encoder(normalise(part, encoder.preprocessing, device), names) for part in parts]
        return {name: torch.cat(blocks).float() for name, *blocks in zip(names, *found, strict=True)}

    with memory_advice():
        _train(grid, config, labelled, encode, context)
    encoded = Encoded(
        backbone=config.backbone.identity(),
        preprocessing=encoder.preprocessing.as_json(),
        encoder=encoder_fingerprint(config.backbone, context.content_digests),
    )
    verdicts = grid.judged(grid.cells, _validation(labelled, encode, context, device))
    kept = grid.write(context.draft, config.problem, encoded, verdicts, len(images.rows_of("train")))
    network = NetworkSummary(parameters=sum(parameter.numel() for parameter in encoder.parameters()))
    return ProbeSummary.joined(network, kept)


def _train(
    grid: ProbeGrid, config: ProbeImagesConfig, labelled: LabelledViews, encode: Encode, context: StageContext
) -> None:
    """Train to the last step, from where an earlier attempt stopped: each step depends on its number alone."""
    settings, images = config.probe, labelled.source.images
    rows, splits = images.rows_of("train"), Counter(images.splits.tolist())
    views = views_of_train(config.views, settings.train_on, splits)

    def load(step: int) -> Labelled:
        size = settings.batch_size
        items, epochs = visits(step * size, size, size=len(rows), seed=settings.seed)
        return labelled.batch(rows[items].tolist(), (views.start + epochs % len(views)).tolist())

    device = next(grid.cells[0].head.parameters()).device
    first, saved = grid.restore(context.draft), time.monotonic()
    steps = range(first, settings.steps)
    for step, batch in zip(steps, prefetch(load, steps, workers=context.runtime.workers), strict=True):
        grid.step(step, encode(batch.pixels_NHW3), to_device(batch.targets, device))
        context.on_progress("steps", step + 1, settings.steps)
        is_last = step + 1 == settings.steps  # judging the heads may be killed too
        if is_last or time.monotonic() - saved >= context.runtime.checkpoint_seconds:
            grid.save(context.draft, step + 1)
            saved = time.monotonic()


def _validation(
    labelled: LabelledViews, encode: Encode, context: StageContext, device: torch.device
) -> Iterator[tuple[Blocks, Tensor]]:
    """Yield batches of the clean view of the validation images, with their targets."""
    rows, size = labelled.source.images.rows_of("val"), context.runtime.inference_batch_size
    parts = [rows[start : start + size] for start in range(0, len(rows), size)]

    def load(part: npt.NDArray[np.int64]) -> Labelled:
        return labelled.batch(part.tolist(), [CLEAN_VIEW] * len(part))

    for batch in prefetch(load, parts, workers=context.runtime.workers):
        yield encode(batch.pixels_NHW3), to_device(batch.targets, device)
