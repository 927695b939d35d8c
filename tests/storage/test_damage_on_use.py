"""A flipped bit is found when the damaged artifact is used, not only by verify."""

from pathlib import Path

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
    """A finished artifact with every kind of file."""
    return store.path(commit_every_format(store))


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


def test_an_undamaged_artifact_is_read(folder: Path):
    use(folder)


def test_a_flipped_bit_of_any_file_is_found_on_use(folder: Path, store: ArtifactStore):
    for name in store.manifest(ArtifactRef("model", folder.name)).files:
        # In a shard the middle may be a part of the footer that says nothing: an image's bytes are what must be safe.
        position = (folder / name).read_bytes().find(bytes([2]) * 50) + 25 if "shards" in name else None
        flip_a_bit(folder / name, position)
        with pytest.raises(CorruptArtifactError):
            use(folder)
        flip_a_bit(folder / name, position)
    use(folder)
