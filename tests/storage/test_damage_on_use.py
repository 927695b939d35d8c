"""A flipped bit is found when the damaged artifact is used, not only by verify."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from taskdistill.storage.errors import CorruptArtifactError
from taskdistill.storage.image_set import ImageSet
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.tables import read_table
from taskdistill.storage.view_outputs import ViewOutputs
from taskdistill.storage.weights import ModelDescription, read_committed_tensors
from tests.storage.artifacts import commit_every_format, flip_a_bit


@pytest.fixture
def folder(store: ArtifactStore) -> Path:
    """A finished artifact with every kind of file, whose images are read as a set of today reads them."""
    return store.path(commit_every_format(store, "image-set"))


def use(folder: Path) -> None:
    """Read everything that is in the artifact."""
    images = ImageSet.open(folder)
    for row in range(len(images)):
        images.image(row)
        images.mask(row)
    outputs = ViewOutputs(folder)
    outputs.view(0)
    outputs.view_fields(0, 2, 0)
    outputs.thumbnails(0, 2, 0)
    read_committed_tensors(folder, ModelDescription.read(folder).weights)
    read_table(folder / "history.parquet")


def place_of_values(path: Path) -> int | None:
    """Return a place within the values of a file, None for its middle."""
    if path.suffix != ".parquet":
        return None
    # The middle of a small table is in its footer, much of which says nothing that anybody reads.
    if path.parent.name == "shards":
        return path.read_bytes().find(bytes([2]) * 50) + 25
    chunk = pq.ParquetFile(path).metadata.row_group(0).column(0)
    start = chunk.dictionary_page_offset or chunk.data_page_offset
    return int(start + chunk.total_compressed_size - 1)


def test_an_undamaged_artifact_is_read(folder: Path):
    use(folder)


def test_a_flipped_bit_of_any_file_is_found_on_use(folder: Path, store: ArtifactStore):
    for name in store.manifest(ArtifactRef("image-set", folder.name)).files:
        position = place_of_values(folder / name)
        flip_a_bit(folder / name, position)
        with pytest.raises(CorruptArtifactError):
            use(folder)
        flip_a_bit(folder / name, position)
    use(folder)
