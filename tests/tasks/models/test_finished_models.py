"""Finished models of earlier settings: what never changed the network is left out, what did is refused."""

from pathlib import Path

import pytest

from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.weights import MODEL, ModelDescription, write_tensors
from taskdistill.tasks.models.encoder import ModelError
from taskdistill.tasks.models.task_model import as_arrays, load_model
from tests.conftest import Bench
from tests.storage.artifacts import recipe_of


def finished(bench: Bench, store: ArtifactStore, **arguments: object) -> Path:
    """A probe's network, written as a model whose backbone was built with these arguments."""
    probe = bench.path(bench.student_probe)
    described = ModelDescription.read(probe)
    description = described.model_copy(update={"weights": "model.safetensors", "backbone": described.backbone | {
        "arguments": arguments}})  # fmt: skip
    ref = ArtifactRef("model", "c" * 64)
    draft = store.draft(ref, recipe_of("model", {}))
    whole = described.model_copy(update={"weights": "model.safetensors"})
    network = {f"encoder.{name}": value for name, value in _encoder(whole).items()}
    head = {f"head.{name}": value for name, value in _head(probe, described).items()}
    write_tensors(draft / "model.safetensors", network | head)
    description.write(draft)
    assert (draft / MODEL).is_file()
    store.commit(ref, recipe=recipe_of("model", {}), inputs={}, summary={})
    return store.path(ref)


def _encoder(description: ModelDescription) -> dict[str, object]:
    from taskdistill.configs.models import Backbone
    from taskdistill.tasks.models.encoder import build_encoder

    return dict(as_arrays(build_encoder(Backbone.model_validate(description.backbone)).state_dict()))


def _head(probe: Path, description: ModelDescription) -> dict[str, object]:
    from taskdistill.storage.weights import read_committed_tensors

    return dict(read_committed_tensors(probe, description.weights))


def test_stochastic_depth_among_the_arguments_is_left_out(finished_bench: Bench, store: ArtifactStore) -> None:
    model, _ = load_model(finished(finished_bench, store, drop_path_rate=0.2))
    assert [block.name for block in model.encoder.blocks if block.stride is None] == ["last"]


def test_other_weights_behind_the_settings_are_refused_with_what_to_do(
    finished_bench: Bench, store: ArtifactStore
) -> None:
    with pytest.raises(ModelError, match=r"'checkpoint_path' is no argument.*discard it, and run its experiment again"):
        load_model(finished(finished_bench, store, checkpoint_path="w.pth"))
