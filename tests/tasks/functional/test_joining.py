"""Maps joined on an image's own grid: in strips, what the whole would be."""

import resource
import sys

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from taskdistill.tasks.functional.joining import JoinedMap


def window(top: float, left: float, height: float, width: float, flip: float = 0) -> np.ndarray:
    return np.asarray([top, left, height, width, flip, 1, 1, 1, 0], np.float32)


def joined_rows(joined: JoinedMap, max_bytes: int) -> torch.Tensor:
    return torch.cat([joined.rows(rows) for rows in joined.strips(max_bytes)], dim=1)


@pytest.mark.parametrize("cells", [(1, 1), (5, 9), (37, 53), (80, 120)])
@pytest.mark.parametrize("size", [(37, 53), (3, 200), (200, 3), (61, 47)])
def test_one_window_of_the_whole_image_is_what_torch_interpolates(
    cells: tuple[int, int], size: tuple[int, int]
) -> None:
    outputs = torch.randn(1, 4, *cells, generator=torch.Generator().manual_seed(0))
    joined = JoinedMap(outputs, window(0, 0, *size)[None], *size)
    # In float64: of float32 torch rounds the places of the cells too, to about a 10,000th of a cell.
    expected = interpolate(outputs.double(), size, mode="bilinear", align_corners=False)[0]
    torch.testing.assert_close(joined_rows(joined, 1 << 30), expected.float(), atol=2e-6, rtol=0)


@pytest.mark.parametrize("num_rows", [1, 4, 7, 40])
def test_strips_of_any_height_are_the_whole_to_the_bit(num_rows: int) -> None:
    outputs = torch.randn(3, 3, 9, 9, generator=torch.Generator().manual_seed(0)).half()
    views = np.stack([window(0, 0, 40, 40), window(0, 10, 40, 40, 1), window(-5, -5, 60, 60)])
    joined = JoinedMap(outputs, views, 40, 50)
    parts = [joined.rows(range(start, min(start + num_rows, 40))) for start in range(0, 40, num_rows)]
    assert torch.equal(torch.cat(parts, dim=1), joined.rows(range(40)))


def test_a_place_that_several_windows_show_is_the_mean_of_what_they_say() -> None:
    """Two windows of one cell on 2 x 6 pixels: columns 0-3 say (1, 0), columns 2-5 say (0, 3)."""
    outputs = torch.tensor([[1.0, 0.0], [0.0, 3.0]])[:, :, None, None]
    found = JoinedMap(outputs, np.stack([window(0, 0, 2, 4), window(0, 2, 2, 4)]), 2, 6).rows(range(2))
    assert found[0].tolist() == [[1, 1, 0.5, 0.5, 0, 0]] * 2
    assert found[1].tolist() == [[0, 0, 1.5, 1.5, 3, 3]] * 2


def test_a_mirrored_window_is_turned_back() -> None:
    outputs = torch.arange(6.0).view(1, 1, 1, 6)
    found = JoinedMap(outputs, window(0, 0, 1, 6, flip=1)[None], 1, 6).rows(range(1))
    assert found.flatten().tolist() == [5, 4, 3, 2, 1, 0]


def test_of_a_padded_window_the_part_within_the_image_counts() -> None:
    """A view of 6 x 6 pixels, the image its rows 2-3 and all columns."""
    outputs = torch.arange(36.0).view(1, 1, 6, 6)
    found = JoinedMap(outputs, window(-2, 0, 6, 6)[None], 2, 6).rows(range(2))
    assert torch.equal(found, outputs[0, :, 2:4])


def test_one_window_that_shows_a_part_speaks_for_all_by_its_nearest_cell() -> None:
    outputs = torch.tensor([[3.0, 7.0]]).view(1, 1, 1, 2)
    found = JoinedMap(outputs, window(1, 2, 1, 2)[None], 3, 6).rows(range(3))
    assert found[0].tolist() == [[3, 3, 3, 7, 7, 7]] * 3


def test_windows_that_leave_pixels_out_are_an_error() -> None:
    views = np.stack([window(0, 0, 2, 2), window(0, 4, 2, 2)])
    with pytest.raises(ValueError, match="2 windows do not cover the 2 x 6 image"):
        JoinedMap(torch.zeros(2, 1, 1, 1), views, 2, 6).rows(range(2))


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB on Linux")
def test_150_classes_on_an_image_of_8000_pixels_take_no_gigabytes() -> None:
    """All of it would be 3.8 GB."""
    joined = JoinedMap(torch.randn(1, 150, 37, 37), window(0, 0, 800, 8000)[None], 800, 8000)
    joined.rows(range(1))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for rows in joined.strips():
        if rows.start < 60:  # the others are alike
            joined.rows(rows).amax(0)
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < 250
