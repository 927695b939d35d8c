"""The metrics of segmentation, declared: their names and how they are shown. `segmentation_meter` computes them."""

from taskdistill.tasks.problems.metrics import PERCENT, Metric

METRICS = (
    Metric("miou", "mIoU", PERCENT, noun="mIoU", of_classes="IoU"),
    Metric("mean_accuracy", "mean acc", PERCENT, is_shown=False, noun="accuracy", of_classes="accuracy"),
    Metric("pixel_accuracy", "pixels", PERCENT, shows_error=False, noun="accuracy"),
    Metric("boundary_f", "boundary F", PERCENT, shows_error=False),
    Metric("ece", "ECE", PERCENT),
    Metric("teacher_agreement", "as teacher", PERCENT, shows_error=False, is_agreement=True),
)
"""Mean over classes of intersection over union, and of the share of a class's pixels that is right, counts summed over
all images first; the share of all pixels that is right; the boundary F-score (Csurka et al., BMVC 2013), a mean over
images; expected calibration error over pixels (Guo et al., arXiv 1706.04599); the share of pixels on which student and
teacher agree. Pixels whose class nobody knows count nowhere, but for the last.
"""
