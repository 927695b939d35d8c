"""What some problems offer beyond what all have: other heads, other losses. Plain text, so that it is checked before
torch is imported.
"""

from typing import Literal, NamedTuple

from configs.base import Settings

HeadKind = Literal["linear", "fcn", "lraspp", "segformer-mlp"]
TaskLoss = Literal["cross-entropy", "cross-entropy+dice", "cross-entropy+lovasz"]
ClassWeights = Literal["none", "inverse-frequency"]


class Options(NamedTuple):
    """The values that a problem takes of the settings of these names; the defaults are what every problem takes."""

    head: tuple[HeadKind, ...] = ("linear",)
    loss: tuple[TaskLoss, ...] = ("cross-entropy",)
    class_weights: tuple[ClassWeights, ...] = ("none",)


OPTIONS: dict[str, Options] = {
    "segmentation": Options(
        head=("linear", "fcn", "lraspp", "segformer-mlp"),
        loss=("cross-entropy", "cross-entropy+dice", "cross-entropy+lovasz"),
        class_weights=("none", "inverse-frequency"),
    ),
}
"""By problem; one without a line takes the defaults alone."""


def check_options(problem: str, **sections: Settings) -> None:
    """Raise ValueError where one of these sections has a value that the problem does not take."""
    for name, taken in OPTIONS.get(problem, Options())._asdict().items():
        for place, section in sections.items():
            value = getattr(section, name, None)
            if value is not None and value not in taken:
                raise ValueError(
                    f"{place}.{name} is {value!r}, which the problem {problem!r} does not have: set it to "
                    f"{' or '.join(map(repr, taken))}"
                )
