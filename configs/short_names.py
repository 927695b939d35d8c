"""Short names of experiments, which become labels, titles and parts of paths."""

import re
from typing import Annotated

from pydantic import AfterValidator, WithJsonSchema

_SHORT_NAME = "^[a-z0-9][a-z0-9._-]{0,63}$"


def _checked_name(name: str) -> str:
    if not re.fullmatch(_SHORT_NAME, name):
        raise ValueError(
            f"expected at most 64 small letters, digits, '.', '_' and '-', such as birds-2, found {name[:80]!r}"
        )
    return name


ShortName = Annotated[str, AfterValidator(_checked_name), WithJsonSchema({"type": "string", "pattern": _SHORT_NAME})]
