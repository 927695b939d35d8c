"""All masks looked at before any image is decoded: what is kept of them."""

import tracemalloc
from pathlib import Path

import numpy as np
from PIL import Image

from taskdistill.configs.data import IngestConfig
from taskdistill.configs.runtime import RuntimeConfig
from taskdistill.tasks.data.candidates import Candidate
from taskdistill.tasks.data.label_tables import LabelTable
from taskdistill.tasks.data.mask_survey import MaskSurvey, survey_masks

LOW_AND_HIGH = LabelTable(("low", "high"), (tuple(range(30_000)), tuple(range(30_000, 65_535))))
"""Labels of 16 bits, many to one; 65535 is ignored."""
NOISE = np.random.default_rng(0).integers(0, 65_536, (64, 64)).astype(np.uint16)


def surveyed(masks: list[Path]) -> MaskSurvey:
    candidates = [Candidate(f"{mask.stem}.jpg", mask.parent, None, "train", mask.name) for mask in masks]
    return survey_masks(candidates, LOW_AND_HIGH, IngestConfig(form="masks"), RuntimeConfig(workers=1))


def test_what_is_kept_of_masks_of_thousands_of_numbers_is_their_classes(tmp_path: Path) -> None:
    masks = [tmp_path / f"{number}.png" for number in range(60)]
    for mask in masks:
        Image.fromarray(NOISE).save(mask)
    kept = []
    surveyed(masks[:1])  # imports and caches
    for some in (masks[:10], masks):
        tracemalloc.start()
        survey = surveyed(some)
        kept.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert len(survey.shown) == len(some)
    assert kept[1] - kept[0] < 50 * 24_000  # a histogram of 4,000 numbers takes twice that


def test_a_mask_of_thousands_of_numbers_is_counted_by_its_classes(tmp_path: Path) -> None:
    mask = NOISE.copy()
    mask[0, :7] = 65_535
    Image.fromarray(mask).save(tmp_path / "0.png")
    (shown,) = surveyed([tmp_path / "0.png"]).shown
    expected = [(mask < 30_000).sum(), ((mask >= 30_000) & (mask < 65_535)).sum(), (mask == 65_535).sum()]
    assert dict(zip(shown.classes_S.tolist(), shown.pixels_S.tolist(), strict=True)) == dict(
        zip((0, 1, 255), expected, strict=True)
    )
