"""Heads that see maps, against torchvision, torch and what the papers say."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from taskdistill.configs import problem_options
from taskdistill.configs.models import Backbone
from taskdistill.tasks.functional.grids import on_grid
from taskdistill.tasks.models.dense_heads import HEADS, FcnHead, LinearHead, LrasppHead, SegformerHead
from taskdistill.tasks.models.encoder import Block, ModelError, blocks_named, build_encoder
from taskdistill.tasks.models.task_model import as_arrays, as_tensors
from taskdistill.tasks.problems.segmentation import Segmentation

K = 5
PYRAMID = [Block("map-4", 24, 4), Block("map-3", 40, 8), Block("map-2", 48, 16), Block("map", 64, 32)]


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def maps_of(blocks: Sequence[Block], *, num: int = 3, height: int = 64, width: int = 96) -> list[Tensor]:
    """Maps of some scale each, as those of a frozen network have."""
    return [
        (10.0**number) * torch.randn(num, block.width, height // block.stride, width // block.stride)
        for number, block in enumerate(blocks, start=-1)
        if block.stride
    ]


def with_statistics(head: nn.Module, maps: Sequence[Tensor]) -> nn.Module:
    """Return the head as after some training: its BatchNorm has seen maps, its layers are no longer all small."""
    for parameter in head.parameters():
        nn.init.normal_(parameter, std=0.3)
    for _ in range(3):
        head(*maps)
    return head.eval()


# --- all kinds -------------------------------------------------------------------------------------------------------


def test_there_is_a_head_for_every_kind_that_can_be_set() -> None:
    assert set(HEADS) == set(problem_options.HEADS)


@pytest.mark.parametrize("kind", HEADS)
def test_a_head_answers_on_the_finest_grid_it_sees(kind: str) -> None:
    expected = (3, K, 8, 12) if kind == "lraspp" else (3, K, 16, 24)
    assert HEADS[kind](PYRAMID, K)(*maps_of(PYRAMID)).shape == expected


@pytest.mark.parametrize("kind", ["linear", "fcn", "segformer-mlp"])
def test_an_untrained_head_prefers_no_class(kind: str) -> None:
    probabilities = HEADS[kind](PYRAMID, K)(*maps_of(PYRAMID)).softmax(1)
    assert (probabilities - 1 / K).abs().mean() < 0.1


@pytest.mark.parametrize("kind", HEADS)
def test_what_a_head_has_learnt_and_the_statistics_it_normalises_with_are_written_and_read(kind: str) -> None:
    maps = maps_of(PYRAMID)
    trained, other = with_statistics(HEADS[kind](PYRAMID, K), maps), HEADS[kind](PYRAMID, K).eval()
    other.load_state_dict(as_tensors(as_arrays(trained.state_dict())))
    torch.testing.assert_close(other(*maps), trained(*maps), rtol=0, atol=0)


@pytest.mark.parametrize("kind", HEADS)
def test_every_parameter_of_a_head_learns(kind: str) -> None:
    head = HEADS[kind](PYRAMID, K)
    head(*maps_of(PYRAMID)).square().sum().backward()
    assert [name for name, parameter in head.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize(
    ("name", "arguments", "strides"),
    [
        ("test_vit", {}, [16] * 4),
        ("test_resnet", {}, [4, 8, 16, 32]),
        ("resnet10t", {"output_stride": 8}, [4, 8, 8, 8]),
        ("resnet10t", {"output_stride": 16}, [4, 8, 16, 16]),
        ("mobilenetv2_035", {}, [4, 8, 16, 32]),
        ("test_convnext", {}, [4, 8, 16, 32]),
    ],
)
def test_the_last_four_maps_of_transformers_and_of_convolutional_networks_are_seen(
    kind: str, name: str, arguments: dict[str, int], strides: list[int]
) -> None:
    encoder = build_encoder(Backbone(name=name, weights="random", input_px=64, arguments=arguments)).eval()
    names = Segmentation().inputs()["last4"]
    blocks = blocks_named(encoder.blocks, names)
    assert [block.stride for block in blocks] == strides
    with torch.no_grad():
        outputs = HEADS[kind](blocks, K)(*encoder(torch.randn(2, 3, 64, 64), names))
    finest = strides[0] if kind != "lraspp" else next(stride for stride in strides if stride >= 8)
    assert outputs.shape == (2, K, 64 // finest, 64 // finest)


# --- linear ----------------------------------------------------------------------------------------------------------


def test_the_linear_head_is_one_layer_on_all_maps_on_one_grid() -> None:
    maps = maps_of(PYRAMID)
    head = with_statistics(LinearHead(PYRAMID, K), maps)
    together = torch.cat([on_grid(map_NDhw, (16, 24)) for map_NDhw in maps], dim=1)
    norm, layer = nn.BatchNorm2d(together.shape[1], affine=False).eval(), nn.Conv2d(together.shape[1], K, 1)
    norm.running_mean = torch.cat([one.running_mean for one in head.norms])
    norm.running_var = torch.cat([one.running_var for one in head.norms])
    layer.weight.data = torch.cat([one.weight for one in head.layers], dim=1)
    layer.bias.data = head.layers[0].bias.data
    torch.testing.assert_close(head(*maps), layer(norm(together)), rtol=1e-4, atol=1e-4)


def test_the_linear_head_does_not_mind_how_large_the_values_of_a_map_are() -> None:
    maps = maps_of(PYRAMID)
    head = LinearHead(PYRAMID, K)
    larger = [maps[0] * 1000 + 7, *maps[1:]]
    torch.testing.assert_close(head(*larger), head(*maps), rtol=1e-3, atol=1e-3)


# --- the others ------------------------------------------------------------------------------------------------------


def test_fcn_on_one_map_is_that_of_torchvision() -> None:
    from torchvision.models.segmentation.fcn import FCNHead

    blocks = [Block("map", 160, 32)]
    maps = [torch.randn(3, 160, 4, 6)]
    ours, theirs = with_statistics(FcnHead(blocks, K), maps), FCNHead(160, K).eval()
    # Theirs has dropout before the last layer, which is none in evaluation.
    renamed = {name.removeprefix("scores.0."): tensor for name, tensor in ours.state_dict().items()}
    theirs.load_state_dict({name.replace("3.", "4.", 1) if name[0] == "3" else name: renamed[name] for name in renamed})
    torch.testing.assert_close(ours(*maps), theirs(*maps))


def test_fcn_adds_the_scores_of_several_maps_on_the_finest_grid() -> None:
    maps = maps_of(PYRAMID)
    head = with_statistics(FcnHead(PYRAMID, K), maps)
    alone = [on_grid(score(map_NDhw), (16, 24)) for score, map_NDhw in zip(head.scores, maps, strict=True)]
    torch.testing.assert_close(head(*maps), sum(alone))


def test_lraspp_is_that_of_torchvision() -> None:
    from torchvision.models.segmentation.lraspp import LRASPPHead

    blocks = [Block("map-2", 40, 8), Block("map", 160, 32)]
    maps = maps_of(blocks)
    ours, theirs = with_statistics(LrasppHead(blocks, K), maps), LRASPPHead(40, 160, K, 128).eval()
    names = {"project": "cbr", "scale": "scale.1", "low_score": "low_classifier", "high_score": "high_classifier"}
    renamed = {}
    for name, tensor in ours.state_dict().items():
        part, _, rest = name.partition(".")
        renamed[f"{names[part]}.{rest}"] = tensor
    theirs.load_state_dict(renamed)
    expected = theirs({"low": maps[0], "high": maps[1]})
    torch.testing.assert_close(ours(*maps), expected, rtol=1e-4, atol=1e-4)


def test_lraspp_needs_a_finer_map() -> None:
    with pytest.raises(ModelError, match=r"sees the last map and a finer one.*set the probe's inputs to \['last4'\]"):
        LrasppHead([Block("map", 8, 32)], K)


def test_segformer_fuses_all_maps_concatenated_on_the_finest_grid() -> None:
    maps = maps_of(PYRAMID)
    head = with_statistics(SegformerHead(PYRAMID, K), maps)
    wide = [on_grid(layer(map_NDhw), (16, 24)) for layer, map_NDhw in zip(head.maps, maps, strict=True)]
    expected = head.score(torch.relu(head.norm(head.fusion(torch.cat(wide, dim=1)))))
    torch.testing.assert_close(head(*maps), expected, rtol=1e-4, atol=1e-4)


def test_of_vectors_alone_the_error_says_where_maps_are_to_be_had() -> None:
    """As where stage probe, which reads cached features, is run for a problem of maps."""
    with pytest.raises(ModelError, match=r"blocks \['last'\], not \['map'\]: the problem needs maps.*probe-images"):
        blocks_named([Block("last", 8)], ["map"])
    with pytest.raises(ModelError, match=r"not \['map-4'\]: set the probe's inputs to \['last'\]"):
        blocks_named([Block("map", 8, 32)], ["map-4", "map"])
