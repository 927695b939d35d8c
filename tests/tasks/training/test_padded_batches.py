"""What distillation is taught by views that leave their images: where each shows its image travels with the batch."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from taskdistill.configs.data import ViewSettings
from taskdistill.configs.stages import ExtractConfig, PrecomputeConfig, ProbeConfig
from taskdistill.configs.training import DistillSettings
from taskdistill.storage.errors import CacheMismatchError
from taskdistill.storage.image_set import ImageSet
from taskdistill.storage.view_outputs import ViewOutputs
from taskdistill.tasks.catalog import EXTRACT, PRECOMPUTE, PROBE
from taskdistill.tasks.data.batches import DecodedImages, ViewSource
from taskdistill.tasks.functional.areas import shown_cells
from taskdistill.tasks.functional.mixup import WeightedTargets
from taskdistill.tasks.functional.views import draw_view, shown_area
from taskdistill.tasks.models.preprocessing import Preprocessing
from taskdistill.tasks.problems.classification import Classification
from taskdistill.tasks.problems.problem import Problem, Score
from taskdistill.tasks.stages.distill import DistillLesson
from taskdistill.tasks.training.distill_source import DistillSource
from taskdistill.tasks.training.lesson import MicroBatch
from tests.conftest import PROBE_SETTINGS, RUNTIME, TEACHER, Bench
from tests.contracts.dense_toy import OneCell

PADDED = ViewSettings(num_views=2, crop="scaled", width_to_height=1.5)
WIDE = TEACHER.model_copy(update={"input_px": 32, "input_width_px": 48})
STUDENTS = Preprocessing(64, (0.5,) * 3, (0.5,) * 3, "bilinear", 1.0, "center", width_px=96)
NUM_TRAIN = 24


@pytest.fixture(scope="module")
def source(workshop: Bench) -> DistillSource:
    """The training images with logits of a teacher that was shown wide views, some of which leave their images."""
    features = workshop.run(EXTRACT, ExtractConfig(backbone=WIDE, views=PADDED), images=workshop.images)
    probe = workshop.run(PROBE, ProbeConfig(probe=PROBE_SETTINGS), images=workshop.images, features=features)
    logits = workshop.run(PRECOMPUTE, PrecomputeConfig(), features=features, probe=probe)
    images = ImageSet.open(workshop.path(workshop.images))
    return DistillSource.open(images, ViewOutputs(workshop.path(logits)), PADDED, STUDENTS, RUNTIME)


def lesson_of(problem: Problem, source: DistillSource) -> DistillLesson:
    return DistillLesson(
        problem=problem,
        real=source,
        synthetic=source,
        batch_size=NUM_TRAIN,
        distill=DistillSettings(),
        seed=0,
        score=lambda model: Score(0.0, 0.0),
    )


def test_each_image_of_a_batch_comes_with_the_area_in_which_its_view_shows_it(source: DistillSource) -> None:
    lesson = lesson_of(Classification(), source)
    batch = lesson.load(lesson.draw(0))
    assert batch.pixels_NHW3.shape == (2 * NUM_TRAIN, 64, 96, 3)
    expected_N4 = [shown_area(draw_view(name, 1, 40, 40, PADDED), 40, 40) for name in batch.ids]
    np.testing.assert_array_equal(batch.shown_N4, expected_N4)
    assert 0 < np.mean([area.tolist() == [0, 1, 0, 1] for area in expected_N4]) < 1


def test_a_batch_without_a_padded_view_has_no_areas(source: DistillSource) -> None:
    drawn = source.draw(0, NUM_TRAIN, 0)
    areas_N4 = source.shown(drawn)
    whole = np.flatnonzero((areas_N4 == [0, 1, 0, 1]).all(axis=1))
    views = drawn.cached._replace(views_N9=drawn.cached.views_N9[whole])
    assert source.shown(drawn._replace(rows=drawn.rows[whole], cached=views)) is None


@pytest.mark.parametrize("side_px", [24, 200])
def test_the_thumbnails_of_padded_views_prove_that_the_student_sees_what_the_teacher_saw(
    source: DistillSource, side_px: int
) -> None:
    drawn = source.draw(0, NUM_TRAIN, 0)._replace(items=np.zeros(NUM_TRAIN, np.int64))  # all are compared
    own = STUDENTS._replace(side_px=side_px, width_px=side_px * 3 // 2)
    decoded = DecodedImages(source.source.images, cache_mb=1)
    sized = replace(source, source=ViewSource(decoded, PADDED, own))
    assert sized.cut(drawn).shape == (NUM_TRAIN, side_px, side_px * 3 // 2, 3)
    others = drawn.cached._replace(thumbnails_N64=np.roll(drawn.cached.thumbnails_N64, 1, axis=0))
    with pytest.raises(CacheMismatchError, match="the view cut now differs from the one the teacher saw by"):
        sized.cut(drawn._replace(cached=others))


def test_what_lies_in_the_padding_is_neither_counted_nor_taught(source: DistillSource) -> None:
    lesson = lesson_of(OneCell(), source)
    batch = lesson.load(lesson.draw(0))
    shown_N4 = torch.from_numpy(batch.shown_N4)
    generator = torch.Generator().manual_seed(0)
    maps_NKhw = torch.randn(2 * NUM_TRAIN, 3, 4, 6, generator=generator)
    part = MicroBatch(
        torch.zeros(2 * NUM_TRAIN, 3, 64, 96), (WeightedTargets(1.0, torch.zeros(NUM_TRAIN, 4, 6).long()),), maps_NKhw,
        shown_N4,
    )  # fmt: skip
    is_shown_Nhw = shown_cells(shown_N4, (4, 6))
    assert lesson.counts(part)["distill"] == is_shown_Nhw.sum() < 2 * NUM_TRAIN * 24
    outside, inside = (
        torch.where(chosen_Nhw[:, None], maps_NKhw.flip(1), maps_NKhw) for chosen_Nhw in (~is_shown_Nhw, is_shown_Nhw)
    )
    assert lesson.losses(lambda images_NCHW: outside, part, 0)["distill"].total.item() == pytest.approx(0, abs=1e-3)
    assert lesson.losses(lambda images_NCHW: inside, part, 0)["distill"].total.item() > 1
