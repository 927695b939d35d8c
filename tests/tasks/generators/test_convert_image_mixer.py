"""Conversion of the original checkpoint: names of the CLIP tower, and what is refused."""

import pickle
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from taskdistill.tasks.generators.convert_image_mixer import clip_tensors, convert, read_checkpoint
from taskdistill.tasks.models.encoder import ModelError

WIDTH, HEADS, LAYERS, PATCH, SIDE, PROJECTED = 32, 4, 2, 8, 16, 12


class Block(nn.Module):
    """A transformer block as OpenAI wrote it, with its names."""

    def __init__(self) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(WIDTH, HEADS)
        self.ln_1, self.ln_2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.mlp = nn.ModuleDict({"c_fc": nn.Linear(WIDTH, 4 * WIDTH), "c_proj": nn.Linear(4 * WIDTH, WIDTH)})

    def forward(self, x_LND: Tensor) -> Tensor:
        normed = self.ln_1(x_LND)
        x_LND = x_LND + self.attn(normed, normed, normed, need_weights=False)[0]
        hidden = self.mlp["c_fc"](self.ln_2(x_LND))
        return x_LND + self.mlp["c_proj"](hidden * torch.sigmoid(1.702 * hidden))


class OriginalTower(nn.Module):
    """CLIP's image tower in OpenAI's layout (arXiv 2103.00020), written from the paper for this test."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, WIDTH, PATCH, PATCH, bias=False)
        self.class_embedding = nn.Parameter(torch.randn(WIDTH))
        self.positional_embedding = nn.Parameter(torch.randn((SIDE // PATCH) ** 2 + 1, WIDTH))
        self.ln_pre, self.ln_post = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.transformer = nn.ModuleDict({"resblocks": nn.ModuleList(Block() for _ in range(LAYERS))})
        self.proj = nn.Parameter(torch.randn(WIDTH, PROJECTED))

    def forward(self, images_NCHW: Tensor) -> Tensor:
        patches_NLD = self.conv1(images_NCHW).flatten(2).transpose(1, 2)
        first = self.class_embedding.expand(len(images_NCHW), 1, -1)
        x_LND = self.ln_pre(torch.cat([first, patches_NLD], 1) + self.positional_embedding).transpose(0, 1)
        for block in self.transformer["resblocks"]:
            x_LND = block(x_LND)
        return self.ln_post(x_LND[0]) @ self.proj


@torch.inference_mode()
def test_the_renamed_clip_tower_gives_the_embeddings_of_the_original() -> None:
    torch.manual_seed(0)
    original = OriginalTower().eval()
    for parameter in original.parameters():
        nn.init.normal_(parameter, std=0.2)
    config = CLIPVisionConfig(
        hidden_size=WIDTH, intermediate_size=4 * WIDTH, num_hidden_layers=LAYERS, num_attention_heads=HEADS,
        image_size=SIDE, patch_size=PATCH, projection_dim=PROJECTED, hidden_act="quick_gelu",
    )  # fmt: skip
    converted = CLIPVisionModelWithProjection(config).eval()
    prefix = "cond_stage_model.model.visual."
    converted.load_state_dict(clip_tensors({prefix + name: t for name, t in original.state_dict().items()}))
    images_NCHW = torch.randn(3, 3, SIDE, SIDE)
    assert torch.allclose(converted(images_NCHW).image_embeds, original(images_NCHW), atol=1e-4)


class Trap:
    """Unpickling this creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.path,)


def test_a_malicious_checkpoint_is_refused_without_running_it(tmp_path: Path) -> None:
    torch.save({"state_dict": {"a": torch.zeros(1)}, "callbacks": Trap(tmp_path / "owned")}, tmp_path / "bad.ckpt")
    with pytest.raises(ModelError, match="was refused, and nothing in it was run"):
        read_checkpoint(tmp_path / "bad.ckpt")
    assert not (tmp_path / "owned").exists()


@pytest.fixture
def lightning(monkeypatch: pytest.MonkeyPatch) -> type:
    """The class whose settings the original checkpoint holds, as far as a pickle needs it."""
    name = "pytorch_lightning.callbacks.model_checkpoint"
    module = types.ModuleType(name)
    module.ModelCheckpoint = type("ModelCheckpoint", (), {"__module__": name})  # type: ignore[attr-defined]
    for part in ("pytorch_lightning", "pytorch_lightning.callbacks"):
        monkeypatch.setitem(sys.modules, part, types.ModuleType(part))
    monkeypatch.setitem(sys.modules, name, module)
    return module.ModelCheckpoint


def test_what_pytorch_lightning_left_in_the_checkpoint_is_let_through(tmp_path: Path, lightning: type) -> None:
    extras = {"callbacks": {lightning: {"best_model_score": np.float32(0.5)}}, "global_step": np.int64(7)}
    torch.save({"state_dict": {"a": torch.arange(3)}, **extras}, tmp_path / "good.ckpt", pickle_protocol=2)
    assert read_checkpoint(tmp_path / "good.ckpt")["a"].tolist() == [0, 1, 2]


def test_another_checkpoint_is_refused_with_what_does_not_fit(tmp_path: Path) -> None:
    torch.save({"state_dict": {"layer1.weight": torch.zeros(2)}}, tmp_path / "resnet.ckpt")
    with pytest.raises(ModelError, match=r"is not an Image Mixer checkpoint.*'layer1\.weight'"):
        convert(tmp_path / "resnet.ckpt", tmp_path / "mixer")
    assert not (tmp_path / "mixer").exists()


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.ckpt").write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(ModelError, match=r"x\.ckpt"):
        read_checkpoint(tmp_path / "x.ckpt")


def test_a_folder_that_is_there_is_not_written_over(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is there already"):
        convert(tmp_path / "any.ckpt", tmp_path)
