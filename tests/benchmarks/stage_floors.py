"""How close each stage of a run comes to its floor: the bare network on tensors that are ready, and nothing else.

    REAL_DATA_DIR=... python -m tests.benchmarks.stage_floors [--quick]

Preset `clothing10` with one seed runs in this process, step by step; CPU seconds of each step are divided by those of
its floor: so many forward passes of a network, or so many optimiser steps of the student, in the same batches. Floors
are measured before the run and after it, and the mean of both counts. What is above 1 is decoding, cutting, reading,
writing, validating, drawing and starting. Stages without a network are told in seconds alone, and so is the whole run.

Extract decodes each image once and cuts each view once, which later steps read: the floor with its pictures adds what
that takes at least, with the same bits, as nothing but another resampling (`views.resize`) could be cheaper. The floor
with validation adds the forward passes by which a training is validated. What is above these is our own.

One student alone, with all it is made from, is compared with the same training whose teacher answers at every step: it
needs no cached views and logits, but one pass of the teacher over its clean images, for the probe, and one over each
batch.
"""

import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from taskdistill.configs.data import ViewSettings
from taskdistill.configs.experiment import Experiment
from taskdistill.configs.loading import load_experiment
from taskdistill.configs.models import Backbone
from taskdistill.flows.pipeline.planning import PlannedStep
from taskdistill.flows.pipeline.running import ExecuteStep, run_plan
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.summaries import EvaluationSummary, ImageSetSummary
from taskdistill.tasks.data.decode import decode_rgb
from taskdistill.tasks.functional.views import Pixels, draw_view
from taskdistill.tasks.models.device import keep_freed_memory, on_device
from taskdistill.tasks.models.encoder import blocks_named, build_encoder
from taskdistill.tasks.models.task_model import TaskModel
from taskdistill.tasks.problems.problem import problem_named
from taskdistill.tasks.sizes import num_shown
from taskdistill.tasks.stage import no_progress
from taskdistill.tasks.training.parameters import freeze_batchnorm
from tests.benchmarks.report import Row, finish, parser
from tests.benchmarks.timing import processor_seconds_of

NUM_CLASSES, ROUNDS = 10, 9
PHOTOGRAPHS_APART = 6
"""Of those to train on one in so many is timed."""
AT_MOST = {
    "extract-teacher": 1.10, "extract-student": 1.6, "finetune-seed0": 1.15, "distill-seed0": 1.15,
    "evaluate-finetuned-seed0": 1.6,
}  # fmt: skip
QUICK = ("training.epochs=2", "views.num_views=2", "probe.steps=60", "student_probe.steps=60")


def main() -> None:
    arguments = parser(__doc__).parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    one_by_one = ("seeds=[0]", "runtime.slots=1", "runtime.workers=1")
    experiment = load_experiment("clothing10", [*one_by_one, *(QUICK if arguments.quick else ())])
    with tempfile.TemporaryDirectory() as folder:
        store = ArtifactStore(Path(folder) / "store")
        before = Bare(experiment)
        spent = cpu_seconds(experiment, store)
        bare = before.mean(Bare(experiment))
        rows = [row for step, seconds in spent for row in rows_of(step, seconds, bare, experiment, store)]
        rows.append(alone({step.name: (step, seconds) for step, seconds in spent}, bare, experiment, store))
    rows.append(Row("whole run", sum(seconds for _, seconds in spent), "CPU s"))
    finish("CPU time of each stage over its floor", rows, as_json=arguments.json)


class Bare:
    """CPU seconds of an image through a network, and of an optimiser step of the student."""

    def __init__(self, experiment: Experiment) -> None:
        batch_size, self.student = experiment.runtime.inference_batch_size, experiment.student.name
        self.forward = {
            backbone.name: forward_seconds(backbone, batch_size) / batch_size
            for backbone in (experiment.teacher, experiment.student)
        }
        self.step = step_seconds(experiment)
        photographs = sorted(Path(experiment.data.path).glob("train/*/*.jpg"))[::PHOTOGRAPHS_APART]
        self.decode = median_seconds(lambda: [decode_rgb(path.read_bytes()) for path in photographs]) / len(photographs)
        self.cut = {
            backbone.name: cut_seconds(backbone, [decode_rgb(path.read_bytes()) for path in photographs])
            for backbone in (experiment.teacher, experiment.student)
        }

    def mean(self, other: "Bare") -> "Bare":
        self.forward = {name: (seconds + other.forward[name]) / 2 for name, seconds in self.forward.items()}
        self.step, self.decode = (self.step + other.step) / 2, (self.decode + other.decode) / 2
        self.cut = {name: (seconds + other.cut[name]) / 2 for name, seconds in self.cut.items()}
        return self

    def pictures(self, name: str, num_decoded: int, num_cut: int) -> float:
        """Return the seconds of decoding so many images and cutting so many views for a network."""
        return num_decoded * self.decode + num_cut * self.cut[name]


def forward_seconds(backbone: Backbone, batch_size: int) -> float:
    model, images_NCHW = network(backbone).eval(), normalised(backbone, batch_size)
    with torch.inference_mode():
        return median_seconds(lambda: model(images_NCHW))


