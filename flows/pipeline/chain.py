"""The pipeline, written once. The caller decides what "run a stage" means: do it, schedule it, or only name it.

No import of Prefect or torch: `plan` runs this function with a `run` that computes fingerprints and nothing else.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

from configs.base import StageConfig
from configs.data import TrainViews
from configs.experiment import Experiment
from storage.manifest import ArtifactRef
from tasks.catalog import (
    DISTILL,
    EMBED,
    EVALUATE,
    EVALUATE_TEACHER,
    EXTRACT,
    FINETUNE,
    GENERATE,
    INGEST,
    PRECOMPUTE,
    PRECOMPUTE_IMAGES,
    PROBE,
    SELECT,
)
from tasks.stage import Stage


class RunStage(Protocol):
    """What `chain` is given: it must return the reference of the artifact, however it sees to it."""

    def __call__(
        self, step: str, stage: Stage[Any], config: StageConfig, inputs: Mapping[str, ArtifactRef]
    ) -> ArtifactRef: ...


START = "student probed"
"""What every student starts from, in the final table: its pretrained backbone with a probe."""


@dataclass(frozen=True)
class ModelResult:
    """One model of the final table."""

    model: str
    seed: int | None
    evaluation: ArtifactRef
    artifact: ArtifactRef


class Taught(NamedTuple):
    """An image-set that a teacher is shown, and which views of its training images."""

    images: ArtifactRef
    train_views: TrainViews


def chain(experiment: Experiment, run: RunStage, *, synthetic: ArtifactRef | None = None) -> list[ModelResult]:
    """Run every stage of an experiment, in an order in which each finds its inputs; returns what was evaluated.

    The student's own probe is one of them: what training adds is the difference to it. Where there are synthetic
    images, one more student is distilled, on real and synthetic ones; the student without them is its control.
    `synthetic` is an image-set without labels that takes the place of generated ones.
    """
    images = run("ingest", INGEST, experiment.data, {})
    # Of images that were given, select wants the clean view; nothing says that they are training images alone, of which
    # it is shown anyway.
    views: TrainViews = "both" if synthetic else "augmented"
    if synthetic is None and experiment.synthetic_images == "blends":
        synthetic = _blends(experiment, run, images)
    sets = {"": Taught(images, "augmented")} | ({"-synthetic": Taught(synthetic, views)} if synthetic else {})
    teach = {"probed": _probed_teacher, "finetuned": _finetuned_teacher}[experiment.teacher_training]
    teacher, logits = teach(experiment, run, sets)
    on_logits = {"images": images, "logits": logits[""]}
    evaluated = run("evaluate-teacher", EVALUATE_TEACHER, experiment.evaluate_config(), on_logits)
    results = [ModelResult(f"teacher {experiment.teacher_training}", None, evaluated, teacher)]

    extra: dict[str, ArtifactRef] = {}
    if synthetic:
        extra = {"synthetic": synthetic, "synthetic_logits": logits["-synthetic"]}
        scored = {"synthetic": synthetic, "logits": logits["-synthetic"]}
        extra["selection"] = run("select", SELECT, experiment.select_config(), scored)
    student_probe, evaluated = _probed_student(experiment, run, images, logits[""])
    results.append(ModelResult(START, None, evaluated, student_probe))
    for seed in experiment.seeds:
        start = {"images": images, "probe": student_probe}
        for name, model in _students(experiment, run, seed, start, logits[""], extra).items():
            inputs = {"images": images, "model": model, "teacher": logits[""]}
            step = f"evaluate-{name.removeprefix('+')}-seed{seed}"
            evaluated = run(step, EVALUATE, experiment.evaluate_config(), inputs)
            results.append(ModelResult(f"student {name}", seed, evaluated, model))
    return results


def _blends(experiment: Experiment, run: RunStage, images: ArtifactRef) -> ArtifactRef:
    """Paint synthetic images from pairs of training images."""
    embeddings = run("embed", EMBED, experiment.embed_config(), {"images": images})
    return run("generate", GENERATE, experiment.generate_config(), {"images": images, "embeddings": embeddings})


def _students(
    experiment: Experiment,
    run: RunStage,
    seed: int,
    start: Mapping[str, ArtifactRef],
    logits: ArtifactRef,
    extra: Mapping[str, ArtifactRef],
) -> dict[str, ArtifactRef]:
    """Train the students of one seed: without a teacher, with one, and with synthetic images where there are any."""
    config, taught = experiment.distill_config(seed), {**start, "logits": logits}
    students = {
        "finetuned": run(f"finetune-seed{seed}", FINETUNE, experiment.finetune_config(seed), start),
        "distilled": run(f"distill-seed{seed}", DISTILL, config, taught),
    }
    if extra:
        students["+synthetic"] = run(f"distill-synthetic-seed{seed}", DISTILL, config, {**taught, **extra})
    return students


def _probed(
    experiment: Experiment, run: RunStage, role: Literal["teacher", "student"], images: ArtifactRef
) -> tuple[ArtifactRef, ArtifactRef]:
    """Extract features of teacher or student and train its head on them; returns both."""
    backbone, settings = {
        "teacher": (experiment.teacher, experiment.probe),
        "student": (experiment.student, experiment.student_probe),
    }[role]
    config = experiment.extract_config(backbone, experiment.train_views(role))
    features = run(f"extract-{role}", EXTRACT, config, {"images": images})
    inputs = {"images": images, "features": features}
    return features, run(f"probe-{role}", PROBE, experiment.probe_config(settings), inputs)


def _probed_student(
    experiment: Experiment, run: RunStage, images: ArtifactRef, teacher: ArtifactRef
) -> tuple[ArtifactRef, ArtifactRef]:
    """Make the probe that students start from, and score it as they are scored; returns probe and evaluation."""
    features, probe = _probed(experiment, run, "student", images)
    config = experiment.precompute_config()
    logits = run("precompute-student", PRECOMPUTE, config, {"features": features, "probe": probe})
    inputs = {"images": images, "logits": logits, "teacher": teacher}
    return probe, run("evaluate-student-probed", EVALUATE_TEACHER, experiment.evaluate_config(), inputs)


def _probed_teacher(
    experiment: Experiment, run: RunStage, sets: Mapping[str, Taught]
) -> tuple[ArtifactRef, dict[str, ArtifactRef]]:
    """Make the teacher and its logits for each image-set, real ("") and synthetic, from cached features."""
    features, probe = _probed(experiment, run, "teacher", sets[""].images)
    logits = {"": run("precompute", PRECOMPUTE, experiment.precompute_config(), {"features": features, "probe": probe})}
    if "-synthetic" in sets:
        config = experiment.extract_config(experiment.teacher, sets["-synthetic"].train_views)
        features = run("extract-teacher-synthetic", EXTRACT, config, {"images": sets["-synthetic"].images})
        inputs = {"features": features, "probe": probe}
        logits["-synthetic"] = run("precompute-synthetic", PRECOMPUTE, experiment.precompute_config(), inputs)
    return probe, logits


def _finetuned_teacher(
    experiment: Experiment, run: RunStage, sets: Mapping[str, Taught]
) -> tuple[ArtifactRef, dict[str, ArtifactRef]]:
    """The same with the whole teacher trained on the labels, so that it must look at the images again."""
    _, probe = _probed(experiment, run, "teacher", sets[""].images)
    config = experiment.finetune_teacher_config()
    model = run("finetune-teacher", FINETUNE, config, {"images": sets[""].images, "probe": probe})
    logits = {
        name: run(
            f"precompute{name}",
            PRECOMPUTE_IMAGES,
            experiment.precompute_images_config(taught.train_views),
            {"images": taught.images, "model": model},
        )
        for name, taught in sets.items()
    }
    return model, logits
