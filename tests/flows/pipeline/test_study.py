"""The points of a study as one graph: what is shared is one step, made once, whoever needs it."""

import logging
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from taskdistill.configs.errors import SettingsError
from taskdistill.configs.experiment import Experiment
from taskdistill.configs.study_loading import Given, load_study, points_of
from taskdistill.flows.pipeline.study import StudyPlan, plan_study, run_study
from taskdistill.storage.store import ArtifactStore
from tests.conftest import Bench
from tests.fakes import write_shapes
from tests.flows.conftest import call, quietly, when_made
from tests.flows.local_server import until

PAPER = ["teacher_training=probed,finetuned", "synthetic_images=none,blends", "student.seed=0,1"]


def planned(preset: str, store: ArtifactStore, *sweeps: str, **given: list[str]) -> StudyPlan:
    study = load_study(preset, Given(sweeps=sweeps, **given))
    return plan_study(study, points_of(study), store)


def by_stage(plan: StudyPlan) -> dict[str, int]:
    return dict(Counter(step.stage.name for step in plan.steps))


# --- what is shared ------------------------------------------------------------------------------------------------

BY_STAGE = {
    "ingest": 1,
    "extract": 4,  # teacher and two students on the photographs, teacher on the blends
    "probe": 3,
    "precompute": 4,  # of each of these
    "precompute-images": 2,  # the finetuned teacher, on photographs and on blends
    "embed": 1,
    "generate": 1,
    "select": 2,  # by what each teacher says
    "finetune": 3,  # two students, and a teacher
    "distill": 8,
    "evaluate-teacher": 6,  # two teachers; two probes, each beside either teacher
    "evaluate": 12,
}
"""Steps of 2 teachers x with and without blends x 2 students of one seed."""


def test_the_matrix_of_the_paper_extracts_and_precomputes_once(preset_with_blends: str, store: ArtifactStore) -> None:
    plan = planned(preset_with_blends, store, *PAPER)
    assert by_stage(plan) == BY_STAGE
    assert len(plan.variants) == 8


@pytest.mark.slow
def test_a_run_of_the_matrix_makes_what_the_plan_named_and_nothing_else(
    preset_with_blends: str, with_blends: Experiment, store: ArtifactStore
) -> None:
    plan = planned(preset_with_blends, store, *PAPER)
    run = run_study(plan, store, quietly(with_blends, store))
    recipes = [recipe for kind in {step.ref.kind for step in plan.steps} for _, recipe in store.recipes(kind)]
    assert Counter(recipe["stage"] for recipe in recipes) == BY_STAGE
    assert [stage["action"] for stage in run.stages] == ["built"] * 47
    assert planned(preset_with_blends, store, *PAPER).is_complete


def test_every_step_has_a_name_of_its_own_that_says_which_points_need_it(preset: str, store: ArtifactStore) -> None:
    plan = planned(preset, store, "teacher_training=probed,finetuned", "distill.temperature=1,2")
    names = [step.name for step in plan.steps]
    assert len(set(names)) == len(names)
    assert {"ingest", "finetune-seed0", "extract-teacher"} <= set(names)
    assert "precompute [teacher_training finetuned]" in names
    assert "distill-seed0 [teacher_training probed, temperature 2]" in names
    assert [step.place for step in plan.steps[:2]] == [f"1 of {len(names)}", f"2 of {len(names)}"]


def test_makers_come_before_users(preset: str, store: ArtifactStore) -> None:
    plan = planned(preset, store, "teacher_training=probed,finetuned", "student.seed=0,1")
    seen = set()
    for step in plan.steps:
        assert set(step.inputs.values()) <= seen
        seen.add(step.ref)


