"""Training shows each augmented view of each image once before it shows any of them again."""

from collections import Counter
from collections.abc import Hashable, Iterable

import numpy as np
import pytest

from taskdistill.configs.data import ViewSettings
from taskdistill.configs.stages import ExtractConfig, PrecomputeConfig
from taskdistill.configs.training import DistillSettings, TrainingSettings
from taskdistill.storage.image_set import ImageSet
from taskdistill.storage.view_outputs import ViewOutputs
from taskdistill.tasks.catalog import EXTRACT, PRECOMPUTE
from taskdistill.tasks.data.batches import DecodedImages, ViewSource
from taskdistill.tasks.functional.views import draw_view
from taskdistill.tasks.models.preprocessing import Preprocessing
from taskdistill.tasks.problems.problem import Score, problem_named
from taskdistill.tasks.stages.distill import DistillLesson
from taskdistill.tasks.stages.finetune import FinetuneLesson
from taskdistill.tasks.training.distill_source import DistillSource
from tests.conftest import RUNTIME, TEACHER, Bench

PROBLEM = problem_named("classification")
# 24 training images: 130 // 24 = 5 views of each.
VIEWS = ViewSettings(num_views=9, max_total=130)
NUM_TRAIN, NUM_VIEWS = 24, 5
CUT = Preprocessing(32, (0, 0, 0), (1, 1, 1), interpolation="bilinear", crop_share=1, crop_mode="center")


def no_score(model: object) -> Score:
    return Score(0.0, 0.0)


def assert_none_is_repeated(pairs: Iterable[Hashable], num_pairs: int) -> None:
    """All pairs once, then all of them again."""
    shown = list(pairs)
    assert len(set(shown[:num_pairs])) == num_pairs
    assert Counter(shown[: 2 * num_pairs]) == dict.fromkeys(shown[:num_pairs], 2)


@pytest.mark.parametrize("batch_size", [1, 7, 24, 50])
def test_finetuning_repeats_no_view_of_an_image_before_all_were_seen(workshop: Bench, batch_size: int) -> None:
    images = ImageSet.open(workshop.path(workshop.images))
    rows = images.rows_of("train")
    lesson = FinetuneLesson(
        problem=PROBLEM,
        source=ViewSource(DecodedImages(images, cache_mb=1), VIEWS, CUT),
        rows=rows,
        num_views=VIEWS.num_augmented(len(rows)),
        training=TrainingSettings(batch_size=batch_size),
        seed=3,
        score=no_score,
    )
    drawn = [lesson.draw(step) for step in range(-(-2 * NUM_TRAIN * NUM_VIEWS // batch_size))]
    pairs = [pair for draw in drawn for pair in zip(draw.rows.tolist(), draw.views.tolist(), strict=True)]
    assert_none_is_repeated(pairs, NUM_TRAIN * NUM_VIEWS)
    assert {view for _, view in pairs} == set(range(1, NUM_VIEWS + 1))


@pytest.fixture(scope="module")
def source(workshop: Bench) -> DistillSource:
    features = workshop.run(EXTRACT, ExtractConfig(backbone=TEACHER, views=VIEWS), images=workshop.images)
    logits = workshop.run(PRECOMPUTE, PrecomputeConfig(), features=features, probe=workshop.probe)
    images, outputs = ImageSet.open(workshop.path(workshop.images)), ViewOutputs(workshop.path(logits))
    return DistillSource.open(images, outputs, VIEWS, CUT, RUNTIME)


@pytest.mark.parametrize("batch_size", [1, 7, 24, 50])
def test_distilling_repeats_no_view_of_an_image_before_all_were_seen(source: DistillSource, batch_size: int) -> None:
    lesson = DistillLesson(
        problem=PROBLEM,
        real=source,
        synthetic=source,  # drawn in twice the number: it begins again when the real images are half through
        batch_size=batch_size,
        distill=DistillSettings(synthetic_ratio=2),
        seed=3,
        score=no_score,
    )
    drawn = [lesson.draw(step) for step in range(-(-2 * NUM_TRAIN * NUM_VIEWS // batch_size))]
    for part in range(2):
        pairs = [
            (row, cut.tobytes())
            for _, draw in (batch[part] for batch in drawn)
            for row, cut in zip(draw.rows.tolist(), draw.cached.views_N9, strict=True)
        ]
        assert_none_is_repeated(pairs, NUM_TRAIN * NUM_VIEWS)


def test_the_views_are_those_that_each_image_is_drawn(source: DistillSource) -> None:
    """Of few views, the same ones as of many: those of lower numbers."""
    images = source.source.images
    for epoch in range(NUM_VIEWS + 1):
        draw = source.draw(epoch, NUM_TRAIN, seed=0)
        for row, cut in zip(draw.rows.tolist(), draw.cached.views_N9, strict=True):
            expected = draw_view(images.ids[row], 1 + epoch % NUM_VIEWS, 40, 40, ViewSettings(num_views=200))
            np.testing.assert_array_equal(cut, expected)
