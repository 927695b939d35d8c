"""Settings over settings: what a run names, in place of what its preset says."""

from collections.abc import Mapping
from typing import Any

from taskdistill.configs.fields import Kind


def merged(preset: Mapping[str, Any], given: Mapping[str, Any], kind: Kind) -> dict[str, Any]:
    """Return `preset` with the settings of `given` in their places.

    Sections are merged setting by setting, to any depth. Any other value, a list or a mapping such as
    teacher.arguments too, takes the place of the old one as a whole: else nothing could ever be taken out of it. Names
    that are no settings are kept for the validation to name.
    """
    fields = kind.fields()
    result = dict(preset)
    for name, value in given.items():
        old, field = preset.get(name), fields.get(name, Kind(Any))
        if field.section and isinstance(old, Mapping) and isinstance(value, Mapping):
            result[name] = merged(old, value, field)
        else:
            result[name] = value
    return result
