"""What a dataset form yields: the images it names, before any of them is opened, and what it passes over."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from taskdistill.configs.data import IngestConfig
from taskdistill.configs.errors import UserError
from taskdistill.tasks.data.label_tables import LabelTable


class DatasetError(UserError, ValueError):
    """A dataset that cannot be used as it is; the message names the files and what would be right."""


class Candidate(NamedTuple):
    """One image a dataset names. Of a million, all are held until the end: so it has no path of its own."""

    id: str
    """Its path relative to the dataset's folder, with forward slashes; unique and stable."""
    folder: Path
    """The dataset's, the same object for all its images."""
    label: str | None
    """Name of its class, in normal form (`tasks.data.names`); None where it has none, as where a mask says what is to
    be learnt. Either all images of a dataset have a label or none has, those of the split unlabelled aside.
    """
    split: str
    """train, val, test or unlabelled; empty where the dataset does not say."""
    mask_id: str | None = None
    """The path of its label map, relative to the dataset's folder; None where it has none."""

    @property
    def path(self) -> Path:
        return self.folder / self.id

    @property
    def mask(self) -> Path | None:
        return None if self.mask_id is None else self.folder / self.mask_id


class LeftOut(NamedTuple):
    """Something in the dataset's folder that is no part of the dataset."""

    path: str
    """Relative to the folder."""
    reason: str
    """One of a few, to be counted by (`tasks.data.left_out`)."""
    detail: str = ""


class Listing(NamedTuple):
    """A dataset as its form reads it."""

    candidates: Sequence[Candidate]
    left_out: Sequence[LeftOut] = ()
    said: Sequence[str] = ()
    """A sentence for each decision that was taken for the user."""
    labels: LabelTable | None = None
    """What the numbers or colours of the masks mean, where the form knows it; data.labels goes before it."""


def dataset_folder(config: IngestConfig) -> Path:
    """Return the dataset's folder; DatasetError where there is none."""
    folder = Path(config.path).expanduser()
    if not config.path or not folder.is_dir():
        raise DatasetError(f"data.path is {config.path!r}, which is not a folder: set it to the folder of your images")
    return folder.absolute()


def some(names: Sequence[str], most: int = 3) -> str:
    """Return the first names, quoted, and how many more there are: 'a', 'b', 'c' and 7 more."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(repr(name) for name in names[:most]) + more
