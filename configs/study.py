"""A study: one preset in many variants. The points are those of a grid, or of a list; each is an experiment.

A *factor* is a setting that differs between the points, a *level* one of its values, by the name that tables show.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from taskdistill.configs.base import Settings
from taskdistill.configs.choices import nearest
from taskdistill.configs.errors import SettingsError
from taskdistill.configs.experiment import Experiment
from taskdistill.configs.fields import Kind
from taskdistill.configs.messages import meant_by, shown
from taskdistill.configs.overrides import changes_to, kind_of
from taskdistill.configs.short_names import ShortName

Values = dict[str, Any]
"""Dotted name of a setting -> what it is set to."""

MAX_POINTS = 1000
FEWEST_TO_HALVE = 3
"""Points of a study with `halving`."""
MODEL = "model"
"""The name in `baseline` that no setting has: which model of the final table others are compared with."""
_NO_FACTORS = {"runtime": "says how work is done, not what is made", "name": "is only a name", "schema": "is a form"}


class Study(Settings):
    """What a file of a study holds."""

    schema_version: Literal[1] = Field(default=1, alias="study")
    """Version of this form; a file that carries it is a study."""
    name: ShortName = "study"
    """A short name for titles and the folder of what comes out."""
    preset: str = ""
    """The preset, or file of settings, that every point begins as."""
    fixed: Values = Field(default={}, alias="set")
    """Settings that all points share, by dotted names, such as {distill.alpha: 0.5, seeds: [0, 1, 2]}."""
    sweep: dict[str, Any] = {}
    """Setting -> its values, a list, or a section of names and values: the points are all combinations. A value may be
    a section, such as {name: resnet18, input_px: 160} of student. Seeds are no factor: of `seeds` all points have all.
    """
    points: tuple[Values, ...] = ()
    """The points one by one, in place of a sweep: of each the settings that are its own."""
    baseline: dict[str, Any] = {}
    """What the others are compared with: levels of some factors, and `model` for one of the models of the final table.
    Each model is compared with the one that has these, and else is as it is.
    """
    until: str = ""
    """The step that each point ends with, such as evaluate-teacher where only teachers are compared; empty: all."""
    halving: int = Field(default=0, ge=0, le=MAX_POINTS)
    """Successive halving: all points are made with their first seed, and the best by validation, one in so many, with
    the other seeds too: 2 has the better half go on. 0: all points have all seeds.
    """

    @model_validator(mode="before")
    @classmethod
    def _seeds_are_no_factor(cls, given: Any) -> Any:
        match given:
            case {"sweep": {"seeds": seeds, **factors}, **others}:
                fixed: Any = others.get("set") or {}
                if not isinstance(fixed, dict):  # which is said of it below
                    return {**others, "sweep": factors}
                if "seeds" in fixed:
                    raise ValueError("seeds is in set and in sweep: leave one of them out")
                if not isinstance(seeds, list | tuple):
                    raise _no_values("seeds", seeds)
                return {**others, "sweep": factors, "set": fixed | {"seeds": _flat_list(seeds)}}
        return given

    @model_validator(mode="after")
    def _there_is_something_to_vary(self) -> Self:
        if not self.preset:
            raise ValueError("preset: a study needs one, or a file of settings: preset: small-cpu")
        if not self.sweep and not self.points:
            raise ValueError(
                "nothing varies: name a setting and its values, on the command line with --sweep SETTING=A,B, such as "
                "--sweep distill.temperature=1,2,4, in a file under sweep, or as a list of points"
            )
        if self.sweep and self.points:
            raise ValueError(
                "a study has either a sweep (setting -> values; on the command line --sweep SETTING=A,B) or points (a "
                "list of settings): leave one of them out"
            )
        for name in [*self.fixed, *self.sweep, *(name for point in self.points for name in point)]:
            check_name(name)
        for name in [*self.sweep, *(name for point in self.points for name in point)]:
            if why := _NO_FACTORS.get(name.partition(".")[0]):
                raise ValueError(f"{name} {why}: all points would be the same. Give it with set")
        return self

    @model_validator(mode="after")
    def _nothing_is_said_twice(self) -> Self:
        # In the order of the names: every factor with those before it.
        known = {leaf: "set" for name, value in self.fixed.items() for leaf in _leaves(name, value)}
        for factor, levels in self.factors().items():
            leaves = {leaf for value in levels.values() if value is not None for leaf in _leaves(factor, value)}
            for leaf in leaves:
                if clash := next((other for other in known if _overlap(leaf, other)), ""):
                    raise ValueError(
                        f"{leaf} is said twice, in {known[clash]} and in {self._where} ({factor}): leave one out"
                    )
            known |= dict.fromkeys(leaves, self._where)
        if len(self.variants()) < 2:
            raise ValueError("there is one point only: add values to sweep, or use 'taskdistill run'")
        return self

    @model_validator(mode="after")
    def _halving_stops_something(self) -> Self:
        if self.halving == 1:
            raise ValueError("halving: of 1 in 1 all points go on: give 2 for the better half, or leave it out")
        if self.halving and (number := len(self.variants())) < FEWEST_TO_HALVE:
            raise ValueError(f"halving: of {number} points one alone would go on, beside none: leave it out")
        return self

    @model_validator(mode="after")
    def _baseline_is_one_of_them(self) -> Self:
        factors = self.factors()
        if MODEL in self.baseline and not isinstance(self.baseline[MODEL], str):
            raise ValueError(f"baseline: expected the name of a model, found {shown(self.baseline[MODEL])}")
        for name, value in self.baseline.items():
            if name != MODEL and name not in factors:
                raise ValueError(f"baseline: {name!r} is no factor of this study{nearest(name, [*factors, MODEL])}")
            if name != MODEL:
                level_of(value, factors[name], f"baseline: {name}")
        return self

    @property
    def _where(self) -> str:
        return "sweep" if self.sweep else "points"

    def factors(self) -> dict[str, dict[str, Any]]:
        """Return the levels of each factor: name -> value; of a list of points, "" where it is as the preset says."""
        if self.sweep:
            return {name: _levels(name, given) for name, given in self.sweep.items()}
        names = dict.fromkeys(name for point in self.points for name in point)
        return {name: self._levels_in_points(name) for name in names}

    def _levels_in_points(self, name: str) -> dict[str, Any]:
        values: list[Any] = []
        for point in self.points:
            if name in point and point[name] not in values:
                values.append(point[name])
        as_preset = {"": None} if any(name not in point for point in self.points) else {}
        return as_preset | _labelled(name, values)

    def variants(self) -> list["Variant"]:
        """Return the points before they are experiments. SettingsError where there are too many."""
        factors = self.factors()
        if self.points:
            return [self._listed(point, factors) for point in self.points]
        number = 1
        for levels in factors.values():
            number *= len(levels)
        if number > MAX_POINTS:
            sizes = " x ".join(f"{len(levels)}" for levels in factors.values())
            raise SettingsError(f"sweep: {sizes} = {number} points are more than {MAX_POINTS}: leave values out")
        return [
            Variant(dict(zip(factors, levels, strict=True)), {name: factors[name][level] for name, level in chosen})
            for levels in itertools.product(*factors.values())
            for chosen in [list(zip(factors, levels, strict=True))]
        ]

    def _listed(self, point: Values, factors: Mapping[str, Mapping[str, Any]]) -> "Variant":
        levels = {
            name: next(level for level, value in known.items() if name in point and value == point[name])
            if name in point
            else ""
            for name, known in factors.items()
        }
        return Variant(levels, point)


class Variant(NamedTuple):
    """What makes one point of a study."""

    levels: Mapping[str, str]
    """Factor -> name of its level; "" where it is as the preset says."""
    values: Values

    def __str__(self) -> str:
        return ", ".join(f"{short_name(name, self.levels)} {level}" for name, level in self.levels.items() if level)


def check_name(name: str) -> None:
    """Raise ValueError where there is no setting of this dotted name."""
    if kind_of(name, Experiment, name) is None:
        raise ValueError(f"there is no setting {name!r}{meant_by(name.split('.'), Experiment)}")


def level_of(value: Any, levels: Mapping[str, Any], where: str) -> str:
    """Return the name of the level that is meant by its name or its value; SettingsError where there is none."""
    for level, known in levels.items():
        if value in (level, known):
            return level
    raise SettingsError(f"{where} is {shown(value)}, which is none of its levels: {', '.join(levels)}")


def short_name(factor: str, factors: Sequence[str] | Mapping[str, Any]) -> str:
    """Return the last part of a factor's name, where no other factor ends so."""
    last = factor.rpartition(".")[2]
    return last if sum(other.rpartition(".")[2] == last for other in factors) == 1 else factor


