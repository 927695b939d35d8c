"""The metrics of segmentation, against torchmetrics and a definition by scipy."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import interpolate
from torchmetrics.functional.classification import (
    multiclass_accuracy,
    multiclass_calibration_error,
    multiclass_jaccard_index,
)

from taskdistill.tasks.functional.boundaries import boundary_score
from taskdistill.tasks.functional.comparison import standard_error
from taskdistill.tasks.functional.joining import JoinedMap
from taskdistill.tasks.functional.losses import IGNORED
from taskdistill.tasks.functional.ratios import mean_ratio
from taskdistill.tasks.problems import overlays
from taskdistill.tasks.problems.palette import palette
from taskdistill.tasks.problems.segmentation_meter import SegmentationMeter
from taskdistill.tasks.problems.segmentation_metrics import METRICS

K = 6
NAMES = ["sky", "building", "pole", "road", "tree", "never seen"]
SIZES = [(40, 60), (33, 70), (64, 20), (3, 90), (50, 50)]


def sample(seed: int, height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits [K, 8, 9] of one image, and a truth they are often right about; class 5 is nowhere."""
    generator = torch.Generator().manual_seed(seed)
    outputs = torch.randn(K, 8, 9, generator=generator) * 2
    outputs[5] -= 20
    truth = interpolate(outputs[None], (height, width), mode="nearest")[0].argmax(0)
    noise = torch.rand(height, width, generator=generator)
    truth = torch.where(noise < 0.2, torch.randint(5, (height, width), generator=generator), truth)
    return outputs, torch.where(noise > 0.9, IGNORED, truth)


def whole(outputs: torch.Tensor, height: int, width: int) -> JoinedMap:
    view = np.asarray([[0, 0, height, width, 0, 1, 1, 1, 0]], np.float32)
    return JoinedMap(outputs[None], view, height, width)


Sample = tuple[torch.Tensor, torch.Tensor]


@pytest.fixture
def samples() -> list[Sample]:
    return [sample(seed, *size) for seed, size in enumerate(SIZES)]


def judged(samples: list[Sample], *, teacher: int | None = None) -> SegmentationMeter:
    """A meter that has seen all images as wholes; `teacher` is by how many places its answers are moved."""
    meter = SegmentationMeter(NAMES)
    for number, (outputs, truth) in enumerate(samples):
        by_teacher = None if teacher is None else whole(samples[(number + teacher) % len(samples)][0], *truth.shape)
        meter.update(whole(outputs, *truth.shape), truth[None], teacher=by_teacher)
    return meter


def flat(samples: list[Sample]) -> tuple[torch.Tensor, torch.Tensor]:
    """All pixels of all images: logits [P, K] and targets [P]."""
    logits = [
        interpolate(outputs[None], truth.shape, mode="bilinear", align_corners=False)[0].flatten(1).T
        for outputs, truth in samples
    ]
    return torch.cat(logits), torch.cat([truth.flatten() for _, truth in samples])


def test_its_metrics_are_those_of_torchmetrics_over_all_pixels(samples: list[Sample]) -> None:
    logits, targets = flat(samples)
    found, of_classes = judged(samples).compute(), judged(samples).class_columns()
    asked = {"num_classes": K, "ignore_index": IGNORED}
    iou = multiclass_jaccard_index(logits, targets, average="none", **asked)
    recall = multiclass_accuracy(logits, targets, average="none", **asked)
    np.testing.assert_allclose(of_classes["IoU"], [*iou[:5], np.nan], atol=1e-6)
    np.testing.assert_allclose(of_classes["accuracy"], [*recall[:5], np.nan], atol=1e-6)
    expected = {
        "miou": multiclass_jaccard_index(logits, targets, average="macro", **asked),
        "mean_accuracy": recall[:5].mean(),
        "pixel_accuracy": multiclass_accuracy(logits, targets, average="micro", **asked),
        "ece": multiclass_calibration_error(logits.softmax(1), targets, K, 15, ignore_index=IGNORED),
    }
    for name, value in expected.items():
        assert found[name] == pytest.approx(float(value), abs=1e-6), name


