"""The metrics of classification, declared: their names and how they are shown. `classification_meter` computes them."""

from taskdistill.tasks.problems.metrics import PERCENT, Metric

CALIBRATION_BINS = 15

METRICS = (
    Metric("top1", "top-1", PERCENT, noun="accuracy"),
    Metric("top5", "top-5", PERCENT, is_shown=False, noun="accuracy"),
    Metric("mean_class_accuracy", "mean class accuracy", PERCENT, is_shown=False, noun="accuracy"),
    Metric("nll", "NLL", is_shown=False),
    Metric("ece", "ECE", PERCENT),
    Metric("teacher_agreement", "as teacher", PERCENT, shows_error=False, is_agreement=True),
)
"""Top-1, top-5 and the mean accuracy of the classes; negative log-likelihood in nats; expected calibration error (Guo
et al., arXiv 1706.04599); the share of images on which student and teacher agree.
"""
