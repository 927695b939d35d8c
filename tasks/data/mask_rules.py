"""How all masks of a dataset are read, by what they hold and what was said of the classes: one rule for all of them.

Where nothing names the classes, they are the numbers or colours that are found.

Shape letters: M distinct entries of palettes.
"""

from collections import Counter, defaultdict

import numpy as np

from taskdistill.configs.counting import counted
from taskdistill.configs.data import IngestConfig
from taskdistill.tasks.data.candidates import DatasetError, some
from taskdistill.tasks.data.label_tables import IGNORED, MAX_CLASSES, Colour, LabelTable
from taskdistill.tasks.data.mask_doubts import doubts, doubts_of_found
from taskdistill.tasks.data.mask_pixels import Kind, code_of, colour_of
from taskdistill.tasks.data.mask_reading import Reading
from taskdistill.tasks.data.mask_seen import Seen

_IN_16_BITS = 65_535
_FOUND = "the masks themselves"


def decide(seen: Seen, labels: LabelTable | None, config: IngestConfig) -> tuple[Reading, list[str]]:
    """Return how these masks are read, and a sentence for each decision; DatasetError where there is no rule for all.

    `labels` is what was said of the classes, None where they are to be found.
    """
    said = _said_of_alpha(seen)
    colours = seen.colours
    known = {code_of(colour) for own in labels.colours for colour in own} if labels else set()
    known |= {code_of(colour) for colour in labels.ignored_colours} if labels else set()
    is_grey_a_value = bool(colours) and not seen.has_hues and not colours <= known
    if is_grey_a_value:
        said.append("masks of three channels hold grey alone, and are read as numbers")
        colours = set()
    if labels is None:
        reading = _found(seen, colours, config)._replace(is_grey_a_value=is_grey_a_value)
        said += doubts_of_found(numbers_of(seen, reading))
    else:
        if colours and not known:
            raise DatasetError(
                f"masks such as that of {seen.first['colours']!r} hold colours, and {_source(config)} gives the "
                "classes none: name them in a CSV file with the columns name,red,green,blue (data.labels)"
            )
        table = _of_two(seen, labels, said).with_values(config.ignored_values)
        _check_table(table, labels, config)
        reading = Reading(table, _source(config), is_grey_a_value=is_grey_a_value)
        if _means_its_palette(seen, reading):
            said.append("masks with a palette are read by its colours, since its numbers are not those of the classes")
            reading = reading._replace(is_indexed_by_colour=True)
        said += doubts(numbers_of(seen, reading), reading)
    if len(reading.labels.names) < 2:
        found = f"only {some(reading.labels.names)}" if reading.labels.names else "no class"
        raise DatasetError(
            f"there is {found} by {reading.source}, beside what is ignored: a task needs at least two classes"
        )
    return reading, said


def numbers_of(seen: Seen, reading: Reading) -> Counter[int]:
    """Return the pixels of each number, in masks that are read by numbers."""
    kinds: list[Kind] = ["values"]
    kinds += [] if reading.is_indexed_by_colour else ["indexed"]
    kinds += ["colours"] if reading.is_grey_a_value else []
    return seen.numbers(*kinds)


def _source(config: IngestConfig) -> str:
    return f"data.labels {config.labels!r}" if config.labels else f"the layout ({config.form}, {config.layout})"


def _said_of_alpha(seen: Seen) -> list[str]:
    number = seen.num_with_alpha
    return (
        [f"{counted(number, 'mask has', 'masks have')} an alpha channel that is opaque; it is passed over"]
        if number
        else []
    )


def _of_two(seen: Seen, labels: LabelTable, said: list[str]) -> LabelTable:
    """Return the labels with numbers where there are two names and masks of black and white."""
    numbers = seen.numbers("values", "indexed", "colours")
    if labels.values or len(labels.names) != 2 or seen.has_hues or numbers.keys() != {0, IGNORED}:
        return labels
    said.append(f"the masks hold 0 and 255 alone: 255 is read as {labels.names[1]!r}, not as what is ignored")
    return labels._replace(values=((0,), (IGNORED,)))


