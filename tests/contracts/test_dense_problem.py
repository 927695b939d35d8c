"""A problem with dense outputs goes through every stage, and no stage knows."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from torchmetrics.functional.classification import multiclass_jaccard_index

from taskdistill.configs import choices
from taskdistill.configs.experiment import Experiment
from taskdistill.configs.foreign import ForeignTeacher, PrecomputeForeignConfig
from taskdistill.configs.problem_options import OPTIONS
from taskdistill.configs.stages import DistillConfig, EvaluateConfig, FinetuneConfig, PrecomputeConfig, ProbeConfig
from taskdistill.configs.training import TrainingSettings
from taskdistill.flows.commands.demo import world_experiment
from taskdistill.flows.pipeline.console import on_console
from taskdistill.flows.pipeline.running import run_plan
from taskdistill.flows.reports.page.subject import Subject
from taskdistill.flows.reports.page.subjects import refs_of
from taskdistill.flows.reports.page.writing import write_report
from taskdistill.storage.image_set import ImageSet
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.summaries import EvaluationSummary
from taskdistill.storage.tables import read_column
from taskdistill.storage.view_attributes import LogitsAttributes
from taskdistill.storage.view_outputs import ViewOutputs
from taskdistill.storage.weights import ModelDescription, read_tensors
from taskdistill.tasks.catalog import (
    DISTILL,
    EVALUATE,
    EVALUATE_TEACHER,
    FINETUNE,
    INGEST,
    PRECOMPUTE,
    PRECOMPUTE_FOREIGN,
    PROBE,
)
from taskdistill.tasks.data.batches import DecodedImages, ViewSource
from taskdistill.tasks.functional.losses import IGNORED
from taskdistill.tasks.functional.mixup import Mixing, cutmix, mixed_images
from taskdistill.tasks.miniature.dataset import write_dataset
from taskdistill.tasks.miniature.world import PARTS
from taskdistill.tasks.models.preprocessing import Preprocessing
from taskdistill.tasks.problems.classification import Classification
from taskdistill.tasks.problems.segmentation_metrics import METRICS as SEGMENTATION_METRICS
from taskdistill.tasks.stage import execute
from tests.conftest import PROBE_SETTINGS, STUDENT, VIEWS, Bench
from tests.contracts.dense_toy import BORDER, DenseMeter, OneCell, Parts

SETTINGS = (
    "problem=parts", "teacher_cache=logits", "synthetic_images=none", "views.num_views=2",
    "probe.learning_rates=[0.1, 1.0]", "probe.steps=60", "probe.batch_size=20", "probe.inputs=[last]",
    "student_probe.learning_rates=[0.1, 1.0]", "student_probe.steps=60", "student_probe.batch_size=20",
    "student_probe.inputs=[last]", "distill.alpha=0.5", "distill.temperature=2", "training.epochs=4",
    "training.batch_size=10", "training.accumulate=2", "runtime.device=cpu", "runtime.slots=1",
)  # fmt: skip


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Birds with their masks, and the problem that learns from them; returns where they lie."""
    monkeypatch.setitem(choices.PROBLEMS, "parts", "tests.contracts.dense_toy:Parts")
    monkeypatch.setitem(choices.METRICS, "parts", "tests.contracts.dense_toy:DENSE_METRICS")
    folder = tmp_path / "birds-0"
    monkeypatch.setattr(Parts, "folder", folder, raising=False)
    write_dataset(folder, seed=0, train_per_class=2, val_per_class=1, test_per_class=1)
    return tmp_path


@pytest.mark.slow
def test_masks_go_through_every_stage_with_ignored_pixels_and_accumulation(parts: Path, store: ArtifactStore) -> None:
    experiment = world_experiment(parts, 0, SETTINGS)
    with on_console(experiment, Console(quiet=True)) as show:
        results, stages = run_plan(experiment, store, show)
    made = {stage["name"]: ArtifactRef.parse(stage["reference"]) for stage in stages}
    # The classes are those of the masks, not the 25 species; 64 px are 8 patches of 8.
    assert ViewOutputs(store.path(made["precompute"])).row_shape == (len(PARTS), 8, 8)
    scores = {result.model: EvaluationSummary.of(store.manifest(result.evaluation)).scores for result in results}
    assert scores.keys() == {"teacher probed", "student probed", "student finetuned", "student distilled"}
    masks = np.stack([np.asarray(Image.open(path)) for path in (parts / "birds-0/masks/test").rglob("*.png")])
    most_frequent = (
        np.bincount(masks[:, BORDER:-BORDER, BORDER:-BORDER].ravel()).max()
        / masks[:, BORDER:-BORDER, BORDER:-BORDER].size
    )
    for model, splits in scores.items():
        assert splits["test"]["pixel_accuracy"] > most_frequent, (model, most_frequent)
    evaluation = store.path(made["evaluate-distilled-seed0"])
    assert (evaluation / "test-overlay.png").is_file()