def test_a_class_that_is_predicted_and_never_true_counts_nought_in_miou_and_not_in_the_mean_accuracy() -> None:
    outputs = torch.tensor([[5.0, 0.0, 0.0], [0.0, 0.0, 5.0]]).T[:, None, :]
    meter = SegmentationMeter(["a", "b", "c"])
    meter.update(whole(outputs, 1, 2), torch.zeros(1, 1, 2, dtype=torch.int64))
    assert (meter.compute()["miou"], meter.compute()["mean_accuracy"]) == (0.25, 0.5)


def test_boundary_f_is_the_mean_over_images_and_agreement_the_share_of_all_pixels(samples: list[Sample]) -> None:
    found = judged(samples, teacher=1).compute()
    maps = [interpolate(outputs[None], truth.shape, mode="bilinear")[0].argmax(0) for outputs, truth in samples]
    scores = [
        boundary_score(predicted.numpy(), truth.numpy(), (truth != IGNORED).numpy())
        for predicted, (_, truth) in zip(maps, samples, strict=True)
    ]
    assert found["boundary_f"] == pytest.approx(np.mean(scores), abs=1e-9)
    same, pixels = 0, 0
    for number, predicted in enumerate(maps):
        other = interpolate(samples[(number + 1) % 5][0][None], predicted.shape, mode="bilinear")[0].argmax(0)
        same, pixels = same + int((other == predicted).sum()), pixels + predicted.numel()
    assert found["teacher_agreement"] == pytest.approx(same / pixels, abs=1e-4)
    assert judged(samples, teacher=0).compute()["teacher_agreement"] == 1
    assert set(found) == {metric.name for metric in METRICS}
    assert "teacher_agreement" not in judged(samples).compute()


def test_the_score_of_an_image_has_miou_as_its_mean_and_its_standard_error(samples: list[Sample]) -> None:
    meter = judged(samples)
    score = meter.columns()["score"]
    assert score.mean() == pytest.approx(meter.compute()["miou"], abs=1e-12)
    assert standard_error(score) == pytest.approx(meter.standard_errors()["miou"], abs=1e-12)
    assert meter.standard_errors().keys() == meter.compute().keys() - {"ece"}


def test_the_table_of_predictions_holds_what_any_images_together_are_counted_from(samples: list[Sample]) -> None:
    columns = judged(samples).columns()
    right, predicted, true = (columns[f"pixels_{name}"][1:4] for name in ("right", "predicted", "true"))
    assert mean_ratio(right, predicted + true - right) == pytest.approx(judged(samples[1:4]).compute()["miou"])
    assert columns["image_miou"][2] == pytest.approx(judged(samples[2:3]).compute()["miou"])


def test_views_in_batches_are_judged_on_the_grid_of_their_targets() -> None:
    found = [sample(seed, 24, 24) for seed in range(5)]
    outputs, targets = (torch.stack(parts) for parts in zip(*found, strict=True))
    meter = SegmentationMeter(NAMES)
    for start in (0, 3):
        batch = slice(start, start + 3)
        meter.update(outputs[batch], targets[batch], teacher=outputs[batch])
    assert meter.compute() == pytest.approx(judged(found, teacher=0).compute(), abs=1e-12)


def test_images_whose_pixels_nobody_knows_count_nowhere(samples: list[Sample]) -> None:
    outputs, truth = samples[0]
    unknown = [(outputs, torch.full_like(truth, IGNORED))]
    with_it, without = judged(samples + unknown), judged(samples)
    assert with_it.compute() == pytest.approx(without.compute(), abs=1e-12)
    alone = judged(unknown)
    assert set(alone.compute().values()) == {0.0}
    assert set(alone.standard_errors().values()) == {0.0}
    assert np.isnan(alone.columns()["image_miou"]).all()


@pytest.fixture
def drawn(samples: list[Sample], tmp_path: Path) -> Callable[..., dict[str, np.ndarray]]:
    def draw(colours_K3: np.ndarray | None = None, **settings: int) -> dict[str, np.ndarray]:
        meter = judged(samples, **settings)
        meter.draw(tmp_path, "test", lambda item: np.full((*SIZES[item], 3), 40 * item, np.uint8), colours_K3)
        return {path.name: np.asarray(Image.open(path).convert("RGB")) for path in tmp_path.iterdir()}

    return draw


