"""mmsegmentation's IoUMetric as an independent check of how mIoU is counted.

Its `compute_metrics` rounds to hundredths of a percent; what it is computed from is exact up to 2^24 pixels of a class.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import one_hot
from torchmetrics.functional.classification import multiclass_jaccard_index

from taskdistill.tasks.functional.losses import IGNORED

pytest.importorskip("mmseg", reason="mmsegmentation is not installed (the extra 'segmentation')")

from taskdistill.tasks.openmmlab.packages import mmseg_ready
from taskdistill.tasks.problems.problem import problem_named

NUM_CLASSES, VOID = 11, 11


def theirs(answers: Sequence[Tensor], truths: Sequence[Tensor]) -> dict[str, np.ndarray]:
    """IoU and accuracy of each class and of all pixels, by IoUMetric image by image."""
    with mmseg_ready("the test"):
        from mmseg.evaluation import IoUMetric

        metric = IoUMetric(ignore_index=255)
        metric.dataset_meta = {"classes": [str(number) for number in range(NUM_CLASSES)]}
        for answer, truth in zip(answers, truths, strict=True):
            sample = {"pred_sem_seg": {"data": answer[None]}, "gt_sem_seg": {"data": truth[None]}}
            metric.process({}, [sample])
        areas = [sum(parts) for parts in zip(*metric.results, strict=True)]
        return metric.total_area_to_metrics(*areas, metrics=["mIoU"])


def by_torchmetrics(answers: Sequence[Tensor], truths: Sequence[Tensor]) -> float:
    targets = torch.stack([torch.where(truth == 255, IGNORED, truth) for truth in truths])
    return float(multiclass_jaccard_index(torch.stack(list(answers)), targets, NUM_CLASSES, ignore_index=IGNORED))


def ours(answers: Sequence[Tensor], truths: Sequence[Tensor]) -> float:
    """mIoU by our meter, of networks that are sure of these answers."""
    meter = problem_named("segmentation").meter([str(number) for number in range(NUM_CLASSES)])
    for answer, truth in zip(answers, truths, strict=True):
        logits = one_hot(answer, NUM_CLASSES).permute(2, 0, 1).float()
        meter.update(logits[None], torch.where(truth == 255, IGNORED, truth)[None])
    return meter.compute()["miou"]


@pytest.mark.real_data
def test_on_masks_of_photographs_it_agrees_with_torchmetrics_and_with_our_meter(real_data: Path) -> None:
    """The answers are the masks moved by some pixels, and never the class 8."""
    masks = [np.asarray(Image.open(path)) for path in sorted((real_data / "camvid/valannot").glob("*.png"))]
    truths = [torch.from_numpy(np.where(mask == VOID, 255, mask).astype(np.int64)) for mask in masks]
    moved = [np.roll(np.where((mask == VOID) | (mask == 8), 0, mask), (3, -5), (0, 1)) for mask in masks]
    answers = [torch.from_numpy(mask.astype(np.int64)) for mask in moved]
    expected = float(np.nanmean(theirs(answers, truths)["IoU"]))
    assert by_torchmetrics(answers, truths) == pytest.approx(expected, abs=1e-6)
    assert ours(answers, truths) == pytest.approx(expected, abs=1e-6)
    assert 0.3 < expected < 0.9


def test_classes_that_nobody_names_count_for_neither() -> None:
    truth = torch.tensor([[0, 0, 1, 1], [2, 255, 255, 2]])
    answer = torch.tensor([[0, 1, 1, 1], [2, 2, 5, 3]])
    # 0: 1 of 2, 1: 2 of 3, 2: 1 of 2, 3: 0 of 1; 5 is named only where nobody knows.
    expected = (1 / 2 + 2 / 3 + 1 / 2 + 0) / 4
    assert by_torchmetrics([answer], [truth]) == pytest.approx(expected, abs=1e-6)
    assert ours([answer], [truth]) == pytest.approx(expected, abs=1e-6)
    assert float(np.nanmean(theirs([answer], [truth])["IoU"])) == pytest.approx(expected, abs=1e-6)