@pytest.mark.slow
def test_maps_are_judged_in_windows_by_the_metrics_of_segmentation_and_reported_class_by_class(
    parts: Path, store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(choices.PROBLEMS, "parts", "tests.contracts.dense_toy:JudgedParts")
    monkeypatch.setitem(choices.METRICS, "parts", "taskdistill.tasks.problems.segmentation_metrics:METRICS")
    monkeypatch.setitem(OPTIONS, "parts", OPTIONS["segmentation"])
    asked = (
        "windows.show=sliding", "windows.scales=[1, 1.5]", "windows.flip=horizontal",
        "teacher.clean_view=whole", "student.clean_view=whole",
    )  # fmt: skip
    experiment = world_experiment(parts, 0, (*SETTINGS, *asked))
    with on_console(experiment, Console(quiet=True)) as show:
        results, stages = run_plan(experiment, store, show)
    by_model = {result.model: result.evaluation for result in results}
    for model, evaluation in by_model.items():
        summary = EvaluationSummary.of(store.manifest(evaluation))
        assert summary.scores["test"].keys() <= {metric.name for metric in SEGMENTATION_METRICS}, model
        table, folder = store.path(evaluation) / "test-predictions.parquet", store.path(evaluation)
        assert np.mean(read_column(table, "score")) == pytest.approx(summary.scores["test"]["miou"], abs=1e-6)
        of_classes = np.asarray(read_column(folder / "test-classes.parquet", "IoU"), float)
        assert np.nanmean(of_classes) == pytest.approx(summary.scores["test"]["miou"], abs=1e-6)
        assert {path.name for path in folder.glob("test-*.png")} == {
            f"test-{name}.png" for name in ("images", "images-by-class", "classes", "confusion")
        }
    write_report(parts / "page.html", Subject("birds", results, refs_of(stages), store, "", []))
    page = (parts / "page.html").read_text()
    assert page.count("test-images.png of ") == 2 * 2  # of the chosen student and the teacher, to read and as a tip
    assert "<h2>Classes</h2>" in page
    assert "Not shown alike" not in page


@pytest.mark.slow
def test_networks_of_any_shape_learn_from_scaled_and_padded_crops(parts: Path, store: ArtifactStore) -> None:
    settings = (
        *SETTINGS, "views.crop=scaled", "views.min_area=0.3", "views.width_to_height=1.5",
        "teacher.input_px=64", "teacher.input_width_px=96",
        "student.input_px=48", "student.input_width_px=72", "teacher.clean_view=whole", "student.clean_view=whole",
        "training.epochs=2", "distill.mix_views=cutmix",
    )  # fmt: skip
    experiment = Experiment.model_validate(world_experiment(parts, 0, settings).model_dump(by_alias=True))
    with on_console(experiment, Console(quiet=True)) as show:
        results, stages = run_plan(experiment, store, show)
    made = {stage["name"]: ArtifactRef.parse(stage["reference"]) for stage in stages}
    logits = ViewOutputs(store.path(made["precompute"]))
    assert logits.row_shape == (len(PARTS), 8, 12)
    assert LogitsAttributes.of(logits).size == (64, 96)
    description = ModelDescription.read(store.path(made["distill-seed0"]))
    assert description.size == (48, 72)
    assert description.preprocessing["crop_mode"] == "whole"
    for result in results:
        scores = EvaluationSummary.of(store.manifest(result.evaluation)).scores["test"]
        assert 0 < scores["pixel_accuracy"] <= 1
    # The whole of a square in views of 3:2 has padding on both sides, where nothing is scored.
    source = ViewSource(
        DecodedImages(ImageSet.open(store.path(made["ingest"])), cache_mb=1),
        experiment.views,
        Preprocessing(**description.preprocessing),
    )
    views_N9 = source.views([0], [0])
    assert source.shown([0], views_N9)[0].tolist() == pytest.approx([0, 1, 1 / 6, 5 / 6])
    target_HW = Parts().target(source.images, 0, views_N9[0], source.preprocessing.size)
    assert target_HW.shape == (48, 72)
    assert (target_HW[:, :12] == IGNORED).all()
    assert (target_HW[:, 60:] == IGNORED).all()


def test_of_one_cell_it_is_classification(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(choices.PROBLEMS, "one-cell", "tests.contracts.dense_toy:OneCell")
    monkeypatch.setitem(choices.METRICS, "one-cell", "tests.contracts.dense_toy:DENSE_METRICS")
    training = TrainingSettings(epochs=1, batch_size=8, accumulate=2, learning_rate=1e-4)
    images = {"images": bench.images}
    found = {}
    for problem in ("classification", "one-cell"):
        shared = {"problem": problem, "backbone": STUDENT, "views": VIEWS, "training": training}
        settings = ProbeConfig(problem=problem, probe=PROBE_SETTINGS)
        teacher = bench.run(PROBE, settings, features=bench.features, **images)
        logits = bench.run(PRECOMPUTE, PrecomputeConfig(), features=bench.features, probe=teacher)
        start = images | {"probe": bench.run(PROBE, settings, features=bench.student_features, **images)}
        models = [
            bench.run(FINETUNE, FinetuneConfig(**shared), **start),
            bench.run(DISTILL, DistillConfig(**shared), logits=logits, **start),
        ]
        weights = [read_tensors(bench.path(model) / "last.safetensors") for model in models]
        scores = [
            bench.summary(bench.run(EVALUATE, EvaluateConfig(problem=problem), model=model, **images))["scores"]
            for model in models
        ]
        found[problem] = weights, scores
    for ours, theirs in zip(found["one-cell"][0], found["classification"][0], strict=True):
        assert ours.keys() == theirs.keys()
        for name, values in ours.items():
            np.testing.assert_allclose(values, theirs[name], atol=1e-6, err_msg=name)
    for ours, theirs in zip(found["one-cell"][1], found["classification"][1], strict=True):
        for split in ("val", "test"):
            assert ours[split]["pixel_accuracy"] == pytest.approx(theirs[split]["top1"], abs=1e-6)


@pytest.mark.parametrize("kind", ["task", "distill"])
def test_losses_and_gradients_of_one_cell_are_those_of_classification(kind: str) -> None:
    generator = torch.Generator().manual_seed(0)
    logits_NK, teacher_NK = (torch.randn(7, 5, generator=generator) for _ in range(2))
    labels_N = torch.randint(5, (7,), generator=generator)
    losses: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
        "task": lambda flat: Classification().task_loss(flat, labels_N).mean(),
        "distill": lambda flat: Classification().distill_loss(flat, teacher_NK, 2.0).mean(),
    }
    dense: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
        "task": lambda flat: OneCell().task_loss(flat[:, :, None, None], labels_N[:, None, None]).mean(),
        "distill": lambda flat: (
            OneCell().distill_loss(flat[:, :, None, None], teacher_NK[:, :, None, None], 2.0).mean()
        ),
    }
    gradients = []
    for loss_of in (losses[kind], dense[kind]):
        flat = logits_NK.clone().requires_grad_()
        loss_of(flat).backward()
        gradients.append(flat.grad)
    torch.testing.assert_close(dense[kind](logits_NK), losses[kind](logits_NK), atol=1e-6, rtol=0)
    torch.testing.assert_close(*gradients, atol=1e-6, rtol=0)


