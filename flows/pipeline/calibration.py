"""Measuring how long the steps of a run take, where nothing in the store tells: the run itself, on few images and for
few steps, in a store of its own that is gone afterwards.

What is measured of each step is its beginning, which takes as long whatever there is to do, and the rate of what comes
after (`flows.pipeline.work`). So that the rate is that of the whole run, batches keep their size, an image has as many
views as far as that goes, as much of the images, decoded and cut, as in the whole run is kept, and each training has
its share of validation. Not measured are searches for settings, whose trials are trainings, and seeds after the first.
"""

import contextlib
import math
import shutil
from collections.abc import Mapping
from typing import Any

from taskdistill.configs.experiment import Experiment
from taskdistill.configs.training import TrainingSettings
from taskdistill.flows.pipeline.measured import FOLDER, keep
from taskdistill.flows.pipeline.planning import Plan
from taskdistill.flows.pipeline.room import leaving_room
from taskdistill.flows.pipeline.running import ShowStep, run_plan
from taskdistill.storage.files import make_folder
from taskdistill.storage.locks import locked
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.summaries import IngestSummary
from taskdistill.tasks.functional.lengths import num_steps

_BATCHES = 3
"""Of training images, at least."""
_CLASS_IMAGES = 2
"""Training images of each class, at least."""
_STEPS = 16
"""Of a training or probe; the first are slower than the others."""
_VIEWS, _MOST_SHOWN = 8, 1600
"""Views of a training image, and of all of them together."""
_BATCHES_OF_BLENDS = 2


def calibrate(plan: Plan, store: ArtifactStore, show: ShowStep) -> None:
    """Run a small part of what is planned and note in the store how long its steps took.

    Raises StoreError where nothing can be noted, and what `run_plan` raises.
    """
    store.check_writable()
    with locked(store.root / "locks" / FOLDER, "a run to measure how long steps take is going on"):
        aside = ArtifactStore(store.root / FOLDER / "running")
        shutil.rmtree(aside.root, ignore_errors=True)  # what a killed one has left
        make_folder(aside.root)
        make_folder(store.root / "sources")
        with contextlib.suppress(OSError):  # the digests of the same files are not taken again, where links can be made
            (aside.root / "sources").symlink_to("../../sources")
        try:
            # Its own store is small: what the disk has no room for in the whole run, it does not keep either.
            runtime = leaving_room(plan.experiment.runtime, plan.steps, store)
            whole = plan.experiment.model_copy(update={"runtime": runtime})
            run_plan(small_part(whole, plan.datasets[0]), aside, show)
            keep(aside, store, plan.steps[0].ref, plan.experiment.runtime)
        finally:
            shutil.rmtree(aside.root, ignore_errors=True)


def small_part(experiment: Experiment, images: IngestSummary) -> Experiment:
    """Return an experiment that does all that this one does with its images, for less long."""
    all_train = max(1, images.splits.get("train", 0))
    num_train = min(all_train, max(_BATCHES * experiment.training.batch_size, _images_of_classes(images)))
    unlabelled, runtime = experiment.unlabelled, experiment.runtime
    num_views = min(experiment.views.num_augmented(all_train), _VIEWS, max(1, _MOST_SHOWN // num_train))
    num_blends = _BATCHES_OF_BLENDS * runtime.generation_batch_size
    share = num_train / all_train
    share_of_views = share * (num_views + 1) / (experiment.views.num_augmented(all_train) + 1)
    changed: dict[str, Mapping[str, Any]] = {
        "data": {"max_images": num_train, "max_quarantined_share": 1.0},
        "unlabelled": {"max_quarantined_share": 1.0}
        | ({"max_images": min(unlabelled.max_images or num_train, num_train)} if unlabelled.path else {}),
        "views": {"num_views": num_views, "max_total": 0},
        "blends": {"per_image": min(experiment.blends.per_image, num_blends / num_train)},
        "select": {"drop": ()},  # few might all be dropped
        "probe": {"steps": min(experiment.probe.steps, _STEPS)},
        "student_probe": {"steps": min(experiment.student_probe.steps, _STEPS)},
        "tuning": {"search": "none"},
        "runtime": {
            "tensorboard": "",
            "mlflow_uri": "",
            "image_cache_mb": math.ceil(runtime.image_cache_mb * share),
            "logits_cache_mb": math.ceil(runtime.logits_cache_mb * share),
            "kept_views_mb": math.ceil(runtime.kept_views_mb * share_of_views),
        },
        "training": _short(experiment.training, num_train, images, runtime.workers),
        "teacher_finetuning": _short(experiment.teacher_finetuning, num_train, images, runtime.workers),
    }
    sections = {name: getattr(experiment, name).model_copy(update=settings) for name, settings in changed.items()}
    return experiment.model_copy(update={**sections, "seeds": experiment.seeds[:1]})


def _images_of_classes(images: IngestSummary) -> int:
    """Return how many training images show each class, where an image has one class: a mask has many."""
    return _CLASS_IMAGES * images.classes if images.counts and images.pixels is None else 0


def _short(training: TrainingSettings, num_train: int, images: IngestSummary, workers: int) -> dict[str, int]:
    """Return what makes a training one of some steps, of which as large a share goes to validation as of the whole."""
    all_train, all_val = max(1, images.splits.get("train", 0)), max(1, images.splits.get("val", 0))
    # Steps between two validations; of fewer images in a validation, fewer steps.
    apart = num_steps(training, all_train) * training.validate_every / training.epochs
    apart *= min(all_val, num_train) / all_val
    per_epoch = num_train / training.batch_size
    every = max(1, round(apart / per_epoch))
    # What workers have made ready before the first step goes by faster than it was made.
    steps = max(_STEPS, 2 * (workers + 1))
    epochs = max(1, math.ceil(steps / per_epoch))
    # Where validations are further apart, the one at the end counts for more than it will: more steps take minutes.
    if every <= epochs:
        epochs = every * math.ceil(epochs / every)
    return {"epochs": epochs, "validate_every": every, "min_steps": 0}
