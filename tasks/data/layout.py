"""How a folder is read: which folders are splits, which are classes. Decided once, from all relative paths.

The rules, in this order; a picture is what `tasks.data.left_out` takes for one, and only folders with pictures count.

1. All top folders have names of splits (`tasks.data.split_names`): `split/class/file`.
2. Some have, others not: refused, but for a single `train` that holds pictures itself: trains are a class of many
   datasets, and pictures to train on would lie in class folders.
3. A single top folder whose content is a sound layout is a wrapper: refused, naming the folder that was meant.
4. In each top folder, all folders have names of splits: `class/split/file`. If only some have, it is refused.
5. Else `class/file`. Two or more top folders that speak of different splits without being named so (`seg_train`,
   `seg_test`) are refused if they are at least half of all.

Then, for all three forms: a split that holds pictures but no class folders is refused. Files may lie deeper than their
class folder; but where at least half of the classes hold no pictures themselves, only folders that repeat in other
classes, the classes are probably one level deeper, and it is refused. Pictures in no class folder are left out, and
refused when they are more than a tenth. Whatever is refused as doubtful can be settled by `data.layout`.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from taskdistill.configs.counting import counted
from taskdistill.tasks.data.candidates import DatasetError, some
from taskdistill.tasks.data.names import normal
from taskdistill.tasks.data.split_names import hint, meaning, resolve

Parts = tuple[str, ...]
"""A relative path, cut at its slashes."""

MAX_WITHOUT_CLASS = 0.1
STATE_IT = "or say how it is meant with --set data.layout=class, split/class or class/split"


class Layout(NamedTuple):
    """Where in a path its class and its split stand."""

    class_level: int
    split_level: int | None = None
    splits: Mapping[str, str] = {}
    """Name of a folder -> train, val or test."""

    @property
    def num_levels(self) -> int:
        """Folders above a picture that lies directly in its class."""
        return 1 if self.split_level is None else 2


def decide(folder: Path, paths: Sequence[Parts], stated: str = "by-names") -> Layout:
    """Return how the pictures with these paths are laid out; DatasetError where it is doubtful, or neither form."""
    if not any(len(path) > 1 for path in paths):
        raise DatasetError(
            f"{folder} holds no class folders: expected class/file.jpg or train/class/file.jpg below it, or a table of "
            "labels (--set data.form=table)"
        )
    layout = _by_names(folder, paths) if stated == "by-names" else _as_stated(folder, paths, stated)
    _refuse_splits_without_classes(folder, paths, layout)
    _refuse_without_class(folder, paths, layout)
    if stated == "by-names":
        _refuse_repeated_folders(folder, paths, layout)
    return layout


def _by_names(folder: Path, paths: Sequence[Parts]) -> Layout:
    below = _folders_below(paths)
    with_pictures = {path[0] for path in paths if len(path) == 2}
    splits = {top for top in below if meaning(top)}
    if splits == below.keys():
        return Layout(1, 0, _one_folder_each(folder, splits))
    if splits and not (len(splits) == 1 and splits <= with_pictures and {meaning(top) for top in splits} == {"train"}):
        raise DatasetError(
            f"{folder} has split folders ({', '.join(sorted(splits))}) beside others "
            f"({some(sorted(below.keys() - splits))}), so that classes and splits cannot be told apart: move the "
            f"others elsewhere or give them the names of splits, {STATE_IT}"
        )
    if len(below) == 1 and not with_pictures:
        _refuse_wrapper(folder, paths)
    if inner := _splits_in_classes(folder, below, with_pictures):
        return Layout(0, 1, inner)
    _refuse_hints_of_splits(folder, below)
    return Layout(0)


def _as_stated(folder: Path, paths: Sequence[Parts], stated: str) -> Layout:
    if stated == "class":
        return Layout(0)
    level, other = (0, 1) if stated == "split/class" else (1, 0)
    names = {path[level] for path in paths if len(path) > level + 1}
    if unknown := sorted(name for name in names if not meaning(name)):
        raise DatasetError(
            f"data.layout is {stated}, but the folders {some(unknown)} of {folder} are named like no split: call them "
            "train, val or test, or move them elsewhere"
        )
    return Layout(other, level, _one_folder_each(folder, names) if level == 0 else resolve(names, str(folder)))


def _folders_below(paths: Sequence[Parts]) -> dict[str, set[str]]:
    """Return each top folder with the names of the folders in it that hold pictures, at any depth."""
    below: dict[str, set[str]] = defaultdict(set)
    for path in paths:
        if len(path) > 1:
            below[path[0]].update(path[1:2] if len(path) > 2 else ())
    return below


def _one_folder_each(folder: Path, names: Collection[str]) -> dict[str, str]:
    """Return the split of each name; DatasetError where two folders claim the same one."""
    splits = resolve(sorted(names), str(folder))
    of_split = defaultdict(list)
    for name, split in splits.items():
        of_split[split].append(name)
    for split, claiming in of_split.items():
        if len(claiming) > 1:
            raise DatasetError(
                f"{folder}: the folders {some(claiming)} all mean the {split} split: merge them, {STATE_IT}"
            )
    return splits


def _splits_in_classes(folder: Path, below: Mapping[str, set[str]], with_pictures: set[str]) -> dict[str, str]:
    """Return the splits of the form class/split/file; nothing where this is not the form; DatasetError in doubt."""
    found = {top: {name for name in names if meaning(name)} for top, names in below.items()}
    if all(names and names == below[top] for top, names in found.items()) and not with_pictures:
        for top, names in found.items():
            _one_folder_each(folder / top, names)
        return resolve(sorted(set().union(*found.values())), f"{folder}, in its class folders,")
    holding = sorted(top for top, names in found.items() if names)
    if len(holding) < 2 and not any(len(names) > 1 for names in found.values()):
        return {}  # a class may well have one folder called "train" in it
    rest = sorted(top for top, names in found.items() if names != below[top] or not names or top in with_pictures)
    meant = f"did you mean {folder / holding[0]}? Else " if len(holding) == 1 else ""
    raise DatasetError(
        f"{folder}: {some(holding)} hold split folders ({', '.join(sorted(found[holding[0]]))}), but {some(rest)} also "
        f"hold others or pictures: {meant}move the others elsewhere, {STATE_IT}"
    )


def _refuse_wrapper(folder: Path, paths: Sequence[Parts]) -> None:
    content = [path[1:] for path in paths if len(path) > 1]
    inner = folder / next(path[0] for path in paths if len(path) > 1)
    layout = decide(inner, content)
    if len({path[layout.class_level] for path in content if len(path) > layout.num_levels}) > 1:
        raise DatasetError(
            f"{folder} holds everything in one folder, {inner.name!r}, which is a dataset of its own: did you mean "
            f"{inner}?"
        )


def _refuse_hints_of_splits(folder: Path, below: Mapping[str, set[str]]) -> None:
    hints = {top: split for top in below if (split := hint(top))}
    if len(set(hints.values())) > 1 and 2 * len(hints) >= len(below):
        raise DatasetError(
            f"{folder}: the folders {some(sorted(hints))} look like splits rather than classes: rename them to train, "
            f"val and test, {STATE_IT}"
        )


def _refuse_splits_without_classes(folder: Path, paths: Sequence[Parts], layout: Layout) -> None:
    if layout.split_level != 0:
        return
    with_classes = {path[0] for path in paths if len(path) > 2}
    flat = sorted({path[0] for path in paths if len(path) == 2} - with_classes)
    if not with_classes:
        raise DatasetError(f"{folder} has split folders but no class folders in them: expected train/class/file.jpg")
    if flat:
        count = sum(len(path) == 2 and path[0] == flat[0] for path in paths)
        raise DatasetError(
            f"{folder / flat[0]} holds {counted(count, 'picture')} but no class folders, so their classes are unknown: "
            f"sort them into folders as in {folder / min(with_classes)}, name their classes in a table (--set "
            f"data.form=table), or move {flat[0]!r} elsewhere: then images of train are held out as "
            f"{layout.splits[flat[0]]}"
        )


def _refuse_without_class(folder: Path, paths: Sequence[Parts], layout: Layout) -> None:
    without = ["/".join(path) for path in paths if len(path) <= layout.num_levels]
    if len(without) > MAX_WITHOUT_CLASS * len(paths):
        raise DatasetError(
            f"{len(without)} of {len(paths)} pictures in {folder} lie in no class folder, such as {some(without)}: "
            "move them into class folders, or elsewhere"
        )


def _refuse_repeated_folders(folder: Path, paths: Sequence[Parts], layout: Layout) -> None:
    """Raise DatasetError where the classes hold only folders, and the same ones: then these are the classes."""
    start = layout.num_levels
    in_classes = [(normal(path[layout.class_level]), path[start:-1]) for path in paths if len(path) > start]
    flat = {label for label, folders in in_classes if not folders}
    num_classes = len({label for label, _ in in_classes})
    for depth in (0, 1):
        inside: dict[str, set[str]] = defaultdict(set)
        for label, folders in in_classes:
            if len(folders) > depth and label not in flat:
                inside[label].add(folders[depth])
        alike = _with_repeated(inside)
        if alike and 2 * len(alike) >= num_classes and (len(alike) > 1 or num_classes == 1):
            form = {None: "class", 0: "split/class", 1: "class/split"}[layout.split_level]
            raise DatasetError(
                f"{folder}: the folders {some(alike)} would be the classes, but what they hold "
                f"({some(sorted(inside[alike[0]]))}) looks more like classes: if it is, move these folders up into the "
                f"place of the upper ones; if the upper ones are the classes, say so with --set data.layout={form}"
            )


def _with_repeated(inside: Mapping[str, Collection[str]]) -> list[str]:
    """Return the classes of whose inner folders at least two, and at least half, repeat in other classes; a class that
    is the only one counts with any two.
    """
    users = Counter(name for names in inside.values() for name in names)
    repeated = {label: sum(users[name] > 1 or len(inside) == 1 for name in names) for label, names in inside.items()}
    return sorted(label for label, count in repeated.items() if count > 1 and 2 * count >= len(inside[label]))
