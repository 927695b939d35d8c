"""What the numbers in all masks together say against the classes that were named for them.

Masks that count from 1 and are read as counting from 0, or the other way round, hold nothing that is unknown: each
class is learnt under the name of its neighbour. It may be right all the same, so it is said, and never put right here.
"""

from collections.abc import Mapping

from taskdistill.tasks.data.label_tables import IGNORED
from taskdistill.tasks.data.mask_reading import Reading

_MOST = 0.5
"""Where more of all pixels is ignored, it is doubtful that it is meant to be."""


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


def _counted(first: int, number: int) -> tuple[tuple[int, ...], ...]:
    """Return the values of so many classes, one each, counted from the first."""
    return tuple((first + place,) for place in range(number))


def _part(number: int, pixels: Mapping[int, int]) -> float:
    return pixels.get(number, 0) / sum(pixels.values())


def _share(number: int, pixels: Mapping[int, int]) -> str:
    return f"{_part(number, pixels):.1%}"