def test_where_a_view_is_padded_its_teacher_teaches_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    outputs, teacher = (torch.randn(3, 5, 4, 6, generator=generator).requires_grad_() for _ in range(2))
    shown_N4 = torch.tensor([[0.0, 1.0, 0.0, 1.0], [0.5, 1.0, 0.0, 0.5], [0.3, 0.2, 0.0, 1.0]])  # all, a quarter, none
    loss = Parts().distill_loss(outputs, teacher.detach(), 2.0, shown_N4)
    alone = [
        Parts().distill_loss(outputs[:1], teacher[:1].detach(), 2.0),
        Parts().distill_loss(outputs[1:2, :, 2:, :3], teacher[1:2, :, 2:, :3].detach(), 2.0),
    ]
    assert loss.count.item() == 24 + 6
    torch.testing.assert_close(loss.total, alone[0].total + alone[1].total)
    loss.mean().backward()
    taught = outputs.grad.abs().sum(1) > 0
    assert taught[0].all()
    assert taught[1].int().tolist() == [[0] * 6, [0] * 6, [1, 1, 1, 0, 0, 0], [1, 1, 1, 0, 0, 0]]
    assert not taught[2].any()
    nothing = Parts().distill_loss(outputs, teacher, 2.0, shown_N4[2:].expand(3, 4))
    assert nothing.mean().item() == 0