def step_seconds(experiment: Experiment) -> float:
    """Return the CPU seconds of one step of a plain loop, with the same layers frozen."""
    batch_size = experiment.training.batch_size
    model, images_NCHW = network(experiment.student).train(), normalised(experiment.student, batch_size)
    freeze_batchnorm(model)
    labels_N = torch.arange(batch_size) % NUM_CLASSES
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)

    def step() -> None:
        optimizer.zero_grad()
        functional.cross_entropy(model(images_NCHW), labels_N).backward()
        optimizer.step()

    return median_seconds(step)


def cut_seconds(backbone: Backbone, images: Sequence[Pixels]) -> float:
    """Return the CPU seconds of cutting one augmented view of a decoded image."""
    preprocessing = build_encoder(backbone).preprocessing
    views = [
        draw_view(f"{number}", 1, image.shape[0], image.shape[1], ViewSettings()) for number, image in enumerate(images)
    ]
    return median_seconds(lambda: [*map(preprocessing.cut, images, views)]) / len(images)


def network(backbone: Backbone) -> TaskModel:
    encoder = build_encoder(backbone)
    head = problem_named("classification").head(blocks_named(encoder.blocks, ["last"]), NUM_CLASSES)
    return on_device(TaskModel(encoder, ["last"], head), torch.device("cpu"))


def normalised(backbone: Backbone, batch_size: int) -> Tensor:
    images_NCHW = torch.randn(batch_size, 3, backbone.input_px, backbone.input_px)
    return images_NCHW.to(memory_format=torch.channels_last)


def median_seconds(work: Callable[[], object]) -> float:
    return statistics.median([processor_seconds_of(work) for _ in range(ROUNDS + 2)][2:])


def cpu_seconds(experiment: Experiment, store: ArtifactStore) -> list[tuple[PlannedStep, float]]:
    """Return the CPU seconds of each step of a run in this process."""
    spent: list[tuple[PlannedStep, float]] = []

    def timed(step: PlannedStep, execute: ExecuteStep) -> ArtifactRef:
        made: list[ArtifactRef] = []
        seconds = processor_seconds_of(lambda: made.append(execute(step, no_progress)))
        spent.append((step, seconds))
        return made[0]

    run_plan(experiment, store, timed)
    return spent


def rows_of(step: PlannedStep, seconds: float, bare: Bare, experiment: Experiment, store: ArtifactStore) -> list[Row]:
    told, floor = Row(step.name, seconds, "CPU s"), floor_of(step, bare, store)
    if not floor:
        return [told]
    ratio = Row(f"{step.name} / floor", seconds / floor, at_most=AT_MOST.get(step.name))
    more = besides(step, bare, experiment, store)
    with_more = [Row(f"{step.name} / floor with {what}", seconds / (floor + more[what])) for what in more]
    return [told, ratio, *with_more]


def alone(
    spent: Mapping[str, tuple[PlannedStep, float]], bare: Bare, experiment: Experiment, store: ArtifactStore
) -> Row:
    """Return what one distilled student takes over the same with its teacher at every step."""
    distill, images = spent["distill-seed0"][0], spent["ingest"][0].ref
    splits = ImageSetSummary.of(store.manifest(images)).splits
    answered = distill.num_steps * experiment.training.batch_size
    shared = sum(spent[name][1] for name in ("ingest", "probe-teacher", "extract-student", "probe-student"))
    online = (
        shared
        + spent["distill-seed0"][1]
        + (splits["train"] + splits["val"] + answered) * bare.forward[experiment.teacher.name]
    )
    ours = shared + sum(spent[name][1] for name in ("extract-teacher", "precompute", "distill-seed0"))
    return Row("one student alone / its teacher online", ours / online, at_most=0.9)


def floor_of(step: PlannedStep, bare: Bare, store: ArtifactStore) -> float:
    """Return the CPU seconds that the network of a step takes; 0 where none runs."""
    name = getattr(getattr(step.config, "backbone", None), "name", "")
    if step.stage.name == "extract":
        return num_shown(step.shown) * bare.forward[name]
    if step.stage.name in ("finetune", "distill"):
        return step.num_steps * bare.step
    if step.stage.name == "evaluate":
        return sum(EvaluationSummary.of(store.manifest(step.ref)).num_images.values()) * bare.forward[bare.student]
    return 0.0


def besides(step: PlannedStep, bare: Bare, experiment: Experiment, store: ArtifactStore) -> dict[str, float]:
    """Return the CPU seconds of what a step has to do besides its floor."""
    images = ImageSetSummary.of(store.manifest(step.inputs["images"]))
    if step.stage.name == "extract":
        backbone = experiment.teacher if step.name == "extract-teacher" else experiment.student
        return {"pictures": bare.pictures(backbone.name, images.images, num_shown(step.shown))}
    if step.stage.name == "evaluate":
        return {}
    validations = 1 + experiment.training.epochs // experiment.training.validate_every
    return {"validation": validations * images.splits["val"] * bare.forward[bare.student]}


if __name__ == "__main__":
    main()
