"""Segmentation as a problem: what it reads of masks, and how its parts agree."""

from pathlib import Path

import numpy as np
import pytest
import torch

from taskdistill.configs.training import TrainingSettings
from taskdistill.storage.errors import CorruptArtifactError
from taskdistill.storage.image_set import ImageRow, ImageSet
from taskdistill.storage.store import ArtifactStore
from taskdistill.tasks.data.candidates import DatasetError
from taskdistill.tasks.functional.losses import IGNORED
from taskdistill.tasks.functional.mixup import cutmix, mixup
from taskdistill.tasks.functional.views import clean_view
from taskdistill.tasks.models.encoder import Block
from taskdistill.tasks.problems.problem import num_targets_of, problem_named, task_loss_of
from taskdistill.tasks.problems.segmentation import Segmentation
from tests.fakes import gradient_image
from tests.masked_images import commit_masked, masked_row

CLASSES = ["sky", "road", "car"]


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def opened(store: ArtifactStore, *rows: ImageRow) -> ImageSet:
    return ImageSet.open(store.path(commit_masked(store, rows, CLASSES)))


def mask_of(height: int = 40, width: int = 60) -> np.ndarray:
    """Sky above, road below, nobody knows the rightmost column."""
    mask_HW = np.zeros((height, width), np.uint8)
    mask_HW[height // 2 :] = 1
    mask_HW[:, -1] = 255
    return mask_HW


@pytest.fixture
def images(store: ArtifactStore) -> ImageSet:
    rows = [masked_row(f"{split}.png", split, gradient_image(40, 60), mask_of()) for split in ("train", "val", "test")]
    return opened(store, *rows)


# --- masks -----------------------------------------------------------------------------------------------------------


def test_a_target_is_the_mask_cut_as_the_image_is_and_ignored_where_nobody_knows(images: ImageSet) -> None:
    target_HW = Segmentation().target(images, 0, clean_view(40, 60, 1.0, "squash"), (20, 20))
    assert target_HW.dtype == np.int64
    assert set(np.unique(target_HW[:10, :-1])) == {0}
    assert set(np.unique(target_HW[10:, :-1])) == {1}
    right = clean_view(40, 60, 1.0, "squash")
    right[:4] = 0, 58, 40, 2
    assert (Segmentation().target(images, 0, right, (4, 6))[:, -3:] == IGNORED).all()


def test_the_classes_are_those_of_the_masks(images: ImageSet) -> None:
    assert Segmentation().classes(images) == CLASSES


def test_a_labelled_image_without_a_mask_is_named(store: ArtifactStore) -> None:
    images = opened(
        store,
        masked_row("a.png", "train", gradient_image(8, 8), np.zeros((8, 8), np.uint8)),
        masked_row("b.png", "train", gradient_image(8, 8), None),
        masked_row("c.png", "train", gradient_image(8, 8), np.zeros((8, 8), np.uint8)),
    )
    assert Segmentation().classes(images) == CLASSES
    with pytest.raises(DatasetError, match=r"'b.png' \(train\).*has no mask.*ingest the images with their masks"):
        Segmentation().target(images, 1, clean_view(8, 8, 1.0, "center"), (8, 8))


def test_images_without_any_mask_are_refused_before_anything_is_learnt(store: ArtifactStore) -> None:
    images = opened(store, masked_row("a.png", "train", gradient_image(8, 8), None))
    with pytest.raises(DatasetError, match=r"has no mask, and 'segmentation' learns from masks"):
        Segmentation().classes(images)


def test_images_that_nobody_labelled_need_no_mask(store: ArtifactStore) -> None:
    images = opened(
        store,
        masked_row("a.png", "unlabelled", gradient_image(8, 8), None),
        masked_row("b.png", "train", gradient_image(8, 8), np.zeros((8, 8), np.uint8)),
    )
    assert Segmentation().classes(images) == CLASSES


@pytest.mark.parametrize(
    ("mask_HW", "words"),
    [
        (np.zeros((8, 9), np.uint8), r"shape \(8, 9\), where 8-bit grey of \(8, 8\) is stored"),
        (np.zeros((8, 8), np.uint16), "is uint16"),
        (np.full((8, 8), 3, np.uint8), r"has the values \[3\], and there are 3 classes"),
    ],
)
def test_a_mask_that_ingest_would_not_write_is_damage(store: ArtifactStore, mask_HW: np.ndarray, words: str) -> None:
    images = opened(store, masked_row("a.png", "train", gradient_image(8, 8), mask_HW))
    with pytest.raises(CorruptArtifactError, match=words):
        Segmentation().target(images, 0, clean_view(8, 8, 1.0, "center"), (8, 8))


# --- losses ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["cross-entropy", "cross-entropy+dice", "cross-entropy+lovasz"])
@pytest.mark.parametrize("class_weights", ["none", "inverse-frequency"])
def test_each_loss_that_can_be_set_is_finite_and_counts_what_is_known_beforehand(
    images: ImageSet, loss: str, class_weights: str
) -> None:
    training = TrainingSettings(loss=loss, class_weights=class_weights)
    problem = problem_named("segmentation").for_training(training, images)
    outputs = torch.randn(2, 3, 5, 5, requires_grad=True)
    target = torch.from_numpy(problem.target(images, 0, clean_view(40, 60, 1.0, "center"), (20, 20)))
    targets = torch.stack([target, torch.full_like(target, IGNORED)])
    found = problem.task_loss(outputs, targets)
    found.mean().backward()
    assert torch.isfinite(outputs.grad).all()
    assert outputs.grad[0].abs().sum() > 0
    assert (outputs.grad[1] == 0).all()
    assert found.count == problem.num_targets(targets)


def test_what_a_loss_of_regions_adds_is_seen(images: ImageSet) -> None:
    outputs, targets = torch.randn(2, 3, 5, 5), torch.randint(3, (2, 20, 20))
    losses = [
        float(Segmentation().for_training(TrainingSettings(loss=loss), images).task_loss(outputs, targets).mean())
        for loss in ("cross-entropy", "cross-entropy+dice", "cross-entropy+lovasz")
    ]
    assert losses[0] < min(losses[1:])
    assert max(losses[1:]) < losses[0] + 1


def test_class_weights_are_those_of_the_training_masks(images: ImageSet) -> None:
    """Sky and road have 20 * 59 pixels each, nobody drives: all weigh one."""
    training = TrainingSettings(class_weights="inverse-frequency")
    problem = Segmentation().for_training(training, images)
    assert problem.num_targets(torch.tensor([[[0, 1, 2, IGNORED]]])) == 3


@pytest.mark.parametrize("mixing", [mixup(0.75, (8, 8)), cutmix(0.75, (8, 8), np.random.default_rng(0))])
def test_mixtures_learn_from_both_masks_with_ignored_pixels_in_either(mixing: object) -> None:
    problem = Segmentation()
    outputs, targets = torch.randn(4, 3, 4, 4), torch.randint(3, (4, 8, 8))
    targets[0] = IGNORED
    mixed = problem.mix_targets(targets, mixing)
    loss = task_loss_of(problem, outputs, mixed)
    assert torch.isfinite(loss.mean())
    assert loss.count == num_targets_of(problem, mixed)


# --- two models --------------------------------------------------------------------------------------------------


def test_agreement_is_the_share_of_cells_of_the_finer_grid_with_the_same_class() -> None:
    coarse = torch.tensor([[[[1.0]], [[0.0]]]])
    fine = torch.tensor([[[[2.0, 2.0], [0.0, 2.0]], [[1.0, 1.0], [1.0, 1.0]]]])
    assert Segmentation().agreement(coarse, fine).tolist() == [0.75]
    assert Segmentation().agreement(fine, coarse).tolist() == [0.75]


def test_uncertainty_is_the_mean_entropy_of_the_cells() -> None:
    outputs = torch.zeros(2, 3, 2, 2)
    outputs[1, 0] = 100
    outputs[1, :, 0] = 0
    assert Segmentation().uncertainty(outputs).tolist() == pytest.approx([1, 0.5])


def test_models_with_other_grids_have_a_mean_on_the_finest() -> None:
    mean = Segmentation().mean([torch.zeros(1, 3, 2, 2), torch.zeros(1, 3, 4, 4)], "log-probabilities")
    torch.testing.assert_close(mean.exp(), torch.full((1, 3, 4, 4), 1 / 3, dtype=torch.float64))


def test_gradient_descent_on_the_task_loss_raises_the_score(images: ImageSet) -> None:
    problem = Segmentation()
    features, targets = torch.randn(6, 8, 4, 4), torch.randint(3, (6, 4, 4)).repeat_interleave(2, 1)
    targets = targets.repeat_interleave(2, 2)
    head = problem.head([Block("map", 8, 2)], 3)
    scores = []
    for _ in range(2):
        meter = problem.meter(CLASSES)
        meter.update(head.eval()(features).detach(), targets)
        scores.append(meter.compute()["miou"])
        optimizer = torch.optim.AdamW(head.train().parameters(), lr=0.05)
        for _ in range(100):
            optimizer.zero_grad()
            problem.task_loss(head(features), targets).mean().backward()
            optimizer.step()
    assert scores[1] > scores[0]


def test_a_head_is_asked_for_by_name_with_the_maps_it_sees(tmp_path: Path) -> None:
    blocks = [Block("map-2", 8, 8), Block("map", 16, 16)]
    kinds = [
        type(Segmentation().head(blocks, 3, kind)).__name__ for kind in ("linear", "fcn", "lraspp", "segformer-mlp")
    ]
    assert kinds == ["LinearHead", "FcnHead", "LrasppHead", "SegformerHead"]
