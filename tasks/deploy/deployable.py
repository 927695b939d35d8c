"""A finished model as it is used: an image of any size in, the problem's outputs out.

What it is shown, and how, is what it was scored with: `evaluate`, predictions and every export go by the same clean
view, the same normalisation, the same network. What is added is a temperature that makes its confidence honest.

Shape letters: N images, H W pixels, S T height and width of a view.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor

from taskdistill.tasks.functional.views import Pixels, clean_view, replay
from taskdistill.tasks.models.device import on_device
from taskdistill.tasks.models.preprocessing import Preprocessing, normalise
from taskdistill.tasks.models.task_model import TaskModel, load_model
from taskdistill.tasks.problems.problem import Problem, problem_named
from taskdistill.tasks.problems.traced_answers import Answering


@dataclass(frozen=True)
class Deployable:
    """A network on a device, with all that it takes to use it."""

    model: TaskModel
    problem: Problem
    classes: list[str]
    device: torch.device
    temperature: float = 1.0
    """What outputs are divided by before they are taken for probabilities; 1 where nothing is known of it."""

    @classmethod
    def load(cls, folder: Path, device: torch.device, temperature: float = 1.0) -> Self:
        """Load a finished model artifact; nothing is downloaded. Raises as `load_model` does, and ModelError where the
        device has no room for it.
        """
        model, description = load_model(folder)
        problem = problem_named(description.problem)
        return cls(on_device(model, device), problem, list(description.classes), device, temperature)

    @property
    def preprocessing(self) -> Preprocessing:
        return self.model.preprocessing

    def answering(self) -> Answering:
        """Return what makes answers of outputs for clean views, by the temperature."""
        return self.problem.answering(self.preprocessing, self.temperature)

    def shown(self, pixels_HW3: Pixels) -> Pixels:
        """Cut the clean view [S, T, 3] out of a uint8 RGB image."""
        see = self.preprocessing
        height, width = pixels_HW3.shape[:2]
        view = clean_view(height, width, see.crop_share, see.crop_mode, see.width_to_height)
        return replay(pixels_HW3, view, see.size, see.interpolation)

    @torch.inference_mode()
    def outputs(self, shown_NST3: Pixels) -> Tensor:
        """Return what the network says of N clean views, float32 [N, ...], not yet divided by the temperature."""
        # Writable, as torch asks for: a single view may be an image's own bytes.
        writable_NST3 = np.require(shown_NST3, requirements=["C", "W"])
        outputs: Tensor = self.model(normalise(writable_NST3, self.preprocessing, self.device))
        return outputs.float()
