"""The types of setting everything is built from.

`StageConfig` says what an artifact *is*: all of it enters the fingerprint. `configs.runtime.RuntimeConfig` says how it
gets made (device, workers, batch size of inference): none of it does. We keep two types rather than a flag per field,
because a field in the wrong type is seen in review, and a forgotten flag serves a stale artifact in silence.

Two markers refine identity. `Location` is where something lies on this machine: the *content* found there enters the
fingerprint (see `storage.sources`), the path does not, so that moving a folder rebuilds nothing. `AddedLater` marks a
field that came after a release: at its neutral default it stays out of the fingerprint, so old artifacts stay valid.

The defaults of a section belong to its type, never to the place where it stands: whoever sets one field of a section
gets the type's defaults for the others. A section that wants another default has a small type of its own. A stage that
is given one takes its values as those of the plain type, so that they mean the same artifact wherever they stood.
"""

from collections.abc import Iterator
from functools import cache
from typing import Annotated, Any, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError, to_jsonable_python


class Location:
    """Marks a path field whose content, not its name, is identity."""


class AddedLater:
    """Marks a field that stays out of the fingerprint while it has its default value."""


NO_NUMBER = "no_number"
"""The type of the error that says so; its context has the `entry` of a list that is meant."""


def _without_nul(path: str) -> str:
    if "\0" in path:
        raise ValueError("a path cannot hold the character U+0000")
    return path


Path_ = Annotated[str, Location, AfterValidator(_without_nul)]

Seed = Annotated[int, Field(ge=0, le=2**63 - 1)]
"""What every generator of random numbers takes, and every file format holds."""


class Settings(BaseModel):
    """A frozen group of settings; unknown keys are errors; the docstring under a field is its description in the
    form.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        validate_default=True,
        revalidate_instances="subclass-instances",
    )

    @model_validator(mode="before")
    @classmethod
    def _as_this_type(cls, given: Any) -> Any:
        """Take the values of a section of the same form; ValueError where its type has another default than this one
        for a value that nobody set.
        """
        if not isinstance(given, Settings) or isinstance(given, cls) or _names(type(given)) != _names(cls):
            return given
        values = {name: getattr(given, name) for name in _names(cls)}
        unclear = [name for name in _names(cls) - given.model_fields_set if values[name] != _default(cls, name)]
        if unclear:
            raise ValueError(
                f"{type(given).__name__} and {cls.__name__} have different defaults of {', '.join(sorted(unclear))}: "
                f"set it, or make a {cls.__name__}"
            )
        return values

    @field_validator("*", mode="before")
    @classmethod
    def _numbers_are_numbers(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse true, false and text where a number is meant: pydantic would take true for 1 and "010" for 10."""
        kind = _innermost(cls.model_fields[str(info.field_name)].annotation)
        refused = () if kind is bool else (bool, str) if kind in (int, float) else bool
        for entry, item in enumerate(value if isinstance(value, list | tuple) else [value]):
            if isinstance(item, refused):
                raise PydanticCustomError(NO_NUMBER, "neither true or false nor text is a number", {"entry": entry})
        return value

    def __eq__(self, other: object) -> bool:
        """Settings of one form are equal when their values are, in whatever section they stand."""
        if not isinstance(other, Settings) or _names(type(self)) != _names(type(other)):
            return NotImplemented
        return dict(self) == dict(other)

    def identity(self) -> dict[str, Any]:
        """Return everything that decides bytes, as plain JSON values."""
        return {
            name: _identity(value)
            for name, value, markers in self._fields_with_markers()
            if Location not in markers and not (AddedLater in markers and value == _neutral(type(self), name))
        }

    def locations(self, prefix: str = "") -> dict[str, str]:
        """Return the dotted name, such as teacher.file or more_teachers[0].file, and path of every place on disk these
        settings point at; empty paths are left out.
        """
        found: dict[str, str] = {}
        for name, value, markers in self._fields_with_markers():
            sections = {name: value} | {f"{name}[{entry}]": item for entry, item in enumerate(_entries(value))}
            for place, section in sections.items():
                if isinstance(section, Settings):
                    found |= section.locations(f"{prefix}{place}.")
            if Location in markers and value:
                found[f"{prefix}{name}"] = value
        return found

    def _fields_with_markers(self) -> Iterator[tuple[str, Any, list[Any]]]:
        for name, markers in _markers(type(self)).items():
            yield name, getattr(self, name), markers


@cache
def _markers(form: type[Settings]) -> dict[str, list[Any]]:
    """Return the markers of each field; looked up once, as a study of many points asks for them a million times."""
    return {name: _first_declared(form, name).model_fields[name].metadata for name in form.model_fields}


def _entries(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else ()


def _identity(value: Any) -> Any:
    """Return a value as plain JSON, and of each section in it what decides bytes."""
    if isinstance(value, Settings):
        return value.identity()
    if isinstance(value, tuple):
        return [_identity(entry) for entry in value]
    return to_jsonable_python(value)


def _innermost(annotation: Any) -> Any:
    """Return the plain type of a field, or of the entries of a list."""
    while get_origin(annotation) in (tuple, Annotated):
        annotation = get_args(annotation)[0]
    return annotation


def _names(form: type[Settings]) -> set[str]:
    return set(form.model_fields)


def _default(form: type[Settings], name: str) -> Any:
    return form.model_fields[name].get_default(call_default_factory=True)


def _first_declared(form: type[Settings], name: str) -> type[Settings]:
    """Return the type that brought the field in: one made from it may give it another default, but no other meaning."""
    types = (base for base in reversed(form.__mro__) if issubclass(base, Settings))
    return next(base for base in types if name in base.model_fields)


@cache
def _neutral(form: type[Settings], name: str) -> Any:
    return _default(_first_declared(form, name), name)


class StageConfig(Settings):
    """Settings of one stage. Every field is identity: the same settings and inputs mean the same bytes."""
