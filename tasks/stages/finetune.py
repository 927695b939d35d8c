"""Stage "finetune": train the probed network on labels alone. The control of every claim, and a possible teacher."""

import functools
from collections.abc import Callable, Iterator

import numpy as np
from torch import nn

from configs.stages import FinetuneConfig, TrainingSettings
from storage.image_set import ImageSet
from storage.summaries import ModelSummary
from tasks.data.batches import DecodedImages, ViewSource
from tasks.functional.mixup import cutmix, mixup
from tasks.functional.order import visits
from tasks.problems.problem import Problem, problem_named, targets_of
from tasks.stage import StageContext
from tasks.training.student import probed_model, train_and_write, validation_score
from tasks.training.trainer import Batch, Part, Terms, Work


def run(config: FinetuneConfig, context: StageContext) -> ModelSummary:
    images = ImageSet.open(context.inputs["images"])
    problem = problem_named(config.problem)
    model = probed_model(config.backbone, config.training, images, context)
    decoded = DecodedImages(images, cache_mb=context.runtime.image_cache_mb, decode_mb=context.runtime.decode_memory_mb)
    source = ViewSource(decoded, config.views, model.preprocessing)
    work = Work(
        num_images=len(images.rows_of("train")),
        jobs=functools.partial(_batches, config, problem, source),
        terms=functools.partial(_terms, problem, config.training, config.seed),
        score=validation_score(problem, source, context, config.training.precision),
        score_name=problem.score_name,
    )
    return train_and_write(model, config.training, work, config.problem, config.seed, images, context)


def _batches(
    config: FinetuneConfig, problem: Problem, source: ViewSource, first_step: int
) -> Iterator[Callable[[], Batch]]:
    rows, size = source.images.rows_of("train"), config.training.batch_size
    step = first_step
    while True:
        items, epochs = visits(step * size, size, size=len(rows), seed=config.seed)
        yield functools.partial(_batch, problem, source, rows[items], _view_numbers(epochs, config.views.num_views))
        step += 1


def _view_numbers(epochs: np.ndarray, num_views: int) -> np.ndarray:
    """Epoch e shows augmented view 1 + e mod K; the clean view where there is no augmented one."""
    return 1 + epochs % num_views if num_views else np.zeros_like(epochs)


def _batch(problem: Problem, source: ViewSource, rows: np.ndarray, numbers: np.ndarray) -> Batch:
    views_N9 = source.views(rows.tolist(), numbers.tolist())
    return Batch(
        ids=[source.images.ids[row] for row in rows],
        pixels_NSS3=source.cut(rows.tolist(), views_N9),
        targets=targets_of(problem, source.images, rows, views_N9, source.preprocessing.side_px),
    )


def _terms(problem: Problem, training: TrainingSettings, seed: int, model: nn.Module, part: Part, step: int) -> Terms:
    """Cross-entropy, on mixtures of images where mixup or cutmix is on (either at random where both are)."""
    rng = np.random.default_rng([seed, step])
    kinds = [kind for kind, beta in (("mixup", training.mixup), ("cutmix", training.cutmix)) if beta]
    if not kinds:
        task = problem.task_loss(model(part.images_NCHW), part.targets)
        return Terms(task, task)
    kind = kinds[int(rng.integers(len(kinds)))]
    beta = training.mixup if kind == "mixup" else training.cutmix
    share = float(rng.beta(beta, beta))
    if kind == "mixup":
        images_NCHW = mixup(part.images_NCHW, share)
    else:
        images_NCHW, share = cutmix(part.images_NCHW, share, rng)
    outputs = model(images_NCHW)
    own, other = problem.task_loss(outputs, part.targets), problem.task_loss(outputs, part.targets.flip(0))
    task = share * own + (1 - share) * other
    return Terms(task, task)
