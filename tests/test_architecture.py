"""The shape of the code, read from its text: which way imports point, how long things are, what is never done.

Each test collects every violation as `file:line` and what it is, so that one failure lists all there is to do.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

from taskdistill.configs.choices import METRICS
from taskdistill.tasks.problems.metrics import metrics_of

ROOT = Path(__file__).parents[1]
PACKAGES = ("configs", "storage", "tasks", "flows")
"""From the bottom up: a package imports itself and those before it."""

MODULES = sorted(path.relative_to(ROOT).as_posix() for package in PACKAGES for path in (ROOT / package).rglob("*.py"))

MAX_FILE_LINES, MAX_FUNCTION_LINES, MAX_PARAMETERS = 300, 50, 8

TOO_LARGE_WITH_REASON: dict[str, str] = {
    "flows/commands/operation.py:up": "each of its parameters is an option of the command line",
    "flows/commands/study.py:study": "each of its parameters is an option of the command line",
}
"""`path` or `path:function` -> why it may be larger than the limits."""

READS_THE_ENVIRONMENT = {
    "storage/store.py": "the store's root",
    "configs/places.py": "${NAME} in presets",
    "tasks/__init__.py": "threads that wait sleep",
    "tasks/visible_gpus.py": "the GPUs that torch will see",
    "flows/pipeline/step_process.py": "the GPUs of a slot",
    "tasks/training/launching.py": "by which interface ranks talk",
    "flows/operation/prefect_environment.py": "what Prefect and the processes of its runs inherit",
    "flows/operation/spare.py": "what a run was started with",
    "flows/reports/mlflow_runs.py": "what MLflow's client takes no argument for",
    "flows/presets.py": "the folders of presets of one's own, and of this program",
    "flows/deployed/nested_run.py": "what a process of a run inherits",
}

ARROWS_BACK = {
    ("tasks/models/task_model.py", "tasks/problems"): "a whole network asks its problem for the head",
    ("tasks/models/trial.py", "tasks/problems"): "what is tried before a run is a whole network",
}
"""(file, room) -> why it may import a room that imports its own; between files there is no circle all the same."""

HEAVY = {"torch", "torchvision", "timm", "prefect", "zarr", "numpy", "pyarrow", "PIL", "safetensors"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def tree_of(module: str) -> ast.Module:
    return ast.parse((ROOT / module).read_text(), module)


def modules_in(folder: str) -> list[str]:
    return [module for module in MODULES if module.startswith(f"{folder}/")]


def imports(module: str) -> Iterator[tuple[str, str]]:
    """Yield place and dotted name of everything imported anywhere in a file, inside functions too."""
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{'.' * node.level}{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from ((f"{module}:{node.lineno}", name.removeprefix("taskdistill.")) for name in names)


def modules_imported(module: str) -> list[str]:
    """Return the files of ours that a file imports anywhere, or would import if its types were checked."""
    found = []
    for _, name in imports(module):
        whole, parent = (text.replace(".", "/") for text in (name, name.rpartition(".")[0]))
        paths = [f"{path}{end}" for path in (whole, parent) for end in (".py", "/__init__.py")]
        found += [path for path in paths if path in MODULES and path != module][:1]
    return found


def room_of(module: str) -> str:
    """Return the folder within its package, such as tasks/data; a file beside the rooms is a room of its own."""
    return "/".join(module.split("/")[:2])


def arrows(folder: str) -> dict[str, set[tuple[str, str]]]:
    """Return by room of a package which others it imports, each with the file that does."""
    found: dict[str, set[tuple[str, str]]] = {}
    for module in modules_in(folder):
        others = {room_of(other) for other in modules_imported(module) if other.startswith(f"{folder}/")}
        found.setdefault(room_of(module), set()).update((other, module) for other in others - {room_of(module)})
    return found


def importers(room: str, *, but: str = "") -> set[str]:
    """Return the files outside a room that import something of it."""
    return {
        module
        for module in MODULES
        if room_of(module) not in (room, but) and any(room_of(other) == room for other in modules_imported(module))
    }


def circles(graph: Mapping[str, Iterable[str]]) -> set[str]:
    """Return the nodes that lie on a circle or lead to one: those left when all that leads nowhere is taken away."""
    left = {node: set(others) for node, others in graph.items()}
    while ends := {node for node, others in left.items() if not others & left.keys()}:
        left = {node: others for node, others in left.items() if node not in ends}
    return set(left)


def imports_of(packages: set[str], folder: str) -> list[str]:
    """Return where the modules of a folder import one of these packages."""
    return [
        f"{place} imports {name}"
        for module in modules_in(folder)
        for place, name in imports(module)
        if name.partition(".")[0] in packages
    ]


def attributes_used(names: set[str]) -> list[str]:
    """Return where a dotted name, such as os.environ, stands in code."""
    return [
        f"{module}:{node.lineno}"
        for module in MODULES
        for node in ast.walk(tree_of(module))
        if isinstance(node, ast.Attribute) and ast.unparse(node) in names
    ]


def functions(module: str) -> Iterator[Function]:
    return (node for node in ast.walk(tree_of(module)) if isinstance(node, Function))


def num_lines(function: Function) -> int:
    return (function.end_lineno or 0) - function.lineno + 1


def num_parameters(function: Function) -> int:
    """Count what a caller passes; `self` and `cls` are not passed."""
    arguments = function.args
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    return len([argument for argument in every if argument and argument.arg not in ("self", "cls")])


def too_large() -> dict[str, str]:
    """Return `path` or `path:function` of everything beyond the limits, and by what."""
    found = {}
    for module in MODULES:
        if (lines := (ROOT / module).read_text().count("\n")) > MAX_FILE_LINES:
            found[module] = f"{lines} lines"
        for function in functions(module):
            place = f"{module}:{function.name}"
            if num_lines(function) > MAX_FUNCTION_LINES:
                found[place] = f"{num_lines(function)} lines"
            if num_parameters(function) > MAX_PARAMETERS:
                found[place] = f"{num_parameters(function)} parameters"
    return found


# --- imports -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_point_from_flows_to_tasks_to_storage_to_configs_only(package: str):
    above = {*PACKAGES[PACKAGES.index(package) + 1 :], "tests"}
    assert imports_of(above, package) == []


def test_imports_are_absolute_so_that_this_file_can_follow_them():
    assert [place for module in MODULES for place, name in imports(module) if name.startswith(".")] == []


def test_rooms_are_imported_by_their_whole_names_as_where_they_are_installed():
    """Tests find the folders of a checkout by their short names too: a module would be there twice."""
    files = [*MODULES, *(path.relative_to(ROOT).as_posix() for path in (ROOT / "tests").rglob("*.py"))]
    short = [
        f"{file}:{node.lineno}"
        for file in files
        for node in ast.walk(tree_of(file))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""])
        if name.partition(".")[0] in PACKAGES
    ]
    assert short == []


def test_configs_import_nothing_heavy():
    assert imports_of(HEAVY, "configs") == []


def test_storage_imports_neither_torch_nor_prefect():
    assert imports_of({"torch", "torchvision", "timm", "prefect"}, "storage") == []
    assert [
        name for module in modules_in("storage") for _, name in imports(module) if "safetensors.torch" in name
    ] == []


def test_one_file_of_tasks_imports_prefect():
    assert {found.partition(":")[0] for found in imports_of({"prefect"}, "tasks")} <= {"tasks/prefect_task.py"}


def test_the_chain_imports_no_prefect():
    assert [name for _, name in imports("flows/pipeline/chain.py") if name.startswith("prefect")] == []


def test_no_part_of_the_pipeline_knows_the_miniature():
    """It is a dataset and some weights: a demonstration runs the same stages, losses and networks as any other run."""
    knowing = {
        place.partition(":")[0]
        for module in MODULES
        for place, name in imports(module)
        if name.startswith("tasks.miniature")
    }
    allowed = {"flows/birds.py", "flows/commands/miniature.py"}
    assert {place for place in knowing if not place.startswith("tasks/miniature/")} == allowed


def test_pure_functions_know_no_files_and_no_stages():
    assert imports_of({"storage", "os", "pathlib", "shutil", "tempfile"}, "tasks/functional") == []
    above = [found for found in imports_of({"tasks"}, "tasks/functional") if "imports tasks.functional." not in found]
    assert above == []


def test_no_two_files_import_each_other_by_whatever_way():
    assert circles({module: modules_imported(module) for module in MODULES}) == set()


@pytest.mark.parametrize("package", ["tasks", "flows"])
def test_no_two_rooms_import_each_other_by_whatever_way(package: str):
    rooms = arrows(package)
    backwards = {module for others in rooms.values() for room, module in others if (module, room) in ARROWS_BACK}
    assert backwards == {module for module, room in ARROWS_BACK if module.startswith(f"{package}/")}  # still needed
    forward = {
        name: {room for room, module in others if (module, room) not in ARROWS_BACK} for name, others in rooms.items()
    }
    assert circles(forward) == set()


def test_stages_are_imported_by_nobody_as_the_catalog_names_them_by_text():
    assert importers("tasks/stages") == set()


def test_the_pipeline_knows_no_other_room_of_flows_but_how_errors_are_told():
    assert {room for room, _ in arrows("flows")["flows/pipeline"]} == {"flows/ending"}


def test_only_the_commands_that_run_a_machine_know_what_is_deployed():
    """So every other command starts without Prefect; and what is deployed knows no command line, and no machine."""
    assert importers("flows/deployed", but="flows/operation") == set()
    assert importers("flows/operation") == {"flows/commands/operation.py"}
    assert importers("flows/commands") == {"flows/cli.py"}


def test_nothing_in_flows_is_named_like_a_package_that_is_imported():
    """Prefect puts the folder of a flow first on sys.path: flows/prefect would be found in place of Prefect."""
    names = {path.stem for path in (ROOT / "flows").iterdir()} - {"__init__", "__pycache__"}
    assert names & {*HEAVY, *sys.stdlib_module_names, "rich", "typer", "pydantic", "yaml", "httpx"} == set()


@pytest.mark.parametrize("package", PACKAGES)
def test_tests_lie_in_the_rooms_of_what_they_test(package: str):
    rooms = {path.name for path in (ROOT / package).iterdir() if path.is_dir()}
    tested = {path.name for path in (ROOT / "tests" / package).iterdir() if path.is_dir()} - {"__pycache__"}
    assert tested - rooms == set()


def test_tables_of_scores_are_printed_without_torch():
    code = (
        "import sys; import taskdistill.flows.reports.page.writing; "
        "from taskdistill.tasks.problems.metrics import metrics_of; "
        "from taskdistill.configs.choices import METRICS; "
        "assert all(map(metrics_of, METRICS)); print({'torch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


# --- problems ----------------------------------------------------------------------------------------------------


def places_of(pattern: str, modules: list[str]) -> list[str]:
    """Return the lines, docstrings and comments too, in which a pattern is found."""
    return [
        f"{module}:{number}"
        for module in modules
        for number, line in enumerate((ROOT / module).read_text().splitlines(), start=1)
        if re.search(pattern, line)
    ]


def test_no_module_outside_problems_names_a_metric():
    names = [metric.name for problem in METRICS for metric in metrics_of(problem)]
    assert {"top1", "ece", "teacher_agreement"} <= set(names)  # those it must find
    outside = [module for module in MODULES if not module.startswith("tasks/problems/")]
    assert places_of(rf"\b({'|'.join(names)})\b", outside) == []


def test_no_stage_and_no_flow_asks_which_problem_it_is():
    asking = r"\bif problem\b|\bproblem\w* ==|\bmatch problem\b"
    assert places_of(asking, modules_in("tasks") + modules_in("flows")) == []


# --- words -------------------------------------------------------------------------------------------------------

WITH_SHAPES = ("tasks",)
"""Packages whose modules name the axes of an array in its name, such as images_NCHW."""


def shape_letters(module: str) -> set[str]:
    """Return the letters that names of a module end with, after small letters: those of constants are words."""
    names = {
        name
        for node in ast.walk(tree_of(module))
        for field in ("id", "arg", "attr", "name")
        if isinstance(name := getattr(node, field, None), str)
    }
    shapes = [found[1] for name in names if (found := re.fullmatch(r"_?[a-z][a-z0-9_]*_([A-Z][A-Za-z0-9]*)", name))]
    return {letter for shape in shapes for letter in shape if letter.isalpha()}


def legend(module: str) -> set[str]:
    """Return the single letters in what the docstring of a module has after "Shape letters:"."""
    docstring = ast.get_docstring(tree_of(module)) or ""
    return set(re.findall(r"\b[A-Za-z]\b", docstring.partition("Shape letters:")[2].partition("\n\n")[0]))


def test_shape_letters_are_found_in_names_and_in_legends():
    assert shape_letters("tasks/functional/mixup.py") == legend("tasks/functional/mixup.py") == set("NKCHW")


@pytest.mark.parametrize("package", WITH_SHAPES)
def test_a_module_with_shape_letters_in_its_names_opens_with_their_legend(package: str):
    letters = {module: shape_letters(module) for module in modules_in(package)}
    missing = {module: sorted(used - legend(module)) for module, used in letters.items()}
    assert {module: absent for module, absent in missing.items() if absent} == {}


# --- sizes -------------------------------------------------------------------------------------------------------


def test_files_and_functions_are_short_and_functions_take_few_things():
    assert {place: size for place, size in too_large().items() if place not in TOO_LARGE_WITH_REASON} == {}


def test_every_exception_from_the_sizes_is_still_needed():
    assert TOO_LARGE_WITH_REASON.keys() <= too_large().keys()


# --- what readers are told ---------------------------------------------------------------------------------------


def public_functions(node: ast.Module | ast.ClassDef, told: str = "") -> Iterator[tuple[Function, str]]:
    """Yield each public function with its docstring, a constructor with that of its class."""
    for each in node.body:
        if isinstance(each, ast.ClassDef) and not each.name.startswith("_"):
            yield from public_functions(each, ast.get_docstring(each) or "")
        elif isinstance(each, Function) and (each.name == "__init__" or not each.name.startswith("_")):
            yield each, told if each.name == "__init__" else ast.get_docstring(each) or ""


def errors_raised(function: Function) -> set[str]:
    """Return the names of the errors that the text of a function raises; of those it makes elsewhere, none."""
    raised = [node.exc for node in ast.walk(function) if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)]
    names = {ast.unparse(call.func).rpartition(".")[2] for call in raised}
    return {name for name in names if name.endswith("Error")}


@pytest.mark.parametrize("package", PACKAGES)
def test_public_functions_name_the_errors_they_raise(package: str):
    helps = "flows/commands/"  # docstrings of commands are their help, for people who see the sentence and not the type
    assert [
        f"{module}:{function.lineno} {name}"
        for module in modules_in(package)
        if not module.startswith(helps)
        for function, told in public_functions(tree_of(module))
        for name in sorted(errors_raised(function))
        if name not in told
    ] == []


# --- what is never done ------------------------------------------------------------------------------------------


def test_no_error_is_caught_without_saying_which():
    """Product code names what it can deal with; BaseException may be carried to another thread and raised there."""
    caught = {
        f"{module}:{node.lineno}": ast.unparse(node.type) if node.type else "everything"
        for module in MODULES
        for node in ast.walk(tree_of(module))
        if isinstance(node, ast.ExceptHandler)
    }
    assert {place: what for place, what in caught.items() if re.search(r"\bException\b|everything", what)} == {}


def test_the_environment_is_read_in_few_places_only():
    readers = {"os.environ", "os.environb", "os.getenv", "os.getenvb"}
    reads = attributes_used(readers)
    imported = [place for module in MODULES for place, name in imports(module) if name in readers]
    assert {place.partition(":")[0] for place in reads + imported} == READS_THE_ENVIRONMENT.keys()


def test_parquet_files_are_read_as_files_and_not_as_datasets():
    """What reads datasets imports them and, in a process that only reads, pandas: as long as a command takes."""
    slow = ("parquet.read_table", "parquet.read_pandas", "parquet.ParquetDataset", "dataset")
    names = {f"{package}.{name}" for package in ("pyarrow", "pa") for name in slow}
    used = attributes_used({*names, *(name.replace("pyarrow.parquet.", "pq.") for name in names)})
    imported = [place for module in MODULES for place, name in imports(module) if name in names]
    assert used + imported == []


def test_nothing_is_unpickled_but_with_weights_only():
    pickles = {"pickle", "cloudpickle", "dill", "joblib", "shelve"}
    found = {place for package in PACKAGES for place in imports_of(pickles, package)}
    # What reads others' checkpoints catches pickle's error, by which torch refuses what is not on the list; it imports
    # nothing that reads.
    assert {re.sub(r":\d+", "", place) for place in found} == {
        f"{module} imports pickle.UnpicklingError"
        for module in ("tasks/generators/convert_image_mixer.py", "tasks/openmmlab/teacher.py")
    }
    loads = [
        (f"{module}:{node.lineno}", {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords})
        for module in MODULES
        for node in ast.walk(tree_of(module))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load"
    ]
    assert [place for place, keywords in loads if keywords.get("weights_only") != "True"] == []
