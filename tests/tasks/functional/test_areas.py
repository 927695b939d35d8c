"""Areas of padded views: which cells of a map lie in them, and what mixtures have in common."""

import torch

from taskdistill.configs.data import ViewSettings
from taskdistill.tasks.functional.areas import common_areas, shown_cells
from taskdistill.tasks.functional.losses import num_answers
from taskdistill.tasks.functional.views import draw_view, replay_mask, shown_area

EVERYTHING, LOWER_HALF, LEFT_FIFTH = [0.0, 1.0, 0.0, 1.0], [0.5, 1.0, 0.0, 1.0], [0.0, 1.0, 0.0, 0.2]


def test_cells_are_shown_where_their_centre_is() -> None:
    # Centres of 2 x 3 cells: rows at 0.25 and 0.75, columns at 1/6, 1/2 and 5/6.
    found = shown_cells(torch.tensor([EVERYTHING, LOWER_HALF, LEFT_FIFTH, [0.3, 0.7, 0.3, 0.4]]), (2, 3))
    assert found.int().tolist() == [
        [[1, 1, 1], [1, 1, 1]],
        [[0, 0, 0], [1, 1, 1]],
        [[1, 0, 0], [1, 0, 0]],
        [[0, 0, 0], [0, 0, 0]],
    ]


def test_an_answer_to_the_whole_view_counts_however_little_of_it_is_shown() -> None:
    assert shown_cells(torch.tensor([EVERYTHING, LEFT_FIFTH]), ()).tolist() == [True, True]
    assert num_answers(torch.zeros(2, 5), torch.tensor([EVERYTHING, LEFT_FIFTH])).item() == 2


def test_answers_are_counted_where_the_image_is() -> None:
    areas = torch.tensor([EVERYTHING, LOWER_HALF, LEFT_FIFTH])
    assert num_answers(torch.zeros(3, 5, 2, 3), areas).item() == 6 + 3 + 2
    assert num_answers(torch.zeros(3, 5, 2, 3)).item() == 18


def test_the_cells_of_a_map_as_fine_as_the_view_are_those_that_a_mask_shows() -> None:
    settings = ViewSettings(crop="scaled", width_to_height=1.5)
    for number in range(50):
        view = draw_view("a", number, 61, 83, settings)
        mask_HW = replay_mask(torch.zeros(61, 83, dtype=torch.uint8).numpy(), view, (32, 48))
        cells = shown_cells(torch.from_numpy(shown_area(view, 61, 83))[None], (32, 48))[0]
        # On the border itself a rounding decides: at most one row and one column.
        assert (cells.numpy() != (mask_HW == 0)).sum() <= 32 + 48


def test_mixtures_of_two_views_are_known_where_both_are() -> None:
    found = common_areas(torch.tensor([EVERYTHING, LOWER_HALF, LEFT_FIFTH]))
    lower_half_alone = common_areas(torch.tensor([LOWER_HALF, [0.0, 0.4, 0.1, 0.9]]))
    assert found.tolist() == torch.tensor([LEFT_FIFTH, LOWER_HALF, LEFT_FIFTH]).tolist()
    assert not shown_cells(lower_half_alone, (10, 10)).any()
