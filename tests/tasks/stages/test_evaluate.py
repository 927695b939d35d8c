"""Stages "evaluate" and "evaluate-teacher": scores against scikit-learn, and the table a reader can check them with."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import sklearn.metrics
import torch
from PIL import Image

from taskdistill.configs import choices
from taskdistill.configs.data import IngestConfig
from taskdistill.configs.stages import (
    EvaluateConfig,
    EvaluateProbedConfig,
    ExtractConfig,
    FinetuneConfig,
    PrecomputeConfig,
    ProbeConfig,
)
from taskdistill.configs.training import TrainingSettings
from taskdistill.storage.errors import CacheMismatchError
from taskdistill.storage.fingerprint import fingerprint
from taskdistill.storage.image_set import ImageSet
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.tables import read_table
from taskdistill.storage.view_outputs import ViewOutputs
from taskdistill.storage.view_writer import Layout, ViewOutputsWriter
from taskdistill.tasks.catalog import (
    EVALUATE,
    EVALUATE_PROBED,
    EVALUATE_TEACHER,
    EXTRACT,
    FINETUNE,
    INGEST,
    PRECOMPUTE,
    PROBE,
)
from taskdistill.tasks.data.batches import decoded_row
from taskdistill.tasks.functional.views import View
from taskdistill.tasks.problems.classification import Classification
from taskdistill.tasks.problems.classification_meter import by_class
from tests.conftest import PROBE_SETTINGS, STUDENT, TEACHER, VIEWS, Bench, said_of
from tests.fakes import Ordinal, write_shapes


@pytest.fixture(scope="module")
def model(workshop: Bench) -> ArtifactRef:
    """A student spoilt by a high learning rate, so that it errs."""
    training = TrainingSettings(epochs=1, batch_size=8, learning_rate=0.01, keep="last")
    config = FinetuneConfig(backbone=STUDENT, views=VIEWS, training=training)
    return workshop.run(FINETUNE, config, images=workshop.images, probe=workshop.student_probe)


@pytest.fixture(scope="module")
def evaluation(workshop: Bench, model: ArtifactRef) -> ArtifactRef:
    inputs = {"images": workshop.images, "model": model, "teacher": workshop.logits}
    return workshop.run(EVALUATE, EvaluateConfig(), **inputs)


def softmax(logits_NK: np.ndarray) -> np.ndarray:
    powers_NK = np.exp(logits_NK - logits_NK.max(axis=1, keepdims=True))
    return np.asarray(powers_NK / powers_NK.sum(axis=1, keepdims=True))


def calibration_error(shares_NK: np.ndarray, labels_N: np.ndarray, num_bins: int) -> float:
    """Expected calibration error (Guo et al., arXiv 1706.04599, equation 3), bin by bin."""
    confidence_N, right_N = shares_NK.max(axis=1), shares_NK.argmax(axis=1) == labels_N
    error = 0.0
    for low in np.arange(num_bins) / num_bins:
        inside_N = (confidence_N > low) & (confidence_N <= low + 1 / num_bins)
        if inside_N.any():
            error += inside_N.mean() * abs(right_N[inside_N].mean() - confidence_N[inside_N].mean())
    return error


def expected_scores(logits_NK: np.ndarray, labels_N: np.ndarray) -> dict[str, float]:
    shares_NK, predicted_N = softmax(logits_NK.astype(np.float64)), logits_NK.argmax(axis=1)
    classes = np.arange(logits_NK.shape[1])
    return {
        "top1": sklearn.metrics.accuracy_score(labels_N, predicted_N),
        "top5": sklearn.metrics.top_k_accuracy_score(labels_N, logits_NK, k=min(5, len(classes) - 1), labels=classes),
        "mean_class_accuracy": sklearn.metrics.balanced_accuracy_score(labels_N, predicted_N),
        "nll": sklearn.metrics.log_loss(labels_N, shares_NK, labels=classes),
        "ece": calibration_error(shares_NK, labels_N, 15),
    }


def test_metrics_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    labels_N = np.concatenate([np.arange(7), rng.integers(0, 7, 93)])
    logits_NK = rng.normal(size=(100, 7)).astype(np.float32)
    logits_NK[np.arange(100), labels_N] += 1.0
    meter = Classification().meter(list("abcdefg"))
    meter.update(torch.from_numpy(logits_NK), torch.from_numpy(labels_N))
    found = meter.compute()
    expected = expected_scores(logits_NK, labels_N)
    assert 0.2 < expected["top1"] < expected["top5"] < 1  # neither is trivial
    assert found == pytest.approx(expected, abs=1e-5)


def test_scores_are_those_of_the_table_of_predictions(workshop: Bench, evaluation: ArtifactRef) -> None:
    scores = workshop.summary(evaluation)["scores"]
    for split in ("val", "test"):
        table = read_table(workshop.path(evaluation) / f"{split}-predictions.parquet")
        labels_N = np.asarray([row["label"] for row in table])
        logits_NK = np.asarray([row["outputs"] for row in table])
        expected = expected_scores(logits_NK, labels_N) | {"top5": 1.0}  # of three classes
        assert expected["top1"] < 1  # it does err
        assert {name: scores[split][name] for name in expected} == pytest.approx(expected, abs=2e-6)


def test_the_table_names_each_image_of_its_split_and_what_was_said(workshop: Bench, evaluation: ArtifactRef) -> None:
    images = ImageSet.open(workshop.path(workshop.images))
    table = read_table(workshop.path(evaluation) / "test-predictions.parquet")
    assert [row["id"] for row in table] == [name for name in images.ids if name.startswith("test/")]
    for row in table:
        assert images.classes[row["label"]] in row["id"]
        assert row["predicted"] == int(np.argmax(row["outputs"]))
        assert row["confidence"] == pytest.approx(softmax(np.asarray([row["outputs"]])).max(), abs=1e-5)


def test_agreement_is_the_share_of_images_on_which_student_and_teacher_say_the_same(
    workshop: Bench, evaluation: ArtifactRef
) -> None:
    table = read_table(workshop.path(evaluation) / "val-predictions.parquet")
    images = ImageSet.open(workshop.path(workshop.images))
    rows = images.rows_of("val")
    teacher = said_of(ViewOutputs(workshop.path(workshop.logits)), images, rows, 0).argmax(axis=1)
    assert [row["teacher_predicted"] for row in table] == teacher.tolist()
    same = sum(row["predicted"] == said for row, said in zip(table, teacher.tolist(), strict=True))
    assert same < 12
    assert workshop.summary(evaluation)["scores"]["val"]["teacher_agreement"] == pytest.approx(same / 12, abs=1e-6)


def test_agreement_does_not_ask_who_is_right() -> None:
    student = torch.tensor([[2.0, 1.0], [0.0, 3.0], [5.0, 4.0], [1.0, 2.0]])
    teacher = torch.tensor([[9.0, 0.0], [0.1, 0.0], [0.2, 0.1], [0.0, 7.0]])
    assert Classification().agreement(student, teacher).tolist() == [1.0, 0.0, 1.0, 1.0]


def test_each_accuracy_has_the_standard_error_of_a_share_of_so_many_images(
    workshop: Bench, evaluation: ArtifactRef
) -> None:
    summary = workshop.summary(evaluation)
    assert summary["num_images"] == {"val": 12, "test": 12}
    for split, errors in summary["standard_errors"].items():
        for name in ("top1", "top5", "teacher_agreement"):
            share = summary["scores"][split][name]
            assert errors[name] == pytest.approx((share * (1 - share) / 12) ** 0.5, abs=2e-6)
        assert "ece" not in errors
    assert summary["standard_errors"]["test"]["top1"] > 0


def test_the_standard_error_of_a_mean_over_classes_is_that_of_those_that_have_images() -> None:
    # Class 0: 3 of 4 right, class 1: 1 of 2; class 2 has no image, and was answered once: (3/4 + 1/2) / 2.
    labels_N = torch.tensor([0, 0, 0, 0, 1, 1])
    logits_NK = torch.nn.functional.one_hot(torch.tensor([0, 0, 0, 1, 1, 2]), 3).float()
    meter = Classification().meter(["seen", "seldom seen", "never seen"])
    meter.update(logits_NK, labels_N)
    assert meter.compute()["mean_class_accuracy"] == pytest.approx(1.25 / 2)
    predicted_N = logits_NK.argmax(1)
    values_N = by_class((predicted_N == labels_N).double(), labels_N)
    assert float(values_N.mean()) == pytest.approx(1.25 / 2)
    variance = (0.75 * 0.25 / 4 + 0.5 * 0.5 / 2) / 2**2
    assert meter.standard_errors()["mean_class_accuracy"] == pytest.approx(variance**0.5)


def test_the_score_of_each_image_is_whether_it_is_right(workshop: Bench, evaluation: ArtifactRef) -> None:
    table = read_table(workshop.path(evaluation) / "test-predictions.parquet")
    assert [row["score"] for row in table] == [float(row["predicted"] == row["label"]) for row in table]
    mean = workshop.summary(evaluation)["scores"]["test"][workshop.summary(evaluation)["score_name"]]
    assert sum(row["score"] for row in table) / 12 == pytest.approx(mean, abs=1e-6)


def test_a_probed_student_is_compared_with_its_teacher_as_a_trained_one_is(workshop: Bench) -> None:
    inputs = {"features": workshop.student_features, "probe": workshop.student_probe}
    own = workshop.run(PRECOMPUTE, PrecomputeConfig(), **inputs)
    judged = {"images": workshop.images, "logits": own, "teacher": workshop.logits}
    ref = workshop.run(EVALUATE_TEACHER, EvaluateConfig(), **judged)
    images = ImageSet.open(workshop.path(workshop.images))
    rows = images.rows_of("test")
    said, taught = (
        said_of(ViewOutputs(workshop.path(logits)), images, rows, 0).argmax(axis=1) for logits in (own, workshop.logits)
    )
    found = workshop.summary(ref)["scores"]["test"]["teacher_agreement"]
    assert found == pytest.approx((said == taught).mean(), abs=1e-6)


def test_a_probe_that_is_shown_the_images_scores_as_its_cached_logits_do(workshop: Bench) -> None:
    inputs = {"features": workshop.student_features, "probe": workshop.student_probe}
    own = workshop.run(PRECOMPUTE, PrecomputeConfig(), **inputs)
    judged = {"images": workshop.images, "teacher": workshop.logits}
    cached = workshop.run(EVALUATE_TEACHER, EvaluateConfig(), logits=own, **judged)
    config = EvaluateProbedConfig(backbone=STUDENT)
    shown = workshop.run(EVALUATE_PROBED, config, probe=workshop.student_probe, **judged)
    for split, expected in workshop.summary(cached)["scores"].items():  # but for their half precision
        assert workshop.summary(shown)["scores"][split] == pytest.approx(expected, abs=2e-3)
    with pytest.raises(CacheMismatchError, match="run the probe of this backbone first"):
        workshop.run(EVALUATE_PROBED, EvaluateProbedConfig(backbone=TEACHER), probe=workshop.student_probe, **judged)


def test_without_a_teacher_nothing_is_said_of_one(workshop: Bench, model: ArtifactRef) -> None:
    ref = workshop.run(EVALUATE, EvaluateConfig(splits=("test",)), images=workshop.images, model=model)
    assert list(workshop.summary(ref)["scores"]) == ["test"]
    assert "teacher_agreement" not in workshop.summary(ref)["scores"]["test"]
    table = read_table(workshop.path(ref) / "test-predictions.parquet")
    assert not [name for name in table[0] if name.startswith("teacher")]


@pytest.mark.parametrize(("splits", "drawn"), [(("val", "test"), "test"), (("test", "val"), "test"), (("val",), "val")])
def test_one_split_has_a_confusion_matrix_as_png(
    workshop: Bench, splits: tuple[Literal["val", "test"], ...], drawn: str
) -> None:
    config = EvaluateConfig(splits=splits)
    ref = workshop.run(EVALUATE_TEACHER, config, images=workshop.images, logits=workshop.logits)
    [path] = workshop.path(ref).glob("*.png")
    assert path.name == f"{drawn}-confusion.png"
    with Image.open(path) as picture:
        picture.verify()
        assert picture.format == "PNG"
        assert min(picture.size) > 100


def test_a_teacher_is_scored_by_its_cached_logits_of_the_clean_view(workshop: Bench) -> None:
    ref = workshop.run(EVALUATE_TEACHER, EvaluateConfig(), images=workshop.images, logits=workshop.logits)
    images = ImageSet.open(workshop.path(workshop.images))
    logits = ViewOutputs(workshop.path(workshop.logits))
    for split in ("val", "test"):
        rows = images.rows_of(split)
        expected = expected_scores(said_of(logits, images, rows, 0).astype(np.float32), images.labels[rows]) | {
            "top5": 1.0
        }
        found: dict[str, Any] = workshop.summary(ref)["scores"][split]
        assert found == pytest.approx(expected, abs=2e-6)


def test_a_model_of_other_classes_is_refused(workshop: Bench, model: ArtifactRef, tmp_path: Path) -> None:
    folder = write_shapes(tmp_path / "other", {"train": 2, "val": 1, "test": 1}, side=16)
    for split in ("train", "val", "test"):
        (folder / split / "disc").rename(folder / split / "coin")
    images = workshop.run(INGEST, IngestConfig(path=str(folder)))
    with pytest.raises(CacheMismatchError, match=r"knows the classes \['disc', .*the images have \['coin'"):
        workshop.run(EVALUATE, EvaluateConfig(), images=images, model=model)


def test_logits_of_other_images_are_refused(workshop: Bench, model: ArtifactRef, tmp_path: Path) -> None:
    folder = write_shapes(tmp_path / "other", {"train": 2, "val": 1, "test": 1}, side=16, seed=3)
    images = workshop.run(INGEST, IngestConfig(path=str(folder)))
    with pytest.raises(CacheMismatchError, match=r"do not fit\. images: these are of"):
        workshop.run(EVALUATE, EvaluateConfig(), images=images, model=model, teacher=workshop.logits)
    with pytest.raises(CacheMismatchError, match=r"do not fit\. images: these are of"):
        workshop.run(EVALUATE_TEACHER, EvaluateConfig(), images=images, logits=workshop.logits)


# --- joins by id ---------------------------------------------------------------------------------------------------


class WhereItLies(Ordinal):
    """The answer is how far from the left a view was cut: the view of another image is another answer."""

    def joined(self, outputs: torch.Tensor, views_M9: View, height: int, width: int) -> torch.Tensor:
        return torch.from_numpy(views_M9[:, 1:2] / 100)


@pytest.fixture
def uneven(bench: Bench, tmp_path: Path) -> ArtifactRef:
    """The shapes in many sizes, so that no two clean views are cut alike."""
    folder = write_shapes(tmp_path / "uneven", {"train": 2, "val": 2, "test": 2})
    for number, path in enumerate(sorted(folder.rglob("*.png"))):
        with Image.open(path) as picture:
            picture.resize((40 + 4 * number, 40 + 2 * number)).save(path)
    return bench.run(INGEST, IngestConfig(path=str(folder)))


def commit_in_other_order(bench: Bench, ref: ArtifactRef) -> ArtifactRef:
    """Commit what a cache holds once more, its rows the other way round; returns the artifact."""
    found, recipe = ViewOutputs(bench.path(ref)), bench.store.manifest(ref).recipe | {"stage": "turned round"}
    turned = ArtifactRef(ref.kind, fingerprint(recipe))
    with bench.store.lock(turned):
        last = len(found.ids) - 1
        writer = ViewOutputsWriter(
            bench.store.draft(turned, recipe),
            ids=found.ids[::-1],
            parts=[part._replace(rows=last - part.rows[::-1]) for part in found.parts],
            layout=lambda: Layout(found.row_shape, found.attributes),
        )
        for chunk in writer.chunks():
            rows = found.rows_at(last - writer.rows_of(chunk), chunk.view)
            every = (0, len(found.ids_of(chunk.view)), chunk.view)
            kinds = (found.rows, found.view_fields, found.thumbnails)
            writer.write(chunk, *(read(*every)[rows] for read in kinds))  # type: ignore[arg-type]
        bench.store.commit(turned, recipe=recipe, inputs={}, summary={})
    return turned


def test_cached_logits_are_joined_by_image_not_by_position(workshop: Bench) -> None:
    inputs = {"features": workshop.student_features, "probe": workshop.student_probe}
    own = workshop.run(PRECOMPUTE, PrecomputeConfig(), **inputs)
    turned, teacher = (commit_in_other_order(workshop, logits) for logits in (own, workshop.logits))
    assert ViewOutputs(workshop.path(turned)).ids != ViewOutputs(workshop.path(own)).ids
    straight, other = (
        workshop.run(EVALUATE_TEACHER, EvaluateConfig(), images=workshop.images, logits=logits, teacher=taught)
        for logits, taught in ((own, workshop.logits), (turned, teacher))
    )
    assert workshop.summary(straight)["scores"] == workshop.summary(other)["scores"]
    for split in ("val", "test"):
        tables = [read_table(workshop.path(ref) / f"{split}-predictions.parquet") for ref in (straight, other)]
        assert tables[0] == tables[1]


def test_views_are_joined_by_image_not_by_position(
    bench: Bench, uneven: ArtifactRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(choices.PROBLEMS, "where", "tests.tasks.stages.test_evaluate:WhereItLies")
    features = bench.run(EXTRACT, ExtractConfig(backbone=STUDENT, views=VIEWS), images=uneven)
    settings = ProbeConfig(problem="where", probe=PROBE_SETTINGS)
    probe = bench.run(PROBE, settings, images=uneven, features=features)
    logits = bench.run(PRECOMPUTE, PrecomputeConfig(), features=features, probe=probe)
    config = EvaluateConfig(problem="where")
    straight, other = (
        bench.run(EVALUATE_TEACHER, config, images=uneven, logits=cache)
        for cache in (logits, commit_in_other_order(bench, logits))
    )
    assert bench.summary(straight)["scores"] == bench.summary(other)["scores"]
    table = read_table(bench.path(other) / "test-predictions.parquet")
    cache = ViewOutputs(bench.path(logits))
    left = dict(zip(cache.ids_of(0), cache.view_fields(0, 12, 0)[:, 1].tolist(), strict=True))
    for row in table:
        assert row["place"] == pytest.approx(left[row["id"]] / 100, abs=1e-6)


def test_a_meter_is_given_images_in_their_order_in_batches_of_any_size_and_draws_them_as_they_are(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(choices.PROBLEMS, "ordinal", "tests.fakes:Ordinal")
    probe = bench.run(
        PROBE,
        ProbeConfig(problem="ordinal", probe=PROBE_SETTINGS),
        images=bench.images,
        features=bench.student_features,
    )
    training = TrainingSettings(epochs=1, batch_size=8)
    config = FinetuneConfig(problem="ordinal", backbone=STUDENT, views=VIEWS, training=training)
    model = bench.run(FINETUNE, config, images=bench.images, probe=probe)
    ref = bench.run(EVALUATE, EvaluateConfig(problem="ordinal"), images=bench.images, model=model)
    table = read_table(bench.path(ref) / "test-predictions.parquet")
    small = bench.run(  # in batches of five, other parts of the same twelve
        EVALUATE, EvaluateConfig(problem="ordinal", splits=("test",)), images=bench.images, model=model,
        runtime={"inference_batch_size": 5},
    )  # fmt: skip
    again = read_table(bench.path(small) / "test-predictions.parquet")
    assert [row["id"] for row in again] == [row["id"] for row in table]
    assert [row["place"] for row in again] == pytest.approx([row["place"] for row in table], abs=1e-5)
    images = ImageSet.open(bench.path(bench.images))
    last = decoded_row(images, int(images.rows_of("test")[-1]))
    for folder in (bench.path(ref), bench.path(small)):
        np.testing.assert_array_equal(np.asarray(Image.open(folder / "test-last.png")), last)
