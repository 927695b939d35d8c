"""What one step costs with the networks of the presets of public datasets, at their full sizes, with random weights.

    python -m tests.benchmarks.paper_presets [--quick] [--presets ade20k voc cityscapes]

For each preset, on one CPU thread: the teacher with its head answers for one view, as precompute has it, and the
student takes one step of distillation on one view (`--quick`: the student alone). Told are seconds, the largest memory
of the process so far, and the bytes of the cached logits of one view. No weights are downloaded, as costs do not depend
on them; on a GPU the seconds are others, and their ratio is about the same.
"""

import resource
import time

import numpy as np
import torch

from taskdistill.configs.experiment import Experiment
from taskdistill.configs.loading import load_experiment
from taskdistill.configs.models import Backbone
from taskdistill.configs.stages import ProbeSettings
from taskdistill.tasks.models.encoder import blocks_named, build_encoder
from taskdistill.tasks.models.task_model import TaskModel
from taskdistill.tasks.problems.output_sizes import num_outputs
from taskdistill.tasks.problems.problem import problem_named
from tests.benchmarks.report import Row, finish, parser

NUM_CLASSES = {"ade20k": 150, "voc": 21, "cityscapes": 19}


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--presets", nargs="+", default=list(NUM_CLASSES), choices=list(NUM_CLASSES))
    arguments = options.parse_args()
    torch.set_num_threads(1)
    rows: list[Row] = []
    for name in arguments.presets:
        rows += _measured(load_experiment(name), NUM_CLASSES[name], with_teacher=not arguments.quick)
    finish("One view at full size", rows, as_json=arguments.json)


def _measured(experiment: Experiment, num_classes: int, *, with_teacher: bool) -> list[Row]:
    name, rows = experiment.name, []
    numbers = num_outputs(experiment.problem, experiment.teacher, experiment.probe, num_classes)
    rows.append(Row(f"{name}: logits of a view, {experiment.logits}", numbers / 1e3, "kB"))
    if with_teacher:
        teacher = _network(experiment, experiment.teacher, experiment.probe, num_classes).eval()
        started = time.process_time()
        with torch.inference_mode():
            outputs_1Khw = teacher(_view(experiment.teacher))
        if outputs_1Khw.numel() != numbers:
            raise SystemExit(f"{name}: the plan counts {numbers} logits, the network gives {outputs_1Khw.numel()}")
        rows += _costs(f"{name}: teacher, one view", started)
        del teacher
    student = _network(experiment, experiment.student, experiment.student_probe, num_classes).train()
    problem, size = problem_named(experiment.problem), experiment.student.input_size
    targets_1HW = torch.zeros(1, *size, dtype=torch.int64)
    started = time.process_time()
    outputs_1Khw = student(_view(experiment.student))
    taught = problem.distill_loss(outputs_1Khw, torch.randn(outputs_1Khw.shape), experiment.distill.temperature)
    (problem.task_loss(outputs_1Khw, targets_1HW).total.sum() + taught.total.sum()).backward()
    return [*rows, *_costs(f"{name}: student, forward and backward", started)]


def _network(experiment: Experiment, backbone: Backbone, probe: ProbeSettings, num_classes: int) -> TaskModel:
    problem = problem_named(experiment.problem)
    encoder = build_encoder(backbone.model_copy(update={"weights": "random"}))
    names = problem.inputs()[probe.inputs[0]]
    head = problem.head(blocks_named(encoder.blocks, names), num_classes, probe.head)
    return TaskModel(encoder, list(names), head)


def _view(backbone: Backbone) -> torch.Tensor:
    pixels = np.random.default_rng(0).standard_normal((1, 3, *backbone.input_size), np.float32)
    return torch.from_numpy(pixels)


def _costs(name: str, started: float) -> list[Row]:
    seconds = time.process_time() - started
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return [Row(name, seconds, "CPU-s"), Row(f"{name}: memory of the process", megabytes, "MiB")]


if __name__ == "__main__":
    main()
