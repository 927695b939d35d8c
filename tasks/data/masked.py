"""Datasets whose masks say what is to be learnt: which these are, and which of their images have no mask."""

from collections.abc import Sequence

from taskdistill.configs.counting import counted
from taskdistill.configs.data import UNLABELLED
from taskdistill.tasks.data.candidates import Candidate, DatasetError, some
from taskdistill.tasks.data.label_tables import LabelTable


def is_of_masks(candidates: Sequence[Candidate], labels: LabelTable | None) -> bool:
    """Whether masks are what is learnt: no image has a label, and some have a mask, or it is said what masks mean."""
    bare = all(one.label is None for one in candidates)
    return bare and (labels is not None or any(one.mask_id for one in candidates))


def with_unlabelled(candidates: Sequence[Candidate]) -> tuple[list[Candidate], list[str]]:
    """Return the candidates, those of train without a mask as the split unlabelled, and a sentence for each decision.

    DatasetError where an image of val or test has no mask, or none of train or of all has one.
    """
    lacking = [one for one in candidates if one.mask_id is None and one.split in ("val", "test")]
    if lacking:
        raise DatasetError(
            f"{counted(len(lacking), 'image')} of {' and '.join(sorted({one.split for one in lacking}))} "
            f"{'has' if len(lacking) == 1 else 'have'} no mask, such as "
            f"{some([one.id for one in lacking])}: add their masks, or leave these images out with "
            f"--set data.left_out_images=[{lacking[0].id}] (a star stands for any text)"
        )
    if not any(one.mask_id for one in candidates if one.split != UNLABELLED):
        raise DatasetError(
            f"none of the {len(candidates)} images has a mask, such as {some([one.id for one in candidates])}: a mask "
            "is named as its image is, in the folder of masks or in the table's column mask"
        )
    to_learn_from = [one for one in candidates if one.split not in ("val", "test", UNLABELLED)]
    if to_learn_from and not any(one.mask_id for one in to_learn_from):
        raise DatasetError(
            f"none of the {len(to_learn_from)} images of train has a mask, such as "
            f"{some([one.id for one in to_learn_from])}, while images of other splits have: a mask is named as its "
            "image is, in the same folder of the folder of masks, or in the table's column mask"
        )
    result = [
        one._replace(split=UNLABELLED, mask_id=None) if one.mask_id is None or one.split == UNLABELLED else one
        for one in candidates
    ]
    bare = [one.id for one in candidates if one.mask_id is None and one.split != UNLABELLED]
    named = sum(one.split == UNLABELLED for one in candidates)
    said = []
    if bare:
        said.append(
            f"{counted(len(bare), 'image of train has', 'images of train have')} no mask, such as {some(bare)}: "
            f"{'it is of' if len(bare) == 1 else 'they are'} the split {UNLABELLED}, which no training on labels reads"
        )
    if named:
        them = "it" if named == 1 else "them"
        said.append(
            f"{counted(named, 'image is', 'images are')} named {UNLABELLED}: no training on labels reads {them}"
        )
    return result, said
