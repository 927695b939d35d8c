"""Stage "ingest-unlabelled": which images without labels a teacher may speak for."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from taskdistill.configs.data import UnlabelledConfig
from taskdistill.storage.errors import SourceChangedError
from taskdistill.storage.image_set import ImageRow, ImageSet, write_index, write_shard
from taskdistill.storage.tables import read_table
from taskdistill.tasks.catalog import INGEST_UNLABELLED
from taskdistill.tasks.data.candidates import DatasetError
from taskdistill.tasks.data.unlabelled import find_unlabelled
from taskdistill.tasks.stage import StageContext
from taskdistill.tasks.stages.ingest_unlabelled import run
from tests.conftest import RUNTIME, Bench
from tests.fakes import draw_shape


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Nine pictures that are in no split, three of them in a folder below."""
    (tmp_path / "more/deeper").mkdir(parents=True)
    for number in range(9):
        place = tmp_path / "more" / ("deeper" if number > 5 else "")
        draw_shape("disc", 7000 + number).save(place / f"{number}.png")
    return tmp_path / "more"


def made(bench: Bench, folder: Path, **settings: float) -> ImageSet:
    config = UnlabelledConfig(path=str(folder), **settings)
    return ImageSet.open(bench.path(bench.run(INGEST_UNLABELLED, config, images=bench.images)))


def test_every_picture_at_any_depth_becomes_a_training_image_without_label(workshop: Bench, folder: Path) -> None:
    images = made(workshop, folder)
    assert images.ids == [f"{number}.png" for number in range(6)] + [f"deeper/{number}.png" for number in (6, 7, 8)]
    assert set(images.splits) == {"train"}
    assert set(images.labels) == {-1}
    assert images.image(8) == (folder / "deeper/8.png").read_bytes()


