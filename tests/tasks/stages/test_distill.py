"""Stage "distill": the student learns from labels and from cached logits that belong to what it is shown."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest
import torch
import zarr
from safetensors.torch import load_file

from taskdistill.configs.data import IngestConfig, ViewSettings
from taskdistill.configs.stages import DistillConfig, ExtractConfig, FinetuneConfig, PrecomputeConfig
from taskdistill.configs.training import DistillSettings, TrainingSettings
from taskdistill.storage.errors import CacheMismatchError
from taskdistill.storage.image_set import ImageSet
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.shown_views import VIEW_BYTES
from taskdistill.storage.tables import read_table
from taskdistill.storage.view_outputs import GROUP, ViewOutputs
from taskdistill.tasks.catalog import DISTILL, EXTRACT, FINETUNE, INGEST, PRECOMPUTE
from tests.conftest import STUDENT, TEACHER, VIEWS, Bench, said_of
from tests.fakes import SHAPES, draw_shape

pytestmark = pytest.mark.usefixtures("bare_pictures")

TRAINING = TrainingSettings(epochs=1, batch_size=8, learning_rate=1e-3)


def config(training: TrainingSettings = TRAINING, views: ViewSettings = VIEWS, **distill: Any) -> DistillConfig:
    return DistillConfig(backbone=STUDENT, views=views, training=training, distill=DistillSettings(**distill))


def distill(bench: Bench, settings: DistillConfig, **inputs: Any) -> ArtifactRef:
    """Distil the bench's teacher into its student; `inputs` may replace or add artifacts, or runtime and report."""
    standard = {"images": bench.images, "probe": bench.student_probe, "logits": bench.logits}
    return bench.run(DISTILL, settings, **(standard | inputs))


def student(bench: Bench, ref: ArtifactRef) -> dict[str, torch.Tensor]:
    return dict(load_file(bench.path(ref) / "last.safetensors"))


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(value, b[name]) for name, value in a.items())


def softened(logits_NK: np.ndarray, temperature: float) -> np.ndarray:
    powers_NK = np.exp(logits_NK.astype(np.float64) / temperature)
    return np.asarray(powers_NK / powers_NK.sum(axis=1, keepdims=True))


def test_the_losses_of_an_epoch_are_those_of_its_view_worked_out_by_hand(workshop: Bench) -> None:
    still = TrainingSettings(epochs=3, batch_size=8, learning_rate=1e-12)
    ref = distill(workshop, config(still, alpha=0.3, temperature=3.0))
    images = ImageSet.open(workshop.path(workshop.images))
    rows = images.rows_of("train")
    features = ViewOutputs(workshop.path(workshop.student_features))
    head = load_file(workshop.path(workshop.student_probe) / "head.safetensors")
    for row, view in zip(read_table(workshop.path(ref) / "history.parquet")[1:], (1, 2, 1), strict=True):
        said_NK = features.view(view)[:, 0].astype(np.float64) @ head["weight"].numpy().T + head["bias"].numpy()
        task = -np.log(softened(said_NK, 1)[np.arange(24), images.labels[rows]]).mean()
        teacher, own = (
            softened(ViewOutputs(workshop.path(workshop.logits)).view(view), 3),
            softened(said_NK, 3),
        )
        divergence = 9 * (teacher * (np.log(teacher) - np.log(own))).sum(axis=1).mean()
        assert row["task_loss"] == pytest.approx(task, rel=2e-3)
        assert row["distill_loss"] == pytest.approx(divergence, rel=2e-3)
        assert row["loss"] == pytest.approx(0.7 * task + 0.3 * divergence, rel=2e-3)


def test_the_divergence_from_the_teacher_falls(workshop: Bench) -> None:
    training = TrainingSettings(epochs=6, batch_size=8, learning_rate=3e-3)
    history = read_table(workshop.path(distill(workshop, config(training, alpha=1.0))) / "history.parquet")
    assert history[-1]["distill_loss"] < 0.5 * history[1]["distill_loss"]


def test_without_weight_on_the_teacher_it_is_finetuning_step_for_step(workshop: Bench) -> None:
    ref = distill(workshop, config(alpha=0.0))
    labels_only = FinetuneConfig(backbone=STUDENT, views=VIEWS, training=TRAINING)
    finetuned = workshop.run(FINETUNE, labels_only, images=workshop.images, probe=workshop.student_probe)
    assert same(student(workshop, ref), student(workshop, finetuned))
    scores = [read_table(workshop.path(found) / "history.parquet")[-1]["val_score"] for found in (ref, finetuned)]
    assert scores[0] == scores[1]