def _flat_list(seeds: Sequence[Any]) -> list[Any]:
    """Return the seeds of a sweep, whose values may each be a seed or a list of them, as one list."""
    return [seed for one in seeds for seed in (one if isinstance(one, list) else [one])]


def _levels(name: str, given: Any) -> dict[str, Any]:
    if not isinstance(given, list | tuple | dict) or not given:
        raise _no_values(name, given)
    return dict(given) if isinstance(given, dict) else _labelled(name, list(given))


def _no_values(name: str, given: Any) -> SettingsError:
    found = f"is {shown(given)}" if given or given == 0 else "has no values"
    return SettingsError(f"sweep: {name} {found}: give a list of its values, or leave it out")


def _labelled(name: str, values: Sequence[Any]) -> dict[str, Any]:
    """Return the values by what tables call them; SettingsError where one is there twice."""
    for place, value in enumerate(values):
        if any(value == other and type(value) is type(other) for other in values[:place]):
            raise SettingsError(f"{name} has the value {shown(value)} twice: leave one out")
    kind = kind_of(name, Experiment, name) or Kind(Any)
    for labels in ([_by_name(value, kind) for value in values], list(map(shown, values))):
        if all(labels) and len(set(labels)) == len(values):
            return dict(zip(labels, values, strict=True))
    return {f"{number}": value for number, value in enumerate(values, 1)}


def _by_name(value: Any, kind: Kind) -> str:
    """Return a text as it is, of a path its end, and what a section, such as that of a network, calls itself."""
    if isinstance(value, dict):
        return str(value.get("name", ""))
    if isinstance(value, str):
        return PurePath(value).name if kind.is_location else value
    return shown(value)


def _leaves(name: str, value: Any) -> Iterator[str]:
    """Yield the names of the settings that a value sets: of a section those in it."""
    return (".".join(change.names) for change in changes_to(name, value, Experiment, name))


def _overlap(one: str, other: str) -> bool:
    return one == other or one.startswith(f"{other}.") or other.startswith(f"{one}.")
