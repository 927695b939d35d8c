"""Classes and splits of a dataset: what is checked before any image is opened, and what is made where it is missing."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from taskdistill.configs.counting import counted
from taskdistill.configs.data import UNLABELLED, IngestConfig
from taskdistill.tasks.data.candidates import Candidate, DatasetError, some
from taskdistill.tasks.data.counts import NO_LABEL
from taskdistill.tasks.data.names import clashes, in_order

MIN_TRAIN_IMAGES = 2


def class_names(candidates: Iterable[Candidate], named: Sequence[str] = ()) -> list[str]:
    """Return the classes in order: as the dataset names them, or else its labels, by number when all are numbers and by
    name when not. DatasetError where they cannot be right.
    """
    candidates = list(candidates)
    labels = [candidate.label for candidate in candidates if candidate.label is not None]
    _check_labels(candidates, labels, named)
    names = list(named) or in_order(labels)
    if too_alike := clashes(names):
        same, difference = too_alike[0]
        shown = f"[{', '.join(map(ascii if 'Unicode' in difference else repr, same))}]"
        others = f" (and {len(too_alike) - 1} more such groups)" if len(too_alike) > 1 else ""
        raise DatasetError(
            f"the classes {shown} {difference}{others}: rename or merge them, in the folders or in the table: "
            "either one of them is a slip, or they will be confused"
        )
    if len(names) < 2:
        folders = sorted({candidate.id.rpartition("/")[0] or "." for candidate in candidates})
        raise DatasetError(
            f"there is only one class, {names}: a task needs at least two. Its {len(candidates)} images lie in "
            f"{some(folders)} of the dataset's folder: data.path should hold a folder for each class"
        )
    return names


def _check_labels(candidates: Sequence[Candidate], labels: Sequence[str], named: Sequence[str]) -> None:
    bare = [one.id for one in candidates if one.label is None and one.split != UNLABELLED]
    if bare and labels:
        raise DatasetError(
            f"{len(bare)} of {len(candidates)} images have no label while others do, such as {some(bare)}: give all of "
            "them a label, or none"
        )
    if bare and not named:
        raise DatasetError(
            f"none of the {len(bare)} images has a label or a mask: give them one, or use a form (data.form) that "
            "names what is to be learnt"
        )
    if named and (unknown := sorted(set(labels) - set(named))):
        raise DatasetError(f"the labels {unknown[:5]} are none of the classes that the dataset names, {some(named)}")


def with_splits(candidates: Sequence[Candidate], config: IngestConfig) -> tuple[list[Candidate], list[str]]:
    """Return the candidates with train, val and test all present, and a sentence for each split that was made.

    A made split takes about a share of each class of train, at least one image: those whose hashed id lies below the
    share. So adding images later moves none of the others to another side, unless a class is so small that chance had
    to be corrected. Raises DatasetError where only some candidates name a split, or a class is too small to be shared.
    """
    named = Counter(candidate.split for candidate in candidates)
    if named[""] and len(named) > 1:
        raise DatasetError(f"{named['']} of {named.total()} images have no split while others do: name all or none")
    result = [candidate._replace(split=candidate.split or "train") for candidate in candidates]
    _refuse_too_small_to_share(result, [split for split in ("test", "val") if not named[split]])
    made = []
    for split, share in (("test", config.test_share), ("val", config.val_share)):
        if not named[split]:
            num_train = sum(candidate.split == "train" for candidate in result)
            result = _carve(result, split, share)
            count = sum(candidate.split == split for candidate in result)
            made.append(
                f"the dataset names no {split} split: {count} training images were held out for it "
                f"({count / num_train:.0%} of them)"
            )
    return result, made


def check_splits(candidates: Sequence[Candidate], classes: Sequence[str], least: int = MIN_TRAIN_IMAGES) -> None:
    """Raise DatasetError where a class could not be learnt: less than `least` training images."""
    train = Counter(candidate.label for candidate in candidates if candidate.split == "train")
    if not train:
        found = ", ".join(sorted({candidate.split for candidate in candidates}))
        raise DatasetError(f"no image is in a train split, all are in {found}: name the one to learn from 'train'")
    elsewhere = Counter(candidate.label for candidate in candidates if candidate.split != "train")
    if unknown := sorted(label for label in elsewhere.keys() - train.keys() if label is not None):
        raise DatasetError(
            f"the labels {unknown[:5]} appear in val or test but in no training image{_such_as(candidates, unknown)}; "
            f"the classes of train are {sorted(filter(None, train))[:20]}. Add training images of them, give them the "
            "names that train has, or take them out"
        )
    if None not in train and (rare := [name for name in classes if train[name] < least]):
        counts = ", ".join(f"{name!r} has {train[name]}" for name in rare[:5])
        raise DatasetError(
            f"each class needs at least {least} training images (and one more for each split that is "
            f"made): {counts}. Add images, or remove the class"
        )


def _such_as(candidates: Iterable[Candidate], labels: Sequence[str]) -> str:
    return next((f", such as {one.id!r}" for one in candidates if one.label == labels[0]), "")


def _refuse_too_small_to_share(candidates: Sequence[Candidate], to_make: Sequence[str]) -> None:
    """Raise DatasetError where holding images out for the splits to make would leave a class too few to learn from."""
    needed = MIN_TRAIN_IMAGES + len(to_make)
    train = Counter(candidate.label or NO_LABEL for candidate in candidates if candidate.split == "train")
    small = [f"{name!r} has {count}" for name, count in sorted(train.items()) if count < needed]
    if small and to_make:
        more = f" and {counted(len(small) - 5, 'class', 'classes')} more" if len(small) > 5 else ""
        raise DatasetError(
            f"the dataset names no {' and no '.join(to_make)} split, so images of train are held out, and each class "
            f"needs {needed}: at least {MIN_TRAIN_IMAGES} training images and one for each split that is made; "
            f"{', '.join(small[:5])}{more}. Add images, name the splits yourself, or remove the class"
        )


def _carve(candidates: list[Candidate], split: str, share: float) -> list[Candidate]:
    by_class = defaultdict(list)
    for candidate in candidates:
        if candidate.split == "train":
            by_class[candidate.label].append((_place(split, candidate.id), candidate.id))
    chosen: set[str] = set()
    for placed in by_class.values():
        wanted = sum(place < share for place, _ in placed)
        # By chance alone a small class could give none of its images, or most of them.
        low, high = (max(1, round(factor * share * len(placed))) for factor in (0.5, 1.5))
        chosen.update(image_id for _, image_id in sorted(placed)[: min(max(wanted, low), high)])
    return [candidate._replace(split=split) if candidate.id in chosen else candidate for candidate in candidates]


def _place(split: str, image_id: str) -> float:
    """Return a number in 0..1 that depends on the image's id and on nothing else."""
    return int.from_bytes(hashlib.blake2b(f"{split}/{image_id}".encode(), digest_size=8).digest()) / 2**64
