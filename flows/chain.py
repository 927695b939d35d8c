"""The pipeline, written once. The caller decides what "run a stage" means: do it, schedule it, or only name it.

No import of Prefect or torch: `plan` runs this function with a `run` that computes fingerprints and nothing else.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from configs.base import StageConfig
from configs.experiment import Experiment
from storage.manifest import ArtifactRef
from tasks.stage import Stage
from tasks.stages import (
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


class RunStage(Protocol):
    """What `chain` is given: it must return the reference of the artifact, however it sees to it."""

    def __call__(
        self, step: str, stage: Stage[Any], config: StageConfig, inputs: Mapping[str, ArtifactRef]
    ) -> ArtifactRef: ...


@dataclass(frozen=True)
class Evaluated:
    """One model of the final table."""

    model: str
    seed: int | None
    evaluation: ArtifactRef
    artifact: ArtifactRef


def chain(experiment: Experiment, run: RunStage, *, synthetic: ArtifactRef | None = None) -> list[Evaluated]:
    """Run every stage of an experiment, in an order in which each finds its inputs; returns what was evaluated.

    `synthetic` is an image-set without labels; it gets teacher logits and enters the distillation term only.
    """
    images = run("ingest", INGEST, experiment.data, {})
    sets = {"": images} | ({"-synthetic": synthetic} if synthetic else {})
    teach = {"probed": _probed_teacher, "finetuned": _finetuned_teacher}[experiment.teacher_training]
    teacher, logits = teach(experiment, run, sets)
    on_logits = {"images": images, "logits": logits[""]}
    evaluated = run("evaluate-teacher", EVALUATE_TEACHER, experiment.evaluate_config(), on_logits)
    results = [Evaluated(f"teacher {experiment.teacher_training}", None, evaluated, teacher)]

    _, student_probe = _probed(experiment, run, "student", images)
    extra = {"synthetic": synthetic, "synthetic_logits": logits["-synthetic"]} if synthetic else {}
    for seed in experiment.seeds:
        start = {"images": images, "probe": student_probe}
        config = experiment.finetune_config(seed)
        finetuned = run(f"finetune-seed{seed}", FINETUNE, config, start)
        taught = start | {"logits": logits[""]} | extra
        distilled = run(f"distill-seed{seed}", DISTILL, experiment.distill_config(seed), taught)
        for name, model in (("finetuned", finetuned), ("distilled", distilled)):
            inputs = {"images": images, "model": model, "teacher": logits[""]}
            evaluated = run(f"evaluate-{name}-seed{seed}", EVALUATE, experiment.evaluate_config(), inputs)
            results.append(Evaluated(f"student {name}", seed, evaluated, model))
    return results


def _probed(
    experiment: Experiment, run: RunStage, role: Literal["teacher", "student"], images: ArtifactRef
) -> tuple[ArtifactRef, ArtifactRef]:
    """Extract features of teacher or student and train its head on them; returns both."""
    backbone, settings = {
        "teacher": (experiment.teacher, experiment.probe),
        "student": (experiment.student, experiment.student_probe),
    }[role]
    features = run(f"extract-{role}", EXTRACT, experiment.extract_config(backbone), {"images": images})
    inputs = {"images": images, "features": features}
    return features, run(f"probe-{role}", PROBE, experiment.probe_config(settings), inputs)


def _probed_teacher(
    experiment: Experiment, run: RunStage, sets: Mapping[str, ArtifactRef]
) -> tuple[ArtifactRef, dict[str, ArtifactRef]]:
    """Make the teacher and its logits for each image-set, real ("") and synthetic, from cached features."""
    features, probe = _probed(experiment, run, "teacher", sets[""])
    logits = {"": run("precompute", PRECOMPUTE, experiment.precompute_config(), {"features": features, "probe": probe})}
    if "-synthetic" in sets:
        config = experiment.extract_config(experiment.teacher)
        features = run("extract-teacher-synthetic", EXTRACT, config, {"images": sets["-synthetic"]})
        inputs = {"features": features, "probe": probe}
        logits["-synthetic"] = run("precompute-synthetic", PRECOMPUTE, experiment.precompute_config(), inputs)
    return probe, logits


def _finetuned_teacher(
    experiment: Experiment, run: RunStage, sets: Mapping[str, ArtifactRef]
) -> tuple[ArtifactRef, dict[str, ArtifactRef]]:
    """The same with the whole teacher trained on the labels, so that it must look at the images again."""
    _, probe = _probed(experiment, run, "teacher", sets[""])
    config = experiment.finetune_teacher_config()
    model = run("finetune-teacher", FINETUNE, config, {"images": sets[""], "probe": probe})
    logits = {
        name: run(
            f"precompute{name}",
            PRECOMPUTE_IMAGES,
            experiment.precompute_images_config(),
            {"images": images, "model": model},
        )
        for name, images in sets.items()
    }
    return model, logits
