"""Cuts definitions out of this program, with all of ours that they need, into a Python package that stands alone.

A model that is handed over is run by the code it was trained with, word for word, and without this program. Nothing is
imported: modules are read as text, as the tests of the architecture do. Each becomes a file of the package, with what
is needed of it.
"""

import ast
import builtins
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

PACKAGE = "taskdistill"
ROOT = Path(__file__).parents[3]


class Name(NamedTuple):
    """Something that a module of ours defines."""

    module: str
    name: str

    @property
    def file(self) -> str:
        """The module's name in the package that stands alone."""
        return self.module.rpartition(".")[2]

    @property
    def place(self) -> str:
        """Where it is in the package."""
        return f"{self.file}.{self.name}"


class Statement(NamedTuple):
    """One statement at the top of a module that defines something."""

    text: str
    needs: frozenset[str]
    """Names it uses, of the module or built in."""


class Text(NamedTuple):
    """The top of a module."""

    docstring: str
    defined: Mapping[str, Statement]
    """In the order in which they stand there."""
    ours: Mapping[str, Name]
    """Name it has here -> what it is elsewhere in this program."""
    foreign: Mapping[str, str]
    """Name it has here -> the import of it from another package."""


def bundled(wanted: Sequence[Name]) -> dict[str, str]:
    """Return the files of a package, by their names, with these definitions and everything they need of this program.

    Raises ValueError where a name is not found, or two modules have the same last name, and OSError where a module is
    none of this program.
    """
    needed: dict[str, set[str]] = {}
    for name in wanted:
        _collect(name, needed)
    files = {Name(module, "").file: module for module in needed}
    if len(files) < len(needed):
        raise ValueError(f"two of {sorted(needed)} have the same last name: give one of them another")
    texts = {file: _cut(_text(module), needed[module]) for file, module in files.items()}
    return {f"{file}.py": text for file, text in sorted(texts.items())}


def _collect(wanted: Name, needed: dict[str, set[str]]) -> None:
    """Add a definition to what is needed of its module, and all that it needs itself."""
    names = needed.setdefault(wanted.module, set())
    if wanted.name in names:  # also where it needs itself, by whatever way
        return
    names.add(wanted.name)
    text = _text(wanted.module)
    if wanted.name not in text.defined:
        raise ValueError(f"{wanted.module} defines no {wanted.name} at its top")
    for name in text.defined[wanted.name].needs:
        if name in text.ours:
            _collect(text.ours[name], needed)
        elif name in text.defined:
            _collect(Name(wanted.module, name), needed)
        elif name not in text.foreign and not hasattr(builtins, name):
            raise ValueError(f"{wanted.module}:{wanted.name} uses {name}, which is not defined there")


def _cut(text: Text, names: set[str]) -> str:
    """Return a module with these of its definitions, and the imports that they need."""
    kept = list(dict.fromkeys(text.defined[name] for name in text.defined if name in names))
    uses = {name for statement in kept for name in statement.needs}
    foreign = sorted({text.foreign[name] for name in uses & text.foreign.keys()})
    ours = sorted(
        f"from .{origin.file} import {origin.name}" + (f" as {name}" if name != origin.name else "")
        for name, origin in text.ours.items()
        if name in uses
    )
    parts = [f'"""{text.docstring}"""', "\n".join(foreign), "\n".join(ours), *(statement.text for statement in kept)]
    return "\n\n\n".join(part for part in parts if part) + "\n"


@cache
def _text(module: str) -> Text:
    path = ROOT / f"{module.replace('.', '/')}.py"
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source, str(path))
    defined: dict[str, Statement] = {}
    ours: dict[str, Name] = {}
    foreign: dict[str, str] = {}
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            for name, origin, line in _imported(node):
                if isinstance(node, ast.ImportFrom) and origin.module.partition(".")[0] == PACKAGE:
                    ours[name] = origin
                else:
                    foreign[name] = line
            continue
        names = set(_defines(node))
        statement = Statement(_segment(source, node), frozenset(_uses(node) - names))
        defined |= dict.fromkeys(names, statement)
    return Text(ast.get_docstring(tree) or "", defined, ours, foreign)


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
