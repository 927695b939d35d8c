"""The metrics of segmentation, declared: their names and how they are shown. `segmentation_meter` computes them."""

from taskdistill.tasks.problems.metrics import PERCENT, Metric

METRICS = (
    Metric(
        "miou", "mIoU", PERCENT, noun="mIoU", of_classes="IoU",
        about="of each class the pixels that are right over those that are so or are said to be, and the mean of these",
    ),
    Metric(
        "mean_accuracy", "mean acc", PERCENT, is_shown=False, noun="accuracy", of_classes="accuracy",
        about="the share of each class's pixels that is right, and the mean of these",
    ),
    Metric(
        "pixel_accuracy", "pixels", PERCENT, shows_error=False, noun="accuracy",
        about="the share of pixels that is right",
    ),
    Metric(
        "boundary_f", "boundary F", PERCENT, shows_error=False,
        about="how well the borders of classes lie where they should (F-score of their pixels)",
    ),
    Metric(
        "ece", "ECE", PERCENT,
        about="expected calibration error: how far being sure and being right lie apart; lower is better",
    ),
    Metric(
        "teacher_agreement", "as teacher", PERCENT, shows_error=False, is_agreement=True,
        about="the share of pixels on which it gives the teacher's answer, right or wrong",
    ),
)  # fmt: skip
"""Mean over classes of intersection over union, and of the share of a class's pixels that is right, counts summed over
all images first; the share of all pixels that is right; the boundary F-score (Csurka et al., BMVC 2013), a mean over
images; expected calibration error over pixels (Guo et al., arXiv 1706.04599); the share of pixels on which student and
teacher agree. Pixels whose class nobody knows count nowhere, but for the last.
"""