def test_a_study_of_teachers_ends_with_their_scores(preset: str, store: ArtifactStore, tmp_path: Path) -> None:
    source = tmp_path / "teachers.yaml"
    source.write_text(
        f"study: 1\npreset: {preset}\nuntil: evaluate-teacher\nsweep: {{teacher.seed: [0, 1, 2]}}\n", encoding="utf-8"
    )
    plan = planned(str(source), store)
    assert by_stage(plan) == {"ingest": 1, "extract": 3, "probe": 3, "precompute": 3, "evaluate-teacher": 3}
    assert [[result.model for result in one.results] for one in plan.plans] == [["teacher probed"]] * 3


def test_a_step_to_end_with_that_does_not_exist_is_named(preset: str, store: ArtifactStore, tmp_path: Path) -> None:
    source = tmp_path / "teachers.yaml"
    source.write_text(f"study: 1\npreset: {preset}\nuntil: evaluate-teachr\nsweep: {{teacher.seed: [0, 1]}}\n")
    with pytest.raises(SettingsError, match="until: there is no step 'evaluate-teachr'; did you mean 'evaluate-teach"):
        planned(str(source), store)


def test_a_study_that_ends_before_anything_is_scored_is_refused(
    preset: str, store: ArtifactStore, tmp_path: Path
) -> None:
    source = tmp_path / "teachers.yaml"
    source.write_text(f"study: 1\npreset: {preset}\nuntil: extract-teacher\nsweep: {{teacher.seed: [0, 1]}}\n")
    with pytest.raises(SettingsError, match="until: with 'extract-teacher' as the last step no model is scored"):
        planned(str(source), store)


def test_a_finished_experiment_is_part_of_the_study_that_has_it(preset: str, finished: ArtifactStore) -> None:
    plan = planned(preset, finished, "distill.temperature=1,2,5")  # 2 is what the experiment has
    built = Counter(step.stage.name for step in plan.steps if step.action != "have")
    assert built == {"distill": 2, "evaluate": 2}


def test_points_of_different_data_sets_share_nothing_that_is_made_from_their_images(
    preset: str, store: ArtifactStore, tmp_path: Path
) -> None:
    write_shapes(tmp_path / "other", {"train": 8, "val": 5, "test": 4})
    path = points_of(load_study(preset, Given(sweeps=["distill.alpha=0.5,1"])))[0].experiment.data.path
    plan = planned(preset, store, f"data.path={path},{tmp_path / 'other'}", "distill.temperature=1,2")
    images = [step.ref for step in plan.steps if step.stage.name == "ingest"]
    assert len(images) == 2
    assert by_stage(plan) == {
        "ingest": 2, "extract": 4, "probe": 4, "precompute": 4, "evaluate-teacher": 4, "finetune": 2, "distill": 4,
        "evaluate": 6,
    }  # fmt: skip
    assert {step.inputs["images"] for step in plan.steps if "images" in step.inputs} == set(images)


# --- what is refused or said ---------------------------------------------------------------------------------------


def test_a_factor_that_no_step_reads_is_refused(preset: str, store: ArtifactStore) -> None:
    message = r"blends\.per_image changes nothing: with 1, 2 the same artifacts are made"
    with pytest.raises(SettingsError, match=message):
        planned(preset, store, "distill.temperature=1,2", "blends.per_image=1,2")


def test_points_that_are_the_same_experiment_are_said_and_made_once(preset: str, store: ArtifactStore) -> None:
    plan = planned(preset, store, "teacher_training=probed,finetuned", "teacher_finetuning.epochs=1,2")
    assert plan.said == [
        "4 points are 3 experiments: (teacher_training probed, epochs 1) and (teacher_training probed, epochs 2) are "
        "the same, as they differ in what no step reads. Each is made once"
    ]
    assert by_stage(plan)["finetune"] == 3  # the student, and two teachers


def test_points_whose_values_are_equal_are_not_said_to_differ_in_what_no_step_reads(
    preset: str, store: ArtifactStore, tmp_path: Path
) -> None:
    source = tmp_path / "study.yaml"
    points = "[{distill.temperature: 4}, {distill.temperature: 4.0}, {distill.alpha: 0.25}]"
    source.write_text(f"study: 1\npreset: {preset}\npoints: {points}\n")
    assert planned(str(source), store).said == [
        "3 points are 2 experiments: (temperature 4) and (temperature 4) are the same, as all their values are equal. "
        "Each is made once"
    ]