def test_its_meter_counts_as_torchmetrics_does_and_passes_over_ignored_pixels() -> None:
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(6, 4, 8, 8, generator=generator)
    targets = torch.randint(4, (6, 8, 8), generator=generator)
    targets[:, :2] = IGNORED
    meter = DenseMeter(4)
    for start in (0, 4):
        meter.update(outputs[start : start + 4], targets[start : start + 4])
    expected = multiclass_jaccard_index(outputs, targets, 4, ignore_index=IGNORED)
    assert meter.compute()["miou"] == pytest.approx(float(expected), abs=1e-6)


def test_a_perfect_answer_is_not_punished_where_images_are_pasted_into_each_other() -> None:
    targets = torch.arange(4)[:, None, None].expand(4, 8, 8).contiguous()
    images = targets[:, None].float().expand(4, 3, 8, 8)
    mixing = cutmix(0.5, (8, 8), np.random.default_rng(0))
    [weighted] = Parts().mix_targets(targets, mixing)
    assert torch.equal(mixed_images(images, mixing)[:, 0], weighted.targets.float())
    perfect = torch.nn.functional.one_hot(weighted.targets, 4).permute(0, 3, 1, 2) * 100.0
    assert float(Parts().task_loss(perfect, weighted.targets).mean()) == pytest.approx(0, abs=1e-6)


def test_a_cell_that_a_pasted_box_covers_in_part_is_taught_by_both_images() -> None:
    """8 x 8 pixels in 4 cells a side; the box covers rows 0-3, cells 0 and 1, and columns 0-2, cell 0 and half of 1."""
    sure = torch.tensor([30.0, 0.0])[None, :, None, None].expand(1, 2, 4, 4)
    mixing = Mixing(1 - 12 / 64, (8, 8), (slice(0, 4), slice(0, 3)))
    first, _ = Parts().mix_outputs(torch.cat([sure, sure.flip(1)]), mixing, 2.0)
    expected = [[0.0, 0.5, 1.0, 1.0]] * 2 + [[1.0] * 4] * 2
    torch.testing.assert_close((first / 2).softmax(0)[0], torch.tensor(expected), atol=1e-6, rtol=0)


def test_its_meter_draws_with_the_pixels_at_hand(tmp_path: Path) -> None:
    meter = DenseMeter(4)
    meter.update(torch.zeros(2, 4, 8, 8), torch.zeros(2, 8, 8, dtype=torch.int64))
    meter.draw(tmp_path, "test", lambda item: np.full((8, 8, 3), 100 + item, np.uint8))
    assert np.asarray(Image.open(tmp_path / "test-overlay.png")).tolist() == [[[50] * 3] * 8] * 8


def test_a_network_made_elsewhere_that_answers_for_each_place_teaches_as_it_is(
    parts: Path, store: ArtifactStore
) -> None:
    teacher = ForeignTeacher(
        function="tests.foreign_nets:build_parts", pixels="uint8", input_px=64, output_stride=8, label_map={"0": "beak"}
    )
    experiment = world_experiment(parts, 0, (*SETTINGS, "views.num_views=1"))
    images = execute(INGEST, experiment.data, {}, store=store, runtime=experiment.runtime)
    config = PrecomputeForeignConfig(problem="parts", model=teacher, views=experiment.views)
    logits = execute(PRECOMPUTE_FOREIGN, config, {"images": images}, store=store, runtime=experiment.runtime)
    assert ViewOutputs(store.path(logits)).row_shape == (len(PARTS), 8, 8)
    assert (store.path(logits) / "confusion.txt").is_file()
    inputs = {"images": images, "logits": logits}
    scored = execute(EVALUATE_TEACHER, EvaluateConfig(problem="parts"), inputs, store=store, runtime=experiment.runtime)
    assert EvaluationSummary.of(store.manifest(scored)).scores["test"]["pixel_accuracy"] < 0.5  # all is beak
