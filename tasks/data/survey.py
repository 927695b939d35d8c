"""What all images of a set together say: how values of more than 8 bits are scaled, and which images show nothing.

A set in which something is odd is taken as it is; the warnings name what was found and the setting that changes it.
"""

import logging
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence

from taskdistill.configs.counting import counted
from taskdistill.configs.data import IngestConfig
from taskdistill.storage.image_set import Levels
from taskdistill.storage.summaries import IngestSummary
from taskdistill.tasks.data.brightness import PixelStatistics
from taskdistill.tasks.data.levels import least_white

log = logging.getLogger(__name__)

FLAT_SPREAD = 2.0
"""Grey levels of 255: an image whose standard deviation is smaller is nearly of one shade."""
NARROW = 16.0
"""Grey levels of 255: an image whose values all lie within so many shows little."""
NAMED = 10


def survey(
    statistics_of: Mapping[str, PixelStatistics], label_of: Mapping[str, str], config: IngestConfig
) -> tuple[Levels | None, IngestSummary]:
    """Decide the levels of a set from the statistics of its images, by id; None where none has more than 8 bits.

    Warns of what would disturb training, and returns its part of the summary.
    """
    levels = _choose_levels(statistics_of, config)
    scale = levels or Levels(0, 255, 1)
    constant = [image_id for image_id, image in statistics_of.items() if image.is_constant]
    by_class = defaultdict[str, list[PixelStatistics]](list)
    for image_id, image in statistics_of.items():
        by_class[label_of[image_id]].append(image)
    brightness = {
        label: round(statistics.fmean(image.grey(image.mean, scale) for image in images), 1)
        for label, images in sorted(by_class.items())
    }
    if constant:
        log.warning(
            "%s of a single colour, such as %s: nothing is shown there",
            counted(len(constant), "image is", "images are"), constant[:5],
        )  # fmt: skip
    _warn_of_flat_classes(by_class, brightness, scale)
    _warn_of_little_range(list(statistics_of.values()), scale)
    summary = IngestSummary(brightness=brightness, constant_images=len(constant), constant_first=constant[:NAMED])
    return levels, summary.model_copy(update={"levels": levels._asdict()}) if levels else summary


def _choose_levels(statistics_of: Mapping[str, PixelStatistics], config: IngestConfig) -> Levels | None:
    deep = {image_id: image for image_id, image in statistics_of.items() if image.kind != "bytes"}
    if not deep:
        return None
    whites = {}
    for kind, unknown in (("integers", 255.0), ("floats", 1.0)):
        largest = {image_id: max(i.highest, i.stated) for image_id, i in deep.items() if i.kind == kind}
        whites[kind] = config.white_level or unknown
        if largest and not config.white_level:
            brightest = max(largest, key=lambda image_id: largest[image_id])
            whites[kind] = least_white(largest[brightest], black=config.black_level, is_float=kind == "floats")
            log.warning(
                "%s %s of more than 8 bits: %g becomes black and %g white, the least depth that holds the "
                "largest value, %g in %s; data.black_level and data.white_level set others",
                counted(len(largest), "image holds", "images hold"), kind, config.black_level, whites[kind],
                largest[brightest], brightest,
            )  # fmt: skip
    levels = Levels(config.black_level, whites["integers"], whites["floats"])
    _warn_of_what_is_cut(deep, levels)
    return levels


def _warn_of_what_is_cut(deep: Mapping[str, PixelStatistics], levels: Levels) -> None:
    raw = {image_id: image for image_id, image in deep.items() if image.kind != "scaled"}
    below = [image_id for image_id, image in raw.items() if image.lowest < levels.black]
    above = [
        image_id
        for image_id, image in raw.items()
        if image.highest > (levels.white_of_floats if image.kind == "floats" else levels.white)
    ]
    if below:
        log.warning(
            "%s values below data.black_level = %g, all of which become black, such as %s: set it to the "
            "lowest value that matters", counted(len(below), "image holds", "images hold"), levels.black, below[0],
        )  # fmt: skip
    if above:
        log.warning(
            "%s values above data.white_level = %g, all of which become white, such as %s",
            counted(len(above), "image holds", "images hold"), levels.white, above[0],
        )  # fmt: skip


def _warn_of_flat_classes(
    by_class: Mapping[str, Sequence[PixelStatistics]], brightness: Mapping[str, float], levels: Levels
) -> None:
    flat = [
        f"{label!r} (brightness {brightness[label]:g} of 255)"
        for label, images in sorted(by_class.items())
        if all(image.width(image.spread, levels) < FLAT_SPREAD for image in images)
    ]
    if flat:
        log.warning(
            "in %d of %d classes every image is nearly of one shade: %s; look at them, and at data.white_level if they "
            "have more than 8 bits", len(flat), len(by_class), ", ".join(flat[:NAMED]),
        )  # fmt: skip


def _warn_of_little_range(images: Sequence[PixelStatistics], levels: Levels) -> None:
    ranges = [image.width(image.highest - image.lowest, levels) for image in images]
    if ranges and statistics.median(ranges) < NARROW:
        log.warning(
            "half of the images use fewer than %g of 255 grey levels: they are nearly black, white or grey; if they "
            "have more than 8 bits, data.white_level says which value is white", NARROW,
        )  # fmt: skip
