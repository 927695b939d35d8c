"""The metrics of classification, declared: their names and how they are shown. `classification_meter` computes them."""

from taskdistill.tasks.problems.metrics import PERCENT, Metric

CALIBRATION_BINS = 15

METRICS = (
    Metric("top1", "top-1", PERCENT, noun="accuracy", about="the share of images whose first answer is right"),
    Metric(
        "top5", "top-5", PERCENT, is_shown=False, noun="accuracy",
        about="the share of images whose class is among the first five answers",
    ),
    Metric(
        "mean_class_accuracy", "mean class accuracy", PERCENT, is_shown=False, noun="accuracy",
        about="top-1 of each class that has images, and the mean of these: rare classes count as much as frequent ones",
    ),
    Metric(
        "nll", "NLL", is_shown=False,
        about="negative log-likelihood: how surprised the model is by the true class, in nats; lower is better",
    ),
    Metric(
        "ece", "ECE", PERCENT,
        about="expected calibration error: how far being sure and being right lie apart; lower is better",
    ),
    Metric(
        "teacher_agreement", "as teacher", PERCENT, shows_error=False, is_agreement=True,
        about="the share of images on which it gives the teacher's answer, right or wrong",
    ),
)  # fmt: skip
"""Top-1, top-5 and the mean accuracy of the classes; negative log-likelihood in nats; expected calibration error (Guo
et al., arXiv 1706.04599); the share of images on which student and teacher agree.
"""
