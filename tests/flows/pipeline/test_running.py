"""Doing what a plan says: all of it, or one stage alone; the path that command line and Prefect flows share."""

import logging
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from taskdistill.configs.errors import SettingsError
from taskdistill.configs.experiment import Experiment
from taskdistill.configs.models import Backbone
from taskdistill.flows.pipeline.console import on_console
from taskdistill.flows.pipeline.planning import PlannedStep, make_plan
from taskdistill.flows.pipeline.running import ExecuteStep, run_plan, run_steps
from taskdistill.storage.collecting import collect
from taskdistill.storage.errors import NotInStoreError, StillNeededError
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.upkeep import discard
from taskdistill.tasks.prechecks.timm_names import UnknownModelError
from taskdistill.tasks.stage import no_progress
from tests.conftest import STUDENT, TEACHER, Bench
from tests.flows.conftest import quietly, when_made
from tests.storage.artifacts import opened_files


def steps_of(experiment: Experiment, store: ArtifactStore) -> dict[str, ArtifactRef]:
    return {step.name: step.ref for step in make_plan(experiment, store).steps}


def test_a_second_run_builds_nothing(experiment: Experiment, finished: ArtifactStore) -> None:
    before = when_made(finished)
    _, stages = run_plan(experiment, finished, quietly(experiment, finished))
    assert {stage["action"] for stage in stages} == {"have"}
    assert when_made(finished) == before


def test_a_finished_run_looks_at_its_images_once(experiment: Experiment, finished: ArtifactStore) -> None:
    with opened_files("os.scandir") as looked_into:
        run_plan(experiment, finished, quietly(experiment, finished))
    assert looked_into.count(experiment.data.path) == 1


def test_images_that_change_after_they_were_planned_with_give_another_artifact(
    experiment: Experiment, tmp_path: Path, store: ArtifactStore
) -> None:
    folder = tmp_path / "pictures"
    shutil.copytree(experiment.data.path, folder)
    changing = experiment.model_copy(update={"data": experiment.data.model_copy(update={"path": str(folder)})})

    def change_first(step: PlannedStep, execute: ExecuteStep) -> ArtifactRef:
        next(folder.rglob("*.png")).unlink()
        return execute(step, no_progress)

    planned = steps_of(changing, store)["ingest"]
    (made,) = run_steps(changing, "ingest", store, change_first)
    assert made != planned
    assert made == steps_of(changing, store)["ingest"]


def test_a_model_that_does_not_exist_is_known_before_any_image_is_read(
    experiment: Experiment, store: ArtifactStore
) -> None:
    wrong = experiment.model_copy(update={"student": Backbone(name="test_resnett", weights="random")})
    with pytest.raises(UnknownModelError, match="timm has no model 'test_resnett'; did you mean 'test_resnet'"):
        run_plan(wrong, store, quietly(wrong, store))
    assert not store.references()
    assert not store.drafts()


def test_a_student_larger_than_its_teacher_is_remarked_upon(
    experiment: Experiment, store: ArtifactStore, caplog: pytest.LogCaptureFixture
) -> None:
    # test_vit has 0.37 M parameters, test_resnet 0.46 M: in the bench the student is the larger one.
    def stop(*_: object) -> ArtifactRef:
        raise InterruptedError

    with caplog.at_level(logging.WARNING), pytest.raises(InterruptedError):
        run_plan(experiment, store, stop)
    assert "the student (test_resnet, " in caplog.text
    caplog.clear()
    turned = experiment.model_copy(update={"teacher": STUDENT, "student": TEACHER})
    with caplog.at_level(logging.WARNING), pytest.raises(InterruptedError):
        run_plan(turned, store, stop)
    assert caplog.text == ""


def test_a_single_step_makes_its_artifact_and_no_other(experiment: Experiment, bench: Bench) -> None:
    before = set(bench.store.references())
    made = run_steps(experiment, "finetune-seed0", bench.store, quietly(experiment, bench.store))
    assert made == [steps_of(experiment, bench.store)["finetune-seed0"]]
    assert set(bench.store.references()) - before == set(made)


def test_a_stage_stands_for_all_of_its_steps(experiment: Experiment, bench: Bench) -> None:
    made = run_steps(experiment, "probe", bench.store, quietly(experiment, bench.store))
    assert made == [bench.probe, bench.student_probe]


