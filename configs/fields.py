"""Looking at the types of settings: which field a dotted name means, and what kind of value it takes."""

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin

from pydantic.fields import FieldInfo

from taskdistill.configs.base import Location, Settings


class Kind(NamedTuple):
    """What a value may be: its plain type, and the markers and bounds that came with it."""

    type: Any
    markers: tuple[Any, ...] = ()

    @property
    def section(self) -> type[Settings] | None:
        """The type of settings, where it is a section of them."""
        return self.type if isinstance(self.type, type) and issubclass(self.type, Settings) else None

    @property
    def choices(self) -> tuple[Any, ...]:
        """The values of a closed list, or none."""
        return get_args(self.type) if get_origin(self.type) is Literal else ()

    @property
    def is_mapping(self) -> bool:
        """Whether it takes names and values that the settings do not know."""
        return get_origin(self.type) is dict

    @property
    def is_list(self) -> bool:
        return get_origin(self.type) is tuple

    @property
    def is_list_of_sections(self) -> bool:
        return self.is_list and self.entry().section is not None

    @property
    def is_text(self) -> bool:
        return self.type is str or (bool(self.choices) and all(isinstance(choice, str) for choice in self.choices))

    @property
    def is_location(self) -> bool:
        return Location in self.markers

    @property
    def length(self) -> int | None:
        """The number of entries of a list, where it is fixed."""
        return None if Ellipsis in get_args(self.type) else len(get_args(self.type))

    def entry(self) -> "Kind":
        """What each entry of a list may be; those of a list of fixed length are alike."""
        return _kind(get_args(self.type)[0])

    def fields(self) -> dict[str, "Kind"]:
        """Return the fields of a section by the names people write."""
        return _fields_of(self.section) if self.section else {}


def kind_at(names: Sequence[str], form: type[Settings]) -> Kind | None:
    """Return what the setting of a dotted name takes; None where there is no such setting.

    A name within a mapping, such as teacher.arguments.depth, takes anything. One of a list is named by its place, as in
    more_teachers[0].name.
    """
    kind = Kind(form)
    for name in names:
        if kind.is_mapping:
            return Kind(Any)
        list_name, bracket, _ = name.partition("[")
        found = kind.fields().get(list_name)
        if found is None or (bracket and not found.is_list):
            return None
        kind = found.entry() if bracket else found
    return kind


def dotted_names(kind: Kind, prefix: str = "") -> Iterator[str]:
    """Yield the dotted name of every setting that is no section."""
    for name, field in kind.fields().items():
        if field.section:
            yield from dotted_names(field, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


@cache
def _fields_of(form: type[Settings]) -> dict[str, Kind]:
    return {field.alias or name: _kind_of(field) for name, field in form.model_fields.items()}


def _kind_of(field: FieldInfo) -> Kind:
    inner = _kind(field.annotation)
    return Kind(inner.type, (*inner.markers, *field.metadata))


def _kind(annotation: Any) -> Kind:
    if get_origin(annotation) is not Annotated:
        return Kind(annotation)
    inner, *markers = get_args(annotation)
    flat = [deep for marker in markers for deep in (marker.metadata if isinstance(marker, FieldInfo) else [marker])]
    return Kind(inner, tuple(flat))
