"""The windows that an image is shown in."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskdistill.configs.evaluation import WindowSettings
from taskdistill.configs.experiment import Experiment
from taskdistill.configs.stages import EvaluateConfig
from taskdistill.tasks.functional.views import clean_view
from taskdistill.tasks.functional.windows import windows_of


def windows(height: int, width: int, ratio: float = 1.0, **shown: object) -> np.ndarray:
    clean = clean_view(height, width, 0.875, "center")
    return windows_of(height, width, ratio, clean, WindowSettings.model_validate(shown))


def test_by_default_it_is_the_clean_view() -> None:
    np.testing.assert_array_equal(windows(40, 60), clean_view(40, 60, 0.875, "center")[None])


def test_whole_is_one_window_around_the_image_of_the_networks_ratio() -> None:
    assert windows(40, 60, show="whole")[:, :5].tolist() == [[-10, 0, 60, 60, 0]]
    assert windows(40, 60, 2.0, show="whole")[:, :5].tolist() == [[0, -10, 40, 80, 0]]


def test_sliding_windows_are_those_of_mmsegmentation() -> None:
    """512 x 1000 pixels, windows of 512, stride 341: its slide_inference begins at 0, 341, and at 488 in place of 682,
    where the last window would leave the image.
    """
    found = windows(512, 1000, show="sliding")
    assert found[:, :4].tolist() == [[0, left, 512, 512] for left in (0, 341, 488)]


def test_each_scale_has_windows_of_its_own_size_and_each_window_its_mirror_image() -> None:
    found = windows(40, 40, show="sliding", scales=(1.0, 2.0, 0.5), stride=1, flip="horizontal")
    plain = [[0, 0, 40, 40], *([top, left, 20, 20] for top in (0, 20) for left in (0, 20)), [-20, -20, 80, 80]]
    assert found[:, :4].tolist() == plain * 2
    assert found[:, 4].tolist() == [0] * 6 + [1] * 6


def test_a_window_may_have_a_height_in_pixels_of_the_image() -> None:
    found = windows(100, 300, 2.0, show="sliding", window_px=60, stride=1)
    assert found[:, :4].tolist() == [[top, left, 60, 120] for top in (0, 40) for left in (0, 120, 180)]


@settings(max_examples=40)
@given(
    st.integers(1, 300), st.integers(1, 300), st.floats(0.3, 3), st.floats(0.01, 1), st.floats(0.3, 4),
    st.integers(0, 80),
)  # fmt: skip
def test_every_pixel_is_shown_by_a_window_of_each_scale(
    height: int, width: int, ratio: float, stride: float, scale: float, window_px: int
) -> None:
    found = windows(height, width, ratio, show="sliding", stride=max(stride, 0.3), scales=(scale,), window_px=window_px)
    covered = np.zeros((height, width), bool)
    for top, left, rows, columns in found[:, :4].astype(int):
        covered[max(0, top) : top + rows, max(0, left) : left + columns] = True
    assert covered.all()


@pytest.mark.parametrize("shown", [{"scales": (2.0,)}, {"window_px": 64}])
def test_what_is_for_sliding_windows_is_refused_without_them(shown: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="for sliding windows, and show is 'clean': set it to 'sliding'"):
        WindowSettings.model_validate(shown)


@pytest.mark.parametrize(("name", "value"), [("show", "whole"), ("show", "sliding"), ("flip", "horizontal")])
def test_a_problem_without_a_grid_is_judged_by_the_clean_view(name: str, value: str) -> None:
    windows = WindowSettings.model_validate({name: value})
    for make in (EvaluateConfig, Experiment):
        with pytest.raises(ValueError, match=rf"windows\.{name} is '{value}', which the problem 'classification' does"):
            make(windows=windows)
    assert EvaluateConfig(problem="segmentation", windows=windows).windows == windows
