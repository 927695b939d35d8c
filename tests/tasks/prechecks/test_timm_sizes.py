"""What plan knows of the size of timm's networks, against the networks themselves.

The table is written anew, which takes some minutes, with

    python -m tests.tasks.prechecks.test_timm_sizes
"""

import pytest
import timm
import torch

import taskdistill.tasks.models  # noqa: F401  makes torchvision importable for timm
from taskdistill.configs.models import Backbone
from taskdistill.tasks.models.encoder import summary_blocks
from taskdistill.tasks.models.preprocessing import Preprocessing
from taskdistill.tasks.models.timm_encoder import TimmEncoder
from taskdistill.tasks.prechecks.timm_sizes import TABLE, UNKNOWN, NetworkSize, size_of

OF_EACH_FAMILY = (
    "vit_tiny_patch16_224", "vit_small_patch14_dinov2", "vit_base_patch16_siglip_224",
    "vit_large_patch14_clip_224", "vit_huge_patch14_224", "vit_giant_patch14_dinov2",
    "vit_gigantic_patch14_clip_224", "vit_small_patch16_dinov3", "test_vit", "eva_large_patch14_196",
    "eva02_tiny_patch14_224", "eva02_large_patch14_448", "beit_base_patch16_224", "deit_tiny_patch16_224",
    "deit3_large_patch16_224", "deit_base_distilled_patch16_224", "convnext_atto", "convnext_tiny",
    "convnext_large", "convnext_xxlarge", "convnextv2_nano", "convnextv2_huge", "swin_tiny_patch4_window7_224",
    "swin_large_patch4_window7_224", "swinv2_cr_small_224", "efficientnet_b0", "efficientnet_b7",
    "tf_efficientnet_lite1", "tf_efficientnetv2_s", "mobilenetv2_035", "mobilenetv2_140",
    "mobilenetv3_large_100", "mobilenetv4_conv_small", "mobilenetv4_conv_large", "resnet18", "resnet50",
    "resnet152", "resnext50_32x4d", "wide_resnet50_2", "resnetv2_50x1_bit", "resnetv2_152x4_bit",
    "resnet50_clip", "regnety_016", "mobileone_s1", "repvgg_a2", "fastvit_t8", "tiny_vit_5m_224", "levit_256",
    "edgenext_small", "mobilevitv2_100", "vgg11",
)  # fmt: skip


def measured(name: str) -> NetworkSize:
    """Build a network of timm, which takes no memory on this device."""
    with torch.device("meta"):
        model = timm.create_model(name, num_classes=0)
    nothing = Preprocessing(224, (0,) * 3, (1,) * 3, interpolation="bicubic", crop_share=1.0, crop_mode="center")
    vectors = summary_blocks(TimmEncoder(model, nothing))
    return NetworkSize(vectors[0].width, len(vectors), sum(weights.numel() for weights in model.parameters()))


def test_networks_of_each_family_are_as_large_as_is_said() -> None:
    said = {name: size_of(Backbone(name=name, weights="random")) for name in OF_EACH_FAMILY}
    assert said == {name: measured(name) for name in OF_EACH_FAMILY}


# As their authors have it: width of the vector that a classifier sees, and millions of weights, with a classifier for
# 1000 classes where the network was published with one.
@pytest.mark.parametrize(
    ("name", "width", "millions"),
    [
        ("convnext_large.fb_in22k", 1536, 197.8 - 1.5),
        ("convnextv2_huge.fcmae", 2816, 660 - 2.8),
        ("efficientnet_b7.ra_in1k", 2560, 66.3 - 2.6),
        ("mobilenetv4_conv_large.e600_r384_in1k", 1280, 32.6 - 1.3),
        ("resnetv2_152x4_bit.goog_in21k", 8192, 936.5 - 8.2),
        ("mobilenetv2_035", 1280, 1.66 - 1.28),
        ("vit_large_patch14_dinov2.lvd142m", 1024, 304),
    ],
)
def test_another_size_of_a_family_has_figures_of_its_own(name: str, width: int, millions: float) -> None:
    found = size_of(Backbone(name=name, weights="random"))
    assert found.width == width
    assert found.num_parameters == pytest.approx(millions * 1e6, rel=0.05)


def test_no_network_of_timm_is_missing() -> None:
    assert [name for name in timm.list_models() if size_of(Backbone(name=name, weights="random")) == UNKNOWN] == []


def test_a_name_that_is_not_listed_has_no_size_though_it_looks_like_others() -> None:
    assert size_of(Backbone(name="vit_large_patch14_dinov9", weights="random")) == UNKNOWN


def test_arguments_that_make_another_network_make_it_unknown_but_for_the_width_that_they_say() -> None:
    def asked(name: str, **arguments: int | str | list[int]) -> NetworkSize:
        return size_of(Backbone(name=name, weights="random", arguments=arguments))

    assert asked("resnet50", layers=[2, 2, 2, 2]) == UNKNOWN
    assert asked("vit_tiny_patch16_224", embed_dim=96, depth=6, num_heads=4) == NetworkSize(96, 5, None)
    assert asked("swin_tiny_patch4_window7_224", embed_dim=48) == UNKNOWN  # of its first stage
    assert asked("mobilenetv2_035", pad_type="same") == asked("mobilenetv2_035")


def record() -> None:
    """Write the table of all networks of timm."""
    lines = ("\t".join(map(str, (name, *measured(name)))) for name in timm.list_models())
    TABLE.write_text("\n".join(["name\twidth\tvectors\tparameters", *lines]) + "\n")


if __name__ == "__main__":
    record()
