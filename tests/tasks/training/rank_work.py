"""What tests have several ranks do: each of them imports it by name."""

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from taskdistill.configs.base import StageConfig
from taskdistill.configs.data import ViewSettings
from taskdistill.configs.stages import DistillConfig, FinetuneConfig
from taskdistill.configs.training import DistillSettings, TrainingSettings
from taskdistill.storage.errors import CacheMismatchError
from taskdistill.storage.image_set import ImageSet
from taskdistill.tasks.data.batches import ViewSource
from taskdistill.tasks.data.processes import view_source
from taskdistill.tasks.functional.losses import IGNORED
from taskdistill.tasks.functional.views import CLEAN_VIEW
from taskdistill.tasks.models.preprocessing import Preprocessing
from taskdistill.tasks.models.task_model import TaskModel
from taskdistill.tasks.stage import StageContext
from taskdistill.tasks.training.lesson import Lesson
from taskdistill.tasks.training.ranks import Ranks
from taskdistill.tasks.training.trainer import Trainer

BATCH = 11
CUT = Preprocessing(8, (0.5,) * 3, (0.5,) * 3, "bicubic", 1.0, "center")
IGNORED_ROWS = [0, 1, 2, 5, 10]
"""Of 2 ranks that take 0-2 with 8-10 and 3-7: they count 2 and 4."""
FINETUNINGS: dict[str, dict[str, Any]] = {"plain": {}, "mixup": {"mixup": 1.0}, "cutmix": {"cutmix": 1.0}}
DISTILLATIONS: dict[str, dict[str, Any]] = {
    "one synthetic": {"synthetic_ratio": 0.1},  # one of the ranks takes it
    "some synthetic": {"synthetic_ratio": 0.75},
    "mixed": {"synthetic_ratio": 0.4, "mix_views": "mixup"},
}


def note_gradients(config: DistillConfig, context: StageContext) -> None:
    """Write the gradient and the losses of one batch of each lesson, summed over all ranks, into the draft."""
    from taskdistill.tasks.stages import distill, finetune
    from taskdistill.tasks.training.probed import probed_model

    images, model = ImageSet.open(context.inputs["images"]), probed_model(config.backbone, context).eval()
    for name, training in FINETUNINGS.items():
        settings = TrainingSettings(batch_size=BATCH, **training)
        alone = FinetuneConfig(backbone=config.backbone, views=config.views, training=settings)
        _note(model, finetune.lesson_of(alone, images, model, context), context.draft / name)
    for name, taught in DISTILLATIONS.items():
        settings, from_teacher = TrainingSettings(batch_size=BATCH), DistillSettings(alpha=0.4, **taught)
        of_lesson = config.model_copy(update={"training": settings, "distill": from_teacher})
        _note(model, distill.lesson_of(of_lesson, images, model, context), context.draft / name)


def _note(model: TaskModel, lesson: Lesson[Any], path: Path) -> None:
    ranks, settings = Ranks.joined(), TrainingSettings(batch_size=BATCH)
    batch = lesson.load(lesson.draw(0), ranks.share)
    batch.targets[np.isin(np.arange(BATCH)[ranks.share.of(BATCH)], IGNORED_ROWS)] = IGNORED
    model.zero_grad()
    parts = Trainer(model, settings, lesson, seed=0, device=torch.device("cpu"), num_steps=1).backward(batch)
    gradients = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert all(tensor.dtype == torch.float32 for tensor in parts[0].values())
    if ranks.is_first:
        noted = {**gradients, **parts[0]}
        save_file({name: tensor.contiguous() for name, tensor in noted.items()}, f"{path}.safetensors")


def wait_forever(config: StageConfig, context: StageContext) -> None:
    """Say which process this is, and go on until it is ended."""
    (context.draft / str(os.getpid())).touch()
    time.sleep(600)


def second_fails(config: StageConfig, context: StageContext) -> None:
    """Fail as a rank does whose share of the images does not fit; the first waits for it."""
    if not Ranks.joined().is_first:
        raise CacheMismatchError("an image of the second rank")
    Ranks.joined().add_up([torch.zeros(1)])


_kept = list[ViewSource]()
"""To the end of the process, as by a training whose parts refer to each other."""


def cut_by_processes(config: StageConfig, context: StageContext) -> None:
    """Write the clean view of some images, cut by worker processes, into the draft."""
    images = ImageSet.open(context.inputs["images"])
    _kept.append(view_source(images, ViewSettings(), CUT, context.runtime))
    rows = [1, 0]
    pixels_NHW3 = _kept[0].cut(rows, _kept[0].views(rows, [CLEAN_VIEW] * len(rows)))
    np.save(context.draft / f"{os.getpid()}.npy", pixels_NHW3)
