"""What the benchmarks print: a table of medians and ratios, each beside its budget, and the exit code."""

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table


@dataclasses.dataclass(frozen=True)
class Row:
    """One measured number; without bounds it is only told."""

    name: str
    value: float
    unit: str = ""
    at_most: float | None = None
    at_least: float | None = None

    @property
    def is_within(self) -> bool:
        above = self.at_most is not None and self.value > self.at_most
        below = self.at_least is not None and self.value < self.at_least
        return not (above or below)

    @property
    def budget(self) -> str:
        if self.at_most is not None:
            return f"at most {self.at_most:g}"
        return "" if self.at_least is None else f"at least {self.at_least:g}"


def parser(description: str | None) -> argparse.ArgumentParser:
    """A parser with the two options every benchmark has."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--quick", action="store_true", help="a smaller run with a coarser answer")
    made.add_argument("--json", action="store_true", help="print name -> value as JSON instead of a table")
    return made


def finish(title: str, rows: Sequence[Row], *, as_json: bool) -> None:
    """Print the rows and leave with exit code 1 when one is over its budget."""
    if as_json:
        sys.stdout.write(json.dumps({row.name: row.value for row in rows}) + "\n")
    else:
        table = Table("measured", "median", "budget", "", title=title)
        for row in rows:
            verdict = "" if not row.budget else "[green]within[/]" if row.is_within else "[bold red]OVER[/]"
            table.add_row(row.name, f"{row.value:.4g} {row.unit}".strip(), row.budget, verdict)
        Console().print(table)
    sys.exit(0 if all(row.is_within for row in rows) else 1)
