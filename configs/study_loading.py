"""From a study's name or file, or a preset and a sweep on the command line, to its points: validated experiments."""

import shlex
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from taskdistill.configs import yaml_text
from taskdistill.configs.addresses import without_credentials
from taskdistill.configs.errors import SettingsError
from taskdistill.configs.experiment import Experiment
from taskdistill.configs.fields import Kind
from taskdistill.configs.loading import changed, preset_names, read_template, text_of_file
from taskdistill.configs.messages import explained, shown
from taskdistill.configs.overrides import changes_to, kind_of, value_of
from taskdistill.configs.places import resolved
from taskdistill.configs.study import MODEL, Study, Values, Variant

STUDY = "study"
"""The field by which a file of a study is told from one of settings."""
_PLACE = "taskdistill.configs.studies"
_NAMED = 3
"""Points that cannot be used and are named."""


class Point(NamedTuple):
    """One experiment of a study."""

    variant: Variant
    experiment: Experiment


class Given(NamedTuple):
    """What a command line says of a study; it takes the place of what the study says of the same settings."""

    preset: str = ""
    overrides: Sequence[str] = ()
    """Such as distill.alpha=0.5: for all points."""
    sweeps: Sequence[str] = ()
    """Such as distill.temperature=1,2,4."""
    baseline: Sequence[str] = ()
    halving: int | None = None
    """None: as the study says."""


def study_names() -> list[str]:
    """Return the names of the studies that come with the program."""
    return sorted(entry.name.removesuffix(".yaml") for entry in files(_PLACE).iterdir() if entry.name.endswith(".yaml"))


NOTHING_GIVEN = Given()


def load_study(source: str, given: Given = NOTHING_GIVEN) -> Study:
    """Return the study of this name or in this file; or that of a preset, whose sweep is all that was given.

    Raises SettingsError, which lists every mistake.
    """
    values = _values(source)
    preset = {"preset": given.preset} if given.preset else {}
    fixed = dict(_one_value(override) for override in given.overrides)
    sweep = dict(_several_values(sweep) for sweep in given.sweeps)
    named = {*fixed, *sweep}
    values = {
        **values,
        **preset,
        "set": _joined(values.get("set"), fixed, named),
        "sweep": _joined(values.get("sweep"), sweep, named),
        "baseline": _joined(values.get("baseline"), dict(map(_in_baseline, given.baseline)), set()),
        **({} if given.halving is None else {"halving": given.halving}),
    }
    try:
        return Study.model_validate(values)
    except ValidationError as error:
        raise SettingsError("\n  ".join([f"{source} cannot be used:", *explained(error, Study)])) from None


def command_of(source: str, given: Given) -> str:
    """Return the line that runs a study with what was given; names and passwords of addresses are left out, as it is
    shown.
    """
    options = [("--preset", [given.preset] if given.preset else []), ("--set", given.overrides)]
    options += [("--sweep", given.sweeps), ("--baseline", given.baseline)]
    options += [("--halving", [] if given.halving is None else [str(given.halving)])]
    words = ["taskdistill", "study", source]
    words += [word for name, values in options for value in values for word in (name, value)]
    return shlex.join(map(without_credentials, words))


def points_of(study: Study) -> list[Point]:
    """Return the points of a study; SettingsError names those whose settings do not go together, and says why."""
    template = read_template(study.preset)
    fixed = [change for name, value in study.fixed.items() for change in changes_to(name, value, Experiment, name)]
    points, wrong = [], []
    for number, variant in enumerate(study.variants(), 1):
        own = [change for name, value in variant.values.items() for change in changes_to(name, value, Experiment, name)]
        try:
            titled = template._replace(source=f"point {number} ({variant})")
            points.append(Point(variant, changed(titled, [*fixed, *own])))
        except SettingsError as error:
            wrong.append(str(error))
    if wrong:
        more = f"\nand {len(wrong) - _NAMED} more points" if len(wrong) > _NAMED else ""
        raise SettingsError(f"{study.name}, made from {study.preset}: " + "\n".join(wrong[:_NAMED]) + more)
    if study.sweep:
        _check_levels_differ(points)
    return points


