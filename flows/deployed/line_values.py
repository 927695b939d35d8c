"""Patterns of what may stand behind the = of a line such as distill.alpha=0.5, so that a wrong value is refused in the
form: a JSON schema knows nothing of a line but its text.

A pattern refuses what no run would take, and takes all that one would. It is told in full where there is one value: a
choice, a whole number within its bounds, a number that is negative where it may not be, or too large. What it does not
see, the run refuses at once: the lower bound of a number with a point, a power of ten (1e3), what is written in braces,
and settings that do not go together.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from taskdistill.configs.fields import Kind

_ANY_DIGITS = r"(0|[1-9][0-9]*(_[0-9]+)*)"
_POWER = r"[eE][-+]?[0-9]+"


def line_pattern(names: Iterable[str], allowed: str) -> str:
    """Return a pattern of the lines that set one of these settings to what it cannot be."""
    # What an environment variable holds is known to the worker alone.
    return rf"^\s*({'|'.join(map(re.escape, names))})\s*=(?!.*\$\{{)(?!{allowed}$)"


def value_pattern(kind: Kind) -> str:
    """Return a pattern of the texts that a setting takes; "" where a text does not tell."""
    if kind.is_list:
        entry = value_pattern(kind.entry())
        several = rf"{entry}(\s*,\s*{entry})*"
        # Brackets are YAML, which a pattern cannot read.
        return rf"\s*({several}|\[.*)\s*" if entry else ""
    if kind.choices and kind.is_text:
        return f"({'|'.join(re.escape(choice) for choice in kind.choices)})"
    if kind.type is int:
        return rf"\s*{_whole_number(kind)}\s*"
    return rf"\s*{_number(kind)}\s*" if kind.type is float else ""


def _whole_number(kind: Kind) -> str:
    low, high = _bound(kind, "ge"), _bound(kind, "le")
    if low is None or low < 0:
        return rf"[-+]?{_ANY_DIGITS}(\.0*)?({_POWER})?"
    digits = "|".join(_range(int(low), int(high))) if high is not None else _ANY_DIGITS
    # Digits in groups are one number to people and to the run: 1_000.
    written = rf"(({digits})(\.0*)?|[1-9][0-9]*(_[0-9]+)+(\.0*)?|{_ANY_DIGITS}(\.[0-9]*)?{_POWER})"
    return rf"(\+?{written}|-0(\.0*)?)" if low == 0 else rf"\+?{written}"


def _number(kind: Kind) -> str:
    low, above = _bound(kind, "ge"), _bound(kind, "gt")
    high, below = _bound(kind, "le"), _bound(kind, "lt")
    sign = "[-+]?" if low is None and above is None else r"\+?"
    not_zero = r"(?=[^eE]*[1-9])" if above == 0 or (low is not None and low > 0) else ""
    written = rf"({_ANY_DIGITS}(\.[0-9]*)?|\.[0-9]+)"
    if high is not None or below is not None:
        written = "|".join(_up_to(high if high is not None else below, is_reached=high is not None))
        written += r"|[1-9][0-9]*(_[0-9]+)+(\.[0-9]*)?"
    powers = rf"({_ANY_DIGITS}(\.[0-9]*)?|\.[0-9]+){_POWER}"
    minus_zero = r"|-(0(\.0*)?|\.0+)" if low == 0 else ""
    return rf"({not_zero}{sign}({written}|{powers}){minus_zero})"


def _up_to(limit: float | None, *, is_reached: bool) -> Iterator[str]:
    """Yield patterns of the numbers from 0 to a limit, in decimal; a little more where the limit is no whole number."""
    assert limit is not None
    whole = int(limit)
    last = whole - 1 if whole == limit else whole
    if last >= 0:
        yield rf"({'|'.join(_range(0, last))})(\.[0-9]*)?"
        yield r"\.[0-9]+"
    if whole == limit and is_reached:
        yield rf"{whole}(\.0*)?"


def _range(low: int, high: int) -> Iterator[str]:
    """Yield patterns that together match the whole numbers from `low`, 0 or more, to `high`: 7 to 123 is [7-9],
    [1-9][0-9]{1}, 1[0-1][0-9]{1}, 12[0-3][0-9]{0}.
    """
    if low == 0:
        yield "0"
        low = 1
    while low <= high:
        step = 1
        while low % (10 * step) == 0 and low + 10 * step - 1 <= high:
            step *= 10
        # As many as have their other digits in common: only the last of the leading digits differs.
        leading = low // step
        count = min(10 - leading % 10, (high - low + 1) // step)
        first = leading % 10
        digits = len(str(step)) - 1
        prefix = str(leading // 10) if leading >= 10 else ""
        yield f"{prefix}[{first}-{first + count - 1}]" + (f"[0-9]{{{digits}}}" if digits else "")
        low += count * step


def _bound(kind: Kind, name: str) -> Any:
    return next((found for marker in kind.markers if (found := getattr(marker, name, None)) is not None), None)
