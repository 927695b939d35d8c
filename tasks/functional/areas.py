"""Where a padded view shows its image, as an area in shares of the view: nothing is taught outside it.

Shape letters: N views, K classes, h w cells of a map; an area is top, bottom, left, right (`views.shown_area`).
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def shown_cells(shown_N4: Tensor, grid: Sequence[int]) -> Tensor:
    """Return [N, *grid], whether the centre of each cell of a grid laid over a view lies in its area; for the grid ()
    of an answer to the whole view always, as that is about whatever it shows.
    """
    if not grid:
        return torch.ones(len(shown_N4), dtype=torch.bool, device=shown_N4.device)
    top_N1, bottom_N1, left_N1, right_N1 = shown_N4.unsqueeze(2).unbind(1)
    rows_h, columns_w = ((torch.arange(cells, device=shown_N4.device) + 0.5) / cells for cells in grid)
    rows_Nh = (rows_h >= top_N1) & (rows_h < bottom_N1)
    columns_Nw = (columns_w >= left_N1) & (columns_w < right_N1)
    return rows_Nh.unsqueeze(2) & columns_Nw.unsqueeze(1)


def common_areas(shown_N4: Tensor) -> Tensor:
    """Return [N, 4], what each view and the one opposite both show, empty where they share nothing.

    A mixture of two views shows an image only there, whichever way they are mixed (`functional.mixup`).
    """
    others_N4 = shown_N4.flip(0)
    top_N, bottom_N, left_N, right_N = shown_N4.unbind(1)
    other_top_N, other_bottom_N, other_left_N, other_right_N = others_N4.unbind(1)
    return torch.stack(
        [
            torch.maximum(top_N, other_top_N),
            torch.minimum(bottom_N, other_bottom_N),
            torch.maximum(left_N, other_left_N),
            torch.minimum(right_N, other_right_N),
        ],
        dim=1,
    )
