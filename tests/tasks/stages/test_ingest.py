"""Stage "ingest": what becomes a row, what is set aside and named, what is refused."""

import io
import re
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from taskdistill.configs.data import IngestConfig
from taskdistill.storage.errors import SourceChangedError
from taskdistill.storage.files import read_json, write_json
from taskdistill.storage.image_set import ImageRow, ImageSet, shard_path, write_shard
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.tables import read_table
from taskdistill.storage.upkeep import discard
from taskdistill.tasks.catalog import INGEST
from taskdistill.tasks.data.candidates import DatasetError
from taskdistill.tasks.data.decode_memory import DecodeMemory
from taskdistill.tasks.data.folder import list_images
from taskdistill.tasks.stages.ingest import _read
from tests.conftest import Bench, Run
from tests.fakes import write_shapes
from tests.other_user import as_another_user
from tests.storage.artifacts import TEARS, tear

TOLERANT = {"max_quarantined_share": 0.5}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """train, val and test with 4, 1 and 1 pictures of each of three shapes."""
    return write_shapes(tmp_path / "data", {"train": 4, "val": 1, "test": 1}, side=16)


def open_set(store: ArtifactStore, ref: ArtifactRef) -> ImageSet:
    return ImageSet.open(store.path(ref))


def wide_png(width: int, height: int) -> bytes:
    """A PNG whose header tells of this size and which holds no pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def test_rows_hold_the_original_bytes_in_the_order_of_their_ids(finished_bench: Bench, shapes_folder: Path) -> None:
    images = open_set(finished_bench.store, finished_bench.images)
    assert images.ids == sorted(path.relative_to(shapes_folder).as_posix() for path in shapes_folder.rglob("*.png"))
    for row in (0, 20, 47):
        assert images.image(row) == (shapes_folder / images.ids[row]).read_bytes()
        assert images.ids[row].startswith(f"{images.splits[row]}/{images.classes[images.labels[row]]}/")
        assert (images.heights[row], images.widths[row]) == (40, 40)


def test_sizes_are_those_a_person_sees_after_the_cameras_orientation(
    folder: Path, run: Run, store: ArtifactStore
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (20, 10)).save(folder / "train/disc/turned.jpg", exif=exif)
    images = open_set(store, run(INGEST, IngestConfig(path=str(folder))))
    row = images.ids.index("train/disc/turned.jpg")
    assert (images.heights[row], images.widths[row]) == (20, 10)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty"),
        (b"path,label\na.jpg,cat\n", "^not an image of a format we read .AVIF, .*, WEBP.$"),
        (wide_png(30_000, 10), r"30000x10 pixels; the limits are 16384 a side \(data.max_side_px\)"),
        (wide_png(16_000, 16_000), "16000x16000 pixels; the limits are .* 80 megapixels"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", "not an image of a format we read"),
    ],
    ids=["zero bytes", "text", "too wide", "too many pixels", "a program for Ghostscript"],
)
def test_a_file_that_cannot_be_used_is_set_aside_and_named_with_the_reason(
    folder: Path, run: Run, store: ArtifactStore, content: bytes, reason: str
) -> None:
    (folder / "train/disc/odd.png").write_bytes(content)
    ref = run(INGEST, IngestConfig(path=str(folder), **TOLERANT))
    assert "train/disc/odd.png" not in open_set(store, ref).ids
    summary = store.manifest(ref).summary
    assert (summary["images"], summary["quarantined"]) == (18, 1)
    found = {file["id"]: file["quarantined"] for file in read_table(store.path(ref) / "files.parquet")}
    assert len(found) == 19
    assert found["train/disc/odd.png"] == summary["quarantined_first"]["train/disc/odd.png"]
    assert re.search(reason, found["train/disc/odd.png"])
    assert found["train/disc/000.png"] is None


def test_a_truncated_jpeg_is_set_aside(folder: Path, run: Run, store: ArtifactStore) -> None:
    encoded = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(encoded, "JPEG")
    (folder / "val/wedge/cut.jpg").write_bytes(encoded.getvalue()[:-600])
    ref = run(INGEST, IngestConfig(path=str(folder), **TOLERANT))
    assert "truncated" in store.manifest(ref).summary["quarantined_first"]["val/wedge/cut.jpg"]


def test_more_unusable_files_than_the_share_allows_fail_and_are_named(
    folder: Path, run: Run, store: ArtifactStore
) -> None:
    for number in range(2):
        (folder / f"train/frame/bad{number}.png").write_bytes(b"")
    with pytest.raises(
        DatasetError, match=r"2 of 20 files cannot be used.*0.05 allows. train/frame/bad0.png: the file"
    ):
        run(INGEST, IngestConfig(path=str(folder), max_quarantined_share=0.05))
    assert not store.references()
    assert run(INGEST, IngestConfig(path=str(folder), max_quarantined_share=0.1)) in store


def test_a_class_whose_images_are_all_unusable_is_refused_even_where_the_share_allows_it(
    folder: Path, run: Run
) -> None:
    for file in (folder / "train/wedge").iterdir():
        file.write_bytes(b"")
    with pytest.raises(DatasetError, match=r"\['wedge'\] appear in val or test but in no training image"):
        run(INGEST, IngestConfig(path=str(folder), **TOLERANT))


def test_the_same_bytes_in_two_splits_are_reported_and_those_in_one_are_counted(
    folder: Path, run: Run, store: ArtifactStore
) -> None:
    shutil.copy(folder / "train/disc/000.png", folder / "test/disc/again.png")
    shutil.copy(folder / "train/wedge/000.png", folder / "train/wedge/again.png")
    ref = run(INGEST, IngestConfig(path=str(folder)))
    summary = store.manifest(ref).summary
    assert (summary["duplicates_across_splits"], summary["duplicates_within_splits"]) == (1, 1)
    crossing, within = sorted(read_table(store.path(ref) / "duplicates.parquet"), key=lambda group: group["ids"])
    assert list(zip(crossing["ids"], crossing["splits"], crossing["labels"], strict=True)) == [
        ("test/disc/again.png", "test", "disc"),
        ("train/disc/000.png", "train", "disc"),
    ]
    assert (within["splits"], within["labels"]) == (["train", "train"], ["wedge", "wedge"])


# --- contradicting labels ------------------------------------------------------------------------------------------


@pytest.fixture
def contradicting(folder: Path) -> Path:
    """One picture is a disc in train and a frame in test, another is a disc and a wedge in train."""
    shutil.copy(folder / "train/disc/000.png", folder / "test/frame/disc.png")
    shutil.copy(folder / "train/disc/001.png", folder / "train/wedge/disc.png")
    return folder


def test_contradicting_labels_are_refused_before_any_image_is_decoded(
    contradicting: Path, run: Run, store: ArtifactStore
) -> None:
    with pytest.raises(
        DatasetError,
        match=r"4 images, in groups .* 'test/frame/disc.png \(frame, test\)', 'train/disc/000.png \(disc, train\)'.*"
        r"--set data.contradictions=drop, .*--set data.contradictions=keep",
    ):
        run(INGEST, IngestConfig(path=str(contradicting)))
    (draft,) = store.drafts().values()
    assert not (draft / "shards").exists()


def test_contradicting_images_are_dropped_where_the_settings_say_so_and_named(
    contradicting: Path, run: Run, store: ArtifactStore
) -> None:
    ref = run(INGEST, IngestConfig(path=str(contradicting), contradictions="drop"))
    assert len(open_set(store, ref)) == 16
    left_out = read_table(store.path(ref) / "left-out.parquet")
    assert {(one["path"], one["reason"]) for one in left_out} == {
        (path, "contradicting labels")
        for path in ("test/frame/disc.png", "train/disc/000.png", "train/disc/001.png", "train/wedge/disc.png")
    }
    assert "'train/disc/001.png (disc, train)'" in left_out[-1]["detail"]
    summary = store.manifest(ref).summary
    assert (summary["left_out"], summary["contradicting_labels"]) == ({"contradicting labels": 4}, 0)
    assert "4 images, in groups of identical files" in summary["said"][0]


def test_contradicting_images_are_kept_where_the_settings_say_so_and_counted(
    contradicting: Path, run: Run, store: ArtifactStore
) -> None:
    ref = run(INGEST, IngestConfig(path=str(contradicting), contradictions="keep"))
    assert len(open_set(store, ref)) == 20
    summary = store.manifest(ref).summary
    assert (summary["contradicting_labels"], summary["duplicates_across_splits"]) == (2, 1)


# --- what is said --------------------------------------------------------------------------------------------------


def test_the_manifest_tells_classes_splits_and_what_was_left_out(folder: Path, run: Run, store: ArtifactStore) -> None:
    (folder / "train/disc/notes.txt").touch()
    (folder / "train/disc/Thumbs.db").touch()
    (folder / "test/wedge/000.png").unlink()
    ref = run(INGEST, IngestConfig(path=str(folder)))  # two files of twenty are no images: none counts as broken
    summary = store.manifest(ref).summary
    assert summary["counts"] == {
        "disc": {"train": 4, "val": 1, "test": 1},
        "frame": {"train": 4, "val": 1, "test": 1},
        "wedge": {"train": 4, "val": 1, "test": 0},
    }
    assert summary["left_out"] == {"litter": 1, "not an image": 1, "no images in it": 1}
    assert "test has no image of 1 of 3 classes, so no score tells of 'wedge'" in summary["said"]
    assert [(one["path"], one["reason"]) for one in read_table(store.path(ref) / "left-out.parquet")] == [
        ("train/disc/Thumbs.db", "litter"), ("train/disc/notes.txt", "not an image"), ("test/wedge", "no images in it"),
    ]  # fmt: skip


def test_counts_are_said_of_what_is_listed_and_again_of_what_was_kept(
    folder: Path, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    (folder / "train/disc/000.png").write_bytes(b"")
    (folder / "train/frame/001.png").write_bytes(b"no picture")
    (folder / "train/disc/001.png").write_bytes(b"no picture")
    run(INGEST, IngestConfig(path=str(folder), **TOLERANT))
    listed = "3 classes, images: train 12, val 3, test 3; for training 4 of each class"
    kept = "3 classes, images: train 9, val 3, test 3; for training from 2 of 'disc' to 4 of 'wedge'"
    told = [message for message in caplog.messages if message.startswith(("listed", "kept"))]
    assert told == [f"listed, before any image is read: {listed}", f"kept, without the 3 set aside: {kept}"]


def test_where_nothing_was_set_aside_all_that_was_listed_is_said_to_be_kept(
    folder: Path, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    run(INGEST, IngestConfig(path=str(folder)))
    assert "kept: every image that was listed" in caplog.messages


def test_an_ingest_that_failed_has_named_the_full_path_of_the_table_of_what_was_left_out(
    folder: Path, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    (folder / "train/disc/notes.txt").touch()
    (folder / "train/disc/000.png").write_bytes(b"no picture")
    with pytest.raises(DatasetError, match="1 of 18 files cannot be used"):
        run(INGEST, IngestConfig(path=str(folder)))
    (said,) = [message for message in caplog.messages if "left-out.parquet" in message]
    path = Path(said.removeprefix("each is named in ").removesuffix(", which becomes part of the image-set"))
    assert [one["path"] for one in read_table(path)] == ["train/disc/notes.txt"]


def test_a_class_that_a_split_lost_to_broken_files_is_told(
    folder: Path, run: Run, store: ArtifactStore, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "test/wedge/000.png").write_bytes(b"<html>")
    run(INGEST, IngestConfig(path=str(folder), **TOLERANT))
    assert "test has no image of 1 of 3 classes, so no score tells of 'wedge'" in caplog.messages


def test_a_picture_that_may_not_be_read_ends_in_one_sentence(folder: Path) -> None:
    (folder / "train/disc/000.png").chmod(0)
    (found, *_) = list_images(IngestConfig(path=str(folder / "train"))).candidates
    said = as_another_user(folder, lambda: str(_read(IngestConfig(), found, 0, DecodeMemory(64))))
    assert said.startswith(f"SourceError: {folder}/train/disc/000.png cannot be read (Permission denied): make it")


# --- a draft that is continued -------------------------------------------------------------------------------------


@pytest.mark.parametrize("record", ["of other classes", "missing", "empty"])
def test_shards_begun_with_another_order_of_classes_are_made_again(
    folder: Path, run: Run, store: ArtifactStore, monkeypatch: pytest.MonkeyPatch, record: str
) -> None:
    monkeypatch.setattr("taskdistill.tasks.stages.ingest.SHARD_ROWS", 5)

    def stop(unit: str, done: int, total: int) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(INGEST, IngestConfig(path=str(folder)), on_progress=stop)
    (draft,) = store.drafts().values()
    rows = pq.read_table(shard_path(draft, 0)).to_pylist()
    write_shard(draft, 0, [ImageRow(**(row | {"label": (row["label"] + 1) % 3})) for row in rows])
    listing = draft / "notes/listing.json"
    if record == "of other classes":
        write_json(listing, read_json(listing) | {"classes": ["wedge", "frame", "disc"]})
    elif record == "empty":  # as a power cut leaves it
        listing.write_bytes(b"")
    else:  # as versions before this one left it
        listing.unlink()
    images = ImageSet.open(store.path(run(INGEST, IngestConfig(path=str(folder)))))
    named = [images.classes[label] for label in images.labels]
    assert named == [image_id.split("/")[1] for image_id in images.ids]


def test_splits_that_had_to_be_made_are_said(tmp_path: Path, run: Run, store: ArtifactStore) -> None:
    folder = write_shapes(tmp_path / "flat", {"": 10}, side=16)
    summary = store.manifest(run(INGEST, IngestConfig(path=str(folder), test_share=0.2))).summary
    assert len(summary["made_splits"]) == 2
    for split, count in (("test", summary["splits"]["test"]), ("val", summary["splits"]["val"])):
        assert any(f"names no {split} split: {count} training" in sentence for sentence in summary["made_splits"])
    assert sum(summary["splits"].values()) == 30


def test_a_dataset_with_all_its_splits_has_none_made(finished_bench: Bench) -> None:
    assert finished_bench.summary(finished_bench.images)["made_splits"] == []


@pytest.mark.parametrize("change", ["edit", "add", "remove"])
def test_a_folder_that_changes_while_it_is_read_is_refused(
    folder: Path, run: Run, store: ArtifactStore, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    monkeypatch.setattr("taskdistill.tasks.stages.ingest.SHARD_ROWS", 6)

    def meddle(unit: str, done: int, total: int) -> None:
        """Called after every sixth image: the first six have been read, the last six have not."""
        if done == 6:
            meddle_with[change]()

    last = folder / "val/wedge/000.png"
    meddle_with = {
        "edit": lambda: shutil.copy(folder / "train/disc/001.png", last),
        "add": lambda: shutil.copy(last, folder / "train/disc/new.png"),
        "remove": (folder / "test/disc/000.png").unlink,
    }

    with pytest.raises(SourceChangedError, match=r"changed while it was being read.*taskdistill discard image-set@"):
        run(INGEST, IngestConfig(path=str(folder)), on_progress=meddle)
    assert not store.references()


def test_after_an_unseen_change_running_again_helps_however_often_the_content_goes_and_comes(
    folder: Path, run: Run, store: ArtifactStore
) -> None:
    """As on a file system that hides changes: the remembered digest is of other content than what is read."""
    config, first = IngestConfig(path=str(folder)), folder / "train/disc/000.png"
    original, other = first.read_bytes(), (folder / "train/disc/001.png").read_bytes()

    def change_unseen(data: bytes) -> None:
        before = store.sources.digest(str(folder))
        first.write_bytes(data)
        now = store.sources.digest(str(folder))
        [record] = (store.root / "sources").iterdir()
        record.write_text(record.read_text().replace(now, before))

    store.sources.digest(str(folder))
    made = []
    for data in (other, original, other):
        change_unseen(data)
        with pytest.raises(SourceChangedError, match="run the same command again"):
            run(INGEST, config)
        made.append(run(INGEST, config))
        discard(store, made[-1])
    assert made[0] == made[2] != made[1]


def test_moving_the_folder_rebuilds_nothing_and_editing_a_file_makes_another_image_set(
    folder: Path, tmp_path: Path, run: Run
) -> None:
    first = run(INGEST, IngestConfig(path=str(folder)))
    moved = folder.rename(tmp_path / "moved")
    assert run(INGEST, IngestConfig(path=str(moved))) == first
    (moved / "train/disc/000.png").write_bytes((moved / "train/disc/001.png").read_bytes())
    assert run(INGEST, IngestConfig(path=str(moved))) != first


def test_an_interrupted_ingest_continues_at_the_first_unfinished_shard(
    folder: Path, run: Run, store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskdistill.tasks.stages.ingest.SHARD_ROWS", 5)  # 18 images: shards of 5, 5, 5, 3
    config = IngestConfig(path=str(folder))
    reports: list[int] = []

    def stop(unit: str, done: int, total: int) -> None:
        reports.append(done)
        if done == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(INGEST, config, on_progress=stop)
    (draft,) = store.drafts().values()
    finished = {path: path.stat().st_ino for path in (draft / "shards").iterdir()}
    assert len(finished) == 2

    kept: dict[str, int] = {}

    def look(unit: str, done: int, total: int) -> None:
        kept.update({path.name: path.stat().st_ino for path in finished})

    images = open_set(store, run(INGEST, config, on_progress=look))
    assert kept == {path.name: inode for path, inode in finished.items()}  # not one of them was written again
    assert images.ids == sorted(images.ids)
    assert len(images) == 18
    assert [len(images.image(row)) for row in range(18)] == [(folder / name).stat().st_size for name in images.ids]


@pytest.mark.parametrize("how", [*TEARS, "gone"])
@pytest.mark.parametrize("name", ["shards/00001.parquet", "notes/00001.json"])
def test_a_shard_that_a_power_cut_tore_is_made_again_and_no_other(
    folder: Path, run: Run, store: ArtifactStore, monkeypatch: pytest.MonkeyPatch, name: str, how: str
) -> None:
    monkeypatch.setattr("taskdistill.tasks.stages.ingest.SHARD_ROWS", 5)  # 18 images: shards of 5, 5, 5, 3
    config = IngestConfig(path=str(folder))

    def stop(unit: str, done: int, total: int) -> None:
        if done == 15:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(INGEST, config, on_progress=stop)
    (draft,) = store.drafts().values()
    # By time, as the number of a file that is gone may be given to the next one.
    shards = {path.name: path.stat().st_mtime_ns for path in (draft / "shards").iterdir()}
    (draft / name).unlink() if how == "gone" else tear(draft / name, how)
    ref = run(INGEST, config)
    new = store.path(ref) / "shards"
    assert {name for name, written in shards.items() if (new / name).stat().st_mtime_ns == written} == {
        "00000.parquet",
        "00002.parquet",
    }
    images = open_set(store, ref)
    assert [images.image(row) for row in range(18)] == [(folder / name).read_bytes() for name in images.ids]


def test_death_after_the_last_shard_costs_no_decoding(
    folder: Path, run: Run, store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("taskdistill.storage.store.records_of", die)  # the digests of a commit
    with pytest.raises(KeyboardInterrupt):
        run(INGEST, IngestConfig(path=str(folder)))
    monkeypatch.undo()
    monkeypatch.setattr("taskdistill.tasks.data.reading.look_at", die)
    images = open_set(store, run(INGEST, IngestConfig(path=str(folder))))
    assert len(images) == 18


# --- masks ---------------------------------------------------------------------------------------------------------


def with_masks(folder: Path, masks: dict[str, Image.Image]) -> IngestConfig:
    """Write a table of the folder's images, some of them with a mask, and return the settings that read it."""
    lines = ["path,label,split,mask"]
    for path in sorted(folder.rglob("*.png")):
        split, label, name = path.relative_to(folder).parts
        mask = masks.get(name.removesuffix(".png")) if split == "train" and label == "disc" else None
        place = f"masks/{name}" if mask else ""
        lines.append(f"{split}/{label}/{name},{label},{split},{place}")
    (folder / "masks").mkdir()
    for name, mask in masks.items():
        mask.save(folder / "masks" / f"{name}.png")
    (folder / "table.csv").write_text("\n".join(lines) + "\n")
    return IngestConfig(path=str(folder), form="table", table="table.csv", max_quarantined_share=0.5)


def test_a_mask_is_kept_as_it_came_beside_its_image(folder: Path, run: Run, store: ArtifactStore) -> None:
    mask = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16))
    images = open_set(store, run(INGEST, with_masks(folder, {"000": mask})))
    row = images.ids.index("train/disc/000.png")
    assert images.mask(row) == (folder / "masks/000.png").read_bytes()
    assert images.mask(row + 1) is None


@pytest.mark.parametrize(
    ("mask", "reason"),
    [
        (Image.new("L", (16, 8)), "its mask 000.png: it is 16x8 pixels, the upright image 16x16"),
        (Image.new("RGB", (16, 16)), "one 8-bit channel or a palette, found PNG RGB"),
    ],
    ids=["another size", "colours"],
)
def test_an_image_whose_mask_cannot_be_its_own_is_set_aside_saying_why(
    folder: Path, run: Run, store: ArtifactStore, mask: Image.Image, reason: str
) -> None:
    ref = run(INGEST, with_masks(folder, {"000": mask}))
    set_aside = {row["id"]: row["quarantined"] for row in read_table(store.path(ref) / "files.parquet")}
    assert reason in set_aside["train/disc/000.png"]
    assert "train/disc/000.png" not in open_set(store, ref).ids
