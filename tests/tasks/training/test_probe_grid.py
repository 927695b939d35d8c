"""Optimisers of the grid of heads, against torch's own on one head."""

import pytest
import torch

from taskdistill.configs.stages import ProbeSettings
from taskdistill.tasks.functional.schedules import warmup_cosine, warmup_linear
from taskdistill.tasks.models.encoder import Block
from taskdistill.tasks.problems.problem import problem_named
from taskdistill.tasks.training.probe_grid import ProbeGrid

STEPS, BATCH = 80, 16


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_each_head_is_trained_as_if_it_were_alone(optimizer: str) -> None:
    """Segmentation's head, whose BatchNorm takes its statistics from each batch."""
    problem, blocks = problem_named("segmentation"), [Block("map", 6, 8)]
    settings = ProbeSettings(learning_rates=(0.01, 0.3), steps=STEPS, batch_size=BATCH, optimizer=optimizer)
    grid = ProbeGrid(problem, settings, blocks, ["sky", "road", "car"], torch.device("cpu"))
    alone = problem.head(blocks, 3)
    alone.load_state_dict(grid.cells[1].head.state_dict())
    if optimizer == "sgd":
        reference: torch.optim.Optimizer = torch.optim.SGD(alone.parameters(), lr=0.3 * BATCH / 256, momentum=0.9)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            reference, lambda step: warmup_cosine(step, num_steps=STEPS, num_warmup=0)
        )
    else:
        reference = torch.optim.AdamW(alone.parameters(), lr=0.3, weight_decay=1e-4)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            reference, lambda step: warmup_linear(step, num_steps=STEPS, num_warmup=3)
        )
    generator = torch.Generator().manual_seed(0)
    for step in range(10):
        maps = torch.randn(BATCH, 6, 4, 4, generator=generator)
        targets = torch.randint(3, (BATCH, 32, 32), generator=generator)
        grid.step(step, {"map": maps}, targets)
        reference.zero_grad()
        problem.task_loss(alone(maps), targets).mean().backward()
        reference.step()
        schedule.step()
    for name, expected in alone.state_dict().items():
        torch.testing.assert_close(grid.cells[1].head.state_dict()[name], expected, rtol=1e-4, atol=1e-5)
