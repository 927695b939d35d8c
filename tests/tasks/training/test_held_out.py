"""On which images settings are chosen: validation where it is large, else folds, and never test."""

from pathlib import Path

import pytest

from taskdistill.configs.data import IngestConfig, ViewSettings
from taskdistill.configs.errors import SettingsError
from taskdistill.configs.stages import ExtractConfig, ProbeConfig, ProbeSettings
from taskdistill.storage.errors import CacheMismatchError
from taskdistill.storage.image_set import ImageRow, ImageSet, write_index, write_shard
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.weights import ModelDescription
from taskdistill.tasks.catalog import EXTRACT, INGEST, PROBE
from taskdistill.tasks.models.encoder import build_encoder
from taskdistill.tasks.models.task_model import TaskModel, load_head
from taskdistill.tasks.training.held_out import HeldOut, held_out
from tests.conftest import STUDENT, Bench
from tests.fakes import write_shapes


@pytest.fixture(scope="module")
def folded(workshop: Bench) -> ArtifactRef:
    config = ProbeConfig(probe=ProbeSettings(learning_rates=(1e-2,), steps=5, folds=3))
    return workshop.run(PROBE, config, images=workshop.images, features=workshop.student_features)


def made(folder: Path, **splits: int) -> ImageSet:
    """An image-set of so many rows in each split, which nobody decodes."""
    names = [f"{split}/{number}" for split, count in splits.items() for number in range(count)]
    rows = [ImageRow(name, b"", 9, 9, name.partition("/")[0], label=0) for name in sorted(names)]
    write_shard(folder, 0, rows)
    write_index(folder, classes=["disc"], num_shards=1)
    return ImageSet.open(folder)


def of(bench: Bench, images: ImageSet, probe: ArtifactRef, num_classes: int = 3) -> HeldOut:
    encoder, folder = build_encoder(STUDENT), bench.path(probe)
    description = ModelDescription.read(folder)
    model = TaskModel(encoder, description.blocks, load_head(folder, description, encoder.blocks))
    return held_out(images, num_classes, folder, model)


@pytest.mark.parametrize(("num_val", "num_classes"), [(300, 10), (300, 2), (330, 11)])
def test_a_large_validation_split_is_used_though_the_probe_has_folds(
    workshop: Bench, folded: ArtifactRef, tmp_path: Path, num_val: int, num_classes: int
) -> None:
    found = of(workshop, made(tmp_path, train=5, val=num_val, test=7), folded, num_classes)
    [fold] = found.folds
    assert (fold.number, len(fold.train_N), len(fold.held_out_N), fold.head) == (None, 5, num_val, None)
    assert (found.of, found.said) == ("validation", [])


def test_each_image_of_training_and_validation_is_in_one_fold_and_no_test_image_is(
    workshop: Bench, folded: ArtifactRef
) -> None:
    images = ImageSet.open(workshop.path(workshop.images))
    folds = of(workshop, images, folded).folds
    assert [len(fold.held_out_N) for fold in folds] == [12, 12, 12]
    assert sorted(row for fold in folds for row in fold.held_out_N.tolist()) == images.rows_of("train", "val").tolist()
    for fold in folds:
        assert set(images.splits[fold.train_N]) == {"train"}
        assert not set(fold.train_N) & set(fold.held_out_N)
        assert len(fold.train_N) + sum(images.splits[fold.held_out_N] == "train") == 24


@pytest.mark.parametrize(("num_val", "num_classes"), [(299, 2), (300, 11)])
def test_a_small_one_is_not_used_where_there_are_folds(
    workshop: Bench, folded: ArtifactRef, tmp_path: Path, num_val: int, num_classes: int
) -> None:
    with pytest.raises(CacheMismatchError, match=r"are in no fold of the student's probe"):
        of(workshop, made(tmp_path, train=5, val=num_val), folded, num_classes)


def test_without_validation_and_without_folds_nothing_can_be_chosen(workshop: Bench, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"no validation images to choose settings on.*set tuning\.search to none"):
        of(workshop, made(tmp_path, train=5, test=5), workshop.student_probe)


def test_a_class_whose_training_images_are_all_in_one_fold_is_named(bench: Bench, tmp_path: Path) -> None:
    folder = write_shapes(tmp_path / "shapes", {"train": 6, "val": 6, "test": 1})
    for number in range(2, 6):  # blake2b deals 000 and 001 of train to the same fold of three
        (folder / "train" / "wedge" / f"{number:03d}.png").unlink()
    images = bench.run(INGEST, IngestConfig(path=str(folder)))
    features = bench.run(EXTRACT, ExtractConfig(backbone=STUDENT, views=ViewSettings(num_views=1)), images=images)
    config = ProbeConfig(probe=ProbeSettings(learning_rates=(1e-2,), steps=5, folds=3))
    probe = bench.run(PROBE, config, images=images, features=features)
    [said] = of(bench, ImageSet.open(bench.path(images)), probe).said
    assert said == "fold 1 holds out all training images of 'wedge': there every candidate is wrong"
