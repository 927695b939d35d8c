"""A grid of heads on one frozen encoder: each choice of inputs times each learning rate, all trained at once.

The protocol is DINOv2's linear evaluation (arXiv 2304.07193, appendix B.3): SGD with momentum 0.9, no weight decay,
cosine to 0, 13 learning rates times a choice of inputs. Its dense probes are trained with AdamW instead, as
mmsegmentation trains: weight decay, warm-up, and a straight line to 0. The heads see the same batches and do not touch
each other, so one pass over the images, or over what is cached of them, trains all of them.

BatchNorm in a head normalises with the statistics of the batch while it is trained, and is judged with their running
mean, which goes along with its weights.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from taskdistill.configs.stages import ProbeSettings
from taskdistill.storage.summaries import ProbeSummary
from taskdistill.storage.tables import PROBE_GRID, write_table
from taskdistill.storage.weights import ModelDescription, write_tensors
from taskdistill.tasks.functional.schedules import warmup_cosine, warmup_linear
from taskdistill.tasks.functional.sums import Sum
from taskdistill.tasks.models.encoder import Block, blocks_named
from taskdistill.tasks.models.task_model import as_arrays
from taskdistill.tasks.problems.problem import Meter, Problem, score_of
from taskdistill.tasks.training import checkpoint

LEARNING_RATE_BATCH = 256
ADAMW_WEIGHT_DECAY, ADAMW_WARMUP = 1e-4, 0.0375
"""The share of the steps is 1,500 of 40,000."""

Blocks = Mapping[str, Tensor]
"""What an encoder gave for a batch: name -> vectors [N, D] or maps [N, D, h, w], on the heads' device."""


class Cell(NamedTuple):
    """One cell of the grid."""

    input: str
    learning_rate: float
    names: tuple[str, ...]
    """The blocks its head sees, in their order."""
    head: nn.Module

    def outputs(self, blocks: Blocks) -> Tensor:
        outputs: Tensor = self.head(*(blocks[name] for name in self.names))
        return outputs


class Encoded(NamedTuple):
    """Who encoded what the heads see: goes into the description of the probe."""

    backbone: dict[str, Any]
    preprocessing: dict[str, Any]
    encoder: str
    """Its fingerprint."""


