"""The stand-in for mmcv's compiled operators."""

import importlib.util
import sys
from pathlib import Path

import pytest
import torch

from taskdistill.tasks.openmmlab.mmcv_ops import NAME, point_sample, prepare, sigmoid_focal_loss

mmcv = importlib.util.find_spec("mmcv")


@pytest.mark.skipif(mmcv is None, reason="mmcv is not installed (the extra 'segmentation')")
@pytest.mark.parametrize("shape", [(2, 7, 2), (2, 3, 5, 2)])
def test_points_are_sampled_as_mmcv_samples_them(shape: tuple[int, ...]) -> None:
    path = Path(mmcv.origin).parent / "ops/point_sample.py"  # ordinary torch, in mmcv-lite too
    spec = importlib.util.spec_from_file_location("mmcv_point_sample", path)
    theirs = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(theirs)
    generator = torch.Generator().manual_seed(0)
    map_NCHW, points = torch.randn(2, 3, 8, 6, generator=generator), torch.rand(shape, generator=generator)
    for align_corners in (False, True):
        expected = theirs.point_sample(map_NCHW, points, align_corners)
        assert torch.equal(point_sample(map_NCHW, points, align_corners), expected)


@pytest.mark.skipif(mmcv is None, reason="mmcv is not installed (the extra 'segmentation')")
def test_it_stands_in_only_where_the_compiled_operators_are_missing() -> None:
    prepare()
    is_compiled = importlib.util.find_spec("mmcv._ext") is not None
    assert (getattr(sys.modules.get(NAME), "point_sample", None) is point_sample) is not is_compiled


def test_a_loss_that_is_compiled_says_so() -> None:
    with pytest.raises(NotImplementedError, match="mmcv-lite has none"):
        sigmoid_focal_loss(torch.zeros(2), torch.zeros(2))
