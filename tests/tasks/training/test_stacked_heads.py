"""Linear heads whose weights are stacked, against heads of plain torch that are trained alone."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from taskdistill.configs.stages import ProbeSettings
from taskdistill.tasks.functional.schedules import warmup_cosine, warmup_linear
from taskdistill.tasks.models.encoder import Block
from taskdistill.tasks.problems.problem import problem_named
from taskdistill.tasks.training.probe_grid import ProbeGrid
from taskdistill.tasks.training.stacked_heads import MAX_STACKED_CLASSES, HeadsOneByOne, StackedHeads, trained_together

STEPS, BATCH, WIDTH, CLASSES = 30, 64, 24, 5
RATES = (1e-3, 0.1, 1.0)
BLOCKS = [Block("last", WIDTH), Block("mean", WIDTH)]
PROBLEM = problem_named("classification")


def grid_of(rates: Sequence[float] = RATES, optimizer: str = "sgd", inputs: Sequence[str] = ("last",)) -> ProbeGrid:
    settings = ProbeSettings(
        inputs=tuple(inputs), learning_rates=tuple(rates), steps=STEPS, batch_size=BATCH, optimizer=optimizer, seed=3
    )
    return ProbeGrid(PROBLEM, settings, BLOCKS, [f"class {number}" for number in range(CLASSES)], torch.device("cpu"))


def batches() -> Iterator[tuple[dict[str, Tensor], Tensor]]:
    generator = torch.Generator().manual_seed(0)
    for _ in range(STEPS):
        labels = torch.randint(CLASSES, (BATCH,), generator=generator)
        vectors = torch.randn(2, BATCH, WIDTH, generator=generator)
        vectors[:, torch.arange(BATCH), labels] += 1.5
        yield {"last": vectors[0], "mean": vectors[1]}, labels


def trained(grid: ProbeGrid, first: int = 0) -> ProbeGrid:
    for step, batch in enumerate(batches()):
        if step >= first:
            grid.step(step, *batch)
    return grid


def heads_alone(rates: Sequence[float], optimizer: str, inputs: Sequence[tuple[str, ...]]) -> list[nn.Linear]:
    """Heads of plain torch, drawn one after the other, each trained in a loop of its own."""
    torch.manual_seed(3)
    heads = []
    for names, rate in [(names, rate) for names in inputs for rate in rates]:
        head = nn.Linear(WIDTH * len(names), CLASSES)
        nn.init.normal_(head.weight, std=0.01)
        nn.init.zeros_(head.bias)
        train_alone(head, names, rate, optimizer)  # draws nothing
        heads.append(head)
    return heads


def train_alone(head: nn.Linear, names: Sequence[str], rate: float, kind: str) -> None:
    if kind == "sgd":
        optimizer: torch.optim.Optimizer = torch.optim.SGD(head.parameters(), lr=rate * BATCH / 256, momentum=0.9)
    else:
        optimizer = torch.optim.AdamW(head.parameters(), lr=rate, weight_decay=1e-4)
    peak = optimizer.param_groups[0]["lr"]
    for step, (blocks, labels) in enumerate(batches()):
        if kind == "sgd":
            factor = warmup_cosine(step, num_steps=STEPS, num_warmup=0)
        else:
            factor = warmup_linear(step, num_steps=STEPS, num_warmup=1)
        optimizer.param_groups[0]["lr"] = peak * factor
        optimizer.zero_grad()
        cross_entropy(head(torch.cat([blocks[name] for name in names], dim=1)), labels).backward()
        optimizer.step()


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_stacked_heads_end_as_heads_that_were_trained_alone_and_are_judged_alike(optimizer: str) -> None:
    grid = trained(grid_of(optimizer=optimizer, inputs=("last", "last+mean")))
    alone = heads_alone(RATES, optimizer, [("last",), ("last", "mean")])
    for cell, expected in zip(grid.cells, alone, strict=True):
        for name, values in expected.state_dict().items():
            difference = (cell.head.state_dict()[name] - values).abs().max()
            assert difference <= 1e-5 * values.abs().max(), (cell.input, cell.learning_rate, name)
    unseen, labels = next(batches())
    losses = [
        cross_entropy(head(torch.cat([unseen[name] for name in cell.names], dim=1)), labels)
        for head, cell in zip(alone, grid.cells, strict=True)
    ]
    verdicts = grid.judged(grid.cells, [(unseen, labels)])
    assert [verdict.loss for verdict in verdicts] == pytest.approx(torch.stack(losses).tolist(), rel=1e-4)


def test_a_head_that_diverges_touches_no_other() -> None:
    beside, alone = trained(grid_of((0.1, 1e39, 1.0))), trained(grid_of((0.1, 1e-12, 1.0)))
    assert not torch.isfinite(beside.cells[1].head.weight).all()
    for number in (0, 2):
        for name, values in alone.cells[number].head.state_dict().items():
            assert torch.equal(beside.cells[number].head.state_dict()[name], values)


def test_a_grid_that_is_restored_goes_on_in_the_same_bits(tmp_path: Path) -> None:
    whole, killed = trained(grid_of()), grid_of()
    for step, batch in enumerate(batches()):
        if step < 11:
            killed.step(step, *batch)
    killed.save(tmp_path, 11)
    again = grid_of()
    assert again.restore(tmp_path) == 11
    trained(again, first=11)
    for one, other in zip(whole.cells, again.cells, strict=True):
        assert torch.equal(one.head.weight, other.head.weight)


def test_heads_are_stacked_up_to_a_number_of_classes_and_only_where_there_are_several() -> None:
    most = MAX_STACKED_CLASSES
    few, many = ([PROBLEM.head(BLOCKS[:1], num_classes) for _ in RATES] for num_classes in (most, most + 1))
    assert isinstance(trained_together(few), StackedHeads)
    assert isinstance(trained_together(many), HeadsOneByOne)
    assert isinstance(trained_together(few[:1]), HeadsOneByOne)
