"""Each format proves that its file is whole, and that one which a power cut left torn is not."""

from pathlib import Path

import pytest

from taskdistill.storage.files import all_files
from taskdistill.storage.proof import damage_of
from tests.storage.artifacts import TEARS, flip_a_bit, tear, write_every_format

PROVEN = ("shards/00000.parquet", "history.parquet", "model.safetensors", "model.json", "outputs.zarr/zarr.json")


@pytest.fixture(params=["a", "c/a"], ids=["anywhere", "below a folder called c, as folders of chunks are"])
def folder(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    folder = tmp_path / request.param
    folder.mkdir(parents=True)
    write_every_format(folder)
    return folder


def test_nothing_is_said_against_files_that_are_whole(folder: Path):
    found = {path.relative_to(folder).as_posix(): damage_of(path) for path in all_files(folder)}
    assert set(found.values()) == {""}
    assert found.keys() >= {*PROVEN, "rows.parquet"}


@pytest.mark.parametrize(
    ("name", "how"),
    # safetensors has no checksum of its tensors, only a header: such files are synced before they have their name.
    [(name, how) for name in PROVEN for how in TEARS if (name, how) != ("model.safetensors", "half, then zeros")],
)
def test_a_torn_file_is_found(tmp_path: Path, name: str, how: str):
    write_every_format(tmp_path)
    tear(tmp_path / name, how)
    assert damage_of(tmp_path / name)


@pytest.mark.parametrize("how", [*TEARS, "flipped"])
@pytest.mark.parametrize("name", ["outputs", "views", "thumbnails"])
def test_a_torn_or_changed_chunk_is_found(tmp_path: Path, name: str, how: str):
    write_every_format(tmp_path)
    (chunk,) = [path for path in all_files(tmp_path / "outputs.zarr" / "clean" / name / "c") if path.is_file()]
    flip_a_bit(chunk) if how == "flipped" else tear(chunk, how)
    assert damage_of(chunk)
