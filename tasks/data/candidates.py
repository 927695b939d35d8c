"""What a dataset form yields: the images it names, before any of them is opened."""

from pathlib import Path
from typing import NamedTuple

from configs.data import IngestConfig
from configs.errors import UserError


class DatasetError(UserError, ValueError):
    """A dataset that cannot be used as it is; the message names the files and what would be right."""


class Candidate(NamedTuple):
    """One image a dataset names."""

    id: str
    """Its path relative to the dataset's folder, with forward slashes; unique and stable."""
    path: Path
    label: str
    """Name of its class."""
    split: str
    """train, val or test; empty where the dataset does not say."""
    mask: Path | None = None
    """Its label map, where the dataset has one."""


SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
"""How datasets call their splits -> what we call them."""


def dataset_folder(config: IngestConfig) -> Path:
    """Return the dataset's folder; DatasetError where there is none."""
    folder = Path(config.path).expanduser()
    if not config.path or not folder.is_dir():
        raise DatasetError(f"data.path is {config.path!r}, which is not a folder: set it to the folder of your images")
    return folder.absolute()