class ProbeGrid:
    """Heads in training. Raises ModelError where the encoder lacks a block that one of them is to see."""

    def __init__(
        self,
        problem: Problem,
        settings: ProbeSettings,
        blocks: Sequence[Block],
        classes: Sequence[str],
        device: torch.device,
    ) -> None:
        self._problem, self._settings, self._classes = problem, settings, list(classes)
        self.cells = _cells(problem, settings, blocks, len(classes), device)
        self._optimizer = _optimizer(settings, self.cells)
        self._peaks = [group["lr"] for group in self._optimizer.param_groups]

    @property
    def names(self) -> list[str]:
        """Every block that some head sees, each once."""
        return list(dict.fromkeys(name for cell in self.cells for name in cell.names))

    def step(self, step: int, blocks: Blocks, targets: Tensor) -> None:
        """Train all heads on one batch."""
        for group, peak in zip(self._optimizer.param_groups, self._peaks, strict=True):
            group["lr"] = peak * _rate_factor(self._settings, step)
        self._optimizer.zero_grad()
        # Their gradients do not meet, so that the sum of the losses trains each head as if it were alone.
        losses = [self._problem.task_loss(cell.outputs(blocks), targets).mean() for cell in self.cells]
        torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()

    def save(self, draft: Path, step: int) -> None:
        """Write all that the next step depends on."""
        groups = {f"head{number}": cell.head.state_dict() for number, cell in enumerate(self.cells)}
        checkpoint.save(draft, {**groups, "optimizer": checkpoint.optimizer_tensors(self._optimizer)}, {"step": step})

    def restore(self, draft: Path) -> int:
        """Go on from what `save` wrote; returns the step to go on with, 0 where nothing was written."""
        if (found := checkpoint.load(draft)) is None:
            return 0
        groups, facts = found
        for number, cell in enumerate(self.cells):
            cell.head.load_state_dict(groups[f"head{number}"])
        checkpoint.restore_optimizer(self._optimizer, groups["optimizer"])
        return int(facts["step"])

    def write(
        self, draft: Path, problem: str, encoded: Encoded, validation: Iterable[tuple[Blocks, Tensor]], num_images: int
    ) -> ProbeSummary:
        """Judge every head on the batches of validation, and write the best one and the table of all.

        `num_images` are those it was trained on, for the summary.
        """
        meters, rows = self._judged(validation)
        best = max(range(len(rows)), key=lambda cell: _rank(rows[cell]))
        kept, score = self.cells[best], score_of(self._problem, meters[best])
        write_table(draft / "grid.parquet", PROBE_GRID, rows)
        write_tensors(draft / "head.safetensors", as_arrays(kept.head.state_dict()))
        description = {"problem": problem, "blocks": list(kept.names), "classes": self._classes}
        kind = self._settings.head
        ModelDescription(**encoded._asdict(), **description, weights="head.safetensors", head=kind).write(draft)
        return ProbeSummary(
            input=kept.input,
            learning_rate=kept.learning_rate,
            score_name=self._problem.metrics[0].name,
            val_score=score.value,
            val_score_standard_error=score.standard_error,
            grid=len(self.cells),
            images=num_images,
        )

    @torch.inference_mode()
    def _judged(self, validation: Iterable[tuple[Blocks, Tensor]]) -> tuple[list[Meter], list[dict[str, Any]]]:
        meters = [self._problem.meter(self._classes) for _ in self.cells]
        losses: list[Sum | None] = [None] * len(self.cells)
        for blocks, targets in validation:
            for number, cell in enumerate(self.cells):
                cell.head.eval()
                outputs = cell.outputs(blocks)
                meters[number].update(outputs, targets)
                loss, before = self._problem.task_loss(outputs, targets), losses[number]
                losses[number] = loss if before is None else before + loss
        name = self._problem.metrics[0].name
        rows = [
            {
                "input": cell.input,
                "learning_rate": cell.learning_rate,
                "val_score": meter.compute()[name],
                "val_loss": math.nan if loss is None else float(loss.mean()),
            }
            for cell, meter, loss in zip(self.cells, meters, losses, strict=True)
        ]
        return meters, rows


def _cells(
    problem: Problem, settings: ProbeSettings, blocks: Sequence[Block], num_classes: int, device: torch.device
) -> list[Cell]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        cells = []
        for name in settings.inputs:
            seen = blocks_named(blocks, problem.inputs()[name])
            for learning_rate in settings.learning_rates:
                head = problem.head(seen, num_classes, settings.head).to(device)
                cells.append(Cell(name, learning_rate, tuple(block.name for block in seen), head))
    return cells


def _optimizer(settings: ProbeSettings, cells: Sequence[Cell]) -> torch.optim.Optimizer:
    """Return the optimiser of all heads, a group of each with its own peak learning rate."""
    if settings.optimizer == "adamw":
        # Its steps are as long whatever the size of gradients: their peak is not scaled with the batch.
        groups = [{"params": cell.head.parameters(), "lr": cell.learning_rate} for cell in cells]
        return torch.optim.AdamW(groups, weight_decay=ADAMW_WEIGHT_DECAY)
    peaks = [cell.learning_rate * settings.batch_size / LEARNING_RATE_BATCH for cell in cells]
    groups = [{"params": cell.head.parameters(), "lr": peak} for cell, peak in zip(cells, peaks, strict=True)]
    return torch.optim.SGD(groups, momentum=0.9)


def _rate_factor(settings: ProbeSettings, step: int) -> float:
    """Return the factor on the peak learning rates at a step."""
    if settings.optimizer == "adamw":
        num_warmup = round(ADAMW_WARMUP * settings.steps)
        return warmup_linear(step, num_steps=settings.steps, num_warmup=num_warmup)
    return warmup_cosine(step, num_steps=settings.steps, num_warmup=0)


def _rank(row: dict[str, Any]) -> tuple[bool, float, float]:
    """Best score first, then smallest loss; a head that diverged comes last."""
    finite = math.isfinite(row["val_loss"])
    return finite, row["val_score"] if finite else 0.0, -row["val_loss"] if finite else 0.0
