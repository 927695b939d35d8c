"""The guard of `Stage.version`: code that decides bytes does not change unnoticed, nor does what a recipe says.

`fingerprints.json` holds, for each stage, its version, a digest of every module it computes with, and the recipe of its
default config. When a digest moves, the author decides: would the same config now give other pixels,
weights or numbers, beyond rounding? If so,
`Stage.version` is raised. In either case the new state is recorded with

    python tests/test_fingerprints.py

A digest is of the code's syntax tree without docstrings: comments, layout and words do not count. A module's tree is
written out here rather than with `ast.dump`, whose text differs between versions of Python.
"""

import ast
import hashlib
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from taskdistill.configs import choices
from taskdistill.configs.base import StageConfig
from taskdistill.storage.fingerprint import fingerprint
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.tasks.catalog import STAGES
from taskdistill.tasks.stage import Stage

ROOT = Path(__file__).parents[1]
RECORD = Path(__file__).with_name("fingerprints.json")

FORMATS = {
    "storage.image_set", "storage.tables", "storage.view_outputs", "storage.view_writer", "storage.view_arrays",
    "storage.int8_rows", "storage.chunk_rows", "storage.weights",
}  # fmt: skip
"""The modules of storage that decide an artifact's bytes; the others move bytes, and name and guard them."""

MACHINERY = {"tasks.stage", "tasks.catalog"}
"""Modules of tasks that decide whether and when to compute, not what."""

State = dict[str, Any]

HOW_TO_DECIDE = (
    "Would the same config and inputs now give other pixels, weights or numbers, beyond rounding? Then raise "
    "Stage.version of these stages in tasks/catalog.py, so that their artifacts and those made from them are built "
    "again. If they stay the same, leave it. Then record the new state: python tests/test_fingerprints.py"
)


# --- what a stage computes with ----------------------------------------------------------------------------------


def modules_of(stage: Stage[Any]) -> list[str]:
    """Return every module the stage's function may run, found by following imports and the tables of choices."""
    found: set[str] = set()
    waiting = {_own(stage.run)}
    while waiting:
        module = waiting.pop()
        found.add(module)
        waiting |= set(_imports(module)) - found
    return sorted(found)


@cache
def _imports(module: str) -> tuple[str, ...]:
    nodes = list(ast.walk(_tree(module)))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            names += [str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)]
    tables = [getattr(choices, name.rpartition(".")[2]) for name in names if _is_table(name)]
    names = [_own(name) for name in [*names, *(target for table in tables for target in table.values())]]
    parents = [name.rpartition(".")[0] for name in names if name.count(".") > 1]  # a package runs before its modules
    return tuple(name for name in {*names, *parents} if _computes(name))


def _own(name: str) -> str:
    """Return the name of a module of ours below the package, without what is named in it after a colon."""
    return name.removeprefix("taskdistill.").partition(":")[0]


def _is_table(name: str) -> bool:
    module, _, attribute = name.rpartition(".")
    return module == "taskdistill.configs.choices" and isinstance(getattr(choices, attribute, None), dict)


def _computes(name: str) -> bool:
    inside = name.startswith("tasks.") and name not in MACHINERY
    return (inside or name in FORMATS) and _path(name).is_file()


def _path(module: str) -> Path:
    path = ROOT / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _tree(module: str) -> ast.Module:
    return ast.parse(_path(module).read_text(), module)


@cache
def digest_of(module: str) -> str:
    """Return 16 hex digits for what a module does."""
    return digest_of_tree(_tree(module))


def digest_of_tree(tree: ast.Module) -> str:
    return hashlib.sha256("\n".join(_lines(tree)).encode()).hexdigest()[:16]


def _lines(value: object) -> Iterator[str]:
    """Write a syntax tree out, leaving out text that stands alone (docstrings), and fields that are empty."""
    if isinstance(value, ast.AST):
        yield f"({type(value).__name__}"
        for name, field in ast.iter_fields(value):
            if field is not None and field != []:
                yield name
                yield from _lines(field)
        yield ")"
    elif isinstance(value, list):
        for item in value:
            if not (isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant)):
                yield from _lines(item)
    else:
        yield repr(value)


# --- what a recipe says ------------------------------------------------------------------------------------------


