"""What a target of `taskdistill export` is given and what it returns, and the frame in which all of them work: a new
folder that is whole or not there, with the card and a record of the digests of its files.

Shape letters: K classes.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from taskdistill.configs.errors import UserError
from taskdistill.storage.files import PARTIAL, all_files, atomic, make_folder, sync_tree
from taskdistill.storage.image_set import ImageSet
from taskdistill.storage.weights import ModelDescription
from taskdistill.tasks.export.record import RECORD, FolderRecord, recorded
from taskdistill.tasks.problems.palette import known_colours

CARD = "README.md"
FP32 = "fp32"


class ExportError(UserError, ValueError):
    """A model that cannot be handed over, or a folder that it cannot be written to or read from."""


class Given(NamedTuple):
    """What a target is given of a finished model."""

    artifact: Path
    """Its folder in the store."""
    images: ImageSet | None = None
    """What it was trained and is tested on; None where the store no longer has it."""
    temperature: float = 1.0
    """What its outputs are divided by before they are probabilities."""
    precision: str = FP32
    card_head: Mapping[str, Any] = {}
    """What hubs read at the beginning of a card."""
    card: str = ""
    """What the lineage tells of the model, Markdown."""
    model: str = ""
    """Its reference."""
    on_progress: Callable[[str, int, int], None] = lambda unit, done, total: None
    """Told of the images on which answers are compared, which takes minutes for maps: unit, done, of how many."""


class Written(NamedTuple):
    """What a target did: it wrote its files, but neither the card nor the record."""

    usage: str
    """How the folder is used, Markdown that begins with a title: the beginning of the card."""
    said: list[str]
    """A sentence for each thing that a person should know, such as how near the answers are."""
    measured: Mapping[str, float]
    """The numbers in these sentences, for programs."""
    head: Mapping[str, Any] = {}
    """What hubs are told beside what the lineage says."""


Target = Callable[[Given, Path], Written]
"""Writes a model into an empty folder; ExportError where it cannot be handed over in this way."""


class Exported(NamedTuple):
    """A folder that was written."""

    files: list[str]
    said: list[str]
    measured: Mapping[str, float]


def export(target: Target, name: str, given: Given, folder: Path) -> Exported:
    """Write a finished model as a new folder, whole or not at all.

    Raises ExportError where the folder is there already, and as the target does.
    """
    folder = folder.absolute()
    if folder.exists() or folder.is_symlink():
        raise ExportError(f"{folder} is there already: name a new folder, or remove it")
    make_folder(folder.parent)
    with atomic(folder) as partial:
        partial.mkdir()
        written = target(given, partial)
        description = ModelDescription.read(given.artifact)
        recorded(partial, FolderRecord(
            target=name, precision=given.precision, problem=description.problem, classes=description.classes,
            temperature=given.temperature, model=given.model,
            **_of_images(given.images, description.classes),
        ))  # fmt: skip
        # After the record: a card is for people, who may write in it what they like.
        (partial / CARD).write_text(_card(given, written), encoding="utf-8")
        sync_tree(partial)
    files = [path.relative_to(folder).as_posix() for path in all_files(folder)]
    said = [*written.said, *_left_behind(folder)]
    return Exported(sorted({file.partition("/")[0] for file in files}), said, written.measured)


def _left_behind(folder: Path) -> list[str]:
    """Say what lies beside a folder of exports that were killed. It stays: that of one that runs is called alike."""
    beside = sorted(path for path in folder.parent.iterdir() if path.name.startswith(f"{folder.name}."))
    return [
        f"{path} is left from an export that was killed: remove it, unless one is running"
        for path in beside
        if path.suffix == PARTIAL
    ]


def _of_images(images: ImageSet | None, classes: Sequence[str]) -> dict[str, Any]:
    """Return what else must be known of the images that a model was trained on, to predict others as the store does."""
    if images is None:
        return {}
    colours_K3 = known_colours(images, classes)
    return {"levels": images.levels, "colours": [] if colours_K3 is None else colours_K3.tolist()}


def opened(folder: Path) -> FolderRecord:
    """Return the record of an exported folder after comparing every file but the card with its digest.

    Raises ExportError where the folder is none that was exported, or a file is missing or altered.
    """
    try:
        record = FolderRecord.read(folder)
    except (OSError, ValueError) as error:
        raise ExportError(
            f"{folder} is no folder that 'taskdistill export' wrote, or its {RECORD} is damaged or altered: export the "
            "model again"
        ) from error
    if missing := [name for name in record.files if not (folder / name).is_file()]:
        raise ExportError(f"{folder} lacks {', '.join(sorted(missing))}: export the model again, into a new folder")
    if altered := record.altered(folder):
        raise ExportError(
            f"in {folder} {', '.join(sorted(altered))} is not what was exported: export the model again, into a new "
            "folder"
        )
    return record


def _card(given: Given, written: Written) -> str:
    """Return the card: what hubs read, how the folder is used, what the lineage tells."""
    head = {**given.card_head, **written.head}
    told = yaml.safe_dump(head, sort_keys=False, allow_unicode=True) if head else ""
    parts = [f"---\n{told}---" if told else "", written.usage, given.card]
    return "\n\n".join(part.strip() for part in parts if part.strip()) + "\n"
