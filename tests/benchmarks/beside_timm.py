"""What a student of a sweep costs beside timm's own distillation, in which the teacher answers at every step.

    REAL_DATA_DIR=... python -m tests.benchmarks.beside_timm [--quick] [--students 12]

Preset `clothing10`: a MobileNetV2 1.0 at 224 px teaches a MobileNetV2 0.35 at 128 px. timm shows teacher and student
the same pixels, so it is measured with both at 128 px, where its teacher is a worse one, and with both at 224 px, where
its student is dearer. timm's part is its `LogitDistillationTask`, its loader with its own augmentation, AdamW, and a
validation after each epoch; ours is the stage `distill`, its validations, checkpoints and files included, and the
stage `finetune`. All in this process on one thread, CPU seconds, taking turns; medians. Ours train as long as the
preset says, and read views that the student's extract has cut; timm cuts each anew, so that some epochs tell. `--quick`
trains single epochs, in which beginning and ending weigh more. Both freeze the statistics of BatchNorm; timm decodes by
Pillow, ours by simplejpeg where it is installed.

Of a sweep the whole is compared: for us reading the folder, all passes of both encoders, both probes and the teacher's
logits once, then so many students of 20 epochs.
"""

import statistics
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import taskdistill.tasks.models  # noqa: F401  # makes torchvision importable, which timm imports

# isort: split
import timm
import torch
from timm.data import create_loader
from timm.task import LogitDistillationTask
from torchvision.datasets import ImageFolder

from taskdistill.configs.experiment import Experiment
from taskdistill.configs.loading import load_experiment
from taskdistill.configs.models import Backbone
from taskdistill.flows.pipeline.planning import PlannedStep, make_plan
from taskdistill.storage.store import ArtifactStore
from taskdistill.tasks.models.device import keep_freed_memory
from taskdistill.tasks.stage import execute
from taskdistill.tasks.training.parameters import freeze_batchnorm
from tests.benchmarks.report import Row, finish, parser
from tests.benchmarks.timing import processor_seconds_of

NUM_CLASSES, EPOCHS_OF_STUDENT = 10, 20
AT_MOST_PLAIN, AT_MOST_128, AT_MOST_224 = 1.02, 0.6, 0.15
OF_STUDENTS = ("finetune-seed0", "distill-seed0")


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--students", type=int, default=12, help="of the sweep")
    arguments = options.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    ours, timms, rounds = (1, 1, 1) if arguments.quick else (EPOCHS_OF_STUDENT, 4, 3)
    experiment = load_experiment("clothing10", ["seeds=[0]", "runtime.slots=1", "runtime.workers=1"])
    with tempfile.TemporaryDirectory() as folder:
        store = ArtifactStore(Path(folder) / "store")
        steps = {step.name: step for step in make_plan(experiment, store).steps}
        shared = sum(
            processor_seconds_of(partial(_made, step, experiment, store))
            for name, step in steps.items()
            if name not in OF_STUDENTS and "-seed" not in name
        )
        runs: dict[str, Callable[[int], object]] = {
            **{
                name: partial(_trained, steps[f"{name}-seed0"], ours, experiment, store)
                for name in ("finetune", "distill")
            },
            "timm at 128 px": partial(TimmTraining(experiment, 128).epochs, timms),
            "timm at 224 px": partial(TimmTraining(experiment, 224).epochs, timms),
        }
        found: dict[str, list[float]] = {name: [] for name in runs}
        for number in range(1, rounds + 1):
            for name, run in runs.items():
                epochs = timms if name.startswith("timm") else ours
                found[name].append(processor_seconds_of(partial(run, number)) / epochs)
    finish("Beside timm", rows_of(found, shared, arguments.students), as_json=arguments.json)


def _made(step: PlannedStep, experiment: Experiment, store: ArtifactStore) -> object:
    return execute(step.stage, step.config, step.inputs, store=store, runtime=experiment.runtime)


def _trained(step: PlannedStep, epochs: int, experiment: Experiment, store: ArtifactStore, seed: int) -> object:
    config: Any = step.config
    training = config.training.model_copy(update={"epochs": epochs})
    config = config.model_copy(update={"training": training, "seed": seed})
    return execute(step.stage, config, step.inputs, store=store, runtime=experiment.runtime)


class TimmTraining:
    """timm's distillation of the same two networks on the same photographs, both at one size."""

    def __init__(self, experiment: Experiment, side_px: int) -> None:
        teacher, student = (_network(backbone) for backbone in (experiment.teacher, experiment.student))
        folder, batch_size = Path(experiment.data.path), experiment.training.batch_size
        loading = {
            "input_size": (3, side_px, side_px), "batch_size": batch_size, "num_workers": 0, "use_prefetcher": False,
            "mean": experiment.student.mean, "std": experiment.student.std,
        }  # fmt: skip
        self._train = create_loader(ImageFolder(str(folder / "train")), is_training=True, **loading)
        self._validation = create_loader(ImageFolder(str(folder / "validation")), is_training=False, **loading)
        distill = experiment.distill
        self._task = LogitDistillationTask(
            student, teacher, torch.nn.CrossEntropyLoss(), task_loss_weight=1 - distill.alpha,
            temperature=distill.temperature, device=torch.device("cpu"), verbose=False,
        )  # fmt: skip
        self._student = student
        self._optimizer = torch.optim.AdamW(student.parameters(), lr=experiment.training.learning_rate, fused=True)

    def epochs(self, count: int, number: int) -> None:
        for _ in range(count):
            self._task.train()
            freeze_batchnorm(self._student)  # as the preset has it for ours
            for images_NCHW, labels_N in self._train:
                self._optimizer.zero_grad()
                self._task(images_NCHW.to(memory_format=torch.channels_last), labels_N)["loss"].backward()
                self._optimizer.step()
            self._student.eval()
            with torch.inference_mode():
                for images_NCHW, _ in self._validation:
                    self._student(images_NCHW.to(memory_format=torch.channels_last))


def _network(backbone: Backbone) -> torch.nn.Module:
    made = timm.create_model(backbone.name, num_classes=NUM_CLASSES, pretrained=False, **dict(backbone.arguments))
    network: torch.nn.Module = made.to(memory_format=torch.channels_last)
    return network


def rows_of(found: dict[str, list[float]], shared: float, num_students: int) -> list[Row]:
    epoch = {name: statistics.median(seconds) for name, seconds in found.items()}
    rows = [Row(f"{name}, an epoch", seconds, "CPU s") for name, seconds in epoch.items()]
    rows += [
        Row("all that students share", shared, "CPU s"),
        Row("distill / finetune", epoch["distill"] / epoch["finetune"], at_most=AT_MOST_PLAIN),
    ]
    num_epochs = num_students * EPOCHS_OF_STUDENT
    ours = shared + num_epochs * epoch["distill"]
    for side_px, at_most in ((128, AT_MOST_128), (224, AT_MOST_224)):
        timms = num_epochs * epoch[f"timm at {side_px} px"]
        rows.append(Row(f"{num_students} students / timm's at {side_px} px", ours / timms, at_most=at_most))
    return rows


if __name__ == "__main__":
    main()
