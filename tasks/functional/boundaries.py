"""The boundary F-score of label maps: how well the outlines of classes fit, which areas hardly show.

Csurka et al., What is a good evaluation measure for semantic segmentation?, BMVC 2013: precision is the share of a
class's predicted boundary that lies within a tolerance of its true boundary, recall the other way round, F their
harmonic mean, averaged over the classes of an image. The tolerance is 0.75 % of the image's diagonal.

All classes are dilated at once, each a bit of one number: a distance transform for each class costs many times as much.

Shape letters: H W pixels, K classes.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

Labels = npt.NDArray[np.integer]
Mask = npt.NDArray[np.bool_]

TOLERANCE = 0.0075
"""Of the diagonal."""
BAND_PIXELS = 1 << 22
"""Pixels that are worked on at once, the rows above and below that they need besides."""


def boundary_score(predicted_HW: Labels, truth_HW: Labels, is_known_HW: Mask) -> float:
    """Return the mean over classes of the F-score, 0..1, of one image.

    A boundary is where two pixels that are known touch (above, below or beside each other) and differ; the edge of the
    image is none, and nor is the edge of what is unknown. Classes with a boundary in neither map are left out; 1 where
    no class has one, as none was missed and none was invented.
    """
    edges = _edges(predicted_HW, is_known_HW), _edges(truth_HW, is_known_HW)
    classes = np.unique(np.concatenate([predicted_HW[edges[0]], truth_HW[edges[1]]]))
    tolerance = TOLERANCE * math.hypot(*truth_HW.shape)
    scores = [
        _f_scores((predicted_HW, truth_HW), edges, classes[start : start + 64], tolerance)
        for start in range(0, len(classes), 64)
    ]
    return float(np.concatenate(scores).mean()) if scores else 1.0


def _edges(labels_HW: Labels, is_known_HW: Mask) -> Mask:
    edge_HW = np.zeros(labels_HW.shape, np.bool_)
    for first, second in (
        ((slice(None, -1), slice(None)), (slice(1, None), slice(None))),
        ((slice(None), slice(None, -1)), (slice(None), slice(1, None))),
    ):
        differs = (labels_HW[first] != labels_HW[second]) & is_known_HW[first] & is_known_HW[second]
        edge_HW[first] |= differs
        edge_HW[second] |= differs
    return edge_HW


def _f_scores(
    maps: tuple[Labels, Labels], edges: tuple[Mask, Mask], classes: Labels, tolerance: float
) -> npt.NDArray[np.float64]:
    """Return the F-score of each of up to 64 classes, for the maps predicted and true."""
    num, matched = np.zeros((2, len(classes)), np.int64), np.zeros((2, len(classes)), np.int64)
    for rows, shown in _bands(maps[0].shape, int(tolerance)):
        codes = [_codes(labels[shown], edge[shown], classes) for labels, edge in zip(maps, edges, strict=True)]
        inside = slice(rows.start - shown.start, rows.stop - shown.start)
        for which, labels in enumerate(maps):
            near, own = _dilated(codes[1 - which], tolerance)[inside], codes[which][inside]
            is_own = own != 0
            place = np.searchsorted(classes, labels[rows][is_own])
            is_matched = (own[is_own] & near[is_own]) != 0
            num[which] += np.bincount(place, minlength=len(classes))
            matched[which] += np.bincount(place[is_matched], minlength=len(classes))
    precision, recall = matched / np.maximum(num, 1)
    return np.asarray(2 * precision * recall / np.maximum(precision + recall, 1e-12), np.float64)


def _bands(shape: tuple[int, ...], halo: int) -> Iterator[tuple[slice, slice]]:
    """Yield rows, and the rows that must be looked at for them."""
    height, width = shape
    num_rows = max(1, BAND_PIXELS // width)
    for start in range(0, height, num_rows):
        stop = min(start + num_rows, height)
        yield slice(start, stop), slice(max(0, start - halo), min(height, stop + halo))


def _codes(labels_HW: Labels, edge_HW: Mask, classes: Labels) -> npt.NDArray[Any]:
    """Return a number for each pixel: 0, or where it is on the boundary of one of the classes the bit of that class."""
    kind = next(kind for kind in (np.uint8, np.uint16, np.uint32, np.uint64) if len(classes) <= 8 * kind().nbytes)
    codes_HW = np.zeros(labels_HW.shape, kind)
    place = np.searchsorted(classes, labels_HW[edge_HW]).clip(max=len(classes) - 1)
    is_one = classes[place] == labels_HW[edge_HW]
    codes_HW[edge_HW] = np.where(is_one, np.left_shift(kind(1), place.astype(kind)), kind(0))
    return codes_HW


def _dilated(codes_HW: npt.NDArray[Any], tolerance: float) -> npt.NDArray[Any]:
    """Return the bits of all pixels within the tolerance of each pixel: a disc, built of runs that grow wider."""
    height = len(codes_HW)
    run_HW, dilated_HW, width = codes_HW.copy(), np.zeros_like(codes_HW), 0
    for down in range(int(tolerance), -1, -1):
        while width + 1 <= math.sqrt(tolerance**2 - down**2):
            width += 1
            run_HW[:, width:] |= codes_HW[:, :-width]
            run_HW[:, :-width] |= codes_HW[:, width:]
        if down < height:
            dilated_HW[down:] |= run_HW[: height - down]
            dilated_HW[: height - down] |= run_HW[down:]
    return dilated_HW
