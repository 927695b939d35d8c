"""What a step of a probe's grid costs, beside plain heads of torch that are trained one by one.

    python -m tests.benchmarks.probing [--quick]

The 13 default learning rates on one input of 1,280 numbers, batches of 256, one thread. CPU seconds, the two in turn on
the same batches; medians. With few classes the heads are stacked and must be cheaper, with many they are not and cost
the same (tasks.training.stacked_heads, where the figures stand).
"""

import statistics

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from taskdistill.configs.stages import ProbeSettings
from taskdistill.tasks.models.device import keep_freed_memory
from taskdistill.tasks.models.encoder import Block
from taskdistill.tasks.problems.problem import problem_named
from taskdistill.tasks.training.probe_grid import ProbeGrid
from tests.benchmarks.report import Row, finish, parser
from tests.benchmarks.timing import processor_seconds_of

WIDTH, BATCH, ROUNDS, WARM_UP = 1280, 256, 41, 3
AT_MOST = {10: 0.75, 100: 1.05, 1000: 1.15}
SETTINGS = ProbeSettings(steps=1_000_000, batch_size=BATCH)


class PlainHeads:
    """A plain loop over heads, with one optimiser."""

    def __init__(self, num_classes: int) -> None:
        self._heads = [nn.Linear(WIDTH, num_classes) for _ in SETTINGS.learning_rates]
        rated = zip(self._heads, SETTINGS.learning_rates, strict=True)
        groups = [{"params": head.parameters(), "lr": rate} for head, rate in rated]
        self._optimizer = torch.optim.SGD(groups, momentum=0.9)

    def step(self, features_ND: Tensor, labels_N: Tensor) -> None:
        self._optimizer.zero_grad()
        torch.stack([cross_entropy(head(features_ND), labels_N) for head in self._heads]).sum().backward()
        self._optimizer.step()


def main() -> None:
    arguments = parser(__doc__).parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    rows = []
    for num_classes, at_most in AT_MOST.items():
        grid, plain = step_seconds(num_classes, num_rounds=ROUNDS // 4 if arguments.quick else ROUNDS)
        rows += [
            Row(f"step of the grid, {num_classes} classes", 1000 * grid, "CPU ms"),
            Row(f"one by one, {num_classes} classes", 1000 * plain, "CPU ms"),
            Row(f"grid / one by one, {num_classes} classes", grid / plain, at_most=at_most),
        ]
    finish("A step of 13 heads", rows, as_json=arguments.json)


def step_seconds(num_classes: int, *, num_rounds: int) -> tuple[float, float]:
    """Return the median CPU seconds of a step of the grid, and of plain heads."""
    names = [f"class {number}" for number in range(num_classes)]
    blocks = [Block("last", WIDTH)]
    grid = ProbeGrid(problem_named("classification"), SETTINGS, blocks, names, torch.device("cpu"))
    plain, seconds = PlainHeads(num_classes), list[tuple[float, float]]()
    for step in range(num_rounds + WARM_UP):
        features_ND, labels_N = torch.randn(BATCH, WIDTH), torch.randint(num_classes, (BATCH,))
        of_grid = processor_seconds_of(lambda: grid.step(step, {"last": features_ND}, labels_N))  # noqa: B023
        of_plain = processor_seconds_of(lambda: plain.step(features_ND, labels_N))  # noqa: B023
        seconds.append((of_grid, of_plain))
    of_grid, of_plain = (statistics.median(some[WARM_UP:]) for some in zip(*seconds, strict=True))
    return of_grid, of_plain


if __name__ == "__main__":
    main()
