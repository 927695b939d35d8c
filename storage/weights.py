"""Kinds probe and model: safetensors beside a description that says how to build the network they belong to."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from taskdistill.storage.descriptions import Description
from taskdistill.storage.files import atomic, open_as_others_are, write_json
from taskdistill.storage.manifest import Manifest, check_file
from taskdistill.storage.weight_formats import readable, tensor_forms

MODEL = "model.json"

Tensors = Mapping[str, npt.NDArray[Any]]


class ModelDescription(Description):
    """All that is needed, beside the tensors, to build the network again."""

    problem: str
    backbone: dict[str, Any]
    """Settings of the backbone (configs.models.Backbone), without the place of its weight file."""
    preprocessing: dict[str, Any]
    """How the network wants to see an image (tasks.models.preprocessing)."""
    encoder: str
    """Fingerprint of the pretrained encoder: its settings and the content of its weights."""
    blocks: list[str]
    """Which blocks of the encoder's summary the head sees, concatenated."""
    classes: list[str]
    weights: str
    """The safetensors file to load: of the head alone (probe) or of the whole network (model)."""
    head: str = "linear"
    """Which of the problem's heads it is; left out where it is the one that all had once."""

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the description of a finished probe or model; CorruptArtifactError where it is damaged."""
        return cls.of_format(check_file(folder, MODEL), Manifest.read(folder).format)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the views that the network wants to see, in pixels."""
        return size_of(self.preprocessing)

    def write(self, folder: Path) -> None:
        write_json(folder / MODEL, self.model_dump(mode="json", exclude_defaults=True))


def size_of(preprocessing: Mapping[str, Any]) -> tuple[int, int]:
    """Return height and width in pixels of what a network with this preprocessing is shown; squares have no width."""
    height = int(preprocessing["side_px"])
    return height, int(preprocessing.get("width_px") or height)


def write_tensors(path: Path, tensors: Tensors, note: str = "") -> None:
    """Write tensors, all of them or nothing; one text may go along (several would be stored in a random order).

    Raises OSError where the system refuses, as for a full disk.
    """
    with atomic(path) as partial, _system_errors():
        # Not np.ascontiguousarray, which gives a scalar such as a step count the shape (1,).
        save_file({name: np.asarray(tensor, order="C") for name, tensor in tensors.items()}, partial, {"note": note})
        open_as_others_are(partial)


@contextmanager
def _system_errors() -> Iterator[None]:
    """Give an error of the system, such as a full disk, the type it has everywhere else."""
    try:
        yield
    except SafetensorError as error:
        found = re.search(r"os error (\d+)", str(error))
        if not found:
            raise
        raise OSError(int(found[1]), str(error)) from error


def read_tensors(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Read a safetensors file that this program wrote; WeightFileError where it is something else, such as a pickle."""
    tensor_forms(path)
    with readable(path):
        return dict(load_file(path))


def read_committed_tensors(folder: Path, name: str) -> dict[str, npt.NDArray[Any]]:
    """Read a weight file of a finished artifact after comparing its digest with the manifest; CorruptArtifactError
    where it differs.
    """
    return read_tensors(check_file(folder, name))
