"""Training on a GPU: it is told what is next while it computes, and ends where a CPU ends."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from taskdistill.configs.stages import DistillConfig, FinetuneConfig
from taskdistill.configs.training import TrainingSettings
from taskdistill.storage.tables import read_table
from taskdistill.tasks.catalog import DISTILL, FINETUNE
from taskdistill.tasks.training.loss_notes import READ_TOGETHER
from tests.conftest import STUDENT, VIEWS, Bench

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.usefixtures("bare_pictures"),
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU"),
]

# 24 training images in batches of 8: an epoch is 3 steps. Validated after the last alone.
SETTINGS: dict[str, Any] = {"batch_size": 8, "learning_rate": 1e-3, "validate_every": 1000, "warmup": 0.1}
Train = Callable[[Bench, TrainingSettings], None]
GPU = {"device": "cuda", "checkpoint_seconds": 1e9}


def finetuned(bench: Bench, settings: TrainingSettings) -> None:
    config = FinetuneConfig(backbone=STUDENT, views=VIEWS, training=settings)
    bench.run(FINETUNE, config, images=bench.images, probe=bench.student_probe, runtime=GPU)


def distilled(bench: Bench, settings: TrainingSettings) -> None:
    config = DistillConfig(backbone=STUDENT, views=VIEWS, training=settings)
    bench.run(DISTILL, config, images=bench.images, probe=bench.student_probe, logits=bench.logits, runtime=GPU)


def waits(train: Train, bench: Bench, epochs: int, training: dict[str, Any]) -> int:
    """Return how often a training waits for the GPU, by torch's own count."""
    settings = TrainingSettings.model_validate(SETTINGS | {"epochs": epochs} | training)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")  # which once warns that it is a prototype
        try:
            train(bench, settings)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return sum("called a synchronizing CUDA operation" in str(one.message) for one in told)


@pytest.mark.parametrize(
    ("train", "training"),
    [
        (distilled, {}),
        (finetuned, {}),
        (finetuned, {"mixup": 1.0, "cutmix": 1.0, "ema": 0.9, "clip_norm": 1.0, "accumulate": 2}),
    ],
    ids=["distilled", "finetuned", "with all that a step may do"],
)
def test_more_steps_wait_for_the_gpu_no_more_often_than_losses_are_read(
    bench: Bench, train: Train, training: dict[str, Any]
) -> None:
    waits(train, bench, 1, training)  # what is done once in a process
    more_steps = 3 * (66 - 2)
    more_waits = waits(train, bench, 66, training) - waits(train, bench, 2, training)
    assert more_waits <= more_steps / READ_TOGETHER


def test_the_losses_of_a_training_on_a_gpu_are_those_of_a_cpu(
    bench: Bench, workshop: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)  # which rounds to a thousandth
    settings = TrainingSettings.model_validate(SETTINGS | {"epochs": 4, "validate_every": 1})
    config = FinetuneConfig(backbone=STUDENT, views=VIEWS, training=settings)
    curves = []
    for where, device in ((bench, "cpu"), (workshop, "cuda")):
        ref = where.run(FINETUNE, config, images=where.images, probe=where.student_probe, runtime={"device": device})
        curves.append([row["loss"] for row in read_table(where.path(ref) / "history.parquet")[1:]])
    assert len(curves[0]) == 4
    np.testing.assert_allclose(curves[1], curves[0], rtol=2e-3)
