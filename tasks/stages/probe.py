"""Stage "probe": train a grid of heads on cached features, and keep the one that is best on validation. Where folds are
asked for, one more head like it is trained for each, without the images of that fold.

Shape letters: N images, R blocks, D width.

Reads `images` (image-set), for their labels, and `features` of them; writes model.json, head.safetensors and
grid.parquet, and with folds what tasks.training.fold_heads says.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from taskdistill.configs.data import ViewSettings
from taskdistill.configs.stages import ProbeConfig, ProbeSettings
from taskdistill.storage.errors import CacheMismatchError
from taskdistill.storage.image_set import ImageSet
from taskdistill.storage.summaries import ProbeSummary
from taskdistill.storage.view_attributes import FeaturesAttributes
from taskdistill.storage.view_outputs import ViewOutputs
from taskdistill.tasks.data.counts import too_few_for_folds
from taskdistill.tasks.data.shown import check_num_views
from taskdistill.tasks.functional.folds import folds_of
from taskdistill.tasks.functional.order import visits
from taskdistill.tasks.functional.views import CLEAN_VIEW
from taskdistill.tasks.models.device import device_of
from taskdistill.tasks.models.encoder import Block
from taskdistill.tasks.problems.labelled import LabelledCache
from taskdistill.tasks.problems.problem import problem_named
from taskdistill.tasks.stage import StageContext
from taskdistill.tasks.training.fold_heads import write_fold_head, write_folds
from taskdistill.tasks.training.probe_grid import Blocks, Encoded, ProbeGrid, Verdict

VALIDATION_BATCH = 4096
"""Images judged at once: as float32, and their outputs, they are some hundred MB at most."""


class _Training:
    """Training of heads on cached features, one grid after the other on the same cache."""

    def __init__(self, config: ProbeConfig, images: ImageSet, features: ViewOutputs, context: StageContext) -> None:
        self._config, self._images, self._features, self._context = config, images, features, context
        self._problem, self._device = problem_named(config.problem), device_of(context.runtime)
        self.extracted = FeaturesAttributes.of(features)
        self._views = _train_views(config.probe, features.num_views - 1)
        self._train = self._labelled("train")
        self._done, self._total = 0, config.probe.steps * (1 + config.probe.folds)

    def grid(self, settings: ProbeSettings) -> ProbeGrid:
        cached = [Block(name, self._features.row_shape[-1]) for name in self.extracted.blocks]
        return ProbeGrid(self._problem, settings, cached, self._problem.classes(self._images), self._device)

    def train(self, grid: ProbeGrid, items_N: npt.NDArray[np.int64]) -> None:
        """Train all heads of a grid on some of the training images, given by their positions among them."""
        settings = self._config.probe
        for step in range(settings.steps):
            places, epochs = visits(
                step * settings.batch_size, settings.batch_size, size=len(items_N), seed=settings.seed
            )
            views = self._views.start + epochs % len(self._views)
            grid.step(step, *self._batch(self._train, items_N[places], views))
            self._done += 1
            self._context.on_progress("steps", self._done, self._total)

    def judged(self, grid: ProbeGrid) -> list[Verdict]:
        """Judge each head by itself, as features are read again for less than the answers of all heads take up."""
        cache, items = self._labelled("val"), np.arange(len(self._images.rows_of("val")))
        starts = range(0, max(len(items), 1), VALIDATION_BATCH)  # of no images there is an empty batch
        parts = [items[start : start + VALIDATION_BATCH] for start in starts]

        def batches() -> Iterator[tuple[Blocks, Tensor]]:
            for part in parts:
                yield self._batch(cache, part, np.full(len(part), CLEAN_VIEW))

        return [verdict for cell in grid.cells for verdict in grid.judged([cell], batches())]

    def _labelled(self, split: str) -> LabelledCache:
        rows, budget_mb = self._images.rows_of(split), self._context.runtime.logits_cache_mb
        size = self.extracted.size
        return LabelledCache(self._problem, self._images, rows, self._features, size=size, budget_mb=budget_mb)

    def _batch(
        self, cache: LabelledCache, items: npt.NDArray[np.int64], views: npt.NDArray[np.int64]
    ) -> tuple[Blocks, Tensor]:
        outputs, targets = cache.take(items, views)
        features_NRD = torch.from_numpy(outputs).to(self._device).float()
        blocks = {name: features_NRD[:, index] for index, name in enumerate(self.extracted.blocks)}
        return blocks, torch.from_numpy(targets).to(self._device)


def run(config: ProbeConfig, context: StageContext) -> ProbeSummary:
    images = ImageSet.open(context.inputs["images"])
    features = ViewOutputs(context.inputs["features"])
    features.require(images=images.fingerprint)
    training = _Training(config, images, features, context)
    grid, num_images = training.grid(config.probe), len(images.rows_of("train"))
    check_num_views(features, ViewSettings.model_validate(training.extracted.views), num_images)
    fold_of = _folds(images, config.probe.folds) if config.probe.folds else {}
    training.train(grid, np.arange(num_images))
    extracted = training.extracted
    encoded = Encoded(extracted.backbone, extracted.preprocessing, extracted.encoder)
    summary = grid.write(context.draft, config.problem, encoded, training.judged(grid), num_images)
    if not fold_of:
        return summary
    best = config.probe.model_copy(update={"inputs": (summary.input,), "learning_rates": (summary.learning_rate,)})
    fold_N = np.asarray([fold_of[images.ids[row]] for row in images.rows_of("train")])
    for fold in range(config.probe.folds):
        of_fold = training.grid(best)
        training.train(of_fold, np.flatnonzero(fold_N != fold))
        write_fold_head(context.draft, fold, of_fold.cells[0].head)
    write_folds(context.draft, fold_of)
    return summary.model_copy(update={"folds": config.probe.folds})


def _folds(images: ImageSet, num_folds: int) -> dict[str, int]:
    """Deal training and validation images to folds; DatasetError where a head would have nothing to be trained on."""
    rows = images.rows_of("train", "val")
    ids = [images.ids[row] for row in rows]
    fold_N = folds_of(ids, images.labels[rows], num_folds)
    of_train = fold_N[images.splits[rows] == "train"]
    if len(of_train) < num_folds or len(np.unique(of_train)) == 1:
        raise too_few_for_folds(len(of_train), num_folds)
    return dict(zip(ids, fold_N.tolist(), strict=True))


def _train_views(settings: ProbeSettings, num_augmented: int) -> range:
    """Return the numbers of the views of training images that the heads see, one after the other."""
    if settings.train_on == "clean":
        return range(CLEAN_VIEW, CLEAN_VIEW + 1)
    if not num_augmented:
        raise CacheMismatchError(
            "probe.train_on is 'augmented', but these features hold the clean view only: set it to 'clean', or "
            "views.num_views to at least 1"
        )
    return range(CLEAN_VIEW + 1, num_augmented + 1)