def test_a_factor_whose_values_are_that_of_the_preset_is_said_to_have_equal_values(
    preset: str, store: ArtifactStore, tmp_path: Path
) -> None:
    source = tmp_path / "study.yaml"
    source.write_text(f"study: 1\npreset: {preset}\npoints: [{{distill.temperature: 2}}, {{}}]\n")
    with pytest.raises(SettingsError, match=r"changes nothing: its values \(2, as it is\) are equal\. Leave it out"):
        planned(str(source), store)


def test_what_is_wrong_with_the_images_of_a_point_names_the_point(preset: str, store: ArtifactStore) -> None:
    message = r"point 2 \(path nowhere\): data\.path is '.*nowhere', which does not exist"
    images = load_study(preset, Given(sweeps=["distill.alpha=0.5,1"]))
    path = points_of(images)[0].experiment.data.path
    with pytest.raises(SettingsError, match=message):
        planned(preset, store, f"data.path={path},/nowhere")


def test_a_baseline_that_is_no_model_is_named(preset: str, store: ArtifactStore) -> None:
    with pytest.raises(SettingsError, match=r"baseline: there is no model 'finetuned'.*student finetuned"):
        planned(preset, store, "distill.temperature=1,2", baseline=["model=finetuned"])


# --- interrupted, and side by side ---------------------------------------------------------------------------------


def test_two_studies_at_once_make_what_they_share_once(
    preset: str, experiment: Experiment, bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    def study(sweep: str) -> StudyPlan:
        store = ArtifactStore(bench.store.root)
        plan = planned(preset, store, sweep)
        run_study(plan, store, quietly(experiment, store))
        return plan

    with caplog.at_level(logging.INFO, "taskdistill.tasks.stage"), ThreadPoolExecutor(2) as threads:
        one, other = threads.map(study, ["distill.temperature=1,2", "distill.temperature=2,4"])
    made = [re.match(r"[\w-]+: made (\S+)", record.getMessage()) for record in caplog.records]
    wanted = {step.ref.short for step in [*one.steps, *other.steps] if step.action != "have"}
    assert sorted(match[1] for match in made if match) == sorted(wanted)


@pytest.mark.slow
def test_killed_and_run_again_a_study_goes_on_and_ends_as_one_that_was_left_alone(
    preset: str, finished_bench: Bench, tmp_path: Path
) -> None:
    arguments = ["study", preset, "--sweep", "distill.temperature=1,2,4", "--folder", str(tmp_path / "out")]
    whole, killed = (ArtifactStore(shutil.copytree(finished_bench.store.root, tmp_path / name)) for name in "ab")
    assert call(whole, *arguments).code == 0

    steps = {step.name: step.ref for step in planned(preset, killed, "distill.temperature=1,2,4").steps}
    [second] = [ref for name, ref in steps.items() if name == "distill-seed0 [temperature 2]"]
    log, environment = tmp_path / "log", os.environ | {"TASKDISTILL_STORE": str(killed.root)}
    # However late it is seen that the second student is being trained: the study cannot have come to its end.
    with killed.lock(list(steps.values())[-1]), log.open("wb") as said:
        run = subprocess.Popen([sys.executable, "-m", "taskdistill", *arguments], env=environment, stderr=said)
        until(lambda: killed.draft_path(second).is_dir() or second in killed or run.poll(), seconds=600, log=log)
        assert run.poll() is None, log.read_text()
        run.send_signal(signal.SIGKILL)
        run.wait()
    before = when_made(killed)
    assert len(before) < len(whole.references())

    assert call(killed, *arguments).code == 0
    after = when_made(killed)
    assert {ref: after[ref] for ref in before} == before
    assert [killed.manifest(ref).files for ref in killed.references()] == [
        whole.manifest(ref).files for ref in whole.references()
    ]
