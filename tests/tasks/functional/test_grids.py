"""Maps on grids of different fineness."""

import pytest
import torch

from taskdistill.tasks.functional.grids import finest, on_grid


def test_the_finest_grid_has_the_most_cells_in_either_direction() -> None:
    assert finest([torch.zeros(1, 2, 3, 8), torch.zeros(1, 5, 4, 6)]) == (4, 8)


def test_a_map_on_its_own_grid_is_left_as_it_is() -> None:
    map_NDhw = torch.zeros(1, 2, 3, 4, dtype=torch.bfloat16)
    assert on_grid(map_NDhw, (3, 4)) is map_NDhw


def test_values_lie_at_the_centres_of_cells() -> None:
    """Two cells on twice as many: the outer quarters keep the values, between the centres lies a line."""
    found = on_grid(torch.tensor([[[[0.0, 1.0]]]]), (1, 4))
    assert found.flatten().tolist() == pytest.approx([0, 0.25, 0.75, 1])