def test_of_fewer_images_the_same_are_taken_each_time_and_it_is_said(
    workshop: Bench, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    some, more = made(workshop, folder, max_images=4), made(workshop, folder, max_images=6)
    assert (len(some), len(more)) == (4, 6)
    assert set(some.ids) < set(more.ids)
    assert "4 of 9 images are taken (unlabelled.max_images)" in caplog.text


def test_names_that_the_dataset_has_are_free_for_every_picture(workshop: Bench, folder: Path) -> None:
    taken = ImageSet.open(workshop.path(workshop.images)).ids[0]
    for number, path in enumerate((folder / taken, folder / "unlabelled" / taken)):
        path.parent.mkdir(parents=True)
        draw_shape("disc", 7100 + number).save(path)
    images = made(workshop, folder)
    assert {f"unlabelled/{taken}", f"unlabelled/unlabelled/{taken}"} < set(images.ids)
    assert len(set(images.ids)) == 11


def test_images_that_are_judged_on_or_labelled_already_are_left_out_and_said(
    workshop: Bench, folder: Path, shapes_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copy(shapes_folder / "val/disc/000.png", folder / "a-val-image.png")
    shutil.copy(shapes_folder / "test/disc/001.png", folder / "a-test-image.png")
    shutil.copy(shapes_folder / "train/frame/002.png", folder / "a-training-image.png")
    images = made(workshop, folder)
    assert len(images) == 9
    left_out = {row["path"]: row["reason"] for row in read_table(images.folder / "left-out.parquet")}
    assert left_out == {
        "a-val-image.png": "identical to a val or test image",
        "a-test-image.png": "identical to a val or test image",
        "a-training-image.png": "identical to an image of the dataset",
    }
    assert "2 unlabelled images are byte for byte images of val or test, such as 'a-test-image.png'" in caplog.text


def test_the_dataset_itself_has_nothing_new(workshop: Bench, shapes_folder: Path) -> None:
    with pytest.raises(DatasetError, match="of 48 unlabelled images none can be used"):
        made(workshop, shapes_folder)


def test_broken_images_are_set_aside_up_to_a_share(workshop: Bench, folder: Path) -> None:
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(DatasetError, match=r"1 of 10 unlabelled images cannot be used, more than unlabelled\.max_qua"):
        made(workshop, folder)
    images = made(workshop, folder, max_quarantined_share=0.2)
    assert "broken.png" not in images.ids
    assert len(images) == 9


def test_an_image_beyond_the_limits_is_set_aside_by_the_name_of_its_setting(workshop: Bench, folder: Path) -> None:
    Image.new("RGB", (100, 20)).save(folder / "wide.png")
    with pytest.raises(DatasetError, match=r"100x20 pixels; the limits are 64 a side \(unlabelled.max_side_px\)"):
        made(workshop, folder, max_side_px=64)


@pytest.mark.parametrize("path", ["", "empty"])
def test_no_images_at_all_are_refused_with_the_setting_that_names_them(
    workshop: Bench, tmp_path: Path, path: str
) -> None:
    (tmp_path / "empty").mkdir()
    config = UnlabelledConfig(path=str(tmp_path / path) if path else "")
    with pytest.raises(DatasetError, match=r"set unlabelled\.path to a folder of images"):
        workshop.run(INGEST_UNLABELLED, config, images=workshop.images)


def test_a_folder_that_changes_while_it_is_read_is_not_committed(
    bench: Bench, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def and_one_more(*arguments: object, **named: object) -> object:
        draw_shape("disc", 1).save(folder / "late.png")
        return find_unlabelled(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr("taskdistill.tasks.stages.ingest_unlabelled.find_unlabelled", and_one_more)
    with pytest.raises(SourceChangedError, match="changed while it was being read"):
        made(bench, folder)


def test_a_killed_run_goes_on_where_it_was(bench: Bench, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class KilledError(Exception):
        pass

    def die(unit: str, done: int, total: int) -> None:
        if done >= 6:
            raise KilledError

    monkeypatch.setattr("taskdistill.tasks.stages.ingest_unlabelled.SHARD_ROWS", 3)
    config = UnlabelledConfig(path=str(folder))
    with pytest.raises(KilledError):
        bench.run(INGEST_UNLABELLED, config, images=bench.images, on_progress=die)
    [draft] = bench.store.drafts().values()
    before = {path.name: path.stat().st_mtime_ns for path in (draft / "shards").iterdir()}
    images = made(bench, folder)
    after = {path.name: path.stat().st_mtime_ns for path in (images.folder / "shards").iterdir()}
    assert len(before) == 2
    assert len(after) == 3
    assert before.items() <= after.items()


# --- images of the dataset that have no label ----------------------------------------------------------------------


def with_unlabelled_rows(folder: Path) -> ImageSet:
    """A set as ingest makes it of a dataset in which some images have no label."""
    content = [(Path(f"{number}.png"), np.full((4, 4, 3), number, np.uint8)) for number in range(6)]
    for path, pixels_HW3 in content:
        Image.fromarray(pixels_HW3).save(folder / path)
    splits = ["train", "val", "test", "unlabelled", "unlabelled", "unlabelled"]
    bytes_of = [(folder / path).read_bytes() for path, _ in content]
    bytes_of[4] = bytes_of[1]  # is the image of val
    rows = [
        ImageRow(f"{number}.png", data, 4, 4, split, None if split == "unlabelled" else 0)
        for number, (data, split) in enumerate(zip(bytes_of, splits, strict=True))
    ]
    write_shard(folder / "set", 0, rows)
    write_index(folder / "set", classes=["a", "b"], num_shards=1)
    return ImageSet.open(folder / "set")


def test_images_of_the_dataset_without_label_come_along_and_names_that_meet_are_kept_apart(tmp_path: Path) -> None:
    images = with_unlabelled_rows(tmp_path)
    (tmp_path / "more").mkdir()
    Image.new("RGB", (4, 4), "red").save(tmp_path / "more/3.png")
    found = find_unlabelled(UnlabelledConfig(path=str(tmp_path / "more")), images)
    assert [(one.id, one.path is None, one.row) for one in found.images] == [
        ("3.png", True, 3),
        ("4.png", True, 4),
        ("5.png", True, 5),
        ("unlabelled/3.png", False, -1),
    ]


def test_of_them_too_those_that_are_judged_on_are_left_out(tmp_path: Path) -> None:
    dataset, draft = with_unlabelled_rows(tmp_path), tmp_path / "draft"
    draft.mkdir()
    run(UnlabelledConfig(), StageContext({"images": dataset.folder}, draft, RUNTIME))
    images = ImageSet.open(draft)
    assert images.ids == ["3.png", "5.png"]
    assert [images.image(row) for row in (0, 1)] == [dataset.image(row) for row in (3, 5)]
