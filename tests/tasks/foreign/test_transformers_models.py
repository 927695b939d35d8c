"""Models as transformers writes them, made here at random and read back from their folder."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import (
    Mask2FormerConfig,
    Mask2FormerForUniversalSegmentation,
    PreTrainedModel,
    ResNetConfig,
    ResNetForImageClassification,
    SegformerConfig,
    SegformerForSemanticSegmentation,
    SwinConfig,
)

from taskdistill.configs.foreign import ForeignTeacher
from taskdistill.storage.weight_formats import WeightFileError
from taskdistill.tasks.foreign.transformers_models import build_foreign
from taskdistill.tasks.models.encoder import ModelError
from taskdistill.tasks.prechecks.foreign_models import ForeignFolderError

NAMES = {0: "road", 1: "sky", 2: "car"}
IMAGES = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def segformer() -> PreTrainedModel:
    config = SegformerConfig(
        hidden_sizes=[8, 8, 16, 16], depths=[1] * 4, num_attention_heads=[1, 1, 2, 2], decoder_hidden_size=16,
        id2label=NAMES, label2id={name: number for number, name in NAMES.items()},
    )  # fmt: skip
    return SegformerForSemanticSegmentation(config)


def resnet() -> PreTrainedModel:
    return ResNetForImageClassification(
        ResNetConfig(embedding_size=8, hidden_sizes=[8, 8], depths=[1, 1], layer_type="basic", num_labels=5)
    )


def mask2former() -> PreTrainedModel:
    swin = SwinConfig(
        embed_dim=8, depths=[1] * 4, num_heads=[1] * 4, window_size=2, out_features=[f"stage{n}" for n in (1, 2, 3, 4)]
    )
    config = Mask2FormerConfig(
        backbone_config=swin, hidden_dim=32, feature_size=32, mask_feature_size=32, encoder_layers=1, decoder_layers=2,
        num_attention_heads=2, dim_feedforward=16, encoder_feedforward_dim=16, num_queries=6, id2label=NAMES,
    )  # fmt: skip
    return Mask2FormerForUniversalSegmentation(config)


def saved(folder: Path, make: Callable[[], PreTrainedModel]) -> tuple[ForeignTeacher, PreTrainedModel]:
    torch.manual_seed(0)
    model = make().eval()
    model.save_pretrained(folder)
    seen = {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6], "resample": 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(seen))
    return ForeignTeacher(source="transformers", folder=str(folder)), model


@pytest.mark.parametrize(("make", "shape"), [(segformer, (2, 3, 16, 16)), (resnet, (2, 5))])
@torch.inference_mode()
def test_it_says_what_the_saved_model_says(
    tmp_path: Path, make: Callable[[], PreTrainedModel], shape: tuple[int, ...]
) -> None:
    teacher, model = saved(tmp_path, make)
    found = build_foreign(teacher)
    said = found.network(IMAGES)
    assert said.shape == shape
    torch.testing.assert_close(said, model(pixel_values=IMAGES).logits)
    assert found.classes == (("road", "sky", "car") if make is segformer else ())
    assert (found.mean, found.std, found.interpolation) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6), "bicubic")


@torch.inference_mode()
def test_queries_and_masks_are_joined_to_a_map_of_the_classes(tmp_path: Path) -> None:
    teacher, model = saved(tmp_path, mask2former)
    said, expected = build_foreign(teacher).network(IMAGES), model(pixel_values=IMAGES)
    classes, masks = expected.class_queries_logits.softmax(-1), expected.masks_queries_logits.sigmoid()
    by_hand = sum(classes[1, query, 2] * masks[1, query, 3, 4] for query in range(6))
    assert said.shape[:2] == (2, 3)
    torch.testing.assert_close(said[1, 2, 3, 4].exp(), by_hand)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    teacher, _ = saved(tmp_path, segformer)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"decoder_hidden_size": 32}))
    with pytest.raises(ModelError, match="tensors are missing or of another shape"):
        build_foreign(teacher)


def test_pickled_weights_code_and_other_folders_are_refused(tmp_path: Path) -> None:
    teacher, _ = saved(tmp_path, resnet)
    (tmp_path / "modeling.py").write_text("raise SystemExit")
    with pytest.raises(ForeignFolderError, match="is a program"):
        build_foreign(teacher)
    (tmp_path / "modeling.py").unlink()
    (tmp_path / "model.safetensors").write_bytes(b"\x80\x02}q\x00.")
    with pytest.raises(WeightFileError, match="pickled checkpoint"):
        build_foreign(teacher)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(ForeignFolderError, match="Weights must be safetensors"):
        build_foreign(teacher)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"auto_map": {"AutoModel": "x--y.Z"}}))
    with pytest.raises(ForeignFolderError, match=r"asks for code or formats from elsewhere \(auto_map\)"):
        build_foreign(teacher)
