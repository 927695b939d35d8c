"""Digests noted while files are written: a commit reads none of what is noted, and believes nothing that changed."""

import hashlib
import math
import os
from pathlib import Path

import numpy as np
import pytest

from taskdistill.storage import notes
from taskdistill.storage.contents import Contents
from taskdistill.storage.errors import DraftError
from taskdistill.storage.fingerprint import fingerprint
from taskdistill.storage.image_set import ImageRow, shard_path, write_index, write_shard
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.notes import NOTES, noted
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.upkeep import verify
from taskdistill.storage.view_outputs import Part
from taskdistill.storage.view_writer import Layout, ViewOutputsWriter
from tests.storage.artifacts import recipe_of

IDS = [f"{number}.png" for number in range(600)]
WIDTH = 4096
CHUNK = "outputs.zarr/clean/outputs/c/0/0/0"
CHUNK_BYTES = 128 * WIDTH * 2 + 4
RECIPE = recipe_of("features", {})
REF = ArtifactRef("features", fingerprint(RECIPE))
CONTENTS = Contents(made=("rows.parquet", "outputs.zarr/*"))


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "store")


@pytest.fixture
def draft(store: ArtifactStore) -> Path:
    with store.lock(REF):
        return store.draft(REF, RECIPE)


def open_writer(draft: Path) -> ViewOutputsWriter:
    parts = [Part(np.arange(len(IDS)), range(1))]
    return ViewOutputsWriter(draft, ids=IDS, parts=parts, layout=lambda: Layout((WIDTH,), {"images": "i" * 64}))


def fill(draft: Path) -> ViewOutputsWriter:
    writer = open_writer(draft)
    for chunk in writer.missing():
        size, random = chunk.stop - chunk.start, np.random.default_rng(chunk.start)
        outputs = random.standard_normal((size, WIDTH)).astype(np.float16)
        writer.write(chunk, outputs, np.zeros((size, 9), np.float32), np.zeros((size, 64), np.uint8))
    return writer


def commit(store: ArtifactStore) -> dict[str, str]:
    """Commit, and return the digest of each file by the manifest."""
    with store.lock(REF):
        store.commit(REF, recipe=RECIPE, inputs={}, summary={}, contents=CONTENTS)
    return {name: record.sha256 for name, record in store.manifest(REF).files.items()}


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def bytes_read() -> int:
    """How many bytes this process has read from files so far, by the count of the kernel."""
    counts = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(counts["rchar"])


def test_the_manifest_tells_the_digests_of_the_bytes_that_lie_there(store: ArtifactStore, draft: Path):
    fill(draft).flush()
    assert {"rows.parquet", "outputs.zarr/zarr.json", "outputs.zarr/clean/views/zarr.json", CHUNK} < noted(draft).keys()
    digests = commit(store)
    assert digests == {name: sha256(store.path(REF) / name) for name in digests}
    assert not list(verify(store, REF))


@pytest.mark.skipif(not Path("/proc/self/io").is_file(), reason="only Linux counts what a process reads")
def test_a_commit_reads_less_than_one_chunk_of_all_that_was_written_and_put_on_the_disk(
    store: ArtifactStore, draft: Path
):
    fill(draft).flush()
    before = bytes_read()
    digests = commit(store)
    assert bytes_read() - before < CHUNK_BYTES / 2
    assert sum("outputs/c/" in name for name in digests) == 5


@pytest.mark.skipif(not Path("/proc/self/io").is_file(), reason="only Linux counts what a process reads")
def test_a_commit_reads_what_nobody_noted(store: ArtifactStore, draft: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(notes, "SYNC_SECONDS", math.inf)  # nobody waits for the disk before the commit
    fill(draft)
    assert not noted(draft).keys() & {CHUNK}
    before = bytes_read()
    commit(store)
    assert bytes_read() - before > 2 * 5 * CHUNK_BYTES  # for its checksum, and for its digest


def test_a_chunk_that_was_damaged_after_it_was_noted_is_found(store: ArtifactStore, draft: Path):
    fill(draft).flush()
    with (draft / CHUNK).open("r+b") as file:
        file.write(b"\xff\xff\xff")
    assert CHUNK not in noted(draft)
    with pytest.raises(DraftError, match=r"1 file of features@.* was not whole and removed"):
        commit(store)


def test_a_file_that_was_replaced_after_it_was_noted_is_read(store: ArtifactStore, draft: Path):
    fill(draft).flush()
    first, second = draft / CHUNK, draft / CHUNK.replace("c/0", "c/1")
    status, data = first.stat(), second.read_bytes()
    first.unlink()
    first.write_bytes(data)
    os.utime(first, ns=(status.st_atime_ns, status.st_mtime_ns))
    digests = commit(store)
    assert digests[CHUNK] == digests[CHUNK.replace("c/0", "c/1")] == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("tail", [b"", b"\0" * 40, b'["outputs.zarr/zarr.js', b"[]", b'["a", 1, "b"]', b"\xff\n3"])
def test_notes_that_a_power_cut_tore_say_nothing(store: ArtifactStore, draft: Path, tail: bytes):
    fill(draft).flush()
    for torn in (draft / NOTES).iterdir():
        torn.write_bytes(torn.read_bytes()[:-40] + tail)
    digests = commit(store)
    assert digests == {name: sha256(store.path(REF) / name) for name in digests}


def test_what_another_process_noted_is_known(store: ArtifactStore, draft: Path):
    child = os.fork()
    if not child:
        fill(draft).flush()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert noted(draft)[CHUNK].sha256 == sha256(draft / CHUNK)


def test_the_notes_of_a_draft_are_no_part_of_the_artifact(
    store: ArtifactStore, draft: Path, caplog: pytest.LogCaptureFixture
):
    fill(draft).flush()
    commit(store)
    assert not (store.path(REF) / NOTES).exists()
    assert "none of the artifact's" not in caplog.text


def test_a_shard_of_images_is_noted_and_nothing_is_outside_of_drafts(draft: Path, tmp_path: Path):
    rows = [ImageRow("a.png", b"abc" * 1000, 8, 8, "train", 0)]
    for folder in (draft, tmp_path / "elsewhere"):
        write_shard(folder, 0, rows)
        write_index(folder, classes=["robin"], num_shards=1)
    assert noted(draft)["shards/00000.parquet"].sha256 == sha256(shard_path(draft, 0))
    assert not (tmp_path / "elsewhere" / NOTES).exists()
