"""The claims of the paper, each as questions whether one model lies above another.

Claims are numbered as they are made; those that ask for more than can be had here say so.
"""

from collections.abc import Sequence
from typing import NamedTuple

from tests.evidence.trials import CNN, FINETUNED, LARGER, LONGER, PROBED

TEACHER_PROBED, TEACHER_FINETUNED = "teacher probed", "teacher finetuned"
START, CONTROL, DISTILLED = "student probed", "student finetuned", "student distilled"
BLENDS, UNLABELLED = "student distilled +blends", "student distilled +unlabelled"


class Side(NamedTuple):
    """A model of a trial."""

    model: str
    arm: str
    called: str
    """In a sentence."""


class Question(NamedTuple):
    """Whether `first` lies above `second`, in the places of a trial."""

    trial: str
    first: Side
    second: Side


class Claim(NamedTuple):
    """A sentence of the paper, and what is asked of it here."""

    sentence: str
    questions: Sequence[Question]
    remark: str = ""


def _students(trial: str, arm: str) -> list[Question]:
    """Ask of a distilled student whether it is above the one without a teacher, and above where both began."""
    distilled = Side(DISTILLED, arm, "distilled")
    return [
        Question(trial, distilled, Side(CONTROL, arm, "finetuned")),
        Question(trial, distilled, Side(START, arm, "its own probe")),
    ]


def _passing(trial: str, arm: str, teacher: str) -> Question:
    return Question(trial, Side(DISTILLED, arm, "distilled"), Side(teacher, arm, "its teacher"))


def _sources(trial: str) -> list[Question]:
    """Ask which teacher is the better source, and which is the better model."""
    probed, finetuned = "of the probed teacher", "of the finetuned teacher"
    return [
        Question(
            trial, Side(DISTILLED, PROBED, f"student {probed}"), Side(DISTILLED, FINETUNED, f"student {finetuned}")
        ),
        Question(
            trial,
            Side(TEACHER_PROBED, PROBED, "the probed teacher itself"),
            Side(TEACHER_FINETUNED, FINETUNED, "the finetuned one"),
        ),
    ]


CLAIMS = (
    Claim(
        "A probed teacher is often a better source than a finetuned one, even when it is less accurate.",
        [*_sources("birds"), *_sources("clothing")],
        "Where a finetuned teacher is said above to be the probe it started from, its rows compare a teacher with "
        "itself. On road scenes the probed teacher was tried on one split alone; SEGMENTATION has it.",
    ),
    Claim(
        "Distilling for the task beats finetuning the same small model.",
        [
            question
            for trial, arm in (("birds", PROBED), ("clothing", PROBED), ("parts", PROBED), ("roads", FINETUNED))
            for question in _students(trial, arm)
        ],
        "All students start from their own probed head, which is the second control.",
    ),
    Claim(
        "The student may pass its teacher and still have gained.",
        [
            _passing("birds", PROBED, TEACHER_PROBED),
            _passing("clothing", PROBED, TEACHER_PROBED),
            _passing("parts", PROBED, TEACHER_PROBED),
            _passing("roads", FINETUNED, TEACHER_FINETUNED),
        ],
        "That a student may pass its teacher is not refuted by one that does not; that it gains is asked above.",
    ),
    Claim(
        "The largest teacher may teach directly; no assistant between it and the student is needed.",
        [
            Question(
                "clothing",
                Side(DISTILLED, LARGER, "student of the larger teacher"),
                Side(DISTILLED, PROBED, "student of the smaller teacher"),
            ),
            Question(
                "clothing",
                Side(TEACHER_PROBED, LARGER, "the larger teacher itself (EfficientNet-Lite1)"),
                Side(TEACHER_PROBED, PROBED, "the smaller one (MobileNetV2 1.0)"),
            ),
        ],
        "An assistant that was itself taught was not tried: asked is only whether a larger teacher teaches worse, and "
        "where that cannot be told, no harm shows.",
    ),
    Claim(
        "Blends of ImageMixer, in the distillation term alone, help, on top of standard augmentation.",
        [
            Question("birds", Side(BLENDS, PROBED, "with blends"), Side(DISTILLED, PROBED, "without, as many steps")),
            Question("birds", Side(BLENDS, PROBED, "with blends"), Side(DISTILLED, LONGER, "without, twice the steps")),
            Question("parts", Side(BLENDS, PROBED, "with blends"), Side(DISTILLED, PROBED, "without, as many steps")),
            Question(
                "roads",
                Side(UNLABELLED, FINETUNED, "with frames without masks"),
                Side(DISTILLED, FINETUNED, "without, as many steps"),
            ),
        ],
        "A step with blends sees twice the pictures, so that twice the steps without them see as many. Every student "
        "sees augmented views. The mixer is the small one that is shipped, which knows birds alone; on road scenes "
        "real frames take the place of blends.",
    ),
    Claim(
        "It holds across architectures: a vision transformer may teach a convolutional student.",
        [*_students("birds", CNN), _passing("birds", CNN, TEACHER_PROBED)],
        "MobileNetV2 0.35, pretrained on ImageNet at 128 px, taught by the transformer of the birds; clothing and road "
        "scenes have convolutional teachers and students of different families. EVA-02 was not tried.",
    ),
)
