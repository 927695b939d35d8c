"""What problems take of settings that stand for all of them: what a head sees, heads and losses, and whole images that
are judged. Plain text, so that it is checked before torch is imported.
"""

from collections.abc import Iterable
from typing import Annotated, Literal, NamedTuple

from pydantic import AfterValidator

from taskdistill.configs.base import Settings
from taskdistill.configs.choices import HEAD_NAMES, HEAD_SOURCES, load, nearest

HEADS = ("linear", "fcn", "lraspp", "segformer-mlp")


def check_head(kind: str) -> str:
    """Return what names a head, one of HEADS or SOURCE:NAME; ValueError where it does not."""
    source, separator, name = kind.partition(":")
    if separator and source in HEAD_SOURCES:
        if source in HEAD_NAMES:
            load(HEAD_NAMES, source)(name)
    elif kind not in HEADS:
        known = [*HEADS, *(f"{other}:NAME" for other in HEAD_SOURCES)]
        raise ValueError(f"unknown head {kind!r}{nearest(kind, known)}")
    return kind


HeadKind = Annotated[str, AfterValidator(check_head)]
ProbeInput = Literal["last", "last4", "last+mean", "last4+mean"]
Vector = Literal["layer-4", "layer-3", "layer-2", "last", "mean"]
"""A block of an encoder that is one vector for an image (tasks.models.encoder)."""
_LAST4: tuple[Vector, ...] = ("layer-4", "layer-3", "layer-2", "last")
VECTORS: dict[str, tuple[Vector, ...]] = {
    "last": ("last",),
    "last4": _LAST4,
    "last+mean": ("last", "mean"),
    "last4+mean": (*_LAST4, "mean"),
}
"""What a head sees of an image, by its input, where that is not a map."""
ALL_VECTORS: tuple[Vector, ...] = (*_LAST4, "mean")
"""In the order in which features hold them."""


def as_blocks(vectors: Iterable[Vector]) -> tuple[Vector, ...]:
    """Return these vectors as a recipe of features names them: each once, in their order; all of them as none."""
    seen = set(vectors)
    return () if seen == set(ALL_VECTORS) else tuple(vector for vector in ALL_VECTORS if vector in seen)


def blocks_of(inputs: Iterable[ProbeInput]) -> tuple[Vector, ...]:
    """Return the vectors that heads with these inputs see, as a recipe of features names them."""
    return as_blocks(vector for name in inputs for vector in VECTORS[name])


TaskLoss = Literal["cross-entropy", "cross-entropy+dice", "cross-entropy+lovasz"]
ClassWeights = Literal["none", "inverse-frequency"]


class Options(NamedTuple):
    """The values that a problem takes of the settings of these names, of a list each entry; the defaults are what a
    problem of one class an image takes.
    """

    inputs: tuple[ProbeInput, ...] = ("last", "last4", "last+mean", "last4+mean")
    head: tuple[str, ...] = ("linear",)
    """An entry that ends with a colon stands for all heads of a source."""
    loss: tuple[TaskLoss, ...] = ("cross-entropy",)
    class_weights: tuple[ClassWeights, ...] = ("none",)
    show: tuple[str, ...] = ("clean",)
    flip: tuple[str, ...] = ("none",)


OPTIONS: dict[str, Options] = {
    "segmentation": Options(
        inputs=("last", "last4"),
        head=(*HEADS, *(f"{source}:" for source in HEAD_SOURCES)),
        loss=("cross-entropy", "cross-entropy+dice", "cross-entropy+lovasz"),
        class_weights=("none", "inverse-frequency"),
        show=("clean", "whole", "sliding"),
        flip=("none", "horizontal"),
    ),
}
"""By problem; one without a line takes the defaults alone."""


def check_options(problem: str, **sections: Settings) -> None:
    """Raise ValueError where one of these sections has a value that the problem does not take."""
    for name, taken in OPTIONS.get(problem, Options())._asdict().items():
        for place, section in sections.items():
            found = getattr(section, name, ())
            for value in found if isinstance(found, tuple) else (found,):
                if value not in taken and f"{value.partition(':')[0]}:" not in taken:
                    raise ValueError(
                        f"{place}.{name} is {value!r}, which the problem {problem!r} does not have: set it to "
                        f"{' or '.join(map(repr, taken))}"
                    )
