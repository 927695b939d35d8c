"""Heads of mmsegmentation, behind the interface of all heads."""

import pytest
import torch

from taskdistill.configs.stages import ProbeSettings
from taskdistill.tasks.models.encoder import Block, ModelError
from taskdistill.tasks.openmmlab.head_names import HEADS

pytest.importorskip("mmseg", reason="mmsegmentation is not installed (the extra 'segmentation')")

from taskdistill.tasks.openmmlab.heads import build_head
from taskdistill.tasks.openmmlab.packages import mmseg_ready
from taskdistill.tasks.problems.segmentation import Segmentation

PYRAMID = [Block(f"map-{4 - number}", 8 * 2**number, 4 * 2**number) for number in range(4)]
TRANSFORMER = [Block(f"map-{4 - number}", 16, 16) for number in range(4)]


def maps_for(blocks: list[Block], num_images: int = 2) -> list[torch.Tensor]:
    """Maps of images of 96 x 160 pixels."""
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(num_images, block.width, 96 // block.stride, 160 // block.stride, generator=generator)
        for block in blocks
    ]


@pytest.mark.parametrize("blocks", [PYRAMID, TRANSFORMER, TRANSFORMER[-1:]], ids=["pyramid", "transformer", "one map"])
@pytest.mark.parametrize("name", HEADS)
def test_every_head_of_the_table_gives_a_map_of_logits_that_all_its_weights_learn_from(
    name: str, blocks: list[Block]
) -> None:
    if len(blocks) < HEADS[name].min_maps:
        with pytest.raises(ModelError, match="at least 2"):
            build_head(name, blocks, 5)
        return
    head = build_head(name, blocks, 5)
    logits = head(*maps_for(blocks))
    assert logits.shape == (2, 5, *maps_for(blocks)[0].shape[2:])
    logits.square().mean().backward()
    assert [key for key, weights in head.named_parameters() if weights.grad is None] == []
    with torch.no_grad():  # the same look twice: caches and files handed over hold what it said once
        assert torch.equal(head.eval()(*maps_for(blocks)), head(*maps_for(blocks)))


def test_two_classes_have_two_logits() -> None:
    assert build_head("FCNHead", TRANSFORMER[-1:], 2)(*maps_for(TRANSFORMER[-1:])).shape[1] == 2


def test_a_head_is_the_one_that_mmsegmentation_builds_of_its_configuration() -> None:
    head = build_head("PSPHead", PYRAMID, 5).eval()
    with mmseg_ready("the test"):
        from mmseg.models.decode_heads import PSPHead

        settings = {key: value for key, value in head.settings.items() if key != "type"}
        theirs = PSPHead(**settings).eval()
    theirs.load_state_dict(head.head.state_dict())
    with torch.no_grad():
        assert torch.equal(head(*maps_for(PYRAMID)), theirs(maps_for(PYRAMID)))


def test_the_problem_with_masks_takes_them_by_name() -> None:
    assert ProbeSettings(head="mmseg:SegformerHead").head == "mmseg:SegformerHead"
    head = Segmentation().head(PYRAMID, 5, "mmseg:SegformerHead")
    assert head(*maps_for(PYRAMID)).shape == (2, 5, 24, 40)


def test_vectors_and_pyramids_upside_down_are_refused() -> None:
    with pytest.raises(ModelError, match=r"sees maps.*\['last'\]"):
        build_head("FCNHead", [Block("last", 16)], 5)
    with pytest.raises(ModelError, match="from the finest to the coarsest"):
        build_head("UPerHead", PYRAMID[::-1], 5)
