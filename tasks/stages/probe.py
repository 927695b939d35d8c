"""Stage "probe": train a grid of heads on cached features, and keep the one that is best on validation.

Shape letters: N images, R blocks, D width.

Reads `images` (image-set), for their labels, and `features` of them; writes model.json, head.safetensors and
grid.parquet.
"""

import numpy as np
import torch

from configs.data import ViewSettings
from configs.stages import ProbeConfig, ProbeSettings
from storage.errors import CacheMismatchError
from storage.image_set import ImageSet
from storage.summaries import ProbeSummary
from storage.view_attributes import FeaturesAttributes
from storage.view_outputs import Half, ViewOutputs
from tasks.data.shown import check_num_views
from tasks.functional.order import visits
from tasks.functional.views import CLEAN_VIEW
from tasks.models.device import device_of
from tasks.models.encoder import Block
from tasks.problems.labelled import LabelledCache
from tasks.problems.problem import problem_named
from tasks.stage import StageContext
from tasks.training.probe_grid import Blocks, Encoded, ProbeGrid


def run(config: ProbeConfig, context: StageContext) -> ProbeSummary:
    images = ImageSet.open(context.inputs["images"])
    features = ViewOutputs(context.inputs["features"])
    features.require(images=images.fingerprint)
    extracted = FeaturesAttributes.of(features)
    num_images = len(images.rows_of("train"))
    check_num_views(features, ViewSettings.model_validate(extracted.views), num_images)
    problem, device = problem_named(config.problem), device_of(context.runtime)
    cached = [Block(name, features.row_shape[-1]) for name in extracted.blocks]
    grid = ProbeGrid(problem, config.probe, cached, problem.classes(images), device)

    def labelled(split: str) -> LabelledCache:
        rows, budget_mb = images.rows_of(split), context.runtime.logits_cache_mb
        return LabelledCache(problem, images, rows, features, side_px=extracted.side_px, budget_mb=budget_mb)

    def blocks(outputs: Half) -> Blocks:
        features_NRD = torch.from_numpy(outputs).to(device).float()
        return {name: features_NRD[:, index] for index, name in enumerate(extracted.blocks)}

    train, numbers = labelled("train"), _train_views(config.probe, features.num_views - 1)
    for step in range(config.probe.steps):
        items, epochs = visits(
            step * config.probe.batch_size, config.probe.batch_size, size=num_images, seed=config.probe.seed
        )
        outputs, targets = train.take(items, numbers.start + epochs % len(numbers))
        grid.step(step, blocks(outputs), torch.from_numpy(targets).to(device))
        context.on_progress("steps", step + 1, config.probe.steps)
    items = np.arange(len(images.rows_of("val")))
    outputs, targets = labelled("val").take(items, np.full(len(items), CLEAN_VIEW))
    validation = [(blocks(outputs), torch.from_numpy(targets).to(device))]
    encoded = Encoded(extracted.backbone, extracted.preprocessing, extracted.encoder)
    return grid.write(context.draft, config.problem, encoded, validation, num_images)


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
