"""The procedural world: what a seed promises, and that pictures, masks and attributes tell the same story."""

import pytest
import torch

from taskdistill.tasks.miniature.attributes import (
    FINE,
    INDEX,
    NUM_VALUES,
    SPECIES_PER_GENUS,
    draw_species,
    random_attributes,
)
from taskdistill.tasks.miniature.world import PARTS, SIDE_PX, Pictures, draw

RED, BLUE = 4, 7


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def red_headed() -> Pictures:
    """40 pictures of one blue bird with a red head and nothing drawn on it."""
    bird = torch.zeros(1, len(NUM_VALUES), dtype=torch.long)
    for name in ("body", "belly", "wing"):
        bird[0, INDEX[name]] = BLUE
    bird[0, INDEX["head"]] = RED
    return draw(bird.repeat(40, 1), seeded(1))


def test_the_same_seed_draws_the_same_picture():
    birds = random_attributes(40, seeded(7))
    first, second, other = draw(birds, seeded(1)), draw(birds, seeded(1)), draw(birds, seeded(2))
    assert torch.equal(first.images_NHWC, second.images_NHWC)
    assert torch.equal(first.masks_NHW, second.masks_NHW)
    assert not torch.equal(first.images_NHWC, other.images_NHWC)


def test_drawing_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    draw(random_attributes(2, seeded(1)), seeded(1))
    assert torch.equal(before, torch.get_rng_state())


def test_a_picture_is_rgb_bytes_and_its_mask_names_a_part_at_each_pixel(red_headed: Pictures):
    assert red_headed.images_NHWC.shape == (40, SIDE_PX, SIDE_PX, 3)
    assert red_headed.images_NHWC.dtype == red_headed.masks_NHW.dtype == torch.uint8
    assert red_headed.masks_NHW.shape == (40, SIDE_PX, SIDE_PX)
    assert set(red_headed.masks_NHW.unique().tolist()) == set(range(len(PARTS)))


@pytest.mark.parametrize(("part", "strongest"), [("head", 0), ("wing", 2), ("body", 2)])
def test_the_mask_of_a_part_covers_the_pixels_that_have_its_colour(red_headed: Pictures, part: str, strongest: int):
    of_part = red_headed.images_NHWC[red_headed.masks_NHW == PARTS.index(part)].float()
    assert of_part.mean(dim=0).argmax() == strongest
    # An eye and its glint are part of the head, so not every pixel is red.
    assert (of_part.argmax(dim=1) == strongest).float().mean() > 0.8


def test_every_part_of_the_bird_can_be_seen_in_nearly_every_picture():
    masks = draw(random_attributes(200, seeded(3)), seeded(4)).masks_NHW
    seen = torch.stack([(masks == part).flatten(1).any(dim=1) for part in range(3, len(PARTS))], dim=1)
    assert seen.float().mean() > 0.97


def test_species_of_a_genus_differ_from_each_other_in_redrawn_attributes_only():
    attributes = draw_species(100).attributes_KA
    fine = [INDEX[name] for name in FINE]
    for first in range(0, len(attributes), SPECIES_PER_GENUS):
        genus = attributes[first : first + SPECIES_PER_GENUS]
        differs = (genus[:, None] != genus[None]).sum(dim=2)
        assert differs.max() <= 4  # two redrawn in each of the pair
        changed = (genus != genus[0]).any(dim=0).nonzero().flatten().tolist()
        assert set(changed) <= set(fine)


def test_no_two_species_of_a_world_are_alike():
    for seed in range(100, 110):
        species = draw_species(seed)
        assert len({tuple(row) for row in species.attributes_KA.tolist()}) == 25
        assert len(set(species.names)) == 25


def test_another_seed_is_another_world():
    assert not torch.equal(draw_species(100).attributes_KA, draw_species(101).attributes_KA)
