"""The masks of a dataset checked and counted before any of its images is decoded, and again of what became rows."""

import itertools
import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple

from taskdistill.configs.data import IngestConfig
from taskdistill.configs.runtime import RuntimeConfig
from taskdistill.storage.summaries import IngestSummary
from taskdistill.tasks.data.candidates import Candidate, DatasetError
from taskdistill.tasks.data.dataset import Dataset
from taskdistill.tasks.data.decode_memory import DecodeMemory
from taskdistill.tasks.data.mask_colours import colours_of
from taskdistill.tasks.data.mask_counts import MaskCounts, check_counts, count_masks, listed, remarks
from taskdistill.tasks.data.mask_doubts import likeness, likeness_of_one_class
from taskdistill.tasks.data.mask_reading import Reading
from taskdistill.tasks.data.mask_survey import MaskSurvey, described_unknown, survey_masks

log = logging.getLogger(__name__)


class CheckedMasks(NamedTuple):
    """The masks that can be used, and how they are read."""

    survey: MaskSurvey
    said: list[str]
    """A sentence for each decision on how they are read that the dataset does not have yet."""

    @property
    def reading(self) -> Reading:
        return self.survey.reading

    def summary(self, counts: MaskCounts) -> IngestSummary:
        """Return what the image-set says of its masks, given the counts of those that became rows."""
        colours = colours_of(self.reading.labels, self.survey.drawn)
        return IngestSummary.joined(counts.summary(), IngestSummary(colours=colours))

    def counts(self, candidates: Sequence[Candidate]) -> MaskCounts:
        """Count the masks of these images."""
        return count_masks(self.survey.shown, {one.id: one.split for one in candidates}, self.reading.labels.names)


def checked_masks(
    dataset: Dataset, config: IngestConfig, runtime: RuntimeConfig, on_progress: Callable[[str, int, int], None]
) -> CheckedMasks:
    """Look at all masks, log what they hold, and return those that can be used.

    Raises DatasetError where too many cannot be used, or what they hold cannot be learnt.
    """
    survey = dataset.masks or survey_masks(dataset.candidates, dataset.labels, config, runtime, on_progress)
    memory = DecodeMemory(runtime.decode_memory_mb)
    bad = [one for one in dataset.candidates if one.id in survey.unknown or one.id in survey.unusable]
    _refuse_too_many(bad, survey, config, memory)
    checked = CheckedMasks(survey, [] if dataset.masks else survey.said)
    counts = checked.counts(dataset.candidates)
    of_one_class = likeness_of_one_class(survey.numbers, survey.reading)
    # Of few masks those of train may lack a class that others have.
    are_named = dataset.masks is None or config.max_images > 0
    check_counts(counts, dataset.candidates, are_named=are_named, of_one_class=of_one_class)
    for line in listed(counts):
        log.info("%s", line)
    for sentence in [*checked.said, *remarks(counts)]:
        log.warning("%s", sentence)
    return checked


def _refuse_too_many(bad: Sequence[Candidate], survey: MaskSurvey, config: IngestConfig, memory: DecodeMemory) -> None:
    """Raise DatasetError where more masks than may be set aside cannot be used; fewer are set aside later."""
    total = len(survey.shown) + len(survey.unknown) + len(survey.unusable)
    if len(bad) <= config.max_quarantined_share * total:
        return
    first = "; ".join(
        f"{one.id}: {survey.unusable.get(one.id) or described_unknown(one, survey.reading, memory)}"
        for one in itertools.islice(bad, 5)
    )
    like = likeness(survey.numbers, survey.reading)
    like = f" {like}." if like else ""
    raise DatasetError(
        f"{len(bad)} of {total} masks cannot be used, more than data.max_quarantined_share = "
        f"{config.max_quarantined_share:g} allows. {first}.{like} Correct them or data.labels, or leave these images "
        "out with data.left_out_images"
    )
