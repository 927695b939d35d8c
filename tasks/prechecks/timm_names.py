"""Names of timm's models, for `plan`: read from timm's sources, since importing it takes seconds.

A name that stands nowhere in them is certainly wrong. Whether one that does can be built is found by the trial of
`tasks.models.trial`, before any work.
"""

import functools
import importlib.util
import re
from pathlib import Path

from taskdistill.configs.choices import nearest
from taskdistill.configs.errors import SettingsError
from taskdistill.configs.models import Backbone

_MODEL = re.compile(r"^@register_model\s+def (\w+)\(", re.MULTILINE)


class UnknownModelError(SettingsError):
    """A name that the library does not know; the message lists those near it."""


def check_name(backbone: Backbone) -> None:
    """Raise UnknownModelError where timm has no such model, or none of its weights has such a name."""
    architecture, _, tag = backbone.name.partition(".")
    if not _is_a_word(architecture):
        raise UnknownModelError(
            f"timm has no model {backbone.name!r}{nearest(architecture, _MODEL.findall(_sources()))}"
        )
    if not all(map(_is_a_word, tag.split(".") if tag else ())):
        raise UnknownModelError(f"timm's {architecture} has no weights {tag!r}{nearest(tag, _tags(architecture))}")
    if not tag and backbone.weights == "hub":
        raise UnknownModelError(
            f"{backbone.name!r} does not say which weights: write {architecture}.TAG{nearest('', _tags(architecture))}"
        )


def _tags(architecture: str) -> list[str]:
    return re.findall(rf"['\"]{re.escape(architecture)}\.([\w.-]+)['\"]", _sources())


@functools.cache
def _is_a_word(name: str) -> bool:
    """Whether it stands anywhere as a whole word; sought alone, as to list all words takes a hundred times as long."""
    # No look-behind: it would keep the search from jumping to the name's first letters.
    found = re.finditer(rf"{re.escape(name)}(?![\w-])", _sources())
    is_one = re.fullmatch(r"[\w-]+", name) is not None
    return is_one and any(not re.match(r"[\w-]", one.string[one.start() - 1]) for one in found)


@functools.cache
def _sources() -> str:
    found = importlib.util.find_spec("timm")
    folder = Path(str(found.origin)).parent / "models" if found else Path()
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.py")))
