"""The demonstration is a plain run: its preset is one like any other, and the page shows what lies in the artifacts."""

from pathlib import Path

import pytest
from rich.console import Console

from taskdistill.configs.loading import load_experiment
from taskdistill.flows.birds import SPECIES, TASKS, Task, draw_world
from taskdistill.flows.commands.demo import demonstrate, world_experiment
from taskdistill.flows.pipeline.running import experiment_settings_of
from taskdistill.storage.store import ArtifactStore
from tests.flows.conftest import call


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS.keys())
def test_the_demonstration_is_the_preset_with_a_folder_and_seeds(tmp_path: Path, task: Task) -> None:
    shown, plain = (
        experiment_settings_of(world_experiment(tmp_path, 3, task=task)),
        experiment_settings_of(load_experiment(task.preset)),
    )
    assert shown["data"].pop("path") == str(tmp_path / f"{task.drawn}-3")
    assert plain["data"].pop("path")
    assert shown.pop("seeds") == [3]
    assert plain.pop("seeds") == [0]
    for section in ("views", "blends", "probe", "student_probe"):
        assert shown[section].pop("seed") == 3
        assert plain[section].pop("seed") == 0
    assert shown == plain


@pytest.mark.parametrize("problem", TASKS)
def test_a_demonstration_has_the_problem_that_it_is_asked_for(tmp_path: Path, problem: str) -> None:
    assert world_experiment(tmp_path, 0, task=TASKS[problem]).problem == problem


def test_a_world_is_drawn_once_and_again_when_the_table_is_of_another_size(tmp_path: Path) -> None:
    task = SPECIES._replace(per_class=dict.fromkeys(SPECIES.per_class, 1))
    experiment = world_experiment(tmp_path, 5, task=task)
    draw_world(experiment, 5, task)
    table = tmp_path / "birds-5" / "images.csv"
    whole, drawn = table.read_text(), table.stat().st_mtime_ns
    draw_world(experiment, 5, task)
    assert table.stat().st_mtime_ns == drawn
    table.write_text("".join(whole.splitlines(keepends=True)[:50]))
    draw_world(experiment, 5, task)
    assert table.read_text() == whole


@pytest.mark.slow
def test_the_demonstration_of_segmentation_ends_in_a_page_with_blends_and_pictures_of_the_masks(
    store: ArtifactStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    task = TASKS["segmentation"]._replace(per_class=dict.fromkeys(SPECIES.per_class, 1), num_labelled=5)
    quick = (
        "teacher.input_px=64", "student.input_px=32", "views.num_views=1", "blends.per_image=1", "blends.num_steps=1",
        "probe.steps=2", "student_probe.steps=2", "training.min_steps=2", "training.batch_size=5", "runtime.slots=1",
    )  # fmt: skip
    done = demonstrate(tmp_path, 0, quick, store, Console(quiet=True), task)
    assert [result.model for result in done.results] == [
        "teacher probed", "student probed", "student finetuned", "student distilled", "student distilled +blends",
    ]  # fmt: skip
    page = done.report.read_text()
    assert "75 images of 10 classes: train 5, val 25, test 25, unlabelled 20" in page
    assert "left out" not in page
    assert all(f"<h2>{heading}</h2>" in page for heading in ("Classes", "Blends", "Images"))
    show, predict = (call(store, *command.split()[1:]) for command in done.next_commands[:2])
    assert (show.code, predict.code) == (0, 0), show.stderr + predict.stderr
    assert "predictions.csv holds the predictions of 25 images" in predict.stdout
    assert "taskdistill plan segmentation-small-cpu" in page


def test_a_problem_that_no_demonstration_shows_is_refused_with_those_that_one_does(store: ArtifactStore) -> None:
    done = call(store, "demo", "--problem", "detection")
    assert done.code == 2
    assert all(problem in done.stderr for problem in TASKS)


@pytest.mark.parametrize("world", ["-1", "bird"])
def test_a_world_is_a_whole_number(store: ArtifactStore, world: str) -> None:
    assert call(store, "demo", "--world", world).code == 2


def test_a_setting_of_the_demonstration_can_be_changed_like_that_of_any_run(store: ArtifactStore) -> None:
    done = call(store, "demo", "--set", "training.epoch=3")
    assert done.code == 1
    assert "unknown setting 'training.epoch'; did you mean 'training.epochs'" in done.stderr


def test_other_images_than_those_of_the_world_are_refused(store: ArtifactStore) -> None:
    done = call(store, "demo", "--set", "data.path=/my/images")
    assert done.code == 1
    assert "--set data.path has no place in a demonstration" in done.stderr
