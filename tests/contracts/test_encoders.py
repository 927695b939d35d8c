"""What every source of models must obey. A new source adds a class here, as a new store does in zarr."""

import numpy as np
import pytest
import torch

from configs.models import Backbone
from tasks.models.encoder import LAST, PROBE_INPUTS, Encoder, ModelError, build_encoder
from tasks.models.preprocessing import normalise
from tasks.models.weightless import encoder_outline

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
        side = self.backbone.input_px
        pixels = np.random.default_rng(0).integers(0, 256, (5, side, side, 3), np.uint8)
        return normalise(pixels, encoder.preprocessing, CPU)

    @torch.inference_mode()
    def test_it_summarises_each_image_as_named_blocks_of_one_width(
        self, encoder: Encoder, images: torch.Tensor
    ) -> None:
        features_NRD = encoder.summarise(images)
        assert features_NRD.shape == (5, len(encoder.blocks), encoder.width)
        assert torch.isfinite(features_NRD).all()

    def test_every_encoder_has_the_last_block_and_only_known_ones(self, encoder: Encoder) -> None:
        assert LAST in encoder.blocks
        assert set(encoder.blocks) <= set(PROBE_INPUTS["last4+mean"])
        assert len(set(encoder.blocks)) == len(encoder.blocks)

    @torch.inference_mode()
    def test_what_it_says_of_an_image_does_not_depend_on_the_others(
        self, encoder: Encoder, images: torch.Tensor
    ) -> None:
        together, alone = encoder.summarise(images), encoder.summarise(images[2:3])
        torch.testing.assert_close(together[2:3], alone, rtol=1e-4, atol=1e-5)

    @torch.inference_mode()
    def test_different_images_get_different_summaries(self, encoder: Encoder, images: torch.Tensor) -> None:
        features_NRD = encoder.summarise(images)
        for block in range(len(encoder.blocks)):
            assert not torch.allclose(features_NRD[0, block], features_NRD[1, block])

    def test_the_same_settings_build_the_same_weights(self, encoder: Encoder) -> None:
        again = build_encoder(self.backbone).state_dict()
        assert all(torch.equal(value, again[name]) for name, value in encoder.state_dict().items())

    def test_it_tells_what_it_will_say_before_it_has_weights(self, encoder: Encoder) -> None:
        outline = encoder_outline(self.backbone)
        assert {parameter.device.type for parameter in outline.parameters()} == {"meta"}
        assert (outline.blocks, outline.width, outline.preprocessing) == (
            encoder.blocks, encoder.width, encoder.preprocessing,
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
        encoder.train().summarise(images).square().sum().backward()
        reached = [parameter.grad is not None for parameter in encoder.parameters()]
        assert all(reached)

    def test_the_settings_of_a_backbone_override_the_models_own_preprocessing(self) -> None:
        chosen = {"mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6), "interpolation": "lanczos"}
        preprocessing = build_encoder(self.backbone.model_copy(update=chosen)).preprocessing
        assert preprocessing.side_px == self.backbone.input_px
        assert {name: getattr(preprocessing, name) for name in chosen} == chosen

    def test_an_unknown_name_is_refused_with_the_nearest_one(self) -> None:
        misspelt = self.backbone.name + "x"
        with pytest.raises(ModelError, match=rf"no model '{misspelt}'; did you mean '{self.backbone.name}\d?'"):
            build_encoder(self.backbone.model_copy(update={"name": misspelt}))


class TestTimmVisionTransformer(EncoderContract):
    backbone = Backbone(name="test_vit", weights="random", input_px=32)

    def test_its_blocks_are_four_layers_and_the_mean_of_the_patches(self, encoder: Encoder) -> None:
        assert encoder.blocks == ("layer-4", "layer-3", "layer-2", "last", "mean")


class TestTimmConvolutionalNetwork(EncoderContract):
    backbone = Backbone(name="test_resnet", weights="random", input_px=32)

    def test_its_only_block_is_the_pooled_map(self, encoder: Encoder) -> None:
        assert encoder.blocks == ("last",)


class TestTimmNetworkWithAWideHead(TestTimmConvolutionalNetwork):
    """Some heads widen the pooled map (a hidden layer or a last convolution): the width is what comes out."""

    backbone = Backbone(name="test_mambaout", weights="random", input_px=32)


def test_a_cls_token_without_a_final_norm_is_not_used() -> None:
    # EVA-02 pools its patches and normalises after pooling.
    encoder = build_encoder(Backbone(name="eva02_tiny_patch14_224", weights="random"))
    assert encoder.blocks == ("last",)


def test_hub_weights_without_a_tag_are_refused() -> None:
    with pytest.raises(
        ModelError, match=r"'resnet18' does not say which weights: write resnet18\.TAG \(known: a1_in1k"
    ):
        build_encoder(Backbone(name="resnet18", weights="hub"))
