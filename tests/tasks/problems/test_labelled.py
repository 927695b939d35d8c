"""Views with their targets: what a network is shown and what it is to learn from it belong to the same image."""

import numpy as np
import pytest

from taskdistill.storage.errors import CacheMismatchError
from taskdistill.storage.image_set import ImageSet
from taskdistill.storage.view_outputs import ViewOutputs
from taskdistill.tasks.data.batches import DecodedImages, ViewSource
from taskdistill.tasks.models.preprocessing import Preprocessing
from taskdistill.tasks.problems.labelled import LabelledCache, LabelledViews
from taskdistill.tasks.problems.problem import problem_named
from tests.conftest import VIEWS, Bench

PROBLEM = problem_named("classification")
PREPROCESSING = Preprocessing(24, (0.5,) * 3, (0.5,) * 3, "bilinear", 1.0, "center")


@pytest.fixture(scope="module")
def images(finished_bench: Bench) -> ImageSet:
    return ImageSet.open(finished_bench.path(finished_bench.images))


@pytest.fixture(scope="module")
def labelled(images: ImageSet) -> LabelledViews:
    return LabelledViews(PROBLEM, ViewSource(DecodedImages(images, cache_mb=1), VIEWS, PREPROCESSING))


def test_a_batch_holds_the_views_asked_for_and_the_target_of_each(images: ImageSet, labelled: LabelledViews) -> None:
    rows, numbers = [40, 3, 3], [0, 1, 2]
    batch = labelled.batch(rows, numbers)
    assert batch.pixels_NHW3.shape == (3, 24, 24, 3)
    assert batch.targets.tolist() == images.labels[rows].tolist()
    for index, (row, number) in enumerate(zip(rows, numbers, strict=True)):
        alone = labelled.source.cut([row], labelled.source.views([row], [number]))
        np.testing.assert_array_equal(batch.pixels_NHW3[index], alone[0])
    assert (batch.pixels_NHW3[1] != batch.pixels_NHW3[2]).any()


def test_cached_outputs_come_with_the_targets_of_their_images(finished_bench: Bench, images: ImageSet) -> None:
    logits, rows = ViewOutputs(finished_bench.path(finished_bench.logits)), images.rows_of("train")
    cache = LabelledCache(PROBLEM, images, rows, logits, size=(48, 48), budget_mb=0)
    found = cache.take(np.asarray([7, 2]), np.asarray([2, 2]))
    np.testing.assert_array_equal(
        found.outputs, logits.view(2)[logits.rows_of([images.ids[row] for row in rows[[7, 2]]], 2)]
    )
    assert found.targets.tolist() == images.labels[rows[[7, 2]]].tolist()


def test_images_that_the_cache_lacks_are_named(finished_bench: Bench, images: ImageSet) -> None:
    logits = ViewOutputs(finished_bench.path(finished_bench.logits))
    logits.ids[0] = "elsewhere.png"
    with pytest.raises(CacheMismatchError, match=rf"no cached outputs of 1 of \d+ images, .* '{images.ids[0]}'"):
        LabelledCache(PROBLEM, images, np.arange(len(images)), logits, size=(48, 48), budget_mb=0)