def _check_table(table: LabelTable, labels: LabelTable, config: IngestConfig) -> None:
    if len(table.names) > MAX_CLASSES:
        raise DatasetError(
            f"{_source(config)} names {len(table.names)} classes, and there can be {MAX_CLASSES}: give several numbers "
            "the same name, or ignore some"
        )
    lost = [
        name for name, before, own in zip(table.names, labels.values, table.values, strict=False) if before and not own
    ]
    if lost:
        raise DatasetError(
            f"data.ignored_values ignores all numbers of {some(lost)}, which {_source(config)} names as classes: take "
            "them out of one of the two"
        )


def _means_its_palette(seen: Seen, reading: Reading) -> bool:
    """Whether the colours of all palettes are those of classes, and other ones than the numbers say."""
    if seen.has_numbers_beyond_palettes or not seen.painted:
        return False
    numbers_M = np.asarray([number for number, _ in seen.painted], np.int32)
    colours_M = np.asarray([code_of(colour) for _, colour in seen.painted], np.int32)
    of_colours_M = reading._replace(is_grey_a_value=False).lookup("colours", {})(colours_M)
    of_numbers_M = reading.lookup("indexed", {})(numbers_M)
    return bool((of_colours_M >= 0).all() and (of_colours_M != of_numbers_M).any())


def _found(seen: Seen, colours: set[int], config: IngestConfig) -> Reading:
    """Return classes for all that the masks hold."""
    if not colours:
        return _found_values(seen, config)
    if "values" in seen.first:
        raise DatasetError(
            f"the mask of {seen.first['values']!r} holds numbers, that of {seen.first['colours']!r} colours: "
            "say what both mean in a CSV file with the columns name,value,red,green,blue (data.labels)"
        )
    colours |= {code_of(colour) for _, colour in seen.painted}
    if len(colours) > MAX_CLASSES:
        most, at = seen.most_codes
        raise DatasetError(
            f"the masks hold {len(colours)} colours, {most} in that of {at!r} alone: more than "
            f"{MAX_CLASSES} come from smoothing, as JPEG or resizing does; make the masks anew from their source, or "
            "name the colours that are meant in a CSV file (data.labels)"
        )
    ordered = [colour_of(code) for code in sorted(colours)]
    names = tuple("class #{:02x}{:02x}{:02x}".format(*colour) for colour in ordered)
    table = LabelTable(names, ((),) * len(names), tuple((colour,) for colour in ordered))
    return Reading(table, _FOUND, is_indexed_by_colour=True)


def _found_values(seen: Seen, config: IngestConfig) -> Reading:
    numbers = seen.numbers("values", "indexed", "colours").keys()
    ignored = {IGNORED, _IN_16_BITS, *config.ignored_values}
    if numbers == {0, IGNORED} and IGNORED not in config.ignored_values:
        ignored = set()  # foreground drawn in white, as most programs write a single class
    values = sorted(numbers - ignored)
    if len(values) > MAX_CLASSES:
        raise DatasetError(
            f"the masks hold {len(values)} different numbers, such as {values[-3:]}, and there can be {MAX_CLASSES} "
            "classes: say which numbers are classes in a CSV file with the columns name,value (data.labels)"
        )
    colours = _palette_of_all(seen)
    table = LabelTable(
        tuple(f"class {value}" for value in values),
        tuple((value,) for value in values),
        tuple((colours[value],) for value in values) if all(value in colours for value in values) else (),
        tuple(sorted(config.ignored_values)),
    )
    return Reading(table, _FOUND)


def _palette_of_all(seen: Seen) -> dict[int, Colour]:
    """Return the palette that indexed masks have in common; DatasetError where they have none."""
    by_number = defaultdict[int, dict[Colour, str]](dict)
    for (number, colour), name in seen.painted.items():
        by_number[number][colour] = name
    for number, colours in by_number.items():
        if len(colours) > 1:
            (first, at), (second, there) = list(colours.items())[:2]
            raise DatasetError(
                f"the palettes of masks differ: {number} is {first} in that of {at!r} and {second} in that of {there!r}"
                ", so it is not known whether numbers or colours are the classes: say what they mean with data.labels"
            )
    return {number: next(iter(colours)) for number, colours in by_number.items()}
