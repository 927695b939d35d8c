"""Sets of few images: many views of each within a limit for all, and as many optimiser steps as are asked for."""

from pathlib import Path

import pytest

from taskdistill.configs.data import IngestConfig, ViewSettings
from taskdistill.configs.stages import (
    DistillConfig,
    ExtractConfig,
    FinetuneConfig,
    PrecomputeConfig,
    PrecomputeProbedConfig,
    ProbeConfig,
    ProbeImagesConfig,
)
from taskdistill.configs.training import TrainingSettings
from taskdistill.storage.errors import CacheMismatchError
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.view_outputs import ViewOutputs
from taskdistill.tasks.catalog import (
    DISTILL,
    EXTRACT,
    FINETUNE,
    INGEST,
    PRECOMPUTE,
    PRECOMPUTE_PROBED,
    PROBE,
    PROBE_IMAGES,
)
from taskdistill.tasks.data.shown import check_num_views
from tests.conftest import PROBE_SETTINGS, STUDENT, TEACHER, Bench
from tests.fakes import SHAPES, draw_shape
from tests.storage.artifacts import writer_of_every_view

pytestmark = pytest.mark.usefixtures("bare_pictures")

TRAINING = TrainingSettings(epochs=1, batch_size=8, min_steps=5)


def ingest(bench: Bench, folder: Path, num_train: int) -> ArtifactRef:
    """Pictures of two classes, `num_train` of each to train on and one for either other split."""
    for name in list(SHAPES)[:2]:
        for split, count in (("train", num_train), ("val", 1), ("test", 1)):
            (folder / split / name).mkdir(parents=True)
            for number in range(count):
                draw_shape(name, 10 * number + len(split)).save(folder / split / name / f"{number}.png")
    return bench.run(INGEST, IngestConfig(path=str(folder)))


def shown(bench: Bench, features: ArtifactRef) -> dict[str, tuple[int, range]]:
    return {part.name: (len(part.rows), part.views) for part in ViewOutputs(bench.path(features)).parts}


def trained(bench: Bench, images: ArtifactRef, views: ViewSettings) -> list[ArtifactRef]:
    """The whole way from images to a finetuned and a distilled student; returns logits and students."""
    teacher, student = (
        bench.run(EXTRACT, ExtractConfig(backbone=network, views=views), images=images)
        for network in (TEACHER, STUDENT)
    )
    config = ProbeConfig(probe=PROBE_SETTINGS)
    probe, student_probe = (bench.run(PROBE, config, images=images, features=found) for found in (teacher, student))
    logits = bench.run(PRECOMPUTE, PrecomputeConfig(), features=teacher, probe=probe)
    start = {"images": images, "probe": student_probe}
    settings = {"backbone": STUDENT, "views": views, "training": TRAINING}
    finetuned = bench.run(FINETUNE, FinetuneConfig(**settings), **start)
    return [logits, finetuned, bench.run(DISTILL, DistillConfig(**settings), **start, logits=logits)]


def test_two_classes_of_five_images_have_as_many_views_as_the_limit_allows(bench: Bench, tmp_path: Path) -> None:
    images = ingest(bench, tmp_path / "few", 5)
    logits, *students = trained(bench, images, ViewSettings(num_views=64, max_total=125))
    assert shown(bench, logits) == {"clean": (4, range(1)), "augmented": (10, range(1, 13))}
    assert bench.summary(logits)["views"] == 13
    assert [bench.summary(ref)["steps"] for ref in students] == [5, 5]


def test_a_limit_below_the_number_of_images_leaves_each_four_views(bench: Bench, tmp_path: Path) -> None:
    images = ingest(bench, tmp_path / "few", 5)
    logits, *_ = trained(bench, images, ViewSettings(num_views=6, max_total=9))
    assert shown(bench, logits)["augmented"] == (10, range(1, 5))


def test_two_images_of_each_class_the_fewest_there_may_be_can_be_trained_on(bench: Bench, tmp_path: Path) -> None:
    images = ingest(bench, tmp_path / "two", 2)
    logits, *students = trained(bench, images, ViewSettings(num_views=9, max_total=1000))
    assert shown(bench, logits)["augmented"] == (4, range(1, 10))
    assert [bench.summary(ref)["steps"] for ref in students] == [5, 5]


def test_without_cached_features_the_same_views_are_shown(bench: Bench, tmp_path: Path) -> None:
    images, views = ingest(bench, tmp_path / "few", 5), ViewSettings(num_views=64, max_total=65)
    on_images = ProbeImagesConfig(backbone=TEACHER, views=views, probe=PROBE_SETTINGS.model_copy(update={"steps": 20}))
    probe = bench.run(PROBE_IMAGES, on_images, images=images)
    config = PrecomputeProbedConfig(backbone=TEACHER, views=views)
    logits = bench.run(PRECOMPUTE_PROBED, config, images=images, probe=probe)
    assert shown(bench, logits)["augmented"] == (10, range(1, 7))
    assert (bench.summary(logits)["views"], bench.summary(logits)["encoder_forwards"]) == (7, 10 * 6 + 4)


def test_a_limit_that_changes_no_number_is_another_recipe_all_the_same(bench: Bench) -> None:
    """Settings are compared as they stand, so that nobody need count to know what a cache is of."""
    training = DistillConfig(backbone=STUDENT, views=ViewSettings(num_views=2, max_total=10**6), training=TRAINING)
    with pytest.raises(CacheMismatchError, match=r"do not fit\. views: these are of .*'num_views': 2"):
        bench.run(DISTILL, training, images=bench.images, probe=bench.student_probe, logits=bench.logits)


def test_outputs_that_hold_another_number_of_views_are_refused_with_what_to_do(tmp_path: Path) -> None:
    folder = tmp_path / "logits" / ("a" * 64)
    folder.mkdir(parents=True)
    writer_of_every_view(folder, ["x", "y"], num_views=4, row_shape=(3,), attributes={})
    outputs = ViewOutputs(folder)
    check_num_views(outputs, ViewSettings(num_views=3), 2)
    with pytest.raises(
        CacheMismatchError,
        match=r"logits@a{12} hold 3 augmented views of each training image, and 5 were asked for: of 2 images, "
        r"views\.num_views 9 and views\.max_total 10 give each so many\. Discard them \('taskdistill discard logits@a",
    ):
        check_num_views(outputs, ViewSettings(num_views=9, max_total=10), 2)
