"""The boundary F-score, against its definition by distances."""

import numpy as np
import pytest
from scipy import ndimage

from taskdistill.tasks.functional import boundaries
from taskdistill.tasks.functional.boundaries import boundary_score


def by_distances(predicted: np.ndarray, truth: np.ndarray, known: np.ndarray) -> float:
    """The definition, a class at a time, with a distance transform."""
    cross, tolerance = ndimage.generate_binary_structure(2, 1), 0.0075 * np.hypot(*truth.shape)
    scores = []
    for one in np.union1d(predicted, truth):
        edges = []
        for labels in (predicted, truth):
            inside, outside = (labels == one) & known, (labels != one) & known
            edges.append(inside & ndimage.binary_dilation(outside, cross))
        if not edges[0].any() and not edges[1].any():
            continue
        shares = []
        for own, other in (edges, edges[::-1]):
            far = ndimage.distance_transform_edt(~other) if other.any() else np.full(truth.shape, np.inf)
            shares.append((far[own] <= tolerance).mean() if own.any() else 0.0)
        scores.append(2 * np.prod(shares) / sum(shares) if sum(shares) else 0.0)
    return float(np.mean(scores)) if scores else 1.0


def blobs(seed: int, size: tuple[int, int], num_classes: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=(num_classes, *size))
    return np.asarray(ndimage.gaussian_filter(noise, (0, 6, 6)).argmax(axis=0))


@pytest.mark.parametrize(
    ("size", "num_classes"), [((90, 130), 3), ((300, 200), 12), ((120, 400), 30), ((500, 40), 70), ((3, 300), 2)]
)
def test_it_is_the_definition_by_distances(
    size: tuple[int, int], num_classes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth, other = blobs(0, size, num_classes), blobs(1, size, num_classes)
    predicted = np.where(ndimage.gaussian_filter(np.random.default_rng(2).normal(size=size), 9) > 0, truth, other)
    known = np.random.default_rng(3).random(size) > 0.05
    expected = by_distances(predicted, truth, known)
    assert boundary_score(predicted, truth, known) == pytest.approx(expected, abs=1e-12)
    monkeypatch.setattr(boundaries, "BAND_PIXELS", 2000)  # in bands, the rows around them seen too
    assert boundary_score(predicted, truth, known) == pytest.approx(expected, abs=1e-12)


def test_the_same_map_fits_fully_and_one_without_boundaries_too() -> None:
    truth, known = blobs(0, (60, 60), 4), np.ones((60, 60), bool)
    assert boundary_score(truth, truth, known) == 1
    assert boundary_score(np.zeros_like(truth), np.ones_like(truth), known) == 1
    assert boundary_score(truth, truth, np.zeros_like(known)) == 1


def test_a_line_that_is_off_by_the_tolerance_fits_and_one_by_a_pixel_more_does_not() -> None:
    """300 x 400 pixels: a diagonal of 500, and a tolerance of 3.75 px."""
    known, columns = np.ones((300, 400), bool), np.arange(400)
    truth = np.broadcast_to(columns >= 200, (300, 400)).astype(int)
    found = [
        boundary_score(np.broadcast_to(columns >= 200 + off, truth.shape).astype(int), truth, known) for off in (3, 4)
    ]
    assert found == [1, 0]
