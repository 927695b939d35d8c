"""A batch in parts has the gradient of the whole one, also where the parts count differently."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import softmax
from torch.utils._python_dispatch import TorchDispatchMode

from taskdistill.configs.data import IngestConfig
from taskdistill.configs.stages import ExtractConfig, FinetuneConfig, PrecomputeConfig
from taskdistill.configs.training import DistillSettings, TrainingSettings
from taskdistill.storage.image_set import ImageSet
from taskdistill.storage.view_outputs import ViewOutputs
from taskdistill.tasks.catalog import EXTRACT, FINETUNE, INGEST, PRECOMPUTE
from taskdistill.tasks.data.batches import DecodedImages, ViewSource
from taskdistill.tasks.functional.losses import IGNORED
from taskdistill.tasks.functional.mixup import WeightedTargets
from taskdistill.tasks.models.task_model import TaskModel, load_model
from taskdistill.tasks.problems.problem import Score, problem_named
from taskdistill.tasks.stages.distill import DistillLesson
from taskdistill.tasks.stages.finetune import FinetuneLesson
from taskdistill.tasks.training.distill_source import DistillSource
from taskdistill.tasks.training.lesson import Batch, Lesson, MicroBatch, micro_batches
from taskdistill.tasks.training.trainer import Trainer
from tests.conftest import RUNTIME, STUDENT, TEACHER, VIEWS, Bench
from tests.fakes import write_shapes

PROBLEM = problem_named("classification")
BATCH_SIZE, NUM_PARTS = 12, 4


def no_score(model: object) -> Score:
    return Score(0.0, 0.0)


@pytest.fixture(scope="module")
def model(workshop: Bench) -> TaskModel:
    """A student as finetune leaves it."""
    config = FinetuneConfig(backbone=STUDENT, views=VIEWS, training=TrainingSettings(epochs=1, batch_size=8))
    found, _ = load_model(
        workshop.path(workshop.run(FINETUNE, config, images=workshop.images, probe=workshop.student_probe))
    )
    return found


@pytest.fixture
def finetuning(workshop: Bench, model: TaskModel) -> Callable[..., FinetuneLesson]:
    def lesson(**training: Any) -> FinetuneLesson:
        images = ImageSet.open(workshop.path(workshop.images))
        return FinetuneLesson(
            problem=PROBLEM,
            source=ViewSource(DecodedImages(images, cache_mb=64), VIEWS, model.preprocessing),
            rows=images.rows_of("train"),
            num_views=VIEWS.num_views,
            training=TrainingSettings(batch_size=BATCH_SIZE, **training),
            seed=0,
            score=no_score,
        )

    return lesson


@pytest.fixture(scope="module")
def sources(workshop: Bench, model: TaskModel, tmp_path_factory: pytest.TempPathFactory) -> list[DistillSource]:
    """The real images and some that stand for synthetic ones."""
    folder = write_shapes(tmp_path_factory.mktemp("more") / "shapes", {"train": 3, "val": 1, "test": 1}, seed=7)
    more = workshop.run(INGEST, IngestConfig(path=str(folder)))
    features = workshop.run(EXTRACT, ExtractConfig(backbone=TEACHER, views=VIEWS), images=more)
    logits = workshop.run(PRECOMPUTE, PrecomputeConfig(), features=features, probe=workshop.probe)
    return [
        DistillSource.open(
            ImageSet.open(workshop.path(images)),
            ViewOutputs(workshop.path(outputs)),
            VIEWS,
            model.preprocessing,
            RUNTIME,
        )
        for images, outputs in ((workshop.images, workshop.logits), (more, logits))
    ]


def distilling(sources: list[DistillSource], synthetic_ratio: float, **distill: Any) -> DistillLesson:
    return DistillLesson(
        problem=PROBLEM,
        real=sources[0],
        synthetic=sources[1],
        batch_size=BATCH_SIZE,
        distill=DistillSettings(synthetic_ratio=synthetic_ratio, alpha=0.4, **distill),
        seed=0,
        score=no_score,
    )


def first_batch(lesson: Lesson[Any], ignored: slice = slice(0)) -> Batch:
    batch = lesson.load(lesson.draw(0))
    targets = batch.targets.copy()
    targets[ignored] = IGNORED
    return batch._replace(targets=targets)


def gradient(
    model: TaskModel, lesson: Lesson[Any], batch: Batch, accumulate: int
) -> tuple[torch.Tensor, dict[str, float]]:
    """Return the gradient of all parameters in one row, and the losses."""
    settings = TrainingSettings(batch_size=BATCH_SIZE, accumulate=accumulate)
    model.zero_grad()
    trainer = Trainer(model, settings, lesson, seed=0, device=torch.device("cpu"), num_steps=1)
    parts = trainer.backward(batch)
    losses = {name: sum(part[name].item() for part in parts) for name in parts[0]}
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters() if parameter.grad is not None]), (
        losses
    )


def assert_parts_make_the_whole(model: TaskModel, lesson: Lesson[Any], batch: Batch) -> None:
    whole, its_losses = gradient(model, lesson, batch, 1)
    parts, their_losses = gradient(model, lesson, batch, NUM_PARTS)
    assert whole.norm() > 0.01
    assert (parts - whole).norm() < 1e-6 * whole.norm()
    assert their_losses == pytest.approx(its_losses, rel=1e-6)


# The parts have three images each: the first has no label that counts, the second two, the others all.
UNEVEN = slice(0, 4)


def test_where_labels_are_ignored(model: TaskModel, finetuning: Callable[..., FinetuneLesson]) -> None:
    lesson = finetuning()
    assert_parts_make_the_whole(model, lesson, first_batch(lesson, UNEVEN))


@pytest.mark.parametrize("training", [{"mixup": 0.4}, {"cutmix": 1.0}, {"mixup": 1.0, "cutmix": 1.0}])
@pytest.mark.parametrize("ignored", [slice(0), UNEVEN])
def test_where_images_are_mixed(
    model: TaskModel, finetuning: Callable[..., FinetuneLesson], training: dict[str, Any], ignored: slice
) -> None:
    lesson = finetuning(**training)
    assert_parts_make_the_whole(model, lesson, first_batch(lesson, ignored))


@pytest.mark.parametrize("ignored", [slice(0), UNEVEN])
@pytest.mark.parametrize("synthetic_ratio", [0.0, 0.1, 0.4, 0.75])
def test_where_synthetic_images_do_not_divide(
    model: TaskModel, sources: list[DistillSource], synthetic_ratio: float, ignored: slice
) -> None:
    lesson = distilling(sources, synthetic_ratio)  # 0, 1, 5 and 9 of them for 4 parts
    batch = first_batch(lesson, ignored)
    assert len(batch.ids) == BATCH_SIZE + round(BATCH_SIZE * synthetic_ratio)
    assert_parts_make_the_whole(model, lesson, batch)


@pytest.mark.parametrize("ignored", [slice(0), UNEVEN])
@pytest.mark.parametrize("synthetic_ratio", [0.0, 0.1, 0.4])
@pytest.mark.parametrize("mix_views", ["mixup", "cutmix"])
def test_where_views_are_mixed_with_what_the_teacher_says_of_them(
    model: TaskModel, sources: list[DistillSource], mix_views: str, synthetic_ratio: float, ignored: slice
) -> None:
    lesson = distilling(sources, synthetic_ratio, mix_views=mix_views)
    assert_parts_make_the_whole(model, lesson, first_batch(lesson, ignored))


def test_a_batch_without_a_label_teaches_nothing_and_is_no_error(
    model: TaskModel, finetuning: Callable[..., FinetuneLesson]
) -> None:
    lesson = finetuning()
    for accumulate in (1, NUM_PARTS):
        found, losses = gradient(model, lesson, first_batch(lesson, slice(None)), accumulate)
        assert losses == {"loss": 0.0, "task_loss": 0.0}
        assert found.eq(0).all()


def test_the_loss_of_a_batch_is_the_mean_over_its_labels(
    model: TaskModel, finetuning: Callable[..., FinetuneLesson]
) -> None:
    """Each label that counts weighs the same, in whatever part it stands."""
    lesson = finetuning()
    single = []
    for number in range(4, BATCH_SIZE):
        batch = first_batch(lesson)
        batch.targets[np.arange(BATCH_SIZE) != number] = IGNORED
        single.append(gradient(model, lesson, batch, 1)[1]["loss"])
    assert gradient(model, lesson, first_batch(lesson, UNEVEN), NUM_PARTS)[1]["loss"] == pytest.approx(
        np.mean(single), rel=1e-5
    )


def test_every_image_is_in_one_part_and_labelled_ones_come_first_in_each() -> None:
    images_NCHW = torch.arange(11.0).view(11, 1, 1, 1)
    numbers = {"teacher": torch.arange(11.0)[:, None], "shown_N4": torch.arange(11.0)[:, None].repeat(1, 4)}
    whole = MicroBatch(images_NCHW, (WeightedTargets(1.0, torch.arange(6)),), **numbers)
    parts = list(micro_batches(whole, 3))
    assert [part.images_NCHW.flatten().tolist() for part in parts] == [[0, 1, 6, 9], [2, 3, 7, 10], [4, 5, 8]]
    for part in parts:
        assert part.teacher is not None
        assert torch.equal(part.teacher.flatten(), part.images_NCHW.flatten())
        assert part.shown_N4 is not None
        assert torch.equal(part.shown_N4[:, 2], part.images_NCHW.flatten())
        assert torch.equal(part.targets[0].targets, part.images_NCHW.flatten()[: part.num_labelled])


def test_real_views_are_mixed_with_real_ones_and_synthetic_ones_with_synthetic_ones(
    sources: list[DistillSource],
) -> None:
    lesson = distilling(sources, 1.0, mix_views="mixup", temperature=3.0)
    values_N, labels_N = torch.tensor([1.0, 2.0, 4.0, 8.0, 100.0, 200.0]), torch.tensor([0, 1, 2, 0])
    logits_NK = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    batch = MicroBatch(values_N.view(6, 1, 1, 1), (WeightedTargets(1.0, labels_N),), logits_NK)
    mixed, opposite_N = lesson.mixed(batch, step=7), [3, 2, 1, 0, 5, 4]
    own, other = mixed.targets
    share = own.weight
    assert 0.01 < share < 0.99
    assert other.weight == pytest.approx(1 - share)
    assert (own.targets.tolist(), other.targets.tolist()) == ([0, 1, 2, 0], [0, 2, 1, 0])
    torch.testing.assert_close(mixed.images_NCHW.flatten(), share * values_N + (1 - share) * values_N[opposite_N])
    assert mixed.teacher is not None
    softened_NK = softmax(logits_NK.numpy() / 3, axis=1)
    expected_NK = share * softened_NK + (1 - share) * softened_NK[opposite_N]
    np.testing.assert_allclose(softmax(mixed.teacher.numpy() / 3, axis=1), expected_NK, atol=1e-6)
    assert lesson.mixed(batch, step=8).targets[0].weight != share  # each step has a share of its own


def test_a_mixture_teaches_where_both_of_its_views_show_their_images(sources: list[DistillSource]) -> None:
    areas_N4 = torch.tensor([[0.0, 1.0, 0.0, 1.0], [0.0, 0.5, 0.0, 1.0], [0.0, 1.0, 0.25, 1.0], [0.25, 1.0, 0.0, 0.75]])
    batch = MicroBatch(torch.zeros(4, 3, 8, 8), (WeightedTargets(1.0, torch.arange(3)),), torch.zeros(4, 3), areas_N4)
    mixed = distilling(sources, 1.0, mix_views="cutmix").mixed(batch, step=0)
    # Of the three with labels the first is mixed with the third; the fourth is alone of its kind.
    assert torch.equal(mixed.shown_N4, areas_N4[[2, 1, 2, 3]])


@pytest.mark.parametrize("mix_views", ["mixup", "cutmix"])
@pytest.mark.parametrize("num_others", [0, 1, 6])
def test_mixed_views_keep_the_order_in_memory_that_convolutions_are_fast_in(
    sources: list[DistillSource], num_others: int, mix_views: str
) -> None:
    images_NCHW = torch.zeros(4 + num_others, 3, 5, 5).to(memory_format=torch.channels_last)
    batch = MicroBatch(images_NCHW, (WeightedTargets(1.0, torch.arange(4)),), torch.zeros(4 + num_others, 3))
    mixed = distilling(sources, 1.0, mix_views=mix_views).mixed(batch, step=0)
    assert mixed.images_NCHW.shape == images_NCHW.shape
    assert mixed.images_NCHW.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("num_others", [0, 1, 6])
def test_images_keep_the_order_in_memory_that_convolutions_are_fast_in(num_others: int) -> None:
    images_NCHW = torch.zeros(4 + num_others, 3, 5, 5).to(memory_format=torch.channels_last)
    for part in micro_batches(MicroBatch(images_NCHW, (WeightedTargets(1.0, torch.arange(4)),)), 2):
        assert part.images_NCHW.is_contiguous(memory_format=torch.channels_last)


class Reads(TorchDispatchMode):
    """Counts how often a number is taken out of a tensor, for which a GPU would be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += function is torch.ops.aten._local_scalar_dense.default
        return function(*args, **(kwargs or {}))


def test_a_gradient_is_computed_without_waiting_for_a_number(model: TaskModel, sources: list[DistillSource]) -> None:
    lesson = distilling(sources, synthetic_ratio=1.0)
    batch = first_batch(lesson)
    with Reads() as reads:
        _, losses = gradient(model, lesson, batch, 1)
    assert reads.count == len(losses)  # which `gradient` reads, to return them
