"""Canonical JSON and its SHA-256: the identity of a recipe.

Only values with one exact text are accepted: None, bool, int, finite float, str, and lists and string-keyed mappings
of them. Everything else is refused, never pickled or repr'd, because a fingerprint that depends on a memory address
or a library version makes a cache that misses or lies.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any


def canonical_json(value: Any) -> str:
    """Return the one JSON text of `value`: sorted keys, no spaces, shortest floats, UTF-8 kept.

    Raises TypeError for a type without an exact form and ValueError for NaN and infinities.
    """
    # json would write more than has one exact text: keys that are numbers become text, and 1 and "1" the same recipe.
    _refuse_inexact(value, "recipe")
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def fingerprint(recipe: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the recipe's canonical JSON, as 64 hex digits."""
    return hashlib.sha256(canonical_json(recipe).encode()).hexdigest()


def _refuse_inexact(value: Any, where: str) -> None:
    match value:
        case None | bool() | int() | str():
            return
        case float():
            if not math.isfinite(value):
                raise ValueError(f"{where} is {value}, which JSON cannot hold: use a finite number")
        case list() | tuple():  # one and the same in JSON, as they are in settings
            for index, item in enumerate(value):
                _refuse_inexact(item, f"{where}[{index}]")
        case Mapping():
            for key, item in value.items():
                if not isinstance(key, str):
                    raise TypeError(f"{where} has the key {key!r}: keys must be text")
                _refuse_inexact(item, f"{where}.{key}")
        case _:
            raise TypeError(
                f"{where} is a {type(value).__name__}, which has no exact text form: pass a number, text, list or "
                "mapping"
            )
