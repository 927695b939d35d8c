"""The temperature of a teacher: fitted on what its head says of the validation images, or taken over from logits that
were calibrated so.

Shape letters: N images, R blocks, D width.
"""

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from taskdistill.configs.runtime import RuntimeConfig
from taskdistill.storage.errors import CacheMismatchError
from taskdistill.storage.image_set import ImageSet
from taskdistill.storage.view_attributes import FeaturesAttributes, LogitsAttributes
from taskdistill.storage.view_outputs import ViewOutputs
from taskdistill.tasks.data.candidates import DatasetError
from taskdistill.tasks.functional.calibration import best_temperature
from taskdistill.tasks.functional.temperatures import LOWEST, UNCHANGED
from taskdistill.tasks.functional.views import CLEAN_VIEW
from taskdistill.tasks.problems.labelled import LabelledCache
from taskdistill.tasks.problems.problem import Problem

log = logging.getLogger(__name__)


def fitted_temperature(
    problem: Problem,
    images: ImageSet,
    features: ViewOutputs,
    outputs_of: Callable[[Tensor], Tensor],
    runtime: RuntimeConfig,
) -> float:
    """Return the temperature of the smallest loss on the clean views of the validation images, 1 where none has it.

    `outputs_of` maps features [N, R, D] to the outputs of the head. Raises DatasetError where no validation image has a
    label, or no image has one, and CacheMismatchError where the features are of other images.
    """
    features.require(images=images.fingerprint)
    problem.classes(images)  # says what is wrong where none has a label
    rows, size = images.rows_of("val"), FeaturesAttributes.of(features).size
    cache = LabelledCache(problem, images, rows, features, size=size, budget_mb=runtime.logits_cache_mb)
    if not len(rows):
        raise _nothing_to_fit(images)
    features_NRD, targets = cache.take(np.arange(len(rows)), np.full(len(rows), CLEAN_VIEW))
    with torch.no_grad():
        outputs = outputs_of(torch.from_numpy(features_NRD))
    known = torch.from_numpy(targets).to(outputs.device)
    if not problem.num_targets(known):
        raise _nothing_to_fit(images)
    return best_temperature(lambda scale: problem.task_loss(outputs * scale.to(outputs.device), known).mean())


def temperature_taken_over(calibrated: Path, **expected: object) -> float:
    """Return the temperature of logits that were calibrated; CacheMismatchError where they were not, or where their
    attributes, such as encoder, are not as expected.
    """
    logits = ViewOutputs(calibrated)
    logits.require(**expected)
    temperature = LogitsAttributes.of(logits).temperature
    if temperature is None:
        raise CacheMismatchError(
            f"logits@{calibrated.name[:12]} are not calibrated, so that no temperature can be taken over: give as "
            "'calibrated' the logits of the real images that were made with calibration 'temperature'"
        )
    return temperature


def remarks(temperature: float | None) -> list[str]:
    """Return a sentence where the validation images did not decide the temperature."""
    if temperature != UNCHANGED:
        return []
    return [
        f"the teacher's logits are as they were: surer answers fit the validation images ever better, down to a "
        f"temperature of {LOWEST:g}, as where all of them are classified right. More images would decide it"
    ]


def _nothing_to_fit(images: ImageSet) -> DatasetError:
    return DatasetError(
        f"image-set@{images.fingerprint[:12]} has no labelled validation image, and a temperature is fitted on them: "
        "set the calibration to 'none' (in an experiment, teacher_calibration), or name a validation split"
    )
