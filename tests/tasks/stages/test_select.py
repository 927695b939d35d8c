"""Stage "select": every synthetic image is scored, nothing is dropped unasked, and the student sees what is kept."""

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import entropy

from taskdistill.configs.errors import SettingsError
from taskdistill.configs.generation import (
    BlendSettings,
    EmbedConfig,
    GenerateConfig,
    GeneratorModel,
    SelectConfig,
    SelectSettings,
)
from taskdistill.configs.stages import DistillConfig, ExtractConfig, PrecomputeConfig
from taskdistill.configs.training import TrainingSettings
from taskdistill.storage.errors import CacheMismatchError
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.tables import read_table
from taskdistill.storage.view_outputs import ViewOutputs
from taskdistill.tasks.catalog import DISTILL, EMBED, EXTRACT, GENERATE, PRECOMPUTE, SELECT
from taskdistill.tasks.stages.select import NothingSelectedError
from tests.conftest import STUDENT, TEACHER, VIEWS, Bench

Synthetic = dict[str, ArtifactRef]


@pytest.fixture(scope="module")
def synthetic(workshop: Bench, mixer_folder: Path) -> Synthetic:
    """Blends, and the teacher's logits for them."""
    model = GeneratorModel(folder=str(mixer_folder))
    embeddings = workshop.run(EMBED, EmbedConfig(model=model), images=workshop.images)
    blends = BlendSettings(per_image=1.5, side_px=16, num_steps=1)
    config = GenerateConfig(model=model, blends=blends)
    images = workshop.run(GENERATE, config, images=workshop.images, embeddings=embeddings)
    features = workshop.run(EXTRACT, ExtractConfig(backbone=TEACHER, views=VIEWS), images=images)
    logits = workshop.run(PRECOMPUTE, PrecomputeConfig(), features=features, probe=workshop.probe)
    return {"synthetic": images, "synthetic_logits": logits}


def select(bench: Bench, synthetic: Synthetic, **settings: object) -> ArtifactRef:
    config = SelectConfig(select=SelectSettings.model_validate(settings))
    return bench.run(SELECT, config, synthetic=synthetic["synthetic"], logits=synthetic["synthetic_logits"])


def rows(bench: Bench, ref: ArtifactRef) -> list[dict[str, object]]:
    return read_table(bench.path(ref) / "selection.parquet")


def test_nothing_is_dropped_unasked_and_all_is_scored(workshop: Bench, synthetic: Synthetic) -> None:
    ref = select(workshop, synthetic)
    assert workshop.summary(ref)["kept"] == workshop.summary(ref)["images"] == 36
    outputs = ViewOutputs(workshop.path(synthetic["synthetic_logits"])).view(0).astype(np.float64)
    shares = np.exp(outputs) / np.exp(outputs).sum(axis=1, keepdims=True)
    assert [row["teacher_entropy"] for row in rows(workshop, ref)] == pytest.approx(
        entropy(shares, base=3, axis=1), abs=1e-4
    )


def test_what_is_dropped_is_what_the_settings_name(workshop: Bench, synthetic: Synthetic) -> None:
    entropies = [float(str(row["teacher_entropy"])) for row in rows(workshop, select(workshop, synthetic))]
    limit = float(np.median(entropies))
    ref = select(workshop, synthetic, drop=["uncertain"], max_entropy=limit)
    assert [row["is_kept"] for row in rows(workshop, ref)] == [value <= limit for value in entropies]
    summary = workshop.summary(ref)
    assert summary["dropped"] == summary["flagged"]["uncertain"] == sum(value > limit for value in entropies)
    assert summary["mean_teacher_entropy_of_kept"] < summary["mean_teacher_entropy"]


def test_copies_are_what_is_as_similar_as_the_settings_say_and_are_counted_even_if_kept(
    workshop: Bench, synthetic: Synthetic
) -> None:
    scores = read_table(workshop.path(synthetic["synthetic"]) / "blends.parquet")
    to_parents = [max(row["similarity_a"], row["similarity_b"]) for row in scores]
    limit = float(np.median(to_parents))
    of_parents = [value >= limit for value in to_parents]
    of_held_out = [row["similarity_held_out"] >= limit for row in scores]
    ref = select(workshop, synthetic, copy_similarity=limit, drop=["parent-copy"])
    assert [row["is_kept"] for row in rows(workshop, ref)] == [not is_copy for is_copy in of_parents]
    flagged = workshop.summary(ref)["flagged"]
    assert (flagged["parent-copy"], flagged["held-out-copy"]) == (sum(of_parents), sum(of_held_out))


def test_images_nobody_compared_cannot_be_dropped_as_copies(workshop: Bench, synthetic: Synthetic) -> None:
    given = {"synthetic": workshop.images, "synthetic_logits": workshop.logits}
    with pytest.raises(SettingsError, match="was not made by 'generate': nobody has compared"):
        select(workshop, given, drop=["held-out-copy"])


def test_dropping_everything_is_refused(workshop: Bench, synthetic: Synthetic) -> None:
    with pytest.raises(NothingSelectedError, match=r"all 36 synthetic images are dropped by select\.drop"):
        select(workshop, synthetic, drop=["uncertain"], max_entropy=0.0)


def test_the_student_is_shown_what_is_kept(workshop: Bench, synthetic: Synthetic) -> None:
    entropies = [float(str(row["teacher_entropy"])) for row in rows(workshop, select(workshop, synthetic))]
    ref = select(workshop, synthetic, drop=["uncertain"], max_entropy=float(np.median(entropies)))
    config = DistillConfig(backbone=STUDENT, views=VIEWS, training=TrainingSettings(epochs=1, batch_size=8))
    student = workshop.run(
        DISTILL, config, images=workshop.images, probe=workshop.student_probe, logits=workshop.logits,
        selection=ref, **synthetic,
    )  # fmt: skip
    assert workshop.summary(student)["synthetic_images"] == workshop.summary(ref)["kept"] == 18


def test_a_selection_of_other_images_is_refused(workshop: Bench, synthetic: Synthetic) -> None:
    both = ExtractConfig(backbone=TEACHER, views=VIEWS, train_views="both")
    features = workshop.run(EXTRACT, both, images=workshop.images)
    logits = workshop.run(PRECOMPUTE, PrecomputeConfig(), features=features, probe=workshop.probe)
    other = select(workshop, {"synthetic": workshop.images, "synthetic_logits": logits})
    config = DistillConfig(backbone=STUDENT, views=VIEWS, training=TrainingSettings(epochs=1, batch_size=8))
    with pytest.raises(CacheMismatchError, match="the selection is of image-set@"):
        workshop.run(
            DISTILL, config, images=workshop.images, probe=workshop.student_probe, logits=workshop.logits,
            selection=other, **synthetic,
        )  # fmt: skip


def test_a_selection_without_images_to_select_from_is_refused(workshop: Bench, synthetic: Synthetic) -> None:
    ref = select(workshop, synthetic)
    config = DistillConfig(backbone=STUDENT, views=VIEWS, training=TrainingSettings(epochs=1, batch_size=8))
    with pytest.raises(CacheMismatchError, match="a 'selection' is one of synthetic images"):
        workshop.run(
            DISTILL, config, images=workshop.images, probe=workshop.student_probe, logits=workshop.logits,
            selection=ref,
        )  # fmt: skip
