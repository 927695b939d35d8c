"""How many pictures of birds one core draws in a second.

    python -m tests.benchmarks.drawing_birds [--quick]

Pretraining draws every picture once; at fewer than 800 a second drawing would cost more than learning.
"""

import statistics
import time

import torch

from taskdistill.tasks.miniature.attributes import random_attributes
from taskdistill.tasks.miniature.world import draw
from tests.benchmarks.report import Row, finish, parser

AT_LEAST = 800


def main() -> None:
    arguments = parser(__doc__).parse_args()
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    birds_NA = random_attributes(128 if arguments.quick else 512, generator)
    speeds = [speed(birds_NA, generator) for _ in range(6)][1:]
    finish(
        "Drawing birds",
        [Row("pictures", statistics.median(speeds), "a CPU second", at_least=AT_LEAST)],
        as_json=arguments.json,
    )


@torch.inference_mode()
def speed(birds_NA: torch.Tensor, generator: torch.Generator) -> float:
    begin = time.process_time()
    draw(birds_NA, generator)
    return len(birds_NA) / (time.process_time() - begin)


if __name__ == "__main__":
    main()
