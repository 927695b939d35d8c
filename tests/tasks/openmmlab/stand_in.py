"""A dense problem with a linear head of its own, and finished models of it: what a model with masks is like.

Shape letters: N images, K classes, D width of a map, h w cells of a map.
"""

from collections.abc import Sequence
from zlib import crc32

import pytest
import torch
from safetensors.numpy import save
from torch import Tensor, nn
from torch.nn.functional import interpolate

from configs import choices
from configs.choices import load
from configs.models import Backbone
from storage.manifest import ArtifactRef
from storage.store import ArtifactStore
from storage.weights import MODEL, ModelDescription
from tasks.models.encoder import Block, build_encoder
from tasks.models.task_model import TaskModel, as_arrays
from tasks.problems.problem import problem_named
from tests.contracts.dense_toy import DENSE_METRICS, Parts
from tests.storage.artifacts import commit

CLASSES = [
    "sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist"
]  # fmt: skip


class MapsHead(nn.Module):
    """BatchNorm and a linear layer on maps that are brought to the finest grid and concatenated."""

    def __init__(self, blocks: Sequence[Block], num_classes: int) -> None:
        super().__init__()
        width = sum(block.width for block in blocks)
        self.norm = nn.BatchNorm2d(width, affine=False)
        self.layer = nn.Conv2d(width, num_classes, 1)

    def forward(self, *maps_NDhw: Tensor) -> Tensor:
        grid = max(tuple(map_NDhw.shape[2:]) for map_NDhw in maps_NDhw)
        logits_NKhw: Tensor = self.layer(self.norm(torch.cat([_at(map_NDhw, grid) for map_NDhw in maps_NDhw], dim=1)))
        return logits_NKhw


class Maps(Parts):
    """What an exported model's problem needs to be here: a head."""

    def head(self, blocks: Sequence[Block], num_classes: int) -> nn.Module:
        return MapsHead(blocks, num_classes)


class MmsegMaps(Parts):
    """The same with a head of mmsegmentation."""

    def head(self, blocks: Sequence[Block], num_classes: int) -> nn.Module:
        return load(choices.HEAD_SOURCES, "mmseg")("UPerHead", blocks, num_classes)


def _at(map_NDhw: Tensor, grid: tuple[int, ...]) -> Tensor:
    return interpolate(map_NDhw, grid, mode="bilinear", align_corners=False)


def offer(monkeypatch: pytest.MonkeyPatch, name: str, problem: type) -> None:
    """Let a problem be chosen by this name."""
    monkeypatch.setitem(choices.PROBLEMS, name, f"{problem.__module__}:{problem.__name__}")
    monkeypatch.setattr(Parts, "metrics", DENSE_METRICS)


def finished_model(
    store: ArtifactStore,
    backbone: Backbone,
    *,
    problem: str,
    blocks: list[str],
    classes: Sequence[str] = CLASSES,
    **preprocessing: str | float,
) -> ArtifactRef:
    """Commit a model as finetune does, its head untrained and its BatchNorm as if it had seen images; `preprocessing`
    is what differs from the encoder's own.
    """
    torch.manual_seed(0)
    encoder = build_encoder(backbone)
    named = [block for name in blocks for block in encoder.blocks if block.name == name]
    model = TaskModel(encoder, blocks, problem_named(problem).head(named, len(classes)))
    with torch.no_grad():
        for name, values in model.state_dict().items():
            if name.startswith("head.") and name.endswith("running_mean"):
                values.normal_(std=0.1)
            elif name.startswith("head.") and name.endswith("running_var"):
                values.uniform_(0.5, 2)
    description = ModelDescription(
        problem=problem,
        backbone=backbone.identity(),
        preprocessing=encoder.preprocessing._asdict() | preprocessing,
        encoder="e" * 64,
        blocks=blocks,
        classes=list(classes),
        weights="best.safetensors",
    )
    weights = save(as_arrays(model.state_dict()))
    described = description.model_dump_json().encode()
    return commit(store, "model", files={MODEL: described, description.weights: weights}, seed=crc32(described))
