"""What can be pretrained, each with the settings that its shipped weights were made with."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from taskdistill.tasks.miniature.autoencoder import AutoencoderPart
from taskdistill.tasks.miniature.mixer import mixer_part
from taskdistill.tasks.miniature.pretraining import Part, Settings, pretrain
from taskdistill.tasks.miniature.supervised import BackbonePart, ImageEncoderPart
from taskdistill.tasks.stage import OnProgress


class Recipe(NamedTuple):
    """How to prepare a part in a folder, and how long to train it."""

    prepare: Callable[[int, Path, OnProgress], Part]
    settings: Settings


RECIPES = {
    "teacher": Recipe(
        lambda seed, folder, on_progress: BackbonePart("teacher", seed),
        Settings(num_images=192_000, batch_size=32, learning_rate=1.2e-3, seed=1),
    ),
    "student": Recipe(
        lambda seed, folder, on_progress: BackbonePart("student", seed),
        Settings(num_images=48_000, batch_size=32, learning_rate=1.5e-3, seed=2),
    ),
    "encoder": Recipe(
        lambda seed, folder, on_progress: ImageEncoderPart(seed),
        Settings(num_images=144_000, batch_size=64, learning_rate=1.5e-3, seed=3),
    ),
    "autoencoder": Recipe(
        lambda seed, folder, on_progress: AutoencoderPart(seed),
        Settings(num_images=24_000, batch_size=32, learning_rate=1e-3, weight_decay=0.0, seed=4),
    ),
    "mixer": Recipe(
        mixer_part,
        Settings(num_images=448_000, batch_size=32, learning_rate=2e-3, weight_decay=0.01, average=0.999, seed=5),
    ),
}


def pretrain_part(name: str, folder: Path, *, num_images: int, on_progress: OnProgress) -> dict[str, Any]:
    """Pretrain a part in `folder/name`, or continue; 0 images means as many as the shipped weights saw."""
    recipe = RECIPES[name]
    settings = recipe.settings._replace(num_images=num_images) if num_images else recipe.settings
    part = recipe.prepare(settings.seed, folder, on_progress)
    return pretrain(part, settings, folder / name, on_progress)
