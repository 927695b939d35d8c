"""What the masks of a known dataset mean, by the name of its class in mmsegmentation, such as ADE20KDataset."""

import inspect
from typing import Any

from taskdistill.configs.choices import nearest
from taskdistill.configs.errors import UserError
from taskdistill.tasks.data.label_tables import LabelTable
from taskdistill.tasks.openmmlab.packages import mmseg_ready


class LabelTableError(UserError, ValueError):
    """A dataset that is not known, or does not say what its masks mean."""


def label_table(name: str) -> LabelTable:
    """Return what masks of mmsegmentation's dataset `name` mean; LabelTableError where it is not known or has no
    classes and colours, MissingPackageError where mmsegmentation is not installed.
    """
    with mmseg_ready(f"the dataset class {name!r}"):
        # Their datasets register themselves when imported; models, which take seconds, stay out.
        import mmseg.datasets  # noqa: F401
        from mmseg.registry import DATASETS
    known = {key: dataset for key, dataset in DATASETS.module_dict.items() if _has_labels(dataset)}
    if name not in known:
        raise LabelTableError(
            f"mmsegmentation has no dataset class {name!r} with classes and colours of its own{nearest(name, known)}"
        )
    dataset = known[name]
    names = tuple(map(str, dataset.METAINFO["classes"]))
    first = int(_default(dataset, "reduce_zero_label"))
    passed_over = {*range(first), int(_default(dataset, "ignore_index"))} - {255}
    return LabelTable(
        names,
        values=tuple((first + number,) for number in range(len(names))),
        colours=tuple(((int(red), int(green), int(blue)),) for red, green, blue in dataset.METAINFO["palette"]),
        ignored=tuple(sorted(passed_over)),
    )


def _has_labels(dataset: Any) -> bool:
    described = getattr(dataset, "METAINFO", {})
    return bool(described.get("classes") and described.get("palette"))


def _default(dataset: type, parameter: str) -> Any:
    """Return the default of a constructor's parameter, the nearest ancestor's that states one.

    Nothing is constructed, as that reads files.
    """
    for ancestor in dataset.__mro__:
        stated = inspect.signature(ancestor.__init__).parameters.get(parameter)  # type: ignore[misc]
        if stated is not None and stated.default is not inspect.Parameter.empty:
            return stated.default
    return None
