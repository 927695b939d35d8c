"""How a model is scored: by what is cached of it, or where other windows are asked for by showing it the images.

What is cached is the clean view alone. Of a teacher that is the mean of several, or was trained elsewhere, nothing else
is to be had.
"""

from collections.abc import Mapping

from taskdistill.configs.evaluation import WindowSettings
from taskdistill.configs.models import Backbone
from taskdistill.configs.stages import EvaluateProbedConfig
from taskdistill.flows.pipeline.graph import Source, Steps
from taskdistill.flows.pipeline.teachers import Teacher
from taskdistill.tasks.catalog import EVALUATE, EVALUATE_PROBED, EVALUATE_TEACHER


def evaluated_model(steps: Steps, name: str, inputs: Mapping[str, Source]) -> str:
    """Score a model on `images`; returns the step, which has this name."""
    return steps.add(name, EVALUATE, steps.experiment.evaluate_config(), inputs)


def evaluated_probe(steps: Steps, name: str, backbone: Backbone, inputs: Mapping[str, Source]) -> str:
    """Do the same for a probe of this backbone."""
    config = EvaluateProbedConfig(**dict(steps.experiment.evaluate_config()), backbone=backbone)
    return steps.add(name, EVALUATE_PROBED, config, inputs)


def evaluated_logits(steps: Steps, name: str, inputs: Mapping[str, Source]) -> str:
    """Do the same by cached `logits` of the clean view."""
    return steps.add(name, EVALUATE_TEACHER, steps.experiment.evaluate_cached_config(), inputs)


def evaluated_teacher(steps: Steps, name: str, images: str, teacher: Teacher, logits: str) -> str:
    """Do the same for a teacher, in the windows that are asked for where it can be shown any."""
    if shows_windows(steps) and teacher.backbone:
        return evaluated_probe(steps, name, teacher.backbone, {"images": images, "probe": teacher.artifact})
    if shows_windows(steps) and teacher.is_model:
        return evaluated_model(steps, name, {"images": images, "model": teacher.artifact})
    return evaluated_logits(steps, name, {"images": images, "logits": logits})


def shows_windows(steps: Steps) -> bool:
    """Whether models are to be shown other windows than the clean view."""
    return steps.experiment.windows != WindowSettings()
