"""All masks of a dataset looked at before any image is decoded: what they hold, and so how they are to be read.

Where nothing names the classes, they are the numbers or colours that are found.

Shape letters: M distinct codes.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from taskdistill.configs.base import RuntimeConfig
from taskdistill.configs.data import IngestConfig
from taskdistill.tasks.data.candidates import Candidate, DatasetError, some
from taskdistill.tasks.data.decode_memory import DecodeMemory
from taskdistill.tasks.data.label_tables import IGNORED, MAX_CLASSES, Colour, LabelTable
from taskdistill.tasks.data.mask_doubts import doubts
from taskdistill.tasks.data.mask_pixels import Histogram, Kind, code_of, colour_of, histogram, is_grey, mask_pixels
from taskdistill.tasks.data.mask_reading import Reading, unknown_of
from taskdistill.tasks.data.opening import UnreadableImageError
from taskdistill.tasks.data.reading import bytes_of
from taskdistill.tasks.data.threads import prefetch

_IN_16_BITS = 65_535
_FOUND = "the masks themselves"


class Content(NamedTuple):
    """What one mask holds."""

    id: str
    """Of its image."""
    kind: Kind
    found: Histogram
    palette: Mapping[int, Colour]
    """Of the numbers that occur in it, where it is indexed."""
    has_alpha: bool


class MaskSurvey(NamedTuple):
    """The masks of a dataset, and how they are read."""

    reading: Reading
    contents: list[Content]
    unusable: dict[str, str]
    """Id of an image -> why its mask cannot be used."""
    said: list[str]


def survey_masks(
    candidates: Sequence[Candidate],
    labels: LabelTable | None,
    config: IngestConfig,
    runtime: RuntimeConfig,
    on_progress: Callable[[str, int, int], None] = lambda unit, done, total: None,
) -> MaskSurvey:
    """Look at every mask; DatasetError where they cannot be read by one rule."""
    memory = DecodeMemory(runtime.decode_memory_mb)
    masked = [candidate for candidate in candidates if candidate.mask]
    contents, unusable = [], {}
    looked = prefetch(lambda one: look_into(one, memory), masked, workers=runtime.workers)
    for done, (candidate, content) in enumerate(zip(masked, looked, strict=True), start=1):
        if isinstance(content, Content):
            contents.append(content)
        else:
            unusable[candidate.id] = content
        on_progress("masks", done, len(masked))
    if not contents:
        raise DatasetError(_none_usable(unusable))
    reading, said = decide(contents, labels, config)
    if labels:
        said += doubts(_pixels_of_numbers(contents, reading), reading)
    return MaskSurvey(reading, contents, unusable, said)


def look_into(candidate: Candidate, memory: DecodeMemory) -> Content | str:
    """Return what a mask holds, or why it cannot be used. SourceError where it cannot be read."""
    assert candidate.mask
    data = bytes_of(candidate.mask)
    try:
        with mask_pixels(data, memory) as mask:
            found = histogram(mask)
            every = mask.palette() if mask.kind == "indexed" else {}
    except UnreadableImageError as error:
        return f"its mask {candidate.mask.name}: {error}"
    palette = {index: every[index] for index in found.codes_M.tolist() if index in every}
    return Content(candidate.id, mask.kind, found, palette, mask.has_alpha)


def decide(contents: Sequence[Content], labels: LabelTable | None, config: IngestConfig) -> tuple[Reading, list[str]]:
    """Return how these masks are read, and a sentence for each decision; DatasetError where there is no rule for all.

    `labels` is what was said of the classes, None where they are to be found.
    """
    said = _said_of_alpha(contents)
    colours = {code for one in contents if one.kind == "colours" for code in one.found.codes_M.tolist()}
    known = {code_of(colour) for own in labels.colours for colour in own} if labels else set()
    known |= {code_of(colour) for colour in labels.ignored_colours} if labels else set()
    is_grey_a_value = bool(colours) and all(map(is_grey, colours)) and not colours <= known
    if is_grey_a_value:
        said.append("masks of three channels hold grey alone, and are read as numbers")
        colours = set()
    if labels is None:
        reading = _found(contents, colours, config)._replace(is_grey_a_value=is_grey_a_value)
    else:
        if colours and not known:
            raise DatasetError(
                f"masks such as that of {_with(contents, 'colours')!r} hold colours, and {_source(config)} gives the "
                "classes none: name them in a CSV file with the columns name,red,green,blue (data.labels)"
            )
        table = _of_two(contents, labels, said).with_values(config.ignored_values)
        _check_table(table, labels, config)
        reading = Reading(table, _source(config), is_grey_a_value=is_grey_a_value)
        if _means_its_palette(contents, reading):
            said.append("masks with a palette are read by its colours, since its numbers are not those of the classes")
            reading = reading._replace(is_indexed_by_colour=True)
    if len(reading.labels.names) < 2:
        found = f"only {some(reading.labels.names)}" if reading.labels.names else "no class"
        raise DatasetError(
            f"there is {found} by {reading.source}, beside what is ignored: a task needs at least two classes"
        )
    return reading, said


def unknown_in(content: Content, reading: Reading) -> bool:
    """Whether a mask holds what stands for no class."""
    return bool((reading.lookup(content.kind, content.palette)(content.found.codes_M) < 0).any())


def described_unknown(candidate: Candidate, reading: Reading, memory: DecodeMemory) -> str:
    """Say what a mask holds that stands for no class: it is read once more. SourceError where it cannot be."""
    assert candidate.mask
    with mask_pixels(bytes_of(candidate.mask), memory) as mask:
        said = unknown_of(mask, reading.lookup(mask.kind, mask.palette()), reading)
    return f"its mask {candidate.mask.name}: {said}"


def _none_usable(unusable: Mapping[str, str]) -> str:
    if not unusable:
        return "no image has a mask: a mask must be named as its image is, in the folder of masks or in the table"
    first = "; ".join(f"{name}: {reason}" for name, reason in list(unusable.items())[:3])
    return f"none of the {len(unusable)} masks can be used. {first}"


def _source(config: IngestConfig) -> str:
    return f"data.labels {config.labels!r}" if config.labels else f"the layout ({config.form}, {config.layout})"


def _with(contents: Sequence[Content], kind: Kind) -> str:
    return next(one.id for one in contents if one.kind == kind)


def _said_of_alpha(contents: Sequence[Content]) -> list[str]:
    with_alpha = [one.id for one in contents if one.has_alpha]
    return [f"{len(with_alpha)} masks have an alpha channel that is opaque; it is passed over"] if with_alpha else []


def _numbers(contents: Iterable[Content]) -> set[int]:
    """Return all numbers of masks that hold some; a grey colour is the number that it is of."""
    found: set[int] = set()
    for one in contents:
        codes = one.found.codes_M.tolist()
        found.update(codes if one.kind != "colours" else [colour_of(code)[0] for code in codes if is_grey(code)])
    return found


def _pixels_of_numbers(contents: Iterable[Content], reading: Reading) -> Counter[int]:
    """Return the pixels of each number, in masks that are read by numbers."""
    pixels = Counter[int]()
    for one in contents:
        by_colour = reading.is_indexed_by_colour if one.kind == "indexed" else one.kind == "colours"
        if by_colour and not (one.kind == "colours" and reading.is_grey_a_value):
            continue
        numbers = [colour_of(code)[2] if one.kind == "colours" else code for code in one.found.codes_M.tolist()]
        pixels.update(dict(zip(numbers, one.found.pixels_M.tolist(), strict=True)))
    return pixels


def _of_two(contents: Sequence[Content], labels: LabelTable, said: list[str]) -> LabelTable:
    """Return the labels with numbers where there are two names and masks of black and white."""
    has_hues = any(one.kind == "colours" and not all(map(is_grey, one.found.codes_M.tolist())) for one in contents)
    if labels.values or len(labels.names) != 2 or has_hues or _numbers(contents) != {0, IGNORED}:
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


def _means_its_palette(contents: Sequence[Content], reading: Reading) -> bool:
    """Whether the colours of all palettes are those of classes, and other ones than the numbers say."""
    indexed = [one for one in contents if one.kind == "indexed"]
    by_colour = reading._replace(is_indexed_by_colour=True)
    differ = False
    for one in indexed:
        codes_M = one.found.codes_M
        of_colours_M = by_colour.lookup("indexed", one.palette)(codes_M)
        if (of_colours_M < 0).any():
            return False
        differ = differ or bool((of_colours_M != reading.lookup("indexed", one.palette)(codes_M)).any())
    return differ


def _found(contents: Sequence[Content], colours: set[int], config: IngestConfig) -> Reading:
    """Return classes for all that the masks hold."""
    if not colours:
        return _found_values(contents, config)
    if any(one.kind == "values" for one in contents):
        raise DatasetError(
            f"the mask of {_with(contents, 'values')!r} holds numbers, that of {_with(contents, 'colours')!r} colours: "
            "say what both mean in a CSV file with the columns name,value,red,green,blue (data.labels)"
        )
    colours |= {code_of(colour) for one in contents for colour in one.palette.values()}
    if len(colours) > MAX_CLASSES:
        most = max(contents, key=lambda one: len(one.found.codes_M))
        raise DatasetError(
            f"the masks hold {len(colours)} colours, {len(most.found.codes_M)} in that of {most.id!r} alone: more than "
            f"{MAX_CLASSES} come from smoothing, as JPEG or resizing does; make the masks anew from their source, or "
            "name the colours that are meant in a CSV file (data.labels)"
        )
    ordered = [colour_of(code) for code in sorted(colours)]
    names = tuple("class #{:02x}{:02x}{:02x}".format(*colour) for colour in ordered)
    table = LabelTable(names, ((),) * len(names), tuple((colour,) for colour in ordered))
    return Reading(table, _FOUND, is_indexed_by_colour=True)


def _found_values(contents: Sequence[Content], config: IngestConfig) -> Reading:
    numbers = _numbers(contents)
    ignored = {IGNORED, _IN_16_BITS, *config.ignored_values}
    if numbers == {0, IGNORED} and IGNORED not in config.ignored_values:
        ignored = set()  # foreground drawn in white, as most programs write a single class
    values = sorted(numbers - ignored)
    if len(values) > MAX_CLASSES:
        raise DatasetError(
            f"the masks hold {len(values)} different numbers, such as {values[-3:]}, and there can be {MAX_CLASSES} "
            "classes: say which numbers are classes in a CSV file with the columns name,value (data.labels)"
        )
    colours = _palette_of_all(contents)
    table = LabelTable(
        tuple(f"class {value}" for value in values),
        tuple((value,) for value in values),
        tuple((colours[value],) for value in values) if all(value in colours for value in values) else (),
        tuple(sorted(config.ignored_values)),
    )
    return Reading(table, _FOUND)


def _palette_of_all(contents: Sequence[Content]) -> dict[int, Colour]:
    """Return the palette that indexed masks have in common; DatasetError where they have none."""
    by_number = defaultdict[int, dict[Colour, str]](dict)
    for one in contents:
        for number, colour in one.palette.items():
            by_number[number].setdefault(colour, one.id)
    for number, colours in by_number.items():
        if len(colours) > 1:
            (first, at), (second, there) = list(colours.items())[:2]
            raise DatasetError(
                f"the palettes of masks differ: {number} is {first} in that of {at!r} and {second} in that of {there!r}"
                ", so it is not known whether numbers or colours are the classes: say what they mean with data.labels"
            )
    return {number: next(iter(colours)) for number, colours in by_number.items()}
