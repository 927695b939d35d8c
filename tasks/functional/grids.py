"""Maps over an image on grids of different fineness, and bringing them to one.

All grids cover the same view, whatever its side in pixels: cells have no size but their share of it. So values lie at
the centres of cells (align_corners False), which is how the public linear probes interpolate (arXiv 2304.07193).

Shape letters: N images, D width of a map, h w cells of a map.
"""

from collections.abc import Sequence

from torch import Tensor
from torch.nn.functional import interpolate

Grid = tuple[int, int]
"""Height and width in cells."""


def finest(maps: Sequence[Tensor]) -> Grid:
    """Return the smallest grid on which no map [N, D, h, w] loses a cell: the most cells in either direction."""
    return max(map_NDhw.shape[-2] for map_NDhw in maps), max(map_NDhw.shape[-1] for map_NDhw in maps)


def on_grid(map_NDhw: Tensor, grid: Sequence[int]) -> Tensor:
    """Return a map on another grid, bilinear and in float32; as it is where that is its own."""
    if tuple(map_NDhw.shape[-2:]) == tuple(grid):
        return map_NDhw
    return interpolate(map_NDhw.float(), tuple(grid), mode="bilinear", align_corners=False)
