"""What an extension costs: an adapter and one line of a table. No stage is edited to run these."""

from pathlib import Path

import pytest

from taskdistill.configs import choices
from taskdistill.configs.data import IngestConfig
from taskdistill.configs.models import Backbone
from taskdistill.configs.stages import (
    DistillConfig,
    EvaluateConfig,
    ExtractConfig,
    FinetuneConfig,
    PrecomputeConfig,
    PrecomputeImagesConfig,
    ProbeConfig,
    ProbeSettings,
)
from taskdistill.configs.training import TrainingSettings
from taskdistill.flows.pipeline.dataset_words import dataset_words
from taskdistill.storage.image_set import ImageSet
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.summaries import IngestSummary
from taskdistill.storage.tables import read_table
from taskdistill.storage.view_outputs import ViewOutputs
from taskdistill.tasks.catalog import (
    DISTILL,
    EVALUATE,
    EVALUATE_TEACHER,
    EXTRACT,
    FINETUNE,
    INGEST,
    PRECOMPUTE,
    PRECOMPUTE_IMAGES,
    PROBE,
)
from taskdistill.tasks.data.candidates import DatasetError
from taskdistill.tasks.problems.problem import problem_named
from tests.conftest import STUDENT, VIEWS, Bench, Run
from tests.fakes import SHAPES, draw_shape

TRAINING = TrainingSettings(epochs=4, batch_size=8, learning_rate=1e-3)


@pytest.fixture
def ordinal(monkeypatch: pytest.MonkeyPatch) -> ProbeConfig:
    """Add the toy problem; returns the settings of its probe."""
    monkeypatch.setitem(choices.PROBLEMS, "ordinal", "tests.fakes:Ordinal")
    return ProbeConfig(problem="ordinal", probe=ProbeSettings(learning_rates=(0.01, 0.1), steps=150, batch_size=16))


def test_a_toy_problem_runs_through_every_stage_and_its_students_learn(bench: Bench, ordinal: ProbeConfig) -> None:
    images = {"images": bench.images}
    probe = bench.run(PROBE, ordinal, features=bench.features, **images)
    logits = bench.run(PRECOMPUTE, PrecomputeConfig(), features=bench.features, probe=probe)
    start = images | {"probe": bench.run(PROBE, ordinal, features=bench.student_features, **images)}
    shared = {"problem": "ordinal", "backbone": STUDENT, "views": VIEWS, "training": TRAINING}
    finetuned = bench.run(FINETUNE, FinetuneConfig(**shared), **start)
    distilled = bench.run(DISTILL, DistillConfig(**shared), logits=logits, **start)

    evaluate = EvaluateConfig(problem="ordinal")
    teacher = bench.run(EVALUATE_TEACHER, evaluate, logits=logits, **images)
    judged = images | {"teacher": logits}
    students = [bench.run(EVALUATE, evaluate, model=model, **judged) for model in (finetuned, distilled)]
    for evaluation in (teacher, *students):
        # Answering 1, the middle of the scale 0, 1, 2, would be wrong by 2/3 on average.
        assert bench.summary(evaluation)["scores"]["test"]["minus_mae"] > -0.5
        assert (bench.path(evaluation) / "test-last.png").is_file()
    assert "place" in read_table(bench.path(students[1]) / "val-predictions.parquet")[0]


def test_logits_have_the_shape_of_the_problems_outputs_not_one_for_each_class(
    bench: Bench, ordinal: ProbeConfig
) -> None:
    probe = bench.run(PROBE, ordinal, images=bench.images, features=bench.features)
    logits = bench.run(PRECOMPUTE, PrecomputeConfig(), features=bench.features, probe=probe)
    assert ViewOutputs(bench.path(logits)).row_shape == (1,)

    student_probe = bench.run(PROBE, ordinal, images=bench.images, features=bench.student_features)
    finetune = FinetuneConfig(problem="ordinal", backbone=STUDENT, views=VIEWS, training=TRAINING)
    model = bench.run(FINETUNE, finetune, images=bench.images, probe=student_probe)
    logits = bench.run(PRECOMPUTE_IMAGES, PrecomputeImagesConfig(views=VIEWS), images=bench.images, model=model)
    assert ViewOutputs(bench.path(logits)).row_shape == (1,)


def test_a_toy_source_of_models_teaches_and_learns(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(choices.MODEL_SOURCES, "pooling", "tests.fakes:build_pooling_encoder")
    backbone = Backbone(source="pooling", name="4x4", weights="random", input_px=16)
    features = bench.run(EXTRACT, ExtractConfig(backbone=backbone, views=VIEWS), images=bench.images)
    settings = ProbeConfig(probe=ProbeSettings(learning_rates=(1.0,), steps=200, batch_size=16))
    probe = bench.run(PROBE, settings, images=bench.images, features=features)
    logits = bench.run(PRECOMPUTE, PrecomputeConfig(), features=features, probe=probe)
    config = DistillConfig(backbone=backbone, views=VIEWS, training=TRAINING)
    model = bench.run(DISTILL, config, images=bench.images, probe=probe, logits=logits)
    evaluation = bench.run(EVALUATE, EvaluateConfig(), images=bench.images, model=model, teacher=logits)
    assert bench.summary(evaluation)["scores"]["test"]["top1"] > 0.6


def test_a_toy_dataset_form_is_ingested(
    tmp_path: Path, run: Run, store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(choices.DATASET_FORMS, "flat", "tests.fakes:list_flat_images")
    folder = tmp_path / "flat"
    folder.mkdir()
    for name in SHAPES:
        for number in range(6):
            draw_shape(name, number).save(folder / f"{name}-{number}.png")
    images = ImageSet.open(store.path(run(INGEST, IngestConfig(path=str(folder), form="flat"))))
    assert images.classes == ["disc", "frame", "wedge"]
    assert images.ids[0] == "disc-0.png"
    assert len(images) == 18


def test_images_without_labels_are_ingested_with_their_masks_and_the_classes_of_these(
    tmp_path: Path, run: Run, store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(choices.DATASET_FORMS, "masked", "tests.fakes:list_masked_images")
    folder = tmp_path / "masked"
    folder.mkdir()
    for number in range(20):
        picture = draw_shape("disc", number)
        picture.save(folder / f"{number:03d}.png")
        picture.convert("L").point(lambda value: int(value > 128)).save(folder / f"{number:03d}.mask.png")
    ref = run(INGEST, IngestConfig(path=str(folder), form="masked"))
    images, summary = ImageSet.open(store.path(ref)), IngestSummary.of(store.manifest(ref))
    assert images.classes == ["nothing", "shape"]
    assert (images.labels == -1).all()
    assert images.mask(3) == (folder / "003.mask.png").read_bytes()
    assert sum(summary.splits.values()) == 20
    assert dataset_words(summary)[0].startswith("20 images of 2 classes: train ")
    assert not any("no label" in line for line in dataset_words(summary))
    with pytest.raises(DatasetError, match=r"has no labels, and 'classification' learns from them"):
        problem_named("classification").classes(images)
