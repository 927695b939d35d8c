"""Finished models of the problem with masks, without the training."""

from collections.abc import Mapping, Sequence
from zlib import crc32

import torch
from safetensors.numpy import save

from taskdistill.configs.models import Backbone
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.weights import MODEL, ModelDescription
from taskdistill.tasks.models.encoder import blocks_named, build_encoder
from taskdistill.tasks.models.task_model import TaskModel, as_arrays
from taskdistill.tasks.problems.problem import problem_named
from tests.storage.artifacts import commit

CLASSES = [
    "sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist"
]  # fmt: skip


def finished_model(
    store: ArtifactStore,
    backbone: Backbone,
    *,
    blocks: list[str],
    head: str = "linear",
    problem: str = "segmentation",
    classes: Sequence[str] = CLASSES,
    sure: float = 1.0,
    inputs: Mapping[str, ArtifactRef] | None = None,
) -> ArtifactRef:
    """Commit a model as finetune does, its head untrained and its BatchNorm as if it had seen images; its logits are
    larger by the factor `sure`.
    """
    torch.manual_seed(0)
    encoder = build_encoder(backbone)
    built = problem_named(problem).head(blocks_named(encoder.blocks, blocks), len(classes), head)
    model = TaskModel(encoder, blocks, built)
    with torch.no_grad():
        for name, values in built.state_dict().items():
            if name.endswith("running_mean"):
                values.normal_(std=0.1)
            elif name.endswith("running_var"):
                values.uniform_(0.5, 2)
            elif name.endswith("weight"):
                values.mul_(sure)
    description = ModelDescription(
        problem=problem,
        backbone=backbone.identity(),
        preprocessing=encoder.preprocessing.as_json(),
        encoder="e" * 64,
        blocks=blocks,
        classes=list(classes),
        weights="best.safetensors",
        head=head,
    )
    described = description.model_dump_json().encode()
    files = {MODEL: described, description.weights: save(as_arrays(model.state_dict()))}
    return commit(store, "model", inputs=inputs, files=files, seed=crc32(described))
