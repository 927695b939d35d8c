"""Damage that happened before the digests were taken: only the formats can prove it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from taskdistill.storage.completeness import gaps
from taskdistill.storage.files import all_files, read_json, write_json
from taskdistill.storage.manifest import records_of
from taskdistill.storage.proof import damage_of
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.upkeep import verify
from tests.storage.artifacts import commit_every_format, flip_a_bit, write_every_format

Damage = Callable[[bytes], bytes]

DAMAGES: dict[str, Damage] = {
    "emptied": lambda data: b"",
    "cut short": lambda data: data[: len(data) // 2],
    "zeroed": lambda data: bytes(len(data)),
}
FILES = [
    "cells.parquet",
    "history.parquet",
    "image-set.json",
    "model.json",
    "model.safetensors",
    "outputs.zarr/clean/outputs/c/0/0/0",
    "outputs.zarr/clean/outputs/zarr.json",
    "outputs.zarr/clean/thumbnails/c/0/0/0",
    "outputs.zarr/clean/thumbnails/zarr.json",
    "outputs.zarr/clean/views/c/0/0/0",
    "outputs.zarr/clean/views/zarr.json",
    "outputs.zarr/clean/zarr.json",
    "outputs.zarr/zarr.json",
    "picture.png",
    "rows.parquet",
    "shards/00000.parquet",
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Every kind of file that artifacts hold, whole."""
    write_every_format(tmp_path)
    grey = np.random.default_rng(0).integers(0, 255, (20, 20), dtype=np.uint8)
    Image.fromarray(grey).save(tmp_path / "picture.png")
    return tmp_path


def named(folder: Path) -> set[str]:
    names = [path.relative_to(folder).as_posix() for path in all_files(folder)]
    return {name for name in names if damage_of(folder / name)} | {gap.name for gap in gaps(folder, names)}


def test_whole_files_prove_to_be_whole(folder: Path):
    assert [path.relative_to(folder).as_posix() for path in all_files(folder)] == FILES
    assert named(folder) == set()


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", FILES)
def test_a_file_that_a_power_cut_damaged_is_named(folder: Path, name: str, damage: str):
    (folder / name).write_bytes(DAMAGES[damage]((folder / name).read_bytes()))
    assert name in named(folder)


def test_a_flipped_bit_is_found_where_the_format_has_a_checksum(folder: Path):
    image = (folder / "shards/00000.parquet").read_bytes().find(bytes([2]) * 50) + 25
    for name, position in [("outputs.zarr/clean/outputs/c/0/0/0", None), ("picture.png", None), (FILES[-1], image)]:
        flip_a_bit(folder / name, position)
        assert named(folder) == {name}
        flip_a_bit(folder / name, position)


def test_a_chunk_a_shard_and_rows_that_were_never_written_are_missed(folder: Path):
    (folder / "outputs.zarr/clean/views/c/0/0/0").unlink()
    index = read_json(folder / "image-set.json")
    write_json(folder / "image-set.json", index | {"shards": [3, 4]})
    names = [path.relative_to(folder).as_posix() for path in all_files(folder)]
    assert dict(gaps(folder, names)) == {
        "outputs.zarr/clean/views/c/0/0/0": "is missing: its array says that it must be there",
        "shards/00000.parquet": "has 4 rows, image-set.json says 3",
        "shards/00001.parquet": "is missing: image-set.json says that it must be there",
        "cells.parquet": "is of 4 images, image-set.json says 7",
    }


def test_an_artifact_that_was_committed_damaged_is_found_by_verify(store: ArtifactStore):
    ref = commit_every_format(store)
    folder, chunk = store.path(ref), "outputs.zarr/clean/outputs/c/0/0/0"
    (folder / chunk).write_bytes(b"")
    manifest = store.manifest(ref)
    manifest.model_copy(update={"files": records_of(folder, [folder / name for name in manifest.files])}).write(folder)
    assert list(verify(store, ref)) == [(ref, chunk, "it was not whole when it was committed: it is empty")]


def test_an_artifact_that_was_committed_without_a_chunk_is_found_by_verify(store: ArtifactStore):
    ref = commit_every_format(store)
    folder, chunk = store.path(ref), "outputs.zarr/clean/outputs/c/0/0/0"
    (folder / chunk).unlink()
    manifest = store.manifest(ref)
    files = {name: record for name, record in manifest.files.items() if name != chunk}
    manifest.model_copy(update={"files": files}).write(folder)
    assert list(verify(store, ref)) == [(ref, chunk, "is missing: its array says that it must be there")]
