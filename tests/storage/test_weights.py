"""Weights: safetensors in, the same tensors out, and nothing that could run code."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from taskdistill.storage.errors import CorruptArtifactError, StoreError
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.weights import ModelDescription, read_committed_tensors, read_tensors, write_tensors
from tests.storage.artifacts import DESCRIPTION, flip_a_bit, recipe_of

TENSORS = {
    "encoder.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "transposed": np.arange(6, dtype=np.float32).reshape(2, 3).T,
    "half": np.array([0.5, -65504, np.nan], np.float16),
    "steps": np.array(7, np.int64),
    "empty": np.zeros((0, 4), np.uint8),
    "flags": np.array([True, False]),
}


@pytest.fixture
def model(store: ArtifactStore) -> Path:
    """The folder of a committed model."""
    ref = ArtifactRef("model", "c" * 64)
    draft = store.draft(ref, recipe_of("model", {}))
    write_tensors(draft / "model.safetensors", TENSORS)
    DESCRIPTION.write(draft)
    store.commit(ref, recipe=recipe_of("model", {}), inputs={}, summary={})
    return store.path(ref)


class CreatesAFile:
    """Unpickling this creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self.path), "w")


def test_tensors_come_back_with_their_names_shapes_types_and_bits(tmp_path: Path):
    write_tensors(tmp_path / "w.safetensors", TENSORS)
    found = read_tensors(tmp_path / "w.safetensors")
    assert found.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        np.testing.assert_array_equal(found[name], tensor, strict=True)


def test_the_same_tensors_give_the_same_bytes_in_whatever_order_they_come(tmp_path: Path):
    write_tensors(tmp_path / "a", TENSORS, note="step 7")
    write_tensors(tmp_path / "b", dict(reversed(TENSORS.items())), note="step 7")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_note_goes_along(tmp_path: Path):
    write_tensors(tmp_path / "w", TENSORS, note='{"step": 7}')
    with safe_open(tmp_path / "w", "np") as file:
        assert file.metadata() == {"note": '{"step": 7}'}


@pytest.mark.parametrize("name", ["model.safetensors", "model.pth"])
def test_a_pickle_is_refused_without_being_executed_and_the_way_to_convert_it_is_said(tmp_path: Path, name: str):
    trap = tmp_path / "created by the pickle"
    (tmp_path / name).write_bytes(pickle.dumps(CreatesAFile(trap)))
    with pytest.raises(StoreError, match=r"is a pickled checkpoint .* weights_only=True"):
        read_tensors(tmp_path / name)
    assert not trap.exists()
    pickle.loads((tmp_path / name).read_bytes()).close()
    assert trap.exists(), "the trap works"


@pytest.mark.parametrize("size", [0, 4, 60, -1])
def test_a_truncated_file_is_refused(tmp_path: Path, size: int):
    write_tensors(tmp_path / "w.safetensors", TENSORS)
    (tmp_path / "w.safetensors").write_bytes((tmp_path / "w.safetensors").read_bytes()[:size])
    with pytest.raises(
        StoreError, match=r"w\.safetensors is not a (whole )?safetensors file.*copy or download it again"
    ):
        read_tensors(tmp_path / "w.safetensors")


def test_committed_weights_are_read_only_with_the_bytes_that_were_committed(model: Path):
    np.testing.assert_array_equal(read_committed_tensors(model, "model.safetensors")["steps"], TENSORS["steps"])
    flip_a_bit(model / "model.safetensors", (model / "model.safetensors").stat().st_size - 1)
    with pytest.raises(CorruptArtifactError, match=r"model\.safetensors has SHA-256"):
        read_committed_tensors(model, "model.safetensors")


def test_a_description_comes_back_as_it_was_written_and_is_checked_too(model: Path):
    assert ModelDescription.read(model) == DESCRIPTION
    description = model / "model.json"
    description.write_text(description.read_text().replace("wren", "crow"))
    with pytest.raises(CorruptArtifactError, match=r"model\.json has SHA-256"):
        ModelDescription.read(model)
