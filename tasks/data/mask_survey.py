"""All masks of a dataset looked at before any image is decoded: what they hold, how they are read, and what they show.

A mask of 16 bits may hold 65,536 numbers; kept for every mask until the reading is decided, they would fill the memory.
Masks of more codes than a few are therefore looked at twice, and of all no more is kept at the end than their classes.

Shape letters: M distinct codes; S classes that a mask shows.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from taskdistill.configs.data import IngestConfig
from taskdistill.configs.runtime import RuntimeConfig
from taskdistill.tasks.data.candidates import Candidate, DatasetError
from taskdistill.tasks.data.decode_memory import DecodeMemory
from taskdistill.tasks.data.label_tables import MAX_CLASSES, Colour, LabelTable
from taskdistill.tasks.data.mask_pixels import histogram, mask_pixels
from taskdistill.tasks.data.mask_reading import UNKNOWN, Reading, unknown_of
from taskdistill.tasks.data.mask_rules import decide, numbers_of
from taskdistill.tasks.data.mask_seen import Content, Seen
from taskdistill.tasks.data.opening import UnreadableImageError
from taskdistill.tasks.data.reading import bytes_of
from taskdistill.tasks.data.threads import prefetch

_MOST_KEPT = 2 * MAX_CLASSES
"""Codes of one mask. Hardly any sound mask has more: only where several numbers are one class."""


class Shown(NamedTuple):
    """What one mask shows."""

    id: str
    """Of its image."""
    classes_S: npt.NDArray[np.uint8]
    """Ascending, with IGNORED."""
    pixels_S: npt.NDArray[np.int64]


class MaskSurvey(NamedTuple):
    """The masks of a dataset, and how they are read."""

    reading: Reading
    shown: list[Shown]
    """Of masks in which all is known."""
    drawn: dict[int, set[Colour]]
    """Class -> its colours in the palettes of these masks."""
    numbers: set[int]
    """All that occur in masks that are read by numbers."""
    unknown: set[str]
    """Ids of images whose masks hold what stands for no class."""
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
    masked = [candidate for candidate in candidates if candidate.mask_id]
    seen, unusable = Seen(), dict[str, str]()
    kept: list[Content | Candidate] = []
    for done, (candidate, content) in enumerate(zip(masked, _looked(masked, runtime), strict=True), start=1):
        if isinstance(content, Content):
            seen.add(content)
            kept.append(content if len(content.found.codes_M) <= _MOST_KEPT else candidate)
        else:
            unusable[candidate.id] = content
        on_progress("masks", done, len(masked))
    if not kept:
        raise DatasetError(_none_usable(unusable))
    reading, said = decide(seen, labels, config)
    survey = MaskSurvey(reading, [], {}, set(numbers_of(seen, reading)), set(), unusable, said)
    again = _looked([one for one in kept if isinstance(one, Candidate)], runtime)
    for one in kept:
        content = next(again) if isinstance(one, Candidate) else one
        if isinstance(content, Content):
            _note(content, survey)
        else:  # it changed meanwhile, which the digest of the dataset tells in the end
            unusable[one.id] = content
    return survey


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


def described_unknown(candidate: Candidate, reading: Reading, memory: DecodeMemory) -> str:
    """Say what a mask holds that stands for no class: it is read once more. SourceError where it cannot be."""
    assert candidate.mask
    with mask_pixels(bytes_of(candidate.mask), memory) as mask:
        said = unknown_of(mask, reading.lookup(mask.kind, mask.palette()), reading)
    return f"its mask {candidate.mask.name}: {said}"


def _looked(candidates: Sequence[Candidate], runtime: RuntimeConfig) -> Iterator[Content | str]:
    memory = DecodeMemory(runtime.decode_memory_mb)
    return prefetch(lambda one: look_into(one, memory), candidates, workers=runtime.workers)


def _note(content: Content, survey: MaskSurvey) -> None:
    """Add to a survey what one mask shows."""
    classes_M = survey.reading.lookup(content.kind, content.palette)(content.found.codes_M)
    if (classes_M == UNKNOWN).any():
        survey.unknown.add(content.id)
        return
    classes_S, class_of = np.unique(classes_M, return_inverse=True)
    pixels_S = np.zeros(len(classes_S), np.int64)
    np.add.at(pixels_S, class_of, content.found.pixels_M)
    survey.shown.append(Shown(content.id, classes_S.astype(np.uint8), pixels_S))
    for code, number in zip(content.found.codes_M.tolist(), classes_M.tolist(), strict=True):
        if code in content.palette:
            survey.drawn.setdefault(number, set()).add(content.palette[code])


def _none_usable(unusable: Mapping[str, str]) -> str:
    if not unusable:
        return "no image has a mask: a mask must be named as its image is, in the folder of masks or in the table"
    first = "; ".join(f"{name}: {reason}" for name, reason in list(unusable.items())[:3])
    return f"none of the {len(unusable)} masks can be used. {first}"