@pytest.mark.parametrize("mix_views", ["none", "mixup", "cutmix"])
def test_interrupted_distillation_continues_bit_for_bit(bench: Bench, workshop: Bench, mix_views: str) -> None:
    training = TRAINING.model_copy(update={"epochs": 2, "drop_path": 0.5, "ema": 0.7, "accumulate": 2})
    settings = config(training, mix_views=mix_views)
    whole = distill(workshop, settings)

    def die(unit: str, done: int, total: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        distill(bench, settings, on_progress=die, runtime={"checkpoint_seconds": 1e-9})
    assert distill(bench, settings) == whole
    assert bench.store.manifest(whole).files == workshop.store.manifest(whole).files


# --- mixtures of views ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_mixed_views_without_weight_on_the_teacher_are_finetuning_on_the_same_mixtures(
    workshop: Bench, kind: str
) -> None:
    ref = distill(workshop, config(alpha=0.0, mix_views=kind, mix_beta=0.6))
    mixing = TRAINING.model_copy(update={kind: 0.6})
    labels_only = FinetuneConfig(backbone=STUDENT, views=VIEWS, training=mixing)
    finetuned = workshop.run(FINETUNE, labels_only, images=workshop.images, probe=workshop.student_probe)
    assert same(student(workshop, ref), student(workshop, finetuned))
    assert not same(student(workshop, ref), student(workshop, distill(workshop, config(alpha=0.0))))


# --- what does not belong together ---------------------------------------------------------------------------------


def test_logits_of_other_views_are_refused_saying_so(workshop: Bench) -> None:
    with pytest.raises(CacheMismatchError, match=r"do not fit\. views: these are of .*'num_views': 2"):
        distill(workshop, config(views=VIEWS.model_copy(update={"seed": 9})))


def test_logits_of_other_images_are_refused_saying_so(
    workshop: Bench, synthetic: tuple[ArtifactRef, ArtifactRef]
) -> None:
    with pytest.raises(CacheMismatchError, match=r"do not fit\. images: these are of "):
        distill(workshop, config(), logits=synthetic[1])


def test_synthetic_images_without_their_logits_are_refused(
    workshop: Bench, synthetic: tuple[ArtifactRef, ArtifactRef]
) -> None:
    for alone in ({"synthetic": synthetic[0]}, {"synthetic_logits": synthetic[1]}):
        with pytest.raises(CacheMismatchError, match="pass both 'synthetic' and 'synthetic_logits', or neither"):
            distill(workshop, config(), **alone)


def test_a_view_that_is_cut_differently_than_the_teacher_saw_it_is_noticed(bench: Bench) -> None:
    """As if the logits had been made with a Pillow that cuts elsewhere: another picture in the thumbnail."""
    shown = zarr.open_group(bench.path(bench.logits) / GROUP, mode="r+")["augmented/shown"]
    assert isinstance(shown, zarr.Array)
    shown[..., VIEW_BYTES:] = 255 - np.asarray(shown[..., VIEW_BYTES:])
    with pytest.raises(CacheMismatchError, match=r"differs from the one the teacher saw by \d+ grey levels"):
        distill(bench, config())


# --- synthetic images ----------------------------------------------------------------------------------------------


