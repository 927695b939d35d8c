"""What folders and tables call their splits, and which split is meant.

Case, blanks, `-`, `_`, digits and words such as "set" or "images" do not count: `Training_Set`, `train2017` and
`test-images` are understood. Words for what is held out (`eval`, `holdout`) say neither val nor test: they mean test
where nothing else does, else val where nothing else does; with both there they are refused.
"""

import re
from collections.abc import Iterable, Mapping

from taskdistill.tasks.data.candidates import DatasetError
from taskdistill.tasks.data.names import normal

COMMON = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
"""Words that need no explanation -> what we call them."""
HELD_OUT = "held out"
_WORDS = COMMON | {
    "trn": "train", "dev": "val", "devel": "val", "development": "val", "tst": "test",
    "eval": HELD_OUT, "evaluate": HELD_OUT, "evaluation": HELD_OUT, "holdout": HELD_OUT, "heldout": HELD_OUT,
}  # fmt: skip
_NOT_LABELLED = ("unlabelled", "unlabeled", "nolabel", "nolabels")
_FILLER = "sets?|split|data|datasets?|images?|imgs?|pictures?|photos?|folder|dir"


def meaning(name: str) -> str:
    """Return train, val, test or HELD_OUT, whichever the whole name means; empty where it means none."""
    letters = "".join(word for word in _words(name) if not re.fullmatch(_FILLER, word))
    return _WORDS.get(letters) or _WORDS.get(re.sub(f"({_FILLER})$", "", letters), "")


def is_unlabelled(name: str) -> bool:
    """Whether the whole name means images that nobody labelled, as `unlabeled2017` does. Not in `meaning`: in a folder
    of classes it may be one.
    """
    return "".join(word for word in _words(name) if not re.fullmatch(_FILLER, word)) in _NOT_LABELLED


def hint(name: str) -> str:
    """Return the split that one word of the name speaks of, as in `seg_train` or `trainA`; empty where none does."""
    return next((_WORDS[word] for word in _words(name) if word in _WORDS), "")


def resolve(names: Iterable[str], where: str) -> dict[str, str]:
    """Return the split of each name that means one; DatasetError where a held-out set could be val as well as test."""
    meant = {name: split for name in names if (split := meaning(name))}
    missing = [split for split in ("test", "val") if split not in meant.values()]
    unclear = [name for name, split in meant.items() if split == HELD_OUT]
    if unclear and not missing:
        raise DatasetError(
            f"{where} has test, val and also {unclear[0]!r}, which could be either: rename it, merge it, or take it out"
        )
    return {name: missing[0] if split == HELD_OUT else split for name, split in meant.items()}


def explained(splits: Mapping[str, str]) -> list[str]:
    """Return a sentence for each name that a reader could have taken for something else."""
    return [
        f"{name!r} is read as the {split} split"
        for name, split in sorted(splits.items())
        if normal(name).casefold() not in COMMON
    ]


def _words(name: str) -> list[str]:
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", normal(name))
    return [word.casefold() for word in re.findall(r"[^\W\d_]+", apart)]
