"""A finished model as it is used: an image of any size in, the problem's outputs out.

Every score, of a finished model and of one in training, every prediction and every export goes by this: the same views,
the same normalisation, the same network. What is added is a temperature that makes its confidence honest.

Shape letters: N images, M windows of one, C channels, H W pixels, S T height and width of a view; 9 numbers cut one.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from taskdistill.configs.evaluation import WindowSettings
from taskdistill.storage.weights import ModelDescription
from taskdistill.tasks.functional.views import Pixels, View
from taskdistill.tasks.models.device import autocast, on_device
from taskdistill.tasks.models.preprocessing import Preprocessing, normalise
from taskdistill.tasks.models.task_model import TaskModel, load_model
from taskdistill.tasks.problems.problem import Problem, problem_named
from taskdistill.tasks.problems.traced_answers import Answering


@dataclass(frozen=True)
class Deployable:
    """A network on a device, with all that it takes to use it."""

    model: nn.Module
    """Normalised images [N, 3, S, T] -> outputs [N, ...]."""
    problem: Problem
    classes: list[str]
    preprocessing: Preprocessing
    device: torch.device
    temperature: float = 1.0
    """What outputs are divided by before they are taken for probabilities; 1 where nothing is known of it."""

    @classmethod
    def load(cls, folder: Path, device: torch.device, temperature: float = 1.0) -> Self:
        """Load a finished model artifact; nothing is downloaded. Raises as `load_model` does, and ModelError where the
        device has no room for it.
        """
        return cls.of(*load_model(folder), device, temperature)

    @classmethod
    def of(
        cls, model: TaskModel, description: ModelDescription, device: torch.device, temperature: float = 1.0
    ) -> Self:
        """Return a model that is loaded, on a device; ModelError where that has no room for it."""
        problem, classes = problem_named(description.problem), list(description.classes)
        return cls(on_device(model, device), problem, classes, model.preprocessing, device, temperature)

    def answering(self) -> Answering:
        """Return what makes answers of outputs for clean views, by the temperature."""
        return self.problem.answering(self.preprocessing, self.temperature)

    def windows(self, height: int, width: int, settings: WindowSettings) -> View:
        """Return how the views [M, 9] are cut in which an image of this size is shown."""
        return self.problem.windows(height, width, self.preprocessing, settings)

    def shown(self, pixels_HW3: Pixels) -> Pixels:
        """Cut the clean view [S, T, 3] out of a uint8 RGB image."""
        return self.preprocessing.cut(pixels_HW3, self.preprocessing.clean(*pixels_HW3.shape[:2]))

    @torch.inference_mode()
    def outputs(self, shown_NST3: Pixels, precision: str = "fp32") -> Tensor:
        """Return what the network says of N views, float32 [N, ...], not yet divided by the temperature."""
        # Writable, as torch asks for: a single view may be an image's own bytes.
        writable_NST3 = np.require(shown_NST3, requirements=["C", "W"])
        images_NCST = normalise(writable_NST3, self.preprocessing, self.device)
        with autocast(self.device, precision):
            # What is made of outputs is computed in float32 whatever the network computes in: sums of bf16 logits would
            # move scores.
            outputs: Tensor = self.model(images_NCST).float()
        return outputs
