"""The command line: what it prints where, how it ends, and what it does not import."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from taskdistill.configs.experiment import Experiment
from taskdistill.storage.store import ArtifactStore
from tests.flows.conftest import Command, Done, call, when_made, write_preset
from tests.flows.pipeline.test_chain import PROBED
from tests.flows.pipeline.test_planning import AFTER_THE_BENCH


def in_its_own_process(store: Path, *arguments: str) -> Done:
    done = subprocess.run(
        [sys.executable, "-m", "taskdistill.flows.cli", *arguments],
        env=os.environ | {"TASKDISTILL_STORE": str(store)}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    return Done(done.returncode, done.stdout, done.stderr)


def heavy_imports(store: Path, *arguments: str) -> str:
    """Call the command line in a process of its own; return which heavy packages it had imported at its end."""
    code = (
        "import atexit, sys\n"
        "heavy = ('torch', 'timm', 'prefect', 'diffusers', 'transformers', 'matplotlib')\n"
        "atexit.register(lambda: sys.stderr.write('HEAVY:' + ' '.join(m for m in heavy if m in sys.modules)))\n"
        f"sys.argv = {['taskdistill', *arguments]!r}\n"
        "from taskdistill.flows.cli import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"TASKDISTILL_STORE": str(store)}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stderr.partition("HEAVY:")[2]


# --- what is printed where ---------------------------------------------------------------------------------------


def test_run_prints_one_json_object_on_stdout_and_progress_on_stderr(first_run: tuple[Path, Done]) -> None:
    _, done = first_run
    assert done.code == 0
    assert done.stdout.count("\n") == 1
    result = json.loads(done.stdout)
    assert [stage["name"] for stage in result["stages"]] == PROBED
    built = [stage["name"] for stage in result["stages"] if stage["action"] == "built"]
    assert built == AFTER_THE_BENCH
    assert "have   probe-student" in done.stderr
    assert "build  distill-seed0" in done.stderr
    assert f"step {1 + PROBED.index('distill-seed0')} of {len(PROBED)}\n" in done.stderr
    assert "distill-seed0 done in" in done.stderr
    assert f"{len(AFTER_THE_BENCH)} steps done in" in done.stderr


def test_the_scores_of_run_are_those_in_the_evaluations(first_run: tuple[Path, Done]) -> None:
    root, done = first_run
    store = ArtifactStore(root)
    for row in done.json["scores"]:
        scores = store.manifest(store.resolve(row["reference"])).summary["scores"]
        assert scores[row["split"]][row["metric"]] == row["value"]
    models = {(row["model"], row["seed"], row["split"]) for row in done.json["scores"]}
    assert models == {
        (model, seed, split)
        for model, seed in [
            ("teacher probed", None),
            ("student probed", None),
            ("student finetuned", 0),
            ("student distilled", 0),
        ]
        for split in ("val", "test")
    }


def test_run_in_a_process_of_its_own_keeps_stdout_clean_too(first_run: tuple[Path, Done], preset: str) -> None:
    done = in_its_own_process(first_run[0], "run", preset, "--json")
    assert done.code == 0
    assert {stage["action"] for stage in done.json["stages"]} == {"have"}
    assert done.stderr.count("have") == len(PROBED)


def test_run_for_people_ends_with_the_scores_and_where_the_student_is(taskdistill: Command, preset: str) -> None:
    done = taskdistill("run", preset)
    assert "student distilled" in done.stdout
    assert "student distilled: model@" in done.stdout


def test_plan_as_json_names_each_step_with_what_there_is_to_do(taskdistill: Command, preset: str) -> None:
    done = taskdistill("plan", preset, "--set", "distill.alpha=0.5", "--json")
    said = {stage["name"]: (stage["action"], stage["because"]) for stage in done.json["stages"]}
    assert said == dict.fromkeys(PROBED, ("have", "")) | {
        "distill-seed0": ("stale", "distill.alpha changed from 0.75 to 0.5"),
        "evaluate-distilled-seed0": ("stale", "its input model changed"),
    }


def test_plan_as_json_says_how_long_all_takes_or_that_nobody_knows(taskdistill: Command, preset: str) -> None:
    told = taskdistill("plan", preset, "--set", "distill.alpha=0.5", "--json").json
    missing = [stage["seconds"] for stage in told["stages"] if stage["action"] != "have"]
    assert len(missing) == 2
    assert told["seconds_in_all"] == pytest.approx(sum(missing))  # one needs the other
    other = taskdistill("plan", preset, "--set", "student.input_px=40", "--json").json
    assert other["seconds_in_all"] is None


def test_plan_for_people_says_the_same(taskdistill: Command, preset: str) -> None:
    done = taskdistill("plan", preset, "--set", "distill.alpha=0.5")
    words = " ".join(done.stdout.replace("│", " ").split())
    assert "stale" in words
    assert "distill.alpha" in words


def test_plan_says_what_the_dataset_holds_before_the_steps(taskdistill: Command, preset: str) -> None:
    lines = taskdistill("plan", preset).stdout.splitlines()
    assert lines[:2] == ["48 images of 3 classes: train 24, val 12, test 12", "  disc   train 8  val 4  test 4"]
    (dataset,) = taskdistill("plan", preset, "--json").json["datasets"]
    assert dataset["counts"]["disc"] == {"train": 8, "val": 4, "test": 4}


def test_stage_runs_one_step_and_prints_its_reference(
    taskdistill: Command, finished: ArtifactStore, preset: str
) -> None:
    before = when_made(finished)
    done = taskdistill("stage", "distill-seed0", preset, "--set", "distill.alpha=0.5", "--json")
    (made,) = done.json["made"]
    assert set(when_made(finished)) - set(before) == {finished.resolve(made)}


def test_stage_takes_another_input_by_its_label(taskdistill: Command, finished: ArtifactStore, preset: str) -> None:
    probed, _of_student = taskdistill("stage", "precompute", preset, "--json").json["made"]
    taskdistill("label", "my-teacher", probed)
    planned = taskdistill("stage", "distill", preset, "--json")
    given = taskdistill("stage", "distill", preset, "--input", "logits=my-teacher", "--json")
    assert given.json == planned.json


# --- errors ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "shape"], "error: 'shape' is neither a preset nor a file"),
        (["plan", "PRESET", "--set", "distil.alpha=1"], "unknown setting 'distil'; did you mean 'distill'"),
        (["plan", "PRESET", "--set", "distill.alpha=2"], "distill.alpha: expected a number from 0 to 1, found 2"),
        (["plan", "PRESET", "--set", "distill.alpha"], "expected name=value"),
        (["plan", "PRESET", "--set", "data.path=/nowhere"], "data.path is '/nowhere', which does not exist"),
        (["stage", "evaluat-teacher", "PRESET"], "no step or stage 'evaluat-teacher'; did you mean 'evaluate-teacher'"),
        (["stage", "distill", "PRESET", "--input", "logits"], "expected role=artifact"),
        (["run", "PRESET", "--synthetic", "blends"], "'blends' is neither a label nor a reference"),
        (["show", "model@0000"], "'model@0000' is neither a label nor a reference"),
        (["label", "no spaces please", "features@"], "'features@' is neither"),
        (["verify", "ffffffff"], "'ffffffff' is neither"),
        (["discard", "ffffffff"], "'ffffffff' is neither"),
    ],
    ids=lambda value: " ".join(value[:4]) if isinstance(value, list) else "",
)
def test_a_mistake_ends_with_code_1_and_one_message_on_stderr(
    taskdistill: Command, preset: str, arguments: list[str], message: str
) -> None:
    done = taskdistill(*(preset if argument == "PRESET" else argument for argument in arguments))
    assert done.code == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_an_unknown_option_ends_with_code_2(taskdistill: Command, preset: str) -> None:
    assert taskdistill("run", preset, "--force").code == 2


def test_a_full_disk_is_explained_and_the_same_command_continues(
    first_run: tuple[Path, Done], preset: str, tiny_disk: Path
) -> None:
    store = ArtifactStore(tiny_disk / "store")
    done = call(store, "stage", "ingest", preset)
    assert done.code == 1
    assert "error: there is no room for this run: it makes about 153.3 kB more (ingest 153.3 kB)" in done.stderr
    # Room for the images, and none for what lies beside them.
    subprocess.run(["mount", "-o", "remount,size=200k", str(tiny_disk)], check=True)
    done = call(store, "stage", "ingest", preset)
    assert done.code == 1
    assert "error: the disk is full" in done.stderr
    assert "run the same command again" in done.stderr
    subprocess.run(["mount", "-o", "remount,size=4m", str(tiny_disk)], check=True)
    assert call(store, "stage", "ingest", preset).code == 0


# --- speed -------------------------------------------------------------------------------------------------------


def test_help_imports_neither_torch_nor_prefect(tmp_path: Path) -> None:
    assert heavy_imports(tmp_path, "--help") == ""


def test_plan_imports_neither_torch_nor_prefect(tmp_path: Path, preset: str) -> None:
    assert heavy_imports(tmp_path, "plan", preset) == ""


def test_a_run_with_nothing_to_do_imports_neither_torch_nor_prefect(finished: ArtifactStore, preset: str) -> None:
    call(finished, "run", preset)  # its page names the command
    assert heavy_imports(finished.root, "run", preset) == ""


# --- the preset of an artifact -----------------------------------------------------------------------------------


def test_the_preset_that_show_prints_names_the_same_artifacts(
    taskdistill: Command, finished: ArtifactStore, preset: str, tmp_path: Path
) -> None:
    student = {step["name"]: step["reference"] for step in taskdistill("plan", preset, "--json").json["stages"]}
    shown = taskdistill("show", student["distill-seed0"])
    text = shown.stdout.partition("preset.yaml):")[2]
    (tmp_path / "again.yaml").write_text(text)
    again = taskdistill("plan", str(tmp_path / "again.yaml"), "--json")
    assert {step["name"]: step["reference"] for step in again.json["stages"]} == student
    assert {step["action"] for step in again.json["stages"]} == {"have"}


def test_the_preset_is_kept_although_a_run_changed_it_by_set(
    taskdistill: Command, experiment: Experiment, preset: str, tmp_path: Path
) -> None:
    (made,) = taskdistill("stage", "distill", preset, "--set", "distill.alpha=0.5", "--json").json["made"]
    settings = taskdistill("show", made, "--json").json["preset"]
    assert settings["distill"]["alpha"] == 0.5
    assert yaml.safe_load(Path(write_preset(tmp_path / "p.yaml", experiment)).read_text())["distill"]["alpha"] == 0.75
