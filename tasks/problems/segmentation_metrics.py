"""The metrics of segmentation, declared: their names and how they are shown. `segmentation_meter` computes them."""

from tasks.problems.metrics import PERCENT, Metric

METRICS = (Metric("miou", "mIoU", PERCENT),)
"""The mean over classes of intersection over union, counted over all pixels of a split."""
