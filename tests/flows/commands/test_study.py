"""The command `study`: what it prints and writes, what it costs."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from taskdistill.configs.study_loading import Given, load_study, points_of
from taskdistill.flows.pipeline.planning import PlannedStep
from taskdistill.flows.pipeline.study import plan_study
from taskdistill.storage.files import read_json, write_json
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.tables import read_column, write_columns
from taskdistill.tasks.stage import content_digests_of
from tests.flows.conftest import Command, Done, call, when_made

SWEEP = ("--sweep", "distill.temperature=1,2")
GRID = [  # 2 x 2 x 3 x 4 points
    "teacher_training=probed,finetuned",
    "student.seed=0,1",
    "distill.temperature=1,2,4",
    "distill.alpha=0.2,0.4,0.6,0.8",
]
PLAN_CPU_SECONDS, FINISHED_CPU_SECONDS = 3.0, 5.0


@pytest.fixture(scope="module")
def studied(first_run: tuple[Path, Done], preset: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Done]:
    """A folder with the store where one of two points was there, and what came out. Read only."""
    folder = tmp_path_factory.mktemp("studied")
    store = ArtifactStore(shutil.copytree(first_run[0], folder / "store"))
    return folder, call(store, "study", preset, *SWEEP, "--folder", str(folder / "out"))


def test_it_says_what_the_study_is_what_came_out_where_it_is_and_what_to_do_next(studied: tuple[Path, Done]) -> None:
    folder, done = studied
    assert done.code == 0, done.stderr
    assert "shapes: 2 points of " in done.stdout
    assert "26 steps one by one, 15 as the points share them\n  distill.temperature: 1, 2\n" in done.stdout
    assert "There is nothing to choose between." in done.stdout  # so little training helps nobody
    assert f"Written to {folder / 'out'}: scores.parquet, scores.csv, table.parquet" in done.stdout
    assert f"taskdistill run {folder / 'out' / 'best.yaml'}" in done.stdout


def test_progress_shows_what_is_made_and_only_counts_what_is_there(studied: tuple[Path, Done]) -> None:
    assert "13 of 15 steps are there" in studied[1].stderr
    assert "build  distill-seed0 [temperature 1]" in studied[1].stderr
    assert "have   ingest" not in studied[1].stderr


def test_the_page_has_the_table_the_curves_and_the_command(studied: tuple[Path, Done], preset: str) -> None:
    page = (studied[0] / "out" / "study.html").read_text(encoding="utf-8")
    assert "<h2>Learning curves</h2>" in page
    assert f'<pre tabindex="0">taskdistill study {preset} --sweep distill.temperature=1,2</pre>' in page


def test_the_students_of_one_network_have_its_latency_which_is_measured_once(studied: tuple[Path, Done]) -> None:
    table = pq.read_table(studied[0] / "out" / "table.parquet").to_pylist()
    [known] = {row["latency_ms"] for row in table if row["model"] in ("student finetuned", "student distilled")}
    assert known > 0
    assert [row["latency_ms"] for row in table if row["model"] == "teacher probed"] == [None]
    [remembered] = (studied[0] / "store" / "reports" / "latencies").glob("*/*.json")
    assert read_json(remembered)["latency_ms"] == known


LATENCY_MS = 123456.0
"""Of one image: far more than any network of a test takes."""


@pytest.mark.parametrize(("changed", "is_used"), [
    ({"beside": 0.0}, True),
    ({"beside": 1000.0}, False),
    ({"beside": 0.0, "torch": "1.0"}, False),
])  # fmt: skip
def test_a_latency_is_taken_over_only_from_an_idle_machine_with_the_same_torch(
    studied: tuple[Path, Done], preset: str, tmp_path: Path, changed: dict[str, Any], *, is_used: bool
) -> None:
    store = ArtifactStore(shutil.copytree(studied[0] / "store", tmp_path / "store"))
    [remembered] = (store.root / "reports" / "latencies").glob("*/*.json")
    write_json(remembered, read_json(remembered) | {"latency_ms": LATENCY_MS} | changed)
    done = call(store, "study", preset, *SWEEP, "--json", "--folder", str(tmp_path / "out"))
    [said] = {row["latency_ms"] for row in done.json["table"] if row["latency_ms"] is not None}
    assert (said == LATENCY_MS) is is_used
    assert read_json(remembered)["latency_ms"] == said
    assert read_json(remembered)["torch"] == torch.__version__


def test_run_again_it_makes_nothing_and_says_the_same(studied: tuple[Path, Done], preset: str, tmp_path: Path) -> None:
    folder, first = studied
    store = ArtifactStore(folder / "store")
    before = when_made(store)
    again = call(store, "study", preset, *SWEEP, "--json", "--folder", str(tmp_path / "out"))
    assert when_made(store) == before
    assert {stage["action"] for stage in again.json["stages"]} == {"have"}
    assert [row["model"] for row in again.json["table"]] == [
        "teacher probed",
        "student probed",
        "student finetuned",
        "student distilled",
        "student distilled",
    ]
    assert again.json["best"] in first.stdout


def test_the_preset_of_the_best_finds_everything_there(studied: tuple[Path, Done]) -> None:
    folder, _ = studied
    again = call(ArtifactStore(folder / "store"), "run", str(folder / "out" / "best.yaml"), "--json")
    assert {stage["action"] for stage in again.json["stages"]} == {"have"}


def test_a_manifest_has_the_settings_of_its_own_point(studied: tuple[Path, Done]) -> None:
    store = ArtifactStore(studied[0] / "store")
    for ref, recipe in store.recipes("model"):
        if recipe["stage"] == "distill":
            settings = store.manifest(ref).provenance["settings"]
            assert settings["distill"]["temperature"] == recipe["config"]["distill"]["temperature"]


def test_a_plan_counts_by_stage_and_does_nothing(taskdistill: Command, preset: str, finished: ArtifactStore) -> None:
    before = when_made(finished)
    done = taskdistill("study", preset, *SWEEP, "--plan")
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["distill", "2", "1", "0", "1"] in [line[:5] for line in lines]
    assert ["probe", "2", "2", "0", "0"] in [line[:5] for line in lines]
    assert when_made(finished) == before
    plan = taskdistill("study", preset, *SWEEP, "--plan", "--json").json
    assert plan["points"] == [{"distill.temperature": "1"}, {"distill.temperature": "2"}]
    assert [stage["name"] for stage in plan["stages"] if stage["action"] != "have"] == [
        "distill-seed0 [temperature 1]",
        "evaluate-distilled-seed0 [temperature 1]",
    ]


def test_the_plan_of_a_first_rung_tells_its_time_and_that_with_the_seeds_of_half_of_the_points(
    taskdistill: Command, preset: str
) -> None:
    asked = ("study", preset, "--sweep", "distill.temperature=1,2,3,4", "--set", "seeds=0,1,2", "--plan")
    rungs, whole = taskdistill(*asked, "--halving", "2").stdout, taskdistill(*asked).stdout
    first = seconds_after("First rung: About ", rungs)
    both = seconds_after("With the other seeds of those that go on: about ", rungs)
    # Of 4 points 2 go on; each time is told to the second.
    assert both == pytest.approx(first + 0.5 * (seconds_after("About ", whole) - first), abs=1.5)
    assert both > first


def seconds_after(words: str, printed: str) -> int:
    number = re.search(rf"^{words}(\d+) s in all", printed, re.MULTILINE)
    assert number, printed
    return int(number[1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sweep", "distill.temprature=1,2"], "did you mean 'distill.temperature'"),
        ([*SWEEP, "--sweep", "blends.per_image=1,2"], "blends.per_image changes nothing"),
        ([*SWEEP, "--set", "distill.temperature=2"], "distill.temperature is said twice"),
        (["--sweep", "distill.temperature="], "distill.temperature has no values"),
        (["--sweep", "distill.temperature=0,1"], "point 1 (temperature 0) cannot be used"),
        (["--sweep", "distill.temperature=1,2,4", "--halving", "2"], "there is one seed alone (0)"),
        ([*SWEEP, "--halving", "2"], "halving: of 2 points one alone would go on"),
        ([], "on the command line with --sweep SETTING=A,B"),
    ],
)
def test_a_study_that_cannot_be_one_ends_in_words(
    taskdistill: Command, preset: str, arguments: list[str], message: str
) -> None:
    done = taskdistill("study", preset, *arguments)
    assert done.code != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr


# --- what it costs -------------------------------------------------------------------------------------------------


def cpu_seconds(store: Path, *arguments: str) -> float:
    """CPU time of a command in a process of its own, Python's start included: the less of two, as what other programs
    do on the same core makes it longer.
    """
    return min(_cpu_seconds(store, *arguments) for _ in range(2))


def _cpu_seconds(store: Path, *arguments: str) -> float:
    before = getrusage(RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "taskdistill", *arguments]
    environment = os.environ | {"TASKDISTILL_STORE": str(store)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    after = getrusage(RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def commit_by_hand(step: PlannedStep, store: ArtifactStore, student: Path, evaluation: Path) -> None:
    """Commit what a step would make as far as a finished study looks at it: scores of 12 images, seconds, inputs, and
    of a student the description of its network. Images and network are those of what was really made.
    """
    recipe = step.stage.recipe(step.config, step.inputs, content_digests_of(step.config, store))
    summary = {"seconds": 1.0, "parameters": 100, "splits": {"train": 24, "val": 12, "test": 12}, "classes": 3}
    with store.lock(step.ref):
        draft = store.draft(step.ref, recipe)
        if step.ref.kind == "evaluation":
            for split in ("val", "test"):
                ids = read_column(evaluation / f"{split}-predictions.parquet", "id")
                columns = {"id": ids, "score": [1.0, 0.0] * 6}
                write_columns(draft / f"{split}-predictions.parquet", columns)
            scores = {split: {"top1": 0.5, "ece": 0.1, "nll": 0.3} for split in ("val", "test")}
            summary |= {"score_name": "top1", "scores": scores, "num_images": {"val": 12, "test": 12}}
        if step.ref.kind == "model":
            shutil.copy(student / "model.json", draft)
        if step.ref.kind == "image-set":  # what else is asked of one is the real thing's
            return
        store.commit(step.ref, recipe=recipe, inputs=step.inputs, summary=summary)


@pytest.fixture(scope="module")
def grid(first_run: tuple[Path, Done], preset: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A store with a grid of 48 points finished, and the arguments of the study. Read only."""
    store = ArtifactStore(shutil.copytree(first_run[0], tmp_path_factory.mktemp("grid") / "store"))
    study = load_study(preset, Given(sweeps=GRID))
    real = [store.path(store.references(kind)[0]) for kind in ("model", "evaluation")]
    for step in plan_study(study, points_of(study), store).steps:
        if step.action != "have":
            commit_by_hand(step, store, *real)
    return store.root, ["study", preset, *(word for sweep in GRID for word in ("--sweep", sweep))]


def test_a_study_of_48_points_is_planned_in_under_3_seconds_of_cpu_time(
    first_run: tuple[Path, Done], grid: tuple[Path, list[str]]
) -> None:
    assert cpu_seconds(first_run[0], *grid[1], "--plan") < PLAN_CPU_SECONDS


def test_a_finished_study_of_48_points_costs_under_5_seconds_of_cpu_time(
    grid: tuple[Path, list[str]], tmp_path: Path
) -> None:
    arguments = [*grid[1], "--folder", str(tmp_path / "out")]
    _cpu_seconds(grid[0], *arguments)  # writes the files and measures the latency of its network
    [remembered] = (grid[0] / "reports" / "latencies").glob("*/*.json")
    write_json(remembered, read_json(remembered) | {"beside": 0.0})  # or it is measured again on a machine that is busy
    _cpu_seconds(grid[0], *arguments)
    assert cpu_seconds(grid[0], *arguments) < FINISHED_CPU_SECONDS
