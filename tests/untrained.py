"""Models as a training would have left them, of networks that nobody trained: for what a model is used for."""

from collections.abc import Mapping, Sequence
from typing import Any

from taskdistill.configs.models import Backbone
from taskdistill.storage.fingerprint import fingerprint
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.weights import ModelDescription, write_tensors
from taskdistill.tasks.models.encoder import build_encoder
from taskdistill.tasks.models.task_model import TaskModel, as_arrays
from taskdistill.tasks.problems.problem import problem_named
from tests.storage.artifacts import recipe_of


def commit_model(
    store: ArtifactStore,
    backbone: Backbone,
    classes: Sequence[str],
    *,
    problem: str = "classification",
    inputs: Mapping[str, ArtifactRef] | None = None,
    stage: str = "finetune",
    settings: Mapping[str, Any] | None = None,
) -> ArtifactRef:
    """Commit a model of this network, with a head on its last block; `settings` are those that its run noted."""
    encoder, asked = build_encoder(backbone), problem_named(problem)
    (name,) = asked.inputs()["last"]
    blocks = [block for block in encoder.blocks if block.name == name]
    network = TaskModel(encoder, [name], asked.head(blocks, len(classes)))
    config = {"problem": problem, "backbone": backbone.identity(), "seed": 0}
    recipe = recipe_of(stage, inputs or {}) | {"stage": stage, "config": config}
    ref = ArtifactRef("model", fingerprint(recipe))
    with store.lock(ref):
        draft = store.draft(ref, recipe)
        write_tensors(draft / "best.safetensors", as_arrays(network.state_dict()))
        ModelDescription(
            problem=problem, backbone=backbone.model_dump(mode="json"), encoder="e" * 64, blocks=[name],
            preprocessing=encoder.preprocessing.as_json(), classes=list(classes), weights="best.safetensors",
        ).write(draft)  # fmt: skip
        store.commit(ref, recipe=recipe, inputs=inputs or {}, summary={"images": 8}, settings=dict(settings or {}))
    return ref
