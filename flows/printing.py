"""Where the command line prints: results on stdout, everything else on stderr; and options that commands share."""

import json
import sys
from typing import Annotated, Any

import typer
from rich.console import Console

errors = Console(stderr=True)
output = Console()

Reference = Annotated[str, typer.Argument(help="A label, or a reference such as model@3f9c12ab.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]


def print_json(value: dict[str, Any]) -> None:
    """Print one object on one line of stdout, for programs."""
    sys.stdout.write(json.dumps(value) + "\n")


def size_of(count: float) -> str:
    """Return a number of bytes as people write it."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
