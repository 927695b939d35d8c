"""Worlds as datasets on disk, and the perfect mixer."""

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from taskdistill.tasks.miniature.attributes import random_attributes
from taskdistill.tasks.miniature.dataset import DatasetExistsError, write_dataset
from taskdistill.tasks.miniature.world import PARTS, SIDE_PX
from tests.oracle_blends import draw_pairs, oracle_blends


@pytest.fixture(scope="module")
def world_100(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    write_dataset(folder, seed=100, train_per_class=2, val_per_class=1, test_per_class=1)
    return folder


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "images.csv").open() as file:
        return list(csv.DictReader(file))


def test_the_table_names_every_picture_and_mask_once(world_100: Path):
    rows = rows_of(world_100)
    assert list(rows[0]) == ["path", "label", "split", "mask"]
    assert len(rows) == 25 * 4
    named = {row[kind] for row in rows for kind in ("path", "mask")}
    assert named == {path.relative_to(world_100).as_posix() for path in world_100.rglob("*.png")}
    assert [sum(row["split"] == split for row in rows) for split in ("train", "val", "test")] == [50, 25, 25]
    assert all(row["path"].split("/")[1:3] == [row["split"], row["label"]] for row in rows)


def test_pictures_are_rgb_and_masks_hold_part_numbers(world_100: Path):
    for row in rows_of(world_100)[::7]:
        with Image.open(world_100 / row["path"]) as image, Image.open(world_100 / row["mask"]) as mask:
            assert (image.mode, image.size) == ("RGB", (SIDE_PX, SIDE_PX))
            assert (mask.mode, mask.size) == ("L", (SIDE_PX, SIDE_PX))
            assert np.asarray(mask).max() < len(PARTS)


def test_more_training_pictures_leave_the_test_pictures_as_they_were(world_100: Path, tmp_path: Path):
    write_dataset(tmp_path, seed=100, train_per_class=3, val_per_class=1, test_per_class=1)
    for row in rows_of(world_100):
        if row["split"] == "test":
            assert (tmp_path / row["path"]).read_bytes() == (world_100 / row["path"]).read_bytes()


def test_where_few_have_labels_the_others_are_listed_without_and_all_genera_are_among_the_few(tmp_path: Path):
    write_dataset(tmp_path, seed=100, train_per_class=2, val_per_class=1, test_per_class=1, num_labelled=10)
    rows = rows_of(tmp_path)
    few = [row for row in rows if row["split"] == "train"]
    others = [row for row in rows if row["split"] == "unlabelled"]
    assert (len(few), len(others), len(rows)) == (10, 40, 100)
    assert sorted(Counter(row["label"].split("-")[0] for row in few).values()) == [2, 2, 2, 2, 2]
    assert all(row["mask"] for row in few)
    assert not any(row["label"] or row["mask"] for row in others)
    assert {row["mask"] for row in rows if row["mask"]} == {
        path.relative_to(tmp_path).as_posix() for path in (tmp_path / "masks").rglob("*.png")
    }


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(DatasetExistsError, match=r"thesis\.txt"):
        write_dataset(tmp_path, seed=100, train_per_class=1, val_per_class=1, test_per_class=1)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_perfect_blend_takes_each_attribute_from_one_of_its_parents():
    generator = torch.Generator().manual_seed(1)
    parents_a, parents_b = random_attributes(50, generator), random_attributes(50, generator)
    blends = oracle_blends(parents_a, parents_b, seed=3)
    from_a, from_b = blends.attributes_NA == parents_a, blends.attributes_NA == parents_b
    assert (from_a | from_b).all()
    assert 0.4 < from_a[parents_a != parents_b].float().mean() < 0.6
    assert torch.equal(blends.images_NHWC, oracle_blends(parents_a, parents_b, seed=3).images_NHWC)


def test_pairs_are_of_two_different_images():
    pairs = draw_pairs(5, 2000, seed=1)
    assert (pairs[:, 0] != pairs[:, 1]).all()
    assert len({tuple(sorted(pair)) for pair in pairs.tolist()}) == 10
