"""What pretraining asks: targets worked out by hand."""

import torch

from taskdistill.tasks.miniature import targets
from taskdistill.tasks.miniature.attributes import INDEX, NUM_VALUES
from taskdistill.tasks.miniature.world import PARTS, Pictures

HEAD, BODY, BEAK = (PARTS.index(name) for name in ("head", "body", "beak"))


def one_mask() -> torch.Tensor:
    """Head in the right half of the second patch, body in the lower right quarter of the picture."""
    mask = torch.zeros(1, 64, 64, dtype=torch.uint8)
    mask[0, :8, 12:16] = HEAD
    mask[0, 32:, 32:] = BODY
    return mask


def test_cells_are_ordered_row_by_row_within_a_patch_and_patches_within_the_picture():
    cells = targets.part_cells(one_mask())
    assert cells.shape == (1, 64, 16)
    assert cells[0, 1].tolist() == [0, 0, HEAD, HEAD] * 4
    assert cells[0, 0].unique().tolist() == [0]
    assert cells[0, 63].unique().tolist() == [BODY]


def test_a_cell_has_the_colour_of_its_part_and_none_beside_the_bird():
    attributes = torch.zeros(1, len(NUM_VALUES), dtype=torch.long)
    attributes[0, INDEX["head"]], attributes[0, INDEX["body"]] = 4, 7
    pictures = Pictures(torch.zeros(1, 64, 64, 3, dtype=torch.uint8), one_mask(), attributes)
    colours = targets.colour_cells(pictures)
    assert colours[0, 1].tolist() == [targets.NO_COLOUR, targets.NO_COLOUR, 4, 4] * 4
    assert colours[0, 63].unique().tolist() == [7]


def test_a_beak_has_the_palette_colour_that_its_own_values_name():
    attributes = torch.zeros(1, len(NUM_VALUES), dtype=torch.long)
    attributes[0, INDEX["beak colour"]] = 2  # red, which is the palette's fifth
    mask = torch.full((1, 64, 64), BEAK, dtype=torch.uint8)
    pictures = Pictures(torch.zeros(1, 64, 64, 3, dtype=torch.uint8), mask, attributes)
    assert targets.colour_cells(pictures).unique().tolist() == [4]


def test_the_place_of_a_part_is_its_centre_and_size():
    places = targets.part_places(one_mask())
    x, y, size = places[0, :3].tolist()  # the body is the first part of the bird
    assert (x, y, size) == (0.5, 0.5, 0.5)
    belly = places[0, 3:6].tolist()
    assert belly == [0, 0, 0]


def test_attributes_named_surely_and_rightly_cost_nothing():
    attributes = torch.stack([torch.zeros(13, dtype=torch.long), torch.tensor([k - 1 for k in NUM_VALUES])])
    blocks = [torch.nn.functional.one_hot(attributes[:, a], k) * 50.0 for a, k in enumerate(NUM_VALUES)]
    logits = torch.cat(blocks, dim=1)
    assert targets.attribute_loss(logits, attributes) < 1e-6
    assert targets.attribute_hits(logits, attributes).all()
    wrong = attributes.clone()
    wrong[0, 3] = 5
    assert targets.attribute_hits(logits, wrong).sum() == 25


def test_a_patch_is_asked_for_the_details_of_the_parts_it_shows_and_no_others():
    attributes = torch.zeros(1, len(NUM_VALUES), dtype=torch.long)
    attributes[0, INDEX["crest"]] = 2
    parts = targets.part_cells(one_mask())
    logits = torch.zeros(1, 64, sum(NUM_VALUES))
    crest = slice(sum(NUM_VALUES[: INDEX["crest"]]), sum(NUM_VALUES[: INDEX["crest"] + 1]))
    equal_odds = targets.detail_loss(logits, parts, attributes)
    logits[0, 2:, crest] = torch.tensor([9.0, 0.0, 0.0, 0.0])  # wrong, but where no head is
    assert targets.detail_loss(logits, parts, attributes) == equal_odds
    logits[0, 1, crest] = torch.tensor([0.0, 0.0, 50.0, 0.0])  # right, where the head is
    gained = torch.log(torch.tensor(4.0)) / len(NUM_VALUES)
    assert torch.isclose(equal_odds - targets.detail_loss(logits, parts, attributes), gained)
