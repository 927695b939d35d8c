"""From the classes of a network that was trained elsewhere to those of the task.

Several of its classes may be one of ours: the probability of the one is the sum of theirs, and its logit the logarithm
of the sum of their exponentials. Its classes that become none are dropped, so that what it says is renormalised over
the others.

Shape letters: N samples, F foreign classes, K classes of the task; further axes, such as those of a map, come after.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from taskdistill.configs.counting import counted
from taskdistill.tasks.models.encoder import ModelError

BELOW_ALL = 16.0
"""How far the logit of a class that nothing becomes lies below the lowest of the others: its probability is a
ten-millionth of theirs, and caches of few bits still hold all of them.
"""
MAX_LISTED = 200


class LabelMap(NamedTuple):
    """Which foreign classes each class of the task is made of."""

    members_K: tuple[tuple[int, ...], ...]
    said: tuple[str, ...]
    """A sentence for what a person should know of it."""

    def __call__(self, outputs_NF: Tensor) -> Tensor:
        """Return logits [N, K, ...] of the task's classes from foreign ones [N, F, ...]."""
        logits_NF = outputs_NF.float()
        known = [_joined(logits_NF, members) for members in self.members_K if members]
        below_all = torch.stack(known, dim=1).amin(dim=1) - BELOW_ALL
        waiting = iter(known)
        return torch.stack([next(waiting) if members else below_all for members in self.members_K], dim=1)


def label_map(given: Mapping[str, str], names: Sequence[str], num_outputs: int, classes: Sequence[str]) -> LabelMap:
    """Return the map from a network with so many outputs, and these names for them or none, to the task's classes.

    `given` is the setting label_map. Raises ModelError, with both lists, where one does not fit the other.
    """
    if names and len(names) != num_outputs:
        raise ModelError(
            f"the foreign teacher has {num_outputs} outputs and {len(names)} names for them: set "
            f"foreign_teacher.classes to one name for each, in their order. {_lists(names, classes)}"
        )
    pairs = _as_given(given, names, num_outputs, classes) if given else _by_name(names, num_outputs, classes)
    members = tuple(tuple(sorted(of for of, to in pairs.items() if to == name)) for name in classes)
    return LabelMap(members, tuple(_said(members, names, num_outputs, classes)))


def _joined(logits_NF: Tensor, members: tuple[int, ...]) -> Tensor:
    # One class alone is taken as it is: the sum of one exponential would be the same, less its rounding.
    if len(members) == 1:
        return logits_NF[:, members[0]]
    return torch.logsumexp(logits_NF[:, list(members)], dim=1)


def _as_given(
    given: Mapping[str, str], names: Sequence[str], num_outputs: int, classes: Sequence[str]
) -> dict[int, str]:
    place = {name: number for number, name in enumerate(names)}
    numbers = {str(number): number for number in range(num_outputs)}
    found = numbers | place  # a class whose name is a number is meant by its name
    if unknown := [name for name in given if name not in found]:
        raise ModelError(
            f"foreign_teacher.label_map names {unknown[:5]}, which the foreign teacher does not have. It has "
            f"{num_outputs} outputs, by number from '0' to '{num_outputs - 1}'. {_lists(names, classes)}"
        )
    if strangers := sorted(set(given.values()) - set(classes)):
        raise ModelError(
            f"foreign_teacher.label_map leads to {strangers[:5]}, which are no classes of the task. "
            f"{_lists(names, classes)}"
        )
    pairs = {found[name]: to for name, to in given.items()}
    if len(pairs) < len(given):
        raise ModelError(
            "foreign_teacher.label_map names an output twice, by its name and by its number: leave one of them out. "
            f"{_lists(names, classes)}"
        )
    return pairs


def _by_name(names: Sequence[str], num_outputs: int, classes: Sequence[str]) -> dict[int, str]:
    if not names:
        if num_outputs != len(classes):
            raise ModelError(
                f"the foreign teacher has {num_outputs} outputs without names, and the task {len(classes)} classes: "
                f"set foreign_teacher.label_map, from its numbers to the task's classes. {_lists(names, classes)}"
            )
        return dict(enumerate(classes))
    known = {_plain(name): name for name in classes}
    pairs = {number: known[_plain(name)] for number, name in enumerate(names) if _plain(name) in known}
    if not pairs:
        raise ModelError(
            "no class of the foreign teacher has the name of a class of the task: set foreign_teacher.label_map, from "
            f"its classes to the task's. {_lists(names, classes)}"
        )
    return pairs


def _plain(name: str) -> str:
    return name.casefold().replace("_", " ").replace("-", " ").strip()


def _said(
    members_K: Sequence[tuple[int, ...]], names: Sequence[str], num_outputs: int, classes: Sequence[str]
) -> list[str]:
    said = []
    if absent := [name for name, members in zip(classes, members_K, strict=True) if not members]:
        said.append(
            f"no class of the foreign teacher becomes {', '.join(map(repr, absent[:10]))}"
            f"{f' and {len(absent) - 10} more' if len(absent) > 10 else ''}: it never answers so, and what it teaches "
            "of these classes is that they are not there"
        )
    dropped = sorted(set(range(num_outputs)).difference(*members_K))
    if dropped:
        some = ", ".join(repr(names[number]) if names else str(number) for number in dropped[:10])
        more = f" and {len(dropped) - 10} more" if len(dropped) > 10 else ""
        become, are = ("becomes", "is") if len(dropped) == 1 else ("become", "are")
        said.append(
            f"{counted(len(dropped), 'class', 'classes')} of the foreign teacher {become} none of the task's and {are} "
            f"dropped: {some}{more}"
        )
    return said


def _lists(names: Sequence[str], classes: Sequence[str]) -> str:
    theirs = f"Its classes: {_listed(names)}" if names else "Its classes have no names"
    return f"{theirs}. The task's: {_listed(classes)}"


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:MAX_LISTED])
    return f"{shown} and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else shown
