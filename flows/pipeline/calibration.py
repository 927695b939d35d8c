"""Measuring how long the steps of a run take, where nothing in the store tells: the run itself, on few images and for
few steps, in a store of its own inside the other.

What is measured of each step is its beginning, which takes as long whatever there is to do, and the rate of what comes
after (`flows.pipeline.work`). Views keep their number as far as it goes, as an image is decoded once for all of them;
batches keep their size; each epoch has its share of validation.
"""

import contextlib
import math
from collections.abc import Mapping
from typing import Any, TypeVar

from taskdistill.configs.experiment import Experiment
from taskdistill.configs.training import TrainingSettings
from taskdistill.flows.pipeline.planning import Plan
from taskdistill.flows.pipeline.running import ShowStep, run_plan
from taskdistill.flows.pipeline.work import measured_in
from taskdistill.storage.files import make_folder
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.summaries import IngestSummary
from taskdistill.tasks.functional.lengths import num_steps

_BATCHES = 3
"""Of training images, at least."""
_CLASS_IMAGES = 2
"""Training images of each class, at least."""
_STEPS, _MOST_STEPS = 16, 64
"""Of a training or probe; the first are slower than the others."""
_VIEWS = 8

_Training = TypeVar("_Training", bound=TrainingSettings)


def calibrate(plan: Plan, store: ArtifactStore, show: ShowStep) -> None:
    """Run a small part of what is planned, as far as that was not done before; raises what `run_plan` raises."""
    store.check_writable()
    aside = measured_in(store)
    make_folder(aside.root)
    # The same files are read: their digests are taken once.
    make_folder(store.root / "sources")
    with contextlib.suppress(FileExistsError):
        (aside.root / "sources").symlink_to("../sources")
    run_plan(small_part(plan.experiment, plan.datasets[0]), aside, show)


def small_part(experiment: Experiment, images: IngestSummary) -> Experiment:
    """Return an experiment that does all that this one does with its images, for less long."""
    all_train, all_images = images.splits.get("train", 0), sum(images.splits.values())
    of_classes = _CLASS_IMAGES * images.classes if images.counts else 0  # a mask has many classes, and is not counted
    num_train = max(1, min(all_train, max(_BATCHES * experiment.training.batch_size, of_classes)))
    num_blends = 2 * experiment.runtime.generation_batch_size

    def short(training: _Training) -> _Training:
        return _short(training, num_train, all_train)

    changed: dict[str, Mapping[str, Any]] = {
        "data": {"max_images": math.ceil(all_images * num_train / max(1, all_train))},
        "unlabelled": {"max_images": num_train},
        "views": {"num_views": min(experiment.views.num_views, _VIEWS), "max_total": 0},
        "blends": {"per_image": min(experiment.blends.per_image, num_blends / num_train)},
        "select": {"drop": ()},  # few might all be dropped
        "probe": {"steps": min(experiment.probe.steps, _STEPS)},
        "student_probe": {"steps": min(experiment.student_probe.steps, _STEPS)},
        "tuning": {"search": "none"},  # its trials are trainings, and take as long
        "runtime": {"tensorboard": "", "mlflow_uri": ""},
    }
    sections = {name: getattr(experiment, name).model_copy(update=settings) for name, settings in changed.items()}
    trainings = {
        "training": short(experiment.training),
        "teacher_finetuning": short(experiment.teacher_finetuning),
    }
    return experiment.model_copy(update={**sections, **trainings, "seeds": experiment.seeds[:1]})


def _short(training: _Training, num_train: int, all_train: int) -> _Training:
    """Return a training of some steps, of which as large a share goes to validation as of the whole one."""
    apart = num_steps(training, all_train) * training.validate_every / training.epochs  # steps between two validations
    every = max(1, round(apart * training.batch_size / max(1, all_train)))
    per_epoch = num_train / training.batch_size
    rounds = max(1, math.ceil(_STEPS / (every * per_epoch)))
    epochs = min(every * rounds, max(1, math.ceil(_MOST_STEPS / per_epoch)))
    return training.model_copy(update={"epochs": epochs, "validate_every": every, "min_steps": 0})
