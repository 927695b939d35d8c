"""Cuts definitions out of this program, with all of ours that they need, into one Python file that stands alone.

A model that is handed over is run by the code it was trained with, word for word, and without this program. Nothing is
imported: modules are read as text, as the tests of the architecture do.
"""

import ast
import builtins
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

PACKAGES = ("configs", "storage", "tasks", "flows")
ROOT = Path(__file__).parents[2]


class Name(NamedTuple):
    """Something that a module of ours defines."""

    module: str
    name: str


class Statement(NamedTuple):
    """One statement at the top of a module: what it defines or imports."""

    text: str
    needs: frozenset[str]
    """Names it uses, of the module or built in."""


class Text(NamedTuple):
    """The top of a module."""

    defined: Mapping[str, Statement]
    ours: Mapping[str, Name]
    """Name it has here -> what it is elsewhere in this program."""
    foreign: Mapping[str, str]
    """Name it has here -> the import of it from another package."""


def bundled(wanted: Sequence[Name], docstring: str) -> str:
    """Return a Python file with these definitions and everything they need of this program.

    Raises ValueError where two of them have the same name in different modules, or a name is not found.
    """
    started: set[Name] = set()
    order: list[Name] = []
    imports: dict[str, str] = {}
    for name in wanted:
        _collect(name, started, order, imports)
    if doubled := {found.name for found in order if sum(found.name == other.name for other in order) > 1}:
        raise ValueError(f"{sorted(doubled)} stand in more than one module: give one of them another name")
    # What a statement needs was collected before it, also what it needs only when it is called.
    parts = list(dict.fromkeys(_text(found.module).defined[found.name].text for found in order))
    return "\n".join([f'"""{docstring}"""\n', *sorted(set(imports.values())), "\n\n" + "\n\n\n".join(parts), ""])


def _collect(wanted: Name, started: set[Name], order: list[Name], imports: dict[str, str]) -> None:
    """Append a definition after all that it needs, and the imports of both."""
    if wanted in started:  # done, or it needs itself, by whatever way
        return
    started.add(wanted)
    text = _text(wanted.module)
    if wanted.name not in text.defined:
        raise ValueError(f"{wanted.module} defines no {wanted.name} at its top")
    for needed in sorted(text.defined[wanted.name].needs):
        if needed in text.foreign:
            if imports.setdefault(needed, text.foreign[needed]) != text.foreign[needed]:
                raise ValueError(f"{needed} is imported from two places: {imports[needed]}, {text.foreign[needed]}")
        elif needed in text.ours or needed in text.defined:
            inner = text.ours.get(needed, Name(wanted.module, needed))
            if inner.name != needed:
                raise ValueError(f"{wanted.module} imports {inner.name} as {needed}: import it by its own name")
            _collect(inner, started, order, imports)
        elif not hasattr(builtins, needed):
            raise ValueError(f"{wanted.module}:{wanted.name} uses {needed}, which is not defined there")
    order.append(wanted)


@cache
def _text(module: str) -> Text:
    path = ROOT / f"{module.replace('.', '/')}.py"
    source = path.read_text(encoding="utf-8")
    defined, ours, foreign = {}, {}, {}
    for node in ast.parse(source, str(path)).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            for name, origin, line in _imported(node):
                if isinstance(node, ast.ImportFrom) and origin.module.partition(".")[0] in PACKAGES:
                    ours[name] = origin
                else:
                    foreign[name] = line
            continue
        names = set(_defines(node))
        statement = Statement(_segment(source, node), frozenset(_uses(node) - names))
        defined |= dict.fromkeys(names, statement)
    return Text(defined, ours, foreign)


def _imported(node: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, Name, str]]:
    """Yield for each imported name what it is called, where it comes from, and the line that imports it alone."""
    for alias in node.names:
        renamed = f" as {alias.asname}" if alias.asname else ""
        called = alias.asname or alias.name.partition(".")[0]
        if isinstance(node, ast.ImportFrom):
            line = f"from {node.module} import {alias.name}{renamed}"
            yield called, Name(node.module or "", alias.name), line
        else:
            yield called, Name(alias.name, ""), f"import {alias.name}{renamed}"


def _defines(node: ast.stmt) -> Iterator[str]:
    match node:
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case ast.Assign(targets=targets):
            yield from (part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name))
        case ast.AnnAssign(target=ast.Name(id=name)):
            yield name


def _uses(node: ast.stmt) -> set[str]:
    """Return the names that a statement reads and does not make itself, its parameters among those it makes."""
    made = {part.arg for part in ast.walk(node) if isinstance(part, ast.arg)}
    names = [part for part in ast.walk(node) if isinstance(part, ast.Name)]
    made |= {part.id for part in names if isinstance(part.ctx, ast.Store)}
    return {part.id for part in names if isinstance(part.ctx, ast.Load)} - made


def _segment(source: str, node: ast.stmt) -> str:
    """Return the lines of a statement, its decorators and comments within it too."""
    decorators = getattr(node, "decorator_list", [])
    first = min([node.lineno, *(decorator.lineno for decorator in decorators)])
    return "\n".join(source.splitlines()[first - 1 : node.end_lineno])
