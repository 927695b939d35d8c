"""What every source of models must obey. A new source adds a class here, as a new store does in zarr."""

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.layers import resample_abs_pos_embed

from taskdistill.configs.models import Backbone
from taskdistill.tasks.models.encoder import (
    LAST,
    Encoder,
    ModelError,
    build_encoder,
    summarise,
    summary_blocks,
)
from taskdistill.tasks.models.preprocessing import Preprocessing, normalise
from taskdistill.tasks.models.weightless import encoder_outline

CPU = torch.device("cpu")


class EncoderContract:
    """The rules; a subclass says which backbone."""

    backbone: Backbone

    @pytest.fixture
    def encoder(self) -> Encoder:
        return build_encoder(self.backbone).eval()

    @pytest.fixture
    def images(self, encoder: Encoder) -> torch.Tensor:
        """Five images of noise, as the encoder wants them."""
        pixels = np.random.default_rng(0).integers(0, 256, (5, *self.backbone.input_size, 3), np.uint8)
        return normalise(pixels, encoder.preprocessing, CPU)

    @pytest.fixture
    def names(self, encoder: Encoder) -> list[str]:
        return [block.name for block in encoder.blocks]

    @torch.inference_mode()
    def test_vectors_and_maps_have_the_width_and_the_stride_that_it_says(
        self, encoder: Encoder, images: torch.Tensor, names: list[str]
    ) -> None:
        height, width = self.backbone.input_size
        for block, values in zip(encoder.blocks, encoder(images, names), strict=True):
            cells = () if block.stride is None else (height // block.stride, width // block.stride)
            assert values.shape == (5, block.width, *cells), block
            assert torch.isfinite(values).all()

    def test_every_encoder_has_the_last_block_and_each_name_once(self, names: list[str]) -> None:
        assert LAST in names
        assert len(set(names)) == len(names)

    @torch.inference_mode()
    def test_a_block_is_the_same_whatever_else_is_asked_for(
        self, encoder: Encoder, images: torch.Tensor, names: list[str]
    ) -> None:
        for name, values in zip(names, encoder(images, names), strict=True):
            torch.testing.assert_close(encoder(images, [name])[0], values, rtol=1e-5, atol=1e-6)

    @torch.inference_mode()
    def test_blocks_come_in_the_order_asked_for(self, encoder: Encoder, images: torch.Tensor, names: list[str]) -> None:
        forward, backward = encoder(images, names), encoder(images, names[::-1])
        assert all(map(torch.equal, forward, backward[::-1]))

    @torch.inference_mode()
    def test_features_are_its_vectors_side_by_side(self, encoder: Encoder, images: torch.Tensor) -> None:
        blocks = summary_blocks(encoder)
        features_NRD = summarise(encoder, images)
        assert features_NRD.shape == (5, len(blocks), blocks[0].width)
        assert torch.equal(features_NRD[:, -1], encoder(images, [blocks[-1].name])[0])

    @torch.inference_mode()
    def test_what_it_gives_for_an_image_does_not_depend_on_the_others(
        self, encoder: Encoder, images: torch.Tensor, names: list[str]
    ) -> None:
        for together, alone in zip(encoder(images, names), encoder(images[2:3], names), strict=True):
            torch.testing.assert_close(together[2:3], alone, rtol=1e-4, atol=1e-5)

    @torch.inference_mode()
    def test_different_images_get_different_blocks(
        self, encoder: Encoder, images: torch.Tensor, names: list[str]
    ) -> None:
        for values in encoder(images, names):
            assert not torch.allclose(values[0], values[1])

    def test_the_same_settings_build_the_same_weights(self, encoder: Encoder) -> None:
        again = build_encoder(self.backbone).state_dict()
        assert all(torch.equal(value, again[name]) for name, value in encoder.state_dict().items())

    def test_it_tells_what_it_will_say_before_it_has_weights(self, encoder: Encoder) -> None:
        outline = encoder_outline(self.backbone)
        assert {parameter.device.type for parameter in outline.parameters()} == {"meta"}
        assert (outline.blocks, outline.preprocessing) == (
            encoder.blocks, encoder.preprocessing,
        )  # fmt: skip
        numbers = [sum(parameter.numel() for parameter in network.parameters()) for network in (outline, encoder)]
        assert numbers[0] == numbers[1]

    def test_another_seed_draws_other_random_weights(self, encoder: Encoder) -> None:
        other = build_encoder(self.backbone.model_copy(update={"seed": 1})).state_dict()
        assert not all(torch.equal(value, other[name]) for name, value in encoder.state_dict().items())

    def test_building_leaves_the_global_random_numbers_alone(self) -> None:
        torch.manual_seed(5)
        expected = torch.rand(3)
        torch.manual_seed(5)
        build_encoder(self.backbone)
        assert torch.equal(torch.rand(3), expected)

    @pytest.mark.parametrize("layer_decay", [1.0, 0.7])
    def test_each_trainable_parameter_is_in_one_group(self, encoder: Encoder, layer_decay: float) -> None:
        groups = encoder.parameter_groups(1e-3, 0.05, layer_decay)
        grouped = [id(parameter) for group in groups for parameter in group["params"]]
        assert sorted(grouped) == sorted(id(parameter) for parameter in encoder.parameters())
        assert all(0 < group["lr"] <= 1e-3 for group in groups)

    def test_biases_and_norms_do_not_decay(self, encoder: Encoder) -> None:
        for group in encoder.parameter_groups(1e-3, 0.05, 1.0):
            if group["weight_decay"]:
                assert all(parameter.ndim > 1 for parameter in group["params"])

    def test_layers_further_from_the_head_learn_more_slowly_under_layer_decay(self, encoder: Encoder) -> None:
        groups = encoder.parameter_groups(1e-3, 0.05, 0.5)
        first = id(next(iter(encoder.parameters())))
        rate_of = {id(parameter): group["lr"] for group in groups for parameter in group["params"]}
        assert rate_of[first] == min(rate_of.values())
        assert min(rate_of.values()) < max(rate_of.values())

    def test_gradients_reach_every_parameter_of_the_last_summary(self, encoder: Encoder, images: torch.Tensor) -> None:
        summarise(encoder.train(), images).square().sum().backward()
        reached = [parameter.grad is not None for parameter in encoder.parameters()]
        assert all(reached)

    def test_the_settings_of_a_backbone_override_the_models_own_preprocessing(self) -> None:
        chosen = {"mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6), "interpolation": "lanczos"}
        preprocessing = build_encoder(self.backbone.model_copy(update=chosen)).preprocessing
        assert preprocessing.size == self.backbone.input_size
        assert {name: getattr(preprocessing, name) for name in chosen} == chosen

    def test_an_unknown_name_is_refused_with_the_nearest_one(self) -> None:
        misspelt = self.backbone.name + "x"
        with pytest.raises(ModelError, match=rf"no model '{misspelt}'; did you mean '{self.backbone.name}\d?'"):
            build_encoder(self.backbone.model_copy(update={"name": misspelt}))


class TestTimmVisionTransformer(EncoderContract):
    backbone = Backbone(name="test_vit", weights="random", input_px=32)

    def test_its_features_are_four_layers_and_the_mean_of_the_patches(self, encoder: Encoder) -> None:
        names = ["layer-4", "layer-3", "layer-2", "last", "mean"]
        assert [block.name for block in summary_blocks(encoder)] == names

    @torch.inference_mode()
    def test_features_that_are_asked_for_are_those_of_all_bit_for_bit(
        self, encoder: Encoder, images: torch.Tensor
    ) -> None:
        every_NRD = summarise(encoder, images)
        assert torch.equal(summarise(encoder, images, ["last", "mean"]), every_NRD[:, 3:])

    @torch.inference_mode()
    def test_the_mean_is_that_of_its_last_map(self, encoder: Encoder, images: torch.Tensor) -> None:
        mean_ND, map_NDhw = encoder(images, ["mean", "map"])
        torch.testing.assert_close(mean_ND, map_NDhw.mean(dim=(2, 3)))

    @torch.inference_mode()
    def test_its_map_has_each_patch_where_it_is_in_the_image(self, encoder: Encoder, images: torch.Tensor) -> None:
        tokens_NLD = encoder.model.forward_features(images)[:, encoder.model.num_prefix_tokens :]
        map_NDhw = encoder(images, ["map"])[0]
        torch.testing.assert_close(
            map_NDhw[0, :, 1, 0], tokens_NLD[0, 2]
        )  # two patches a row: the third is below the first


class TestTimmConvolutionalNetwork(EncoderContract):
    backbone = Backbone(name="test_resnet", weights="random", input_px=32)

    def test_its_only_vector_is_the_pooled_map(self, encoder: Encoder) -> None:
        assert [block.name for block in encoder.blocks if block.stride is None] == ["last"]

    def test_its_maps_are_those_of_its_stages(self, encoder: Encoder) -> None:
        strides = [block.stride for block in encoder.blocks if block.stride is not None]
        assert strides[-1] == 32
        assert strides == sorted(strides)


class TestTimmVisionTransformerOfWideImages(EncoderContract):
    backbone = Backbone(name="test_vit", weights="random", input_px=32, input_width_px=80)

    @torch.inference_mode()
    def test_its_map_has_each_patch_where_it_is_in_the_image(self, encoder: Encoder, images: torch.Tensor) -> None:
        tokens_NLD = encoder.model.forward_features(images)[:, encoder.model.num_prefix_tokens :]
        map_NDhw = encoder(images, ["map"])[0]
        torch.testing.assert_close(map_NDhw[0, :, 1, 3], tokens_NLD[0, 8])  # five patches a row


class TestTimmConvolutionalNetworkOfHighImages(EncoderContract):
    backbone = Backbone(name="test_resnet", weights="random", input_px=96, input_width_px=32)


def test_position_embeddings_are_resampled_to_the_shape_of_the_image(tmp_path: Path) -> None:
    trained = timm.create_model("test_vit", num_classes=0)
    torch.nn.init.normal_(trained.pos_embed)
    save_file(trained.state_dict(), tmp_path / "vit.safetensors")
    backbone = Backbone(
        name="test_vit", weights="file", file=str(tmp_path / "vit.safetensors"), input_px=64, input_width_px=112
    )
    expected = resample_abs_pos_embed(trained.pos_embed, [4, 7], num_prefix_tokens=trained.num_prefix_tokens)
    assert expected.shape != trained.pos_embed.shape
    torch.testing.assert_close(build_encoder(backbone).model.pos_embed, expected)


@pytest.mark.parametrize(("size", "message"), [
    ((50, 64), "input_px of test_vit is 50, which its patches of 16 px do not fill: set it to 48 or 64"),
    ((64, 127), "input_width_px of test_vit is 127, which its patches of 16 px do not fill: set it to 112 or 128"),
])  # fmt: skip
def test_a_size_that_patches_do_not_fill_is_refused_with_those_that_fit(size: tuple[int, int], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        build_encoder(Backbone(name="test_vit", weights="random", input_px=size[0], input_width_px=size[1]))


@pytest.mark.parametrize(("clean_view", "expected"), [("model", "center"), ("squash", "squash"), ("whole", "whole")])
def test_what_is_shown_of_a_whole_image_may_be_chosen(clean_view: str, expected: str) -> None:
    backbone = Backbone(name="test_resnet", weights="random", input_px=32, clean_view=clean_view)
    assert build_encoder(backbone).preprocessing.crop_mode == expected


def test_what_is_written_of_a_square_network_is_what_it_always_was() -> None:
    square = build_encoder(Backbone(name="test_resnet", weights="random", input_px=32)).preprocessing
    assert list(square.as_json()) == ["side_px", "mean", "std", "interpolation", "crop_share", "crop_mode"]
    wide = build_encoder(Backbone(name="test_resnet", weights="random", input_px=32, input_width_px=64)).preprocessing
    assert wide.as_json() == square.as_json() | {"width_px": 64}
    assert Preprocessing(**square.as_json()) == square
    assert Preprocessing(**wide.as_json()).size == (32, 64)


def test_maps_are_those_that_timm_gives_for_features_only() -> None:
    backbone = Backbone(name="test_resnet", weights="random", input_px=64)
    encoder = build_encoder(backbone).eval()
    reference = timm.create_model("test_resnet", features_only=True).eval()
    reference.load_state_dict(encoder.model.state_dict(), strict=False)
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        ours = encoder(images, ["map-5", "map-4", "map-3", "map-2", "map"])
        for given, wanted in zip(ours, reference(images), strict=True):
            torch.testing.assert_close(given, wanted)


class TestTimmNetworkWithAWideHead(TestTimmConvolutionalNetwork):
    """Some heads widen the pooled map (a hidden layer or a last convolution): the width is what comes out."""

    backbone = Backbone(name="test_mambaout", weights="random", input_px=32)


def test_a_cls_token_without_a_final_norm_is_not_used() -> None:
    # EVA-02 pools its patches and normalises after pooling.
    encoder = build_encoder(Backbone(name="eva02_tiny_patch14_224", weights="random"))
    assert [block.name for block in encoder.blocks if block.stride is None] == ["last"]


def test_hub_weights_without_a_tag_are_refused() -> None:
    with pytest.raises(
        ModelError, match=r"'resnet18' does not say which weights: write resnet18\.TAG \(known: a1_in1k"
    ):
        build_encoder(Backbone(name="resnet18", weights="hub"))
