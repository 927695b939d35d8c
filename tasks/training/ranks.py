"""What processes that train one network together tell each other: each has a share of every batch, and sums are over
all of them. The processes are started by `tasks.training.launching`; one that trains alone is a rank too.

A sum is the same bits on every rank, so that all take the same step from the same gradient.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Self

import torch
import torch.distributed as dist
from torch import Tensor

from taskdistill.tasks.functional.shares import Share


class Ranks(NamedTuple):
    """This process among those that train one network."""

    share: Share

    @classmethod
    def joined(cls) -> Self:
        """Return the place of this process in the process group, or the one of a process that trains alone."""
        if not (dist.is_available() and dist.is_initialized()):
            return cls(Share())
        return cls(Share(dist.get_rank(), dist.get_world_size()))

    @property
    def is_first(self) -> bool:
        """Whether this one validates and writes; the others wait for its next gradient meanwhile."""
        return self.share.rank == 0

    def seeds(self, *numbers: int) -> list[int]:
        """Return what random numbers of this rank are seeded by; of the first those of a process that trains alone."""
        return [*numbers, self.share.rank] if self.share.rank else [*numbers]

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Put the sums over all ranks in place of floating-point tensors that each of them has, in one message."""
        if self.share.num_ranks == 1:
            return
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        dist.all_reduce(flat)
        sums = torch.split(flat, [tensor.numel() for tensor in tensors])
        for tensor, total in zip(tensors, sums, strict=True):
            tensor.copy_(total.view(tensor.shape))

    def total(self, counts: Mapping[str, Tensor], device: torch.device) -> Mapping[str, Tensor]:
        """Return the sums over all ranks of scalars by name."""
        if self.share.num_ranks == 1:
            return counts
        # Added as float64: exact for whole numbers, and one type, whether a rank counts pixels or adds up weights.
        totals = {name: count.to(device, torch.float64) for name, count in counts.items()}
        self.add_up(list(totals.values()))
        return {name: total.float() for name, total in totals.items()}  # the type of losses, which they divide

    def check_start(self, step: int, device: torch.device) -> None:
        """Raise RuntimeError where ranks would not begin at the same step: one could not read the checkpoint."""
        total = torch.tensor(float(step), dtype=torch.float64, device="cpu" if self.share.num_ranks == 1 else device)
        self.add_up([total])
        if total != step * self.share.num_ranks:
            raise RuntimeError(
                f"rank {self.share.rank} begins at step {step}, others at another: the checkpoint was not read by all "
                "of them. Run the same command again"
            )
