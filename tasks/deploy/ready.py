"""Which model is to predict, and how: settled without torch, so that a mistake is told at once.

Shape letters: K classes.
"""

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from taskdistill.configs.errors import SettingsError
from taskdistill.configs.evaluation import WindowSettings
from taskdistill.configs.runtime import RuntimeConfig
from taskdistill.storage.image_set import Levels, levels_of
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.weights import ModelDescription
from taskdistill.tasks.cores import num_cores
from taskdistill.tasks.deploy.temperature import FITTED_ON, evaluation_of, fitted_in, windows_of
from taskdistill.tasks.functional.temperatures import UNCHANGED
from taskdistill.tasks.problems.calibrating import Coverage, confidence_of
from taskdistill.tasks.problems.palette import Colours, colours_of

if TYPE_CHECKING:
    from taskdistill.tasks.deploy.networks import Network

    Load = Callable[[RuntimeConfig], Network]

FORMATS = (".csv", ".parquet")
"""Of tables of predictions."""

IMAGES_AT_ONCE = 32
"""On a CPU more are no faster, and take memory."""


def unless_said_otherwise() -> dict[str, int]:
    """Return the settings of runtime that predicting has where nobody says others: it has the machine to itself, as a
    step of a run has not.
    """
    return {"threads": min(num_cores(), 256), "inference_batch_size": IMAGES_AT_ONCE}


class Wish(NamedTuple):
    """What a person asks of answers."""

    top: int = 3
    threshold: float = 0.0
    temperature: float = 0.0
    """0: the one that fits validation best."""

    def check(self) -> None:
        """Raise SettingsError where a number cannot be used."""
        if self.top < 1:
            raise SettingsError(f"--top {self.top}: expected 1 or more classes")
        if not 0 <= self.threshold <= 1:
            raise SettingsError(f"--threshold {self.threshold:g}: expected a probability from 0 to 1, such as 0.8")
        if not 0 <= self.temperature < math.inf:
            raise SettingsError(f"--temperature {self.temperature:g}: expected a number above 0; 1 changes nothing")


@dataclass(frozen=True)
class Ready:
    """A finished model that is to predict, with all that is known of how it was scored; nothing is loaded yet."""

    name: str
    """Its reference in the store, or in the one that it was exported from."""
    load: "Load"
    """Loads it for a device."""
    classes: Sequence[str]
    colours_K3: Colours
    wish: Wish
    temperature: float
    temperature_by: str
    """Where that is from, in words."""
    levels: Levels | None
    windows: WindowSettings
    on_validation: Coverage | None = None
    """What the threshold did there; None where nobody knows."""
    exported: str = ""
    """As what it was exported, and in which precision, where it lies in a folder of its own."""

    @classmethod
    def of(cls, store: ArtifactStore, model: ArtifactRef, wish: Wish) -> "Ready":
        """Look up a model. Raises SettingsError where a number of the wish cannot be used, NotInStoreError."""
        wish.check()
        folder, evaluation = store.path(model), evaluation_of(store, model)
        description = ModelDescription.read(folder)
        trained_on = store.manifest(model).input_refs.get("images")
        images = store.path(trained_on) if trained_on and trained_on in store else None
        temperature = wish.temperature or (fitted_in(store, evaluation) if evaluation else UNCHANGED)
        found = evaluation and confidence_of(description.problem, store.path(evaluation), FITTED_ON)
        windows = windows_of(store, evaluation) if evaluation else WindowSettings()
        return cls(
            name=str(model),
            load=functools.partial(_out_of_the_store, folder, windows),
            classes=description.classes,
            colours_K3=colours_of(images, description.classes),
            wish=wish,
            temperature=temperature,
            temperature_by="fitted on validation" if found else "nothing tells of another",
            levels=levels_of(images) if images else None,
            windows=windows,
            on_validation=found.answered(wish.threshold, temperature) if found else None,
        )

    def made_by(self) -> dict[str, Any]:
        """What tells a table of these answers from others."""
        made_by = {
            "model": self.name,
            "top": self.wish.top,
            "threshold": self.wish.threshold,
            "temperature": round(self.temperature, 6),
            "windows": self.windows.model_dump(mode="json"),
        }
        return made_by | ({"exported": self.exported} if self.exported else {})

    def said(self) -> list[str]:
        """Return a sentence on the temperature, and one on the threshold where there is one."""
        by = "as asked" if self.wish.temperature else self.temperature_by
        sentences = [f"Probabilities are those at temperature {self.temperature:.3g} ({by})."]
        if self.wish.threshold and self.on_validation:
            sentences.append(f"With the threshold {self.wish.threshold:g}, on validation: {self.on_validation}.")
        elif self.wish.threshold:
            sentences.append(
                f"What the threshold {self.wish.threshold:g} leaves out on validation is not known: no evaluation of "
                "this model is at hand."
            )
        return sentences


def check_output(path: Path) -> None:
    """Raise SettingsError where no table can be written under this name."""
    if path.suffix.lower() not in FORMATS:
        raise SettingsError(f"--output {path}: let its name end in {' or '.join(FORMATS)}, which says what is written")
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise SettingsError(f"--output {path}: there is no folder {path.absolute().parent}, or this is a folder itself")


def _out_of_the_store(folder: Path, windows: WindowSettings, runtime: RuntimeConfig) -> "Network":
    from taskdistill.tasks.deploy.deployable import Deployable  # torch
    from taskdistill.tasks.deploy.networks import InWindows
    from taskdistill.tasks.models.device import device_of

    return InWindows(Deployable.load(folder, device_of(runtime)), windows, runtime.inference_batch_size)
