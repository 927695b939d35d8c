"""The colours by which people know the classes of a dataset, for pictures: nothing is read by them."""

from collections.abc import Mapping

from taskdistill.tasks.data.label_tables import Colour, LabelTable


def colours_of(labels: LabelTable, drawn: Mapping[int, set[Colour]]) -> dict[str, Colour]:
    """Return the colour of each class: the first of those that its labels name, or the one that it has in the palettes
    of all masks. Empty where some class has none, or has several there.

    `drawn` are the colours of each class in the palettes of masks.
    """
    if labels.colours:
        found = {name: set(own[:1]) for name, own in zip(labels.names, labels.colours, strict=True)}
    else:
        found = {name: drawn.get(number, set()) for number, name in enumerate(labels.names)}
    colours = {name: next(iter(own)) for name, own in found.items() if len(own) == 1}
    # One colour for all, as of a palette that nobody filled in, would show nothing.
    tells_apart = len(colours) == len(labels.names) and len(set(colours.values())) > 1
    return colours if tells_apart else {}