def ingest_shuffled(bench: Bench, folder: Path, shift: int) -> ArtifactRef:
    """Twelve pictures whose labels are moved on by `shift` classes, as one image-set; ids do not depend on it."""
    folder.mkdir(exist_ok=True)
    rows: list[tuple[str, str, str]] = []
    for number in range(12):
        name = list(SHAPES)[number % 3]
        draw_shape(name, 500 + number).save(folder / f"{number:02d}.png")
        split = ("train", "train", "val", "test")[number // 3]
        rows.append((f"{number:02d}.png", list(SHAPES)[(number + shift) % 3], split))
    table = pa.table(dict(zip(("path", "label", "split"), map(list, zip(*rows, strict=True)), strict=True)))
    pyarrow.csv.write_csv(table, folder / f"labels{shift}.csv")
    return bench.run(INGEST, IngestConfig(path=str(folder), form="table", table=f"labels{shift}.csv"))


def teach(bench: Bench, images: ArtifactRef) -> tuple[ArtifactRef, ArtifactRef]:
    features = bench.run(EXTRACT, ExtractConfig(backbone=TEACHER, views=VIEWS), images=images)
    return images, bench.run(PRECOMPUTE, PrecomputeConfig(), features=features, probe=bench.probe)


@pytest.fixture(scope="module")
def synthetic(workshop: Bench, tmp_path_factory: pytest.TempPathFactory) -> tuple[ArtifactRef, ArtifactRef]:
    """Six more pictures to train on, and what the teacher says of them."""
    return teach(workshop, ingest_shuffled(workshop, tmp_path_factory.mktemp("synthetic") / "data", 0))


def test_synthetic_images_change_the_student_and_their_labels_do_not(
    workshop: Bench, synthetic: tuple[ArtifactRef, ArtifactRef], tmp_path: Path
) -> None:
    images, logits = synthetic
    with_them = distill(workshop, config(), synthetic=images, synthetic_logits=logits)
    assert workshop.summary(with_them)["synthetic_images"] == 6
    assert not same(student(workshop, with_them), student(workshop, distill(workshop, config())))

    mislabelled, its_logits = teach(workshop, ingest_shuffled(workshop, tmp_path / "data", 1))
    assert mislabelled != images
    again = distill(workshop, config(), synthetic=mislabelled, synthetic_logits=its_logits)
    assert again != with_them
    assert same(student(workshop, again), student(workshop, with_them))


def test_the_labels_of_real_images_matter_unless_all_weight_is_on_the_teacher(workshop: Bench, tmp_path: Path) -> None:
    sets = [teach(workshop, ingest_shuffled(workshop, tmp_path / "data", shift)) for shift in (0, 1)]
    for alpha, equal in ((0.5, False), (1.0, True)):
        found = [distill(workshop, config(alpha=alpha), images=images, logits=logits) for images, logits in sets]
        assert same(*(student(workshop, ref) for ref in found)) is equal


def test_synthetic_images_at_a_ratio_of_nothing_are_left_out(
    workshop: Bench, synthetic: tuple[ArtifactRef, ArtifactRef]
) -> None:
    images, logits = synthetic
    none = distill(workshop, config(synthetic_ratio=0.0), synthetic=images, synthetic_logits=logits)
    assert same(student(workshop, none), student(workshop, distill(workshop, config())))


def test_the_teacher_term_is_the_mean_over_real_and_synthetic_images(
    workshop: Bench, synthetic: tuple[ArtifactRef, ArtifactRef]
) -> None:
    images, logits = synthetic
    # One step with all 24 real images and all 6 synthetic ones, each in view 1.
    still = TrainingSettings(epochs=1, batch_size=24, learning_rate=1e-12)
    settings = config(still, alpha=0.5, temperature=2.0, synthetic_ratio=0.25)
    ref = distill(workshop, settings, synthetic=images, synthetic_logits=logits)

    head = load_file(workshop.path(workshop.student_probe) / "head.safetensors")
    student_features = workshop.run(EXTRACT, ExtractConfig(backbone=STUDENT, views=VIEWS), images=images)
    divergences = []
    for owner, features, taught in (
        (workshop.images, workshop.student_features, workshop.logits),
        (images, student_features, logits),
    ):
        owned = ImageSet.open(workshop.path(owner))
        rows = owned.rows_of("train")
        seen = said_of(ViewOutputs(workshop.path(features)), owned, rows, 1)[:, 0].astype(np.float64)
        own = softened(seen @ head["weight"].numpy().T + head["bias"].numpy(), 2)
        teacher = softened(said_of(ViewOutputs(workshop.path(taught)), owned, rows, 1), 2)
        divergences.extend(4 * (teacher * (np.log(teacher) - np.log(own))).sum(axis=1))
    assert len(divergences) == 30
    _start, row = read_table(workshop.path(ref) / "history.parquet")
    assert row["distill_loss"] == pytest.approx(np.mean(divergences), rel=3e-3)
    # The labels teach on the real images alone.
    real = ImageSet.open(workshop.path(workshop.images))
    rows = real.rows_of("train")
    seen = ViewOutputs(workshop.path(workshop.student_features)).view(1)[:, 0].astype(np.float64)
    said_NK = softened(seen @ head["weight"].numpy().T + head["bias"].numpy(), 1)
    assert row["task_loss"] == pytest.approx(-np.log(said_NK[np.arange(24), real.labels[rows]]).mean(), rel=2e-3)
    assert row["loss"] == pytest.approx(0.5 * row["task_loss"] + 0.5 * row["distill_loss"], rel=1e-6)
