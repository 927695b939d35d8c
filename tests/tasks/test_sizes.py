"""How large artifacts are said to be by the networks that they come from, before there is one."""

from pathlib import Path

import pytest

from taskdistill.configs.models import Backbone
from taskdistill.configs.stages import ExtractConfig, FinetuneConfig
from taskdistill.tasks.sizes import Known, features, model

SPLITS = {"train": 100, "val": 20, "test": 30}


def known(backbone: Backbone) -> Known:
    return Known(SPLITS, num_shown=0, num_train=100, num_classes=3, num_outputs=3, backbone=backbone)


def size_of_model(backbone: Backbone) -> int | None:
    return model(FinetuneConfig(backbone=backbone), known(backbone)).num_bytes


@pytest.mark.parametrize(
    ("name", "millions"),
    [("convnext_tiny", 27.8), ("convnext_large", 196.2), ("efficientnet_b7", 63.8), ("mobilenetv2_035", 0.396)],
)
def test_a_model_is_as_large_as_its_own_network_and_not_as_another_of_the_family(name: str, millions: float) -> None:
    """Its weights are there twice, in four bytes; the pictures beside them are small."""
    expected = 2 * 4 * millions * 1e6
    assert size_of_model(Backbone(name=name, weights="random")) == pytest.approx(expected, rel=0.02)


def test_features_are_as_wide_as_what_the_network_gives_after_its_last_map() -> None:
    """960 channels of the last map become 1280 numbers, of 2 bytes; 100 bytes say how a view was cut."""
    backbone = Backbone(name="mobilenetv4_conv_large", weights="random")
    config = ExtractConfig(backbone=backbone, train_views="clean")
    assert features(config, known(backbone)).num_bytes == 150 * (2 * 1280 + 100)


def test_of_a_network_that_is_not_listed_nothing_is_said() -> None:
    backbone = Backbone(name="convnext_larger", weights="random")
    assert size_of_model(backbone) is None
    assert features(ExtractConfig(backbone=backbone), known(backbone)).num_bytes is None


def test_a_file_of_weights_says_how_large_a_model_is_whatever_its_name(tmp_path: Path) -> None:
    file = tmp_path / "own.safetensors"
    file.write_bytes(bytes(4_000_000))
    said = size_of_model(Backbone(name="convnext_larger", weights="file", file=str(file)))
    assert said == pytest.approx(2 * 4_000_000, rel=0.02)
