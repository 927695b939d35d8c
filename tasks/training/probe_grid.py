"""A grid of heads on one frozen encoder: each choice of inputs times each learning rate, all trained at once.

The protocol is DINOv2's linear evaluation (arXiv 2304.07193, appendix B.3): SGD with momentum 0.9, no weight decay,
cosine to 0, 13 learning rates times a choice of inputs. Its dense probes are trained with AdamW instead, as
mmsegmentation trains: weight decay, warm-up, and a straight line to 0. The heads see the same batches and do not touch
each other, so one pass over the images, or over what is cached of them, trains all of them; those of few classes in one
product (tasks.training.stacked_heads).

BatchNorm in a head normalises with the statistics of the batch while it is trained, and is judged with their running
mean, which goes along with its weights.
"""

import functools
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
from taskdistill.tasks.problems.problem import Problem, Score
from taskdistill.tasks.training import checkpoint
from taskdistill.tasks.training.stacked_heads import Heads, trained_together

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


class Verdict(NamedTuple):
    """What validation says of one head."""

    score: Score
    loss: float
    """NaN where no image was seen."""

    @property
    def rank(self) -> tuple[bool, float, float]:
        """Best score first, then smallest loss; a head that diverged comes last."""
        finite = math.isfinite(self.loss)
        return finite, self.score.value if finite else 0.0, -self.loss if finite else 0.0


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
        # Stacking replaces the parameters, which the optimiser holds on to.
        self._together = _by_input(self.cells)
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
        for names, heads in self._together:
            heads.backward(self._problem, [blocks[name] for name in names], targets)
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

    @torch.inference_mode()
    def judged(self, cells: Sequence[Cell], validation: Iterable[tuple[Blocks, Tensor]]) -> list[Verdict]:
        """Judge some of the heads on the batches of validation.

        The meter of a head may hold its outputs for all of them: whoever can read the batches again judges one head
        after the other, and holds those of one.
        """
        meters = [self._problem.meter(self._classes) for _ in cells]
        losses: list[list[Sum]] = [[] for _ in cells]
        for blocks, targets in validation:
            for cell, meter, of_batches in zip(cells, meters, losses, strict=True):
                cell.head.eval()
                outputs = cell.outputs(blocks)
                meter.update(outputs, targets)
                of_batches.append(self._problem.task_loss(outputs, targets))
        name = self._problem.metrics[0].name
        scores = [Score(meter.compute()[name], meter.standard_errors()[name]) for meter in meters]
        return [Verdict(score, _mean(of_batches)) for score, of_batches in zip(scores, losses, strict=True)]

    def write(
        self, draft: Path, problem: str, encoded: Encoded, verdicts: Sequence[Verdict], num_images: int
    ) -> ProbeSummary:
        """Write the best head and the table of all, given what was judged of each cell.

        `num_images` are those they were trained on, for the summary.
        """
        best = max(range(len(verdicts)), key=lambda cell: verdicts[cell].rank)
        kept, score = self.cells[best], verdicts[best].score
        write_table(
            draft / "grid.parquet", PROBE_GRID, [_row(*pair) for pair in zip(self.cells, verdicts, strict=True)]
        )
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


def _row(cell: Cell, verdict: Verdict) -> dict[str, Any]:
    tried = {"input": cell.input, "learning_rate": cell.learning_rate}
    return {**tried, "val_score": verdict.score.value, "val_loss": verdict.loss}


def _mean(losses: Sequence[Sum]) -> float:
    return float(functools.reduce(Sum.__add__, losses).mean()) if losses else math.nan


def _by_input(cells: Sequence[Cell]) -> list[tuple[tuple[str, ...], Heads]]:
    """Return the heads of each input, beside the blocks they see."""
    heads: dict[tuple[str, ...], list[nn.Module]] = {}
    for cell in cells:
        heads.setdefault(cell.names, []).append(cell.head)
    return [(names, trained_together(some)) for names, some in heads.items()]


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
