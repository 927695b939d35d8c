"""Images that settings move to a split or leave out by their paths, whatever the dataset says of them.

What one sequence, patient or camera shows belongs on one side: leaving it out as the test split is a matter of a
pattern, such as data.test_images=[train/0001TP_*], and no file has to be moved.
"""

from collections import Counter
from collections.abc import Sequence
from fnmatch import fnmatchcase

from taskdistill.configs.data import UNLABELLED, IngestConfig
from taskdistill.tasks.data.candidates import Candidate, DatasetError, LeftOut, some
from taskdistill.tasks.data.left_out import BY_SETTING


def chosen(candidates: Sequence[Candidate], config: IngestConfig) -> tuple[list[Candidate], list[LeftOut], list[str]]:
    """Return the candidates that stay, with their splits, what is left out, and a sentence for each decision.

    Where images are moved, those without a split are of train. DatasetError for patterns that fit nothing, or several
    of which fit one image.
    """
    patterns = {"left out": config.left_out_images, "val": config.val_images, "test": config.test_images}
    if not any(patterns.values()):
        return list(candidates), [], []
    place_of: dict[str, str] = {}
    for place, some_patterns in patterns.items():
        for pattern in some_patterns:
            fitting = [one.id for one in candidates if fnmatchcase(one.id, pattern)]
            _check(pattern, fitting, candidates, {name: place_of[name] for name in fitting if name in place_of}, place)
            place_of.update(dict.fromkeys(fitting, place))
    stay = [_moved(one, place_of.get(one.id, "")) for one in candidates if place_of.get(one.id) != "left out"]
    left_out = [LeftOut(one.id, BY_SETTING) for one in candidates if place_of.get(one.id) == "left out"]
    counts = Counter(place_of.values())
    moved = [
        f"{counts[split]} images are the {split} split by data.{split}_images"
        for split in ("val", "test")
        if counts[split]
    ]
    return stay, left_out, moved


def _moved(candidate: Candidate, place: str) -> Candidate:
    return candidate._replace(split=place or candidate.split or "train")


def _check(
    pattern: str, fitting: Sequence[str], candidates: Sequence[Candidate], taken: dict[str, str], place: str
) -> None:
    setting = "data.left_out_images" if place == "left out" else f"data.{place}_images"
    if not fitting:
        raise DatasetError(
            f"{setting}: no image fits {pattern!r}; images have paths such as {some([one.id for one in candidates])}"
        )
    if other := [(name, before) for name, before in taken.items() if before != place]:
        name, before = other[0]
        raise DatasetError(f"{setting}: {pattern!r} fits {name!r}, which another pattern makes {before}: narrow one")
    bare = [one.id for one in candidates if one.split == UNLABELLED and one.id in set(fitting)]
    if bare and place != "left out":
        raise DatasetError(f"{setting}: {pattern!r} fits {some(bare)}, which nobody labelled: narrow the pattern")
