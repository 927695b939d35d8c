"""Which tensors of a network a training changes: what the optimiser is given, and what a checkpoint needs to hold.

The others are those it started from, which whoever continues it builds again: frozen parameters, and the statistics of
BatchNorm layers that normalise with their pretrained ones.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from taskdistill.configs.training import TrainingSettings
from taskdistill.tasks.models.task_model import TaskModel

BATCHNORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


def parameter_groups(model: TaskModel, settings: TrainingSettings, joins: int) -> list[dict[str, Any]]:
    """Return what AdamW is given; `joins` is the step at which the encoder begins to learn."""
    # Weight decay is for matrices and kernels: biases and scales of norms, which have one axis, are not pulled to 0.
    rate, decay = settings.learning_rate, settings.weight_decay
    head = [parameter for parameter in model.head.parameters() if parameter.requires_grad]
    of_head = {"lr": rate, "first_step": 0}
    return [
        *(group | {"first_step": joins} for group in model.encoder.parameter_groups(rate, decay, settings.layer_decay)),
        {"params": [parameter for parameter in head if parameter.ndim > 1], "weight_decay": decay, **of_head},
        {"params": [parameter for parameter in head if parameter.ndim <= 1], "weight_decay": 0.0, **of_head},
    ]


def freeze_batchnorm(model: nn.Module) -> None:
    """Let BatchNorm layers normalise with their pretrained statistics; their scale and shift still learn."""
    for module in model.modules():
        if isinstance(module, BATCHNORMS):
            module.eval()


class Trained:
    """The tensors of a network that its training changes, by their names in the state_dict."""

    def __init__(self, model: TaskModel, settings: TrainingSettings, num_head_steps: int) -> None:
        """Of a model as it starts; in the first `num_head_steps` steps its head alone learns."""
        frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
        if settings.batchnorm == "frozen":
            frozen |= set(_statistics(model))
        of_encoder = {name for name, _ in model.encoder.named_parameters(prefix="encoder")}
        self._num_head_steps, self._frozen = num_head_steps, frozen
        self._frozen_at_first = frozen | of_encoder | set(_statistics(model.encoder, "encoder"))

    def of(self, tensors: Mapping[str, Tensor], step: int, *, within: str = "") -> dict[str, Tensor]:
        """Return those of a state_dict that may differ from the start after so many steps; `within` is the prefix of
        the network's names in it.
        """
        if step == 0:
            return {}
        frozen = self._frozen_at_first if step <= self._num_head_steps else self._frozen
        return {name: tensor for name, tensor in tensors.items() if name.removeprefix(within) not in frozen}


def _statistics(module: nn.Module, prefix: str = "") -> Iterator[str]:
    """Yield the names of all statistics of BatchNorm layers."""
    for place, layer in module.named_modules(prefix=prefix):
        if isinstance(layer, BATCHNORMS):
            yield from (name for name, _ in layer.named_buffers(prefix=place))