def test_its_pictures_show_the_images_and_the_classes(drawn: Callable[..., dict[str, np.ndarray]]) -> None:
    alone, taught = drawn(), drawn(teacher=1)
    assert alone.keys() == {
        "test-images.png", "test-images-by-class.png", "test-classes.png", "test-confusion.png",
    }  # fmt: skip
    for name in ("test-images.png", "test-images-by-class.png"):  # a column more, for the teacher
        assert taught[name].shape[1] > alone[name].shape[1]
    # Errors are red.
    assert (alone["test-images.png"] == overlays.WRONG).all(axis=2).any()


def test_its_pictures_are_in_the_colours_of_the_classes_where_these_are_known(
    drawn: Callable[..., dict[str, np.ndarray]],
) -> None:
    known = np.asarray([[number, 200, 10 * number] for number in range(K)], np.uint8)
    for colours_K3, given in ((known, known), (palette(K), None)):
        pictures = drawn(given)
        for name in ("test-images.png", "test-classes.png"):  # of the first, the legend
            found = {tuple(colour) for colour in pictures[name].reshape(-1, 3).tolist()}
            assert found >= {tuple(colour) for colour in colours_K3[:-1].tolist()}  # the last class is nowhere


def test_a_perfect_answer_has_no_pixel_that_is_drawn_as_wrong(tmp_path: Path) -> None:
    truth = torch.randint(K, (1, 30, 40), generator=torch.Generator().manual_seed(0))
    meter = SegmentationMeter(NAMES)
    perfect = torch.nn.functional.one_hot(truth[0], K).permute(2, 0, 1) * 50.0
    meter.update(whole(perfect, 30, 40), truth)
    assert {name: meter.compute()[name] for name in ("miou", "boundary_f", "ece")} == {
        "miou": 1, "boundary_f": 1, "ece": pytest.approx(0, abs=1e-6),
    }  # fmt: skip
    meter.draw(tmp_path, "test", lambda item: np.zeros((30, 40, 3), np.uint8))
    picture = np.asarray(Image.open(tmp_path / "test-images.png").convert("RGB"))
    assert not (picture == overlays.WRONG).all(axis=2).any()


def test_a_small_image_is_drawn_larger_so_that_one_wrong_pixel_is_seen(tmp_path: Path) -> None:
    truth = torch.zeros(1, 30, 40, dtype=torch.int64)
    said = truth[0].clone()
    said[10, 10] = 1
    meter = SegmentationMeter(NAMES)
    meter.update(whole(torch.nn.functional.one_hot(said, K).permute(2, 0, 1) * 50.0, 30, 40), truth)
    meter.draw(tmp_path, "test", lambda item: np.zeros((30, 40, 3), np.uint8))
    picture = np.asarray(Image.open(tmp_path / "test-images.png").convert("RGB"))
    assert (picture == overlays.WRONG).all(axis=2).sum() >= 4 * 4


def test_of_many_classes_those_that_are_worst_off_are_drawn_one_by_one() -> None:
    iou = np.linspace(0, 1, 40)[None]
    chosen = overlays._by_class(iou, [f"class {number}" for number in range(40)])
    assert [example.words.partition(":")[0] for example in chosen] == [f"class {number}" for number in range(24)]


def test_the_best_the_median_and_the_worst_images_are_drawn_and_none_twice() -> None:
    def words(num_images: int) -> list[str]:
        examples = overlays._by_image(np.linspace(1, 0, num_images)[:, None])
        return [f"{example.item} {example.words.partition(':')[0]}" for example in examples]

    assert words(11) == [*("0 best", "1 best", "2 best"), *("4 median", "5 median", "6 median"),
                         *("8 worst", "9 worst", "10 worst")]  # fmt: skip
    assert words(2) == ["0 best", "1 worst"]
    assert words(0) == []
