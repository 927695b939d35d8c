"""What it costs that settings choose themselves: CPU seconds of the choice over those of one training.

    python -m tests.benchmarks.tuning_cost [--quick]

The preset `small-cpu` runs as it is on pictures drawn for it, with untrained networks: what a step costs does not
depend on what is learnt. Trials take at most `tuning.budget` trainings' steps; what they cost beyond those, and what a
training costs beyond its own (a validation every epoch, checkpoints, weights), shows in the ratio. The heads that leave
out a fold, which the choice needs on few images, are trained once for both students: the whole of the student's probe
counts for each of them.
"""

import tempfile
import time
from pathlib import Path

import torch

from taskdistill.configs.loading import load_experiment
from taskdistill.flows.pipeline.planning import PlannedStep
from taskdistill.flows.pipeline.running import ExecuteStep, run_plan
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.tasks.stage import no_progress
from tests.benchmarks.pictures import write_class_folders
from tests.benchmarks.report import Row, finish, parser

AT_MOST = 2.0
PROBE = "probe-student"
NETWORKS = [
    *("teacher.name=mobilenetv2_050", "teacher.weights=random", "teacher.input_px=96"),
    *("student.name=mobilenetv2_035", "student.weights=random", "student.input_px=96"),
]
QUICK = [
    *("training.min_steps=100", "tuning.min_steps=10", "views.num_views=2", "probe.steps=50", "student_probe.steps=50"),
    *("teacher.input_px=64", "student.input_px=64"),
]


def main() -> None:
    arguments = parser(__doc__).parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        seconds = cpu_seconds(Path(folder), QUICK if arguments.quick else [])
    rows = [
        Row(
            f"{PROBE}, {choice} / {training}",
            (seconds[PROBE] + seconds[choice]) / seconds[f"{training}-seed0"],
            at_most=AT_MOST,
        )
        for choice, training in (("tune-finetune", "finetune"), ("tune-distill", "distill"))
    ]
    finish("CPU time of a choice", rows, as_json=arguments.json)


def cpu_seconds(folder: Path, settings: list[str]) -> dict[str, float]:
    """Return the CPU seconds of each step of a run in this process."""
    pictures = write_class_folders(folder / "pictures", count=200, side_px=160)
    one_by_one = [f"data.path={pictures}", "runtime.slots=1", "runtime.workers=1"]
    found: dict[str, float] = {}

    def timed(step: PlannedStep, execute: ExecuteStep) -> ArtifactRef:
        began = time.process_time()
        made = execute(step, no_progress)
        found[step.name] = time.process_time() - began
        return made

    experiment = load_experiment("small-cpu", [*one_by_one, *NETWORKS, *settings])
    run_plan(experiment, ArtifactStore(folder / "store"), timed)
    return found


if __name__ == "__main__":
    main()
