"""What the numbers in all masks together say against the classes that were named for them, or were found.

Masks that count from 1 and are read as counting from 0, or the other way round, hold nothing that is unknown: each
class is learnt under the name of its neighbour. It may be right all the same, so it is said, and never put right here.
"""

import itertools
import math
from collections.abc import Collection, Mapping

from taskdistill.tasks.data.label_tables import IGNORED
from taskdistill.tasks.data.mask_reading import Reading

_MOST = 0.5
"""Where more of all pixels is ignored, it is doubtful that it is meant to be."""

_ALL_BITS = (IGNORED, 65_535)
_STRETCHES = {257: "their full range", 256: "their upper byte"}
"""What labels of 8 bits are multiplied by where a program brings them to 16."""
_LEAST_STEP = 5
"""Numbers that lie closer may lie evenly by chance."""
_BY_NAME = "name the numbers as they are in a CSV file with the columns name,value (data.labels)"


def doubts(pixels: Mapping[int, int], reading: Reading) -> list[str]:
    """Return a sentence where masks seem to count from another number than the classes that were named.

    `pixels` are those of each number in all masks that hold numbers.
    """
    values = reading.labels.values
    if not pixels or values not in (_counted(0, len(values)), _counted(1, len(values))):
        return []
    first, last = values[0][0], values[-1][0]
    name, beyond = reading.labels.names[0], last + 1
    if first == 0 and not pixels.get(0):
        ignored = beyond in reading.labels.ignored and pixels.get(beyond, 0)
        too = f", and {beyond}, which is ignored, is {_share(beyond, pixels)} of their pixels" if ignored else ""
        return [
            f"no mask holds 0, which is {name!r} by {reading.source}{too}: masks that count their classes from 1 look "
            "like this, and then each class is learnt under the name of the next one. Look at one of them; if they "
            f"count from 1, name the classes in a CSV file with the columns name,value that gives {name!r} the 1 "
            "(data.labels)"
        ]
    holds_both_voids = pixels.get(0, 0) and pixels.get(IGNORED, 0)
    if first == 1 and not pixels.get(last) and (holds_both_voids or _part(0, pixels) > _MOST):
        too = f", as is 255 ({_share(IGNORED, pixels)})" if holds_both_voids else ""
        return [
            f"0 is ignored by {reading.source} or data.ignored_values and is {_share(0, pixels)} of the pixels of all "
            f"masks{too}, and none holds {last}, the last class: masks that count their classes from 0 look like this, "
            "and then each class is learnt under the name of the one before it. Look at one of them; if they count "
            f"from 0, take 0 out of data.ignored_values, or name the classes in a CSV file with the columns name,value "
            f"that gives {name!r} the 0 (data.labels)"
        ]
    return []


def doubts_of_found(pixels: Mapping[int, int]) -> list[str]:
    """Return a sentence where 255 seems to be one of the classes that masks without names hold."""
    numbers = sorted(pixels)
    steps = [after - before for before, after in itertools.pairwise(numbers)]
    is_spread = numbers[:1] == [0] and numbers[-1] == IGNORED and len(steps) > 1
    if not is_spread or min(steps) < _LEAST_STEP or max(steps) - min(steps) > 1:
        return []
    return [
        f"the numbers {_some(numbers)} lie evenly from 0 to 255, as classes do that were drawn for the eye, and 255 is "
        f"ignored: if it is a class, {_BY_NAME}"
    ]


def likeness(numbers: Collection[int], reading: Reading) -> str:
    """Say what masks look like that hold numbers of no class, and what to do; empty where that is not known."""
    classes = {value for own in reading.labels.values for value in own}
    known = classes | {IGNORED, *reading.labels.ignored}
    telling = set(numbers) - {0, *_ALL_BITS}
    if not telling or telling <= known:
        return ""
    for factor, into in _STRETCHES.items():
        if all(number % factor == 0 and number // factor in known for number in telling):
            return (
                f"The numbers are those of the classes times {factor}, as where a program brought labels of 8 bits to "
                f"16 by {into}: divide them by {factor}, or save the masks anew from their source with 8 bits"
            )
    count, last = len(reading.labels.names), max(classes, default=0)
    if _are_spread(numbers, count) and len(telling) >= min(2, count - 2):
        return (
            f"The numbers are those of {count} classes spread evenly over 0 to 255 (times {IGNORED / (count - 1):g}), "
            f"as masks are drawn for the eye: save them anew from their source, or {_BY_NAME}, 255 too"
        )
    step = math.gcd(*telling)
    if step > 1 and len(telling) > 1 and all(number // step in known for number in telling):
        return (
            f"All numbers are multiples of {step}, and those of the classes times {step} would look like this: divide "
            f"them by {step}, or {_BY_NAME}"
        )
    if telling - known == {last + 1} and classes == set(range(count)):
        return (
            f"The numbers go to {last + 1}, one past the last of {count} classes, as where they count from 1: if 0 is "
            "what is ignored and data.labels gives names alone, set data.ignored_values=[0]; if 0 is a class, name it "
            f"too; else {_BY_NAME}"
        )
    return ""


def likeness_of_one_class(numbers: Collection[int], reading: Reading) -> str:
    """Say what masks look like in which one class alone is left; empty where that is not known."""
    is_class = any(IGNORED in own for own in reading.labels.values)
    if set(numbers) != {0, IGNORED} or is_class:
        return ""
    return f"They hold 0 and 255 alone, and 255 is ignored: if it is a class, {_BY_NAME}, 0 and 255"


def _are_spread(numbers: Collection[int], count: int) -> bool:
    """Whether all numbers are among so many that lie evenly from 0 to 255, rounded in any way."""
    step = IGNORED / (count - 1)
    levels = [place * step for place in range(count)]
    return step >= _LEAST_STEP and all(any(abs(number - level) < 1 for level in levels) for number in numbers)


def _some(numbers: Collection[int]) -> str:
    first = ", ".join(map(str, list(numbers)[:4]))
    return f"{first} ..." if len(numbers) > 4 else first


def _counted(first: int, number: int) -> tuple[tuple[int, ...], ...]:
    """Return the values of so many classes, one each, counted from the first."""
    return tuple((first + place,) for place in range(number))


def _part(number: int, pixels: Mapping[int, int]) -> float:
    return pixels.get(number, 0) / sum(pixels.values())


def _share(number: int, pixels: Mapping[int, int]) -> str:
    return f"{_part(number, pixels):.1%}"
