"""What it would mean to make a finished step again, and that nothing is discarded for it."""

import pytest

from taskdistill.configs.errors import SettingsError
from taskdistill.configs.experiment import Experiment
from taskdistill.flows.pipeline.planning import make_plan
from taskdistill.flows.pipeline.rebuilding import RebuildError, check_rebuild
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.upkeep import discard


def refusal(experiment: Experiment, store: ArtifactStore, name: str) -> str:
    with pytest.raises(RebuildError) as caught:
        check_rebuild(experiment, store, name)
    return str(caught.value)


def test_it_names_what_would_be_made_again_and_the_command_and_discards_nothing(
    experiment: Experiment, finished: ArtifactStore
) -> None:
    before = finished.references()
    steps = {step.name: step.ref for step in make_plan(experiment, finished).steps}
    said = refusal(experiment, finished, "distill")
    again = ["distill-seed0", "evaluate-distilled-seed0"]
    assert f"would make 2 of {len(steps)} steps again" in said
    assert ", ".join(f"{name} ({steps[name].short})" for name in again) in said
    assert said.endswith(f"taskdistill discard {steps['distill-seed0'].short} --with-dependents")
    assert finished.references() == before


@pytest.mark.parametrize(
    ("name", "seeds"),
    [
        ("distill", "another seeds\n"),
        ("distill-seed0", "another seeds\n"),
        ("probe-teacher", "another probe.seed\n"),
        ("probe-student", "another student_probe.seed\n"),
        ("extract", "another views.seed\n"),
    ],
)
def test_a_seed_that_changes_the_step_and_nothing_before_it_is_named(
    experiment: Experiment, finished: ArtifactStore, name: str, seeds: str
) -> None:
    assert seeds in refusal(experiment, finished, name)


def test_where_no_seed_makes_it_another_only_the_discard_is_named(
    experiment: Experiment, finished: ArtifactStore
) -> None:
    assert "beside what is there" not in refusal(experiment, finished, "ingest")


def test_once_it_is_discarded_a_run_makes_it(experiment: Experiment, finished: ArtifactStore) -> None:
    steps = {step.name: step.ref for step in make_plan(experiment, finished).steps}
    discard(finished, steps["distill-seed0"], with_dependents=True)
    check_rebuild(experiment, finished, "distill")


def test_what_follows_from_a_step_that_is_gone_is_named_too(experiment: Experiment, finished: ArtifactStore) -> None:
    steps = {step.name: step.ref for step in make_plan(experiment, finished).steps}
    finished.path(steps["probe-teacher"]).rename(finished.root / "gone")
    assert f"taskdistill discard {steps['precompute'].short}" in refusal(experiment, finished, "probe-teacher")


def test_a_step_that_is_none_is_told_with_those_that_are(experiment: Experiment, finished: ArtifactStore) -> None:
    with pytest.raises(SettingsError, match="rebuild_from: there is no step or stage 'distil'; did you mean 'distill'"):
        check_rebuild(experiment, finished, "distil")
