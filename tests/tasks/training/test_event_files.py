"""Event files of a training, read back by TensorBoard's own reader."""

import itertools
from pathlib import Path
from typing import Any

import pytest

from taskdistill.configs.stages import FinetuneConfig
from taskdistill.configs.training import TrainingSettings
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.tables import read_table
from taskdistill.tasks.catalog import FINETUNE
from tests.conftest import STUDENT, VIEWS, Bench

pytest.importorskip("tensorboard", reason="the package tensorboard is not installed: extra trackers")

pytestmark = pytest.mark.usefixtures("bare_pictures")

# 24 training images in batches of 8: two epochs are 6 steps.
CONFIG = FinetuneConfig(
    backbone=STUDENT, views=VIEWS, training=TrainingSettings(epochs=2, batch_size=8, learning_rate=1e-3)
)


def finetune(bench: Bench, folder: Path, **how: Any) -> ArtifactRef:
    runtime = {"tensorboard": str(folder), "checkpoint_seconds": 1e-9}
    return bench.run(FINETUNE, CONFIG, images=bench.images, probe=bench.student_probe, runtime=runtime, **how)


def points(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Return step and value of each point, by the tag of its curve, of the one run in a folder."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    [run] = folder.iterdir()
    found = EventAccumulator(str(run), size_guidance={"scalars": 0}).Reload()
    return {tag: [(one.step, one.value) for one in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def test_losses_rates_and_scores_are_those_of_the_learning_curve(bench: Bench, tmp_path: Path) -> None:
    history = read_table(bench.path(finetune(bench, tmp_path / "events")) / "history.parquet")
    curves = points(tmp_path / "events")
    assert curves.keys() == {"train/loss", "train/task_loss", "train/learning_rate", "val/top1"}
    assert [step for step, _ in curves["train/loss"]] == [1, 2, 3, 4, 5, 6]
    assert [step for step, _ in curves["train/learning_rate"]] == [1, 2, 3, 4, 5, 6]
    scores = [(row["step"], pytest.approx(row["val_score"], rel=1e-6)) for row in history]
    assert curves["val/top1"] == scores
    # A row has the mean loss of the steps since the row before.
    losses = dict(curves["train/loss"])
    for before, row in itertools.pairwise(history):
        steps = range(before["step"] + 1, row["step"] + 1)
        assert sum(losses[step] for step in steps) / len(steps) == pytest.approx(row["loss"], rel=1e-5)


def test_a_training_that_is_continued_has_every_point_once(bench: Bench, workshop: Bench, tmp_path: Path) -> None:
    def die(unit: str, done: int, total: int) -> None:
        if done == 4:  # in the midst of the step after the last checkpoint
            raise KeyboardInterrupt

    undisturbed = finetune(workshop, tmp_path / "undisturbed")
    with pytest.raises(KeyboardInterrupt):
        finetune(bench, tmp_path / "continued", on_progress=die)
    assert finetune(bench, tmp_path / "continued") == undisturbed
    assert points(tmp_path / "continued") == points(tmp_path / "undisturbed")
    assert len(list((tmp_path / "continued").glob("*/events.*"))) == 2


def test_event_files_are_no_part_of_the_artifact(bench: Bench, workshop: Bench, tmp_path: Path) -> None:
    told = finetune(bench, tmp_path / "events")
    untold = workshop.run(FINETUNE, CONFIG, images=workshop.images, probe=workshop.student_probe)
    assert told == untold
    assert bench.store.manifest(told).files == workshop.store.manifest(untold).files


def test_a_folder_that_cannot_be_written_to_costs_no_training(
    bench: Bench, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "events").write_text("a file")
    assert finetune(bench, tmp_path / "events") in bench.store
    assert caplog.text.count("The training goes on without") == 1