def _check_levels_differ(points: Sequence[Point]) -> None:
    """Raise SettingsError where two values of a factor are the same once they are read, such as 2 and 2.0."""
    known: dict[str, Variant] = {}
    for variant, experiment in points:
        other = known.setdefault(experiment.model_dump_json(), variant)
        if other is not variant:
            factor = next(name for name, level in variant.levels.items() if level != other.levels[name])
            raise SettingsError(
                f"{factor} has the same value twice, as {other.levels[factor]} and as {variant.levels[factor]}: leave "
                "one of them out"
            )


def _values(source: str) -> dict[str, Any]:
    """Return what a file of a study holds, its paths made to start at its folder; of a preset that it is the one."""
    if source in study_names():
        return _read((files(_PLACE) / f"{source}.yaml").read_text(encoding="utf-8"), source, None)
    if source in preset_names():
        return {"name": source, "preset": source}
    text = text_of_file(source, [*study_names(), *preset_names()])
    parsed = yaml_text.parse(text, source)
    if isinstance(parsed, dict) and STUDY in parsed:
        return _read(text, source, Path(source).absolute().parent)
    return {"name": parsed.get("name", STUDY) if isinstance(parsed, dict) else STUDY, "preset": source}


def _read(text: str, source: str, folder: Path | None) -> dict[str, Any]:
    values: dict[str, Any] = yaml_text.parse(text, source)
    for name in ("set", "sweep", "baseline"):
        if isinstance(values.get(name), dict):
            values[name] = {setting: _placed(setting, value, folder) for setting, value in values[name].items()}
    if isinstance(values.get("points"), list):
        values["points"] = [
            {name: _placed(name, value, folder) for name, value in point.items()} if isinstance(point, dict) else point
            for point in values["points"]
        ]
    preset = values.get("preset")
    if folder and isinstance(preset, str) and preset and preset not in preset_names():
        values["preset"] = str(folder / preset)
    return values


def _placed(setting: str, value: Any, folder: Path | None) -> Any:
    """Return a value, or each of a list or a section of levels, with its paths made to start at the folder."""
    kind = kind_of(setting, Experiment, setting) or Kind(Any)
    match value:
        case list() if not kind.is_list:
            return [resolved(one, kind, folder) for one in value]
        case dict() if not kind.section and not kind.is_mapping:
            return {level: resolved(one, kind, folder) for level, one in value.items()}
    return resolved(value, kind, folder)


def _joined(known: Any, given: Values, named: set[str]) -> Any:
    """Return settings with those given, and without those that lie at, above or below one of the names. What is no
    section stays as it is: the form of a study says so, with every other mistake.
    """
    if known is None:
        return given
    if not isinstance(known, dict):
        return known
    kept = {
        name: value
        for name, value in known.items()
        if not any(f"{name}.".startswith(f"{other}.") or f"{other}.".startswith(f"{name}.") for other in named)
    }
    return kept | given


def _one_value(override: str) -> tuple[str, Any]:
    name, text, kind = _parts(override, "--set", "distill.alpha=0.5")
    return name, value_of(text, kind, f"--set {shown(override)}") if kind else text


def _several_values(sweep: str) -> tuple[str, list[Any]]:
    """Read the values of a factor: between commas, or a list in brackets."""
    name, text, kind = _parts(sweep, "--sweep", "distill.temperature=1,2,4")
    source = f"--sweep {shown(sweep)}"
    if text.strip().startswith("["):
        return name, yaml_text.parse(text.strip(), source)
    texts = [part.strip() for part in text.split(",")] if text.strip() else []
    return name, [value_of(part, kind, source) if kind else part for part in texts]


def _in_baseline(text: str) -> tuple[str, Any]:
    name, level, kind = _parts(text, "--baseline", "distill.temperature=2")
    return name, value_of(level, kind, f"--baseline {shown(text)}") if kind and name != MODEL else level


def _parts(text: str, option: str, example: str) -> tuple[str, str, Kind | None]:
    name, equals, value = text.partition("=")
    name = name.strip()
    if not equals or not name:
        raise SettingsError(f"{option} {shown(text)}: expected name=value, such as {option} {example}")
    return name, value, kind_of(name, Experiment, f"{option} {shown(text)}")