def test_a_step_whose_input_is_missing_names_the_step_to_run_first(
    experiment: Experiment, store: ArtifactStore
) -> None:
    message = r"distill-seed0 needs the input 'images' \(image-set@\w{12}\), which is not in .*: run the step 'ingest'"
    with pytest.raises(NotInStoreError, match=message):
        run_steps(experiment, "distill", store, quietly(experiment, store))


@pytest.mark.parametrize("way", ["run", "stage"])
def test_nothing_that_a_run_has_or_still_needs_is_collected_or_discarded_beside_it(
    experiment: Experiment, finished: ArtifactStore, way: str
) -> None:
    planned = steps_of(experiment, finished)
    finished.remove(planned["evaluate-teacher"])
    do, seen = quietly(experiment, finished), []

    def with_collecting_beside(step: PlannedStep, execute: ExecuteStep) -> ArtifactRef:
        found = collect(finished)
        seen.append(found.goes)
        with pytest.raises(StillNeededError, match="a run needs"):
            discard(finished, planned["precompute"], with_dependents=True)
        return do(step, execute)

    if way == "run":
        run_plan(experiment, finished, with_collecting_beside)
        assert seen == [[]] * len(planned)
        assert set(finished.references()) == set(planned.values())
    else:
        run_steps(experiment, "evaluate-teacher", finished, with_collecting_beside)
        assert planned["evaluate-teacher"] in finished
        assert planned["distill-seed0"] in seen[0]
    assert planned["precompute"] in collect(finished).goes


def test_a_run_that_fails_leaves_nothing_that_would_be_kept(experiment: Experiment, finished: ArtifactStore) -> None:
    finished.remove(steps_of(experiment, finished)["evaluate-teacher"])

    def fail(step: PlannedStep, execute: ExecuteStep) -> ArtifactRef:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        run_plan(experiment, finished, fail)
    assert list((finished.root / "roots").iterdir()) == []


def test_a_step_that_is_done_needs_no_inputs(experiment: Experiment, bench: Bench) -> None:
    bench.store.remove(bench.features)
    bench.store.remove(bench.student_features)
    assert run_steps(experiment, "probe-teacher", bench.store, quietly(experiment, bench.store)) == [bench.probe]


def test_the_command_line_says_once_that_it_does_not_spread_its_work(
    experiment: Experiment, finished: ArtifactStore, caplog: pytest.LogCaptureFixture
) -> None:
    runtime = experiment.runtime.model_copy(update={"fan_out": 4})
    spread = experiment.model_copy(update={"runtime": runtime})
    with on_console(spread, Console(quiet=True)) as show:
        run_plan(spread, finished, show)
    (remark,) = [record.getMessage() for record in caplog.records if "fan_out" in record.getMessage()]
    assert remark.startswith("runtime.fan_out is 4, but the command line does everything on this machine")


def test_an_unknown_step_is_answered_with_the_nearest(experiment: Experiment, store: ArtifactStore) -> None:
    with pytest.raises(SettingsError, match="there is no step or stage 'distil-seed0'; did you mean 'distill-seed0'"):
        run_steps(experiment, "distil-seed0", store, quietly(experiment, store))


def test_a_stage_without_a_step_in_this_experiment_says_what_decides(
    experiment: Experiment, store: ArtifactStore
) -> None:
    message = r"'precompute-images' has no part in this experiment.*teacher_training"
    with pytest.raises(SettingsError, match=message):
        run_steps(experiment, "precompute-images", store, quietly(experiment, store))


def test_another_input_takes_the_place_of_the_planned_one(
    experiment: Experiment, with_finetuned_teacher: Experiment, finished: ArtifactStore
) -> None:
    """The probed experiment's student, taught by the finetuned teacher's logits, is the other experiment's student."""
    other = steps_of(with_finetuned_teacher, finished)
    do = quietly(experiment, finished)
    for needed in ("finetune-teacher", "precompute"):
        run_steps(with_finetuned_teacher, needed, finished, do)
    given = {"logits": other["precompute"]}
    assert run_steps(experiment, "distill", finished, do, inputs=given) == [other["distill-seed0"]]
    assert other["distill-seed0"] != steps_of(experiment, finished)["distill-seed0"]


def test_an_input_that_the_stage_does_not_have_is_refused(experiment: Experiment, bench: Bench) -> None:
    with pytest.raises(SettingsError, match="stage 'distill' has no input 'logit'; did you mean 'logits'"):
        run_steps(experiment, "distill", bench.store, quietly(experiment, bench.store), inputs={"logit": bench.logits})
