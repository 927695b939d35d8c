"""What a probed teacher says of images: settings of heads that leave images out, and of calibration, with the checks
that look at several of them.
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field


def _no_fold_of_all(folds: int) -> int:
    if folds == 1:
        raise ValueError("one fold would be all images, and none be left to train on: set 0 (no folds), or 2 to 20")
    return folds


NumFolds = Annotated[int, Field(ge=0, le=20), AfterValidator(_no_fold_of_all)]
"""0: none."""
TrainLogits = Literal["in-sample", "out-of-fold"]
"""Whether the head that gives a training image's logits was trained on that image."""
Calibration = Literal["none", "temperature"]


def check_features_for_folds(folds: int, section: str) -> None:
    """Raise ValueError where heads that are trained from images, not from cached features, are to leave out folds."""
    if folds:
        raise ValueError(
            f"{section}.folds is {folds}, and heads that leave out a fold are trained on cached features alone: set "
            f"teacher_cache to 'features', or {section}.folds to 0"
        )


def check_teacher_logits(logits: TrainLogits, calibration: Calibration, teacher: tuple[str, str], folds: int) -> None:
    """Raise ValueError where a teacher cannot say what is asked of it.

    `teacher` is how it is trained and what is cached of it (Experiment.teacher_training, teacher_cache).
    """
    asked = {"teacher_logits": (logits, "in-sample"), "teacher_calibration": (calibration, "none")}
    for name, (value, neutral) in asked.items():
        if value != neutral and teacher != ("probed", "features"):
            raise ValueError(
                f"{name} '{value}' is for a probed teacher whose features are cached: set teacher_training to 'probed' "
                f"and teacher_cache to 'features', or {name} to '{neutral}'"
            )
    if logits == "out-of-fold" and not folds:
        raise ValueError(
            "teacher_logits 'out-of-fold' needs heads that leave out a fold of the images, and probe.folds is 0: set "
            "probe.folds to 2 or more, such as 5, or teacher_logits to 'in-sample'"
        )
