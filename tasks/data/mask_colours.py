"""The colours by which people know the classes of a dataset, for pictures: nothing is read by them.

Shape letters: M distinct codes of a mask.
"""

from collections.abc import Sequence

from taskdistill.tasks.data.label_tables import Colour
from taskdistill.tasks.data.mask_reading import Reading
from taskdistill.tasks.data.mask_survey import Content


def colours_of(contents: Sequence[Content], reading: Reading) -> dict[str, Colour]:
    """Return the colour of each class: the first of those that its labels name, or the one that it has in the palettes
    of all masks. Empty where some class has none, or has several there.
    """
    names = reading.labels.names
    if reading.labels.colours:
        found = {name: set(own[:1]) for name, own in zip(names, reading.labels.colours, strict=True)}
    else:
        found = {name: set[Colour]() for name in names}
        for one in contents:
            classes_M = reading.lookup(one.kind, one.palette)(one.found.codes_M)
            for code, number in zip(one.found.codes_M.tolist(), classes_M.tolist(), strict=True):
                if code in one.palette and 0 <= number < len(names):
                    found[names[number]].add(one.palette[code])
    colours = {name: next(iter(own)) for name, own in found.items() if len(own) == 1}
    # One colour for all, as of a palette that nobody filled in, would show nothing.
    tells_apart = len(colours) == len(names) and len(set(colours.values())) > 1
    return colours if tells_apart else {}