def default_recipe(stage: Stage[Any]) -> dict[str, Any]:
    """Return the recipe of the stage's default config, from inputs whose fingerprints are all zeros."""
    inputs = {role: ArtifactRef(kind, "0" * 64) for role, kind in stage.inputs.items()}
    config: StageConfig = stage.config_type()
    return stage.recipe(config, inputs, content_digests={})


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Return nested settings as dotted name -> value."""
    if not isinstance(value, dict) or not value:
        return {prefix: value}
    return {
        dotted: leaf
        for name, item in value.items()
        for dotted, leaf in flat(item, f"{prefix}.{name}" if prefix else name).items()
    }


def state_of(stage: Stage[Any]) -> State:
    recipe = default_recipe(stage)
    return {
        "version": stage.version,
        "fingerprint_of_defaults": fingerprint(recipe),
        "defaults": json.loads(json.dumps(flat(recipe["config"]))) if recipe["config"] else {},
        "modules": {module: digest_of(module) for module in modules_of(stage)},
    }


def current() -> dict[str, State]:
    return {stage.name: state_of(stage) for stage in STAGES}


def recorded() -> dict[str, State]:
    found: dict[str, State] = json.loads(RECORD.read_text())
    return found


def record() -> None:
    """Write the current state down, and say what moved."""
    before, now = recorded() if RECORD.is_file() else {}, current()
    RECORD.write_text(json.dumps(now, indent=1) + "\n")
    for name, state in now.items():
        lines = differences(before.get(name, {}), state)
        print(f"{name}: {'; '.join(lines) or 'as before'}")


def differences(old: State, new: State) -> list[str]:
    """Say in words what differs between a recorded and the present state of a stage."""
    if not old:
        return ["new"]
    lines = [] if old["version"] == new["version"] else [f"version {old['version']} -> {new['version']}"]
    modules, defaults = changes(old["modules"], new["modules"]), changes(old["defaults"], new["defaults"])
    lines += [f"module {name} is {word}" for name, word in modules.items()]
    lines += [f"setting {name} is {word}" for name, word in defaults.items()]
    if old["fingerprint_of_defaults"] != new["fingerprint_of_defaults"] and not lines:
        lines.append("the recipe of the same config has another form")
    return lines


def changes(old: dict[str, Any], new: dict[str, Any]) -> dict[str, str]:
    """Return each name whose value differs, and whether it is new, gone or changed."""
    words = {name: "gone" for name in old.keys() - new.keys()} | {name: "new" for name in new.keys() - old.keys()}
    words |= {name: "changed" for name in old.keys() & new.keys() if old[name] != new[name]}
    return dict(sorted(words.items()))


# --- the guard ---------------------------------------------------------------------------------------------------


def test_code_that_decides_bytes_does_not_change_without_a_decision_about_the_version():
    old = recorded()
    moved = {
        stage.name: ", ".join(f"{name} is {word}" for name, word in found.items())
        for stage in STAGES
        if stage.name in old and old[stage.name]["version"] == stage.version
        if (found := changes(old[stage.name]["modules"], state_of(stage)["modules"]))
    }
    listed = "\n".join(f"  {name} (version unchanged): {found}" for name, found in moved.items())
    assert not moved, f"the code of these stages changed:\n{listed}\n{HOW_TO_DECIDE}"


def test_a_default_config_keeps_its_fingerprint_unless_a_change_of_settings_is_meant():
    old = recorded()
    moved = {
        stage.name: differences(old[stage.name] | {"modules": {}}, state_of(stage) | {"modules": {}})
        for stage in STAGES
        if stage.name in old and old[stage.name]["version"] == stage.version
    }
    listed = "\n".join(f"  {name}: {'; '.join(found)}" for name, found in moved.items() if found)
    assert not listed, (
        f"the recipes of these stages changed:\n{listed}\nArtifacts made before are found no more. A new field with a "
        "neutral default is marked AddedLater (configs.base); a renamed field keeps its old name. When the change is "
        "meant, record it: python tests/test_fingerprints.py"
    )


def test_the_record_holds_the_version_of_exactly_the_stages_there_are():
    versions = {name: state["version"] for name, state in recorded().items()}
    expected = {stage.name: stage.version for stage in STAGES}
    assert versions == expected, "record the new state: python tests/test_fingerprints.py"


# --- the guard itself --------------------------------------------------------------------------------------------


def test_comments_layout_and_docstrings_do_not_count_as_a_change():
    plain = "def f(x):\n    return x + 1\n"
    worded = '"""A module."""\ndef f(x):\n    """Add."""\n    # one more\n    return (x\n        + 1)\n'
    assert digest_of_tree(ast.parse(plain)) == digest_of_tree(ast.parse(worded))


def test_a_changed_number_name_or_default_counts_as_a_change():
    sources = ["def f(x, y=1): return x", "def f(x, y=2): return x", "def f(x, y=1): return y", "def f(x, y=1): return"]
    assert len({digest_of_tree(ast.parse(source)) for source in sources}) == 4


def test_a_stage_computes_with_what_it_imports_and_with_every_choice_by_name():
    found = {stage.name: set(modules_of(stage)) for stage in STAGES}
    assert {
        "tasks.stages.ingest",
        "tasks.data.folder",
        "tasks.data.table",
        "storage.image_set",
    } <= found["ingest"]
    assert {
        "tasks.stages.extract",
        "tasks.models.timm_encoder",
        "tasks.functional.views",
    } <= found["extract"]
    assert {
        "tasks.training.trainer",
        "tasks.functional.losses",
        "tasks.problems.classification",
    } <= found["distill"]
    assert "tasks.stages.distill" not in found["finetune"] | found["extract"]
    assert not {"tasks.stage", "storage.store"} & set().union(*found.values())


def test_a_change_is_told_in_words():
    state = {"version": 1, "fingerprint_of_defaults": "a", "defaults": {"seed": 0, "rate": 1}, "modules": {"m": "1"}}
    later = {"version": 2, "fingerprint_of_defaults": "b", "defaults": {"seed": 1, "pace": 1}, "modules": {"m": "2"}}
    assert differences(state, later) == [
        "version 1 -> 2",
        "module m is changed",
        "setting pace is new",
        "setting rate is gone",
        "setting seed is changed",
    ]


if __name__ == "__main__":
    record()
