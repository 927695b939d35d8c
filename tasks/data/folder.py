"""Dataset form "folder": `split/class/file`, `class/split/file` or `class/file`; `tasks.data.layout` decides which.

Files may lie deeper than the class folder. What is no part of the dataset is named with its reason.
"""

import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from taskdistill.configs.data import IngestConfig
from taskdistill.tasks.data.candidates import Candidate, DatasetError, LeftOut, Listing, dataset_folder, some
from taskdistill.tasks.data.layout import Layout, Parts, decide
from taskdistill.tasks.data.left_out import EMPTY_FOLDER, NO_CLASS, Contents, by_reason, contents
from taskdistill.tasks.data.names import normal
from taskdistill.tasks.data.split_names import explained, meaning


def list_images(config: IngestConfig) -> Listing:
    """Return every picture of the folder with its class and split; DatasetError where the layout is doubtful."""
    folder = dataset_folder(config)
    found = contents(folder)
    if not found.pictures:
        others = ", ".join(f"{reason} {count}" for reason, count in by_reason(found.left_out).items())
        raise DatasetError(
            f"{folder} holds no pictures ({others or 'it is empty'}): set data.path to the folder of your images; "
            "archives must be unpacked first"
        )
    paths = [tuple(path.split("/")) for path in found.pictures]
    layout = decide(folder, paths, config.layout)
    in_class = [path for path in paths if len(path) > layout.num_levels]
    candidates = [_candidate(folder, path, layout) for path in in_class]
    without = [LeftOut("/".join(path), NO_CLASS) for path in paths if len(path) <= layout.num_levels]
    empty = [LeftOut(path, EMPTY_FOLDER) for path in _empty_folders(found, layout)]
    left_out = [*found.left_out, *without, *empty]
    return Listing(candidates, left_out, [*_said_of_names(in_class, layout), *_said_of_depth(in_class, layout, empty)])


def _candidate(folder: Path, path: Parts, layout: Layout) -> Candidate:
    picture = "/".join(path)
    split = "" if layout.split_level is None else layout.splits[path[layout.split_level]]
    return Candidate(picture, folder, _label(path, layout), split)


def _label(path: Parts, layout: Layout) -> str:
    if label := normal(path[layout.class_level]):
        return sys.intern(label)  # a million images hold the one string of their class
    raise DatasetError(f"the class folder of {'/'.join(path)!r} has a name of blanks only: rename it")


def _empty_folders(found: Contents, layout: Layout) -> list[str]:
    """Return the folders that stand where classes or splits do and hold no pictures at any depth."""
    used: set[str] = set()
    for path in found.pictures:
        used.update(path.rsplit("/", count)[0] for count in range(1, path.count("/") + 1))
    return [path for path in found.folders if path.count("/") < layout.num_levels and path not in used]


def _said_of_names(in_class: Sequence[Parts], layout: Layout) -> list[str]:
    """Return what was decided about names of splits and classes."""
    folders = defaultdict(set)
    for path in in_class:
        before, name = path[: layout.class_level], path[layout.class_level]
        folders[*before, normal(name)].add(name)
    merged = [
        f"{len(names)} folders whose names differ only in blanks or Unicode form are read as the class {place[-1]!r}: "
        f"{', '.join(map(ascii, sorted(names)))}"
        for place, names in folders.items()
        if len(names) > 1
    ]
    like_splits = sorted({place[-1] for place in folders if meaning(place[-1])})
    classes = [f"{some(like_splits)} is read as a class, not as a split"] if like_splits else []
    return [*explained(layout.splits), *classes, *merged]


def _said_of_depth(in_class: Sequence[Parts], layout: Layout, empty: Sequence[LeftOut]) -> list[str]:
    """Return which folders hold nothing, and which pictures lie further down than usual."""
    said = []
    if empty:
        hold = "folder holds no images and is" if len(empty) == 1 else "folders hold no images and are"
        said.append(f"{len(empty)} {hold} left out: {some([one.path for one in empty])}")
    if deeper := [path for path in in_class if len(path) > layout.num_levels + 1]:
        lie = "image lies deeper than its" if len(deeper) == 1 else "images lie deeper than their"
        count = "all" if len(deeper) == len(in_class) > 1 else str(len(deeper))
        said.append(
            f"{count} {lie} class folder, such as {'/'.join(deeper[0])!r} of the class "
            f"{_label(deeper[0], layout)!r}: folders in a class folder are no classes"
        )
    return said
