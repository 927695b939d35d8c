"""Successive halving of a study: who goes on, by what, and what is made for the others."""

from collections.abc import Sequence

import pytest

from taskdistill.configs.errors import SettingsError
from taskdistill.configs.experiment import Experiment
from taskdistill.configs.study import Study
from taskdistill.configs.study_loading import Given, load_study, points_of
from taskdistill.flows.pipeline.chain import CONTROL, STUDENT, ModelResult
from taskdistill.flows.pipeline.planning import Plan
from taskdistill.flows.pipeline.study import StudyPlan, plan_study, run_study
from taskdistill.flows.pipeline.study_rungs import going_on
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.summaries import EvaluationSummary
from tests.conftest import Bench
from tests.flows.conftest import quietly
from tests.flows.scored import commit, evaluated

SWEEP = "distill.temperature=1,2,4"


def planned(preset: str, store: ArtifactStore, *sweeps: str, seeds: str = "0,1,2", until: str = "") -> StudyPlan:
    study = load_study(preset, Given(sweeps=sweeps, overrides=[f"seeds={seeds}"], halving=2))
    study = study.model_copy(update={"until": until})
    return plan_study(study, points_of(study), store)


# --- what is refused -----------------------------------------------------------------------------------------------


def test_one_seed_is_refused_as_there_is_nothing_to_go_on_with(preset: str, store: ArtifactStore) -> None:
    with pytest.raises(SettingsError, match=r"halving: .* there is one seed alone \(7\): give several"):
        planned(preset, store, SWEEP, seeds="7")


def test_points_with_seeds_of_their_own_are_refused(preset: str, store: ArtifactStore) -> None:
    points = [{"seeds": [0, 1]}, {"seeds": [1, 2]}, {"seeds": [0, 1], "distill.temperature": 1}]
    study = Study.model_validate({"preset": preset, "points": points, "halving": 2})
    with pytest.raises(SettingsError, match=r"halving: .* seeds of their own \(\[0, 1\], \[1, 2\]\)"):
        plan_study(study, points_of(study), store)


def test_points_that_are_scored_on_different_images_are_refused(preset: str, store: ArtifactStore) -> None:
    with pytest.raises(SettingsError, match=r"halving: .* but data\.val_share differs \(0\.1, 0\.2\)"):
        planned(preset, store, "distill.temperature=1,2", "data.val_share=0.1,0.2")


@pytest.mark.parametrize(
    ("setting", "values"),
    [("left_out_images", "a*,b*"), ("max_side_px", "64,128"), ("max_megapixels", "1,2"),
     ("contradictions", "drop,keep")],
)  # fmt: skip
def test_so_are_those_of_which_a_setting_may_move_or_drop_images(
    preset: str, store: ArtifactStore, setting: str, values: str
) -> None:
    with pytest.raises(SettingsError, match=rf"halving: .* but data\.{setting} differs"):
        planned(preset, store, "distill.temperature=1,2", f"data.{setting}={values}")


def test_points_with_other_labels_of_training_images_can_be_compared(preset: str, store: ArtifactStore) -> None:
    assert planned(preset, store, "data.labels_per_class=1,2,4").is_first_rung


def test_a_study_without_students_is_refused(preset: str, store: ArtifactStore) -> None:
    with pytest.raises(SettingsError, match="halving: this study trains no student"):
        planned(preset, store, "teacher.seed=0,1,2", until="evaluate-teacher")


# --- who goes on ---------------------------------------------------------------------------------------------------


def share(number: int) -> list[float]:
    return [1.0] * number + [0.0] * (16 - number)


def judged(store: ArtifactStore, students: Sequence[Sequence[tuple[str, int, int]]], halving: int = 2) -> list[int]:
    """Who goes on of points with these students: name, images that are right on validation, and on test."""
    plans = []
    for point in students:
        results: list[ModelResult] = [evaluated(store, "teacher probed", None, share(16), val=share(16))]
        results += [evaluated(store, name, 0, share(test), val=share(val)) for name, val, test in point]
        plans.append(Plan(Experiment(), [], results, []))
    sweep = {"distill.temperature": list(range(1, len(plans) + 1))}
    study = Study.model_validate({"preset": "small-cpu", "sweep": sweep, "halving": halving})
    return going_on(study, plans, store)


def test_the_better_half_on_validation_goes_on_whatever_test_says(store: ArtifactStore) -> None:
    assert judged(store, [[(STUDENT, 9, 16)], [(STUDENT, 12, 0)], [(STUDENT, 8, 16)], [(STUDENT, 11, 1)]]) == [1, 3]


def test_one_in_three_goes_on_rounded_up(store: ArtifactStore) -> None:
    points = [[(STUDENT, val, 8)] for val in (9, 12, 8, 11)]
    assert judged(store, points, halving=3) == [1, 3]
    assert judged(store, points, halving=4) == [1]


def test_a_point_is_judged_by_the_best_of_its_taught_students_not_by_a_control_that_all_share(
    store: ArtifactStore,
) -> None:
    blends = f"{STUDENT} +blends"
    points = [[(CONTROL, 15, 8), (STUDENT, 9, 8)], [(CONTROL, 15, 8), (STUDENT, 3, 8), (blends, 10, 8)]]
    assert judged(store, [*points, [(CONTROL, 15, 8), (STUDENT, 8, 8)]], halving=3) == [1]


def test_students_without_a_teacher_are_judged_where_there_are_no_others(store: ArtifactStore) -> None:
    assert judged(store, [[(CONTROL, val, 8)] for val in (1, 3, 2)], halving=3) == [1]


def test_without_scores_on_validation_nothing_can_be_judged(store: ArtifactStore) -> None:
    plans = [Plan(Experiment(), [], [evaluated(store, STUDENT, 0, share(8))], []) for _ in range(3)]
    study = Study.model_validate({"preset": "small-cpu", "sweep": {"distill.alpha": [0.1, 0.2, 0.3]}, "halving": 2})
    with pytest.raises(SettingsError, match="halving: no point has a score on validation"):
        going_on(study, plans, store)


def test_points_that_were_scored_on_different_images_after_all_are_refused(store: ArtifactStore) -> None:
    plans = []
    for folder in "aab":  # such as one that somebody has added images to since
        images = commit(store, "image-set", {}, external={"path": folder})
        result = evaluated(store, STUDENT, 0, share(8), val=share(8), inputs={"images": images})
        plans.append(Plan(Experiment(), [], [result], []))
    study = Study.model_validate({"preset": "small-cpu", "sweep": {"distill.alpha": [0.1, 0.2, 0.3]}, "halving": 2})
    with pytest.raises(SettingsError, match=r"halving: .* those of points 1 and 3 are different images"):
        going_on(study, plans, store)


# --- what is made --------------------------------------------------------------------------------------------------


def seeds_of(plan: StudyPlan) -> list[tuple[int, ...]]:
    return [one.experiment.seeds for one in plan.plans]


def test_first_all_points_are_planned_with_their_first_seed_and_that_is_said(preset: str, store: ArtifactStore) -> None:
    plan = planned(preset, store, SWEEP)
    assert seeds_of(plan) == [(0,), (0,), (0,)]
    assert plan.said == [
        "halving: all 3 points are made with seed 0; the best 2 of them on validation go on with seeds 1, 2, which is "
        "planned when the first is made"
    ]
    assert not any("seed1" in step.name for step in plan.steps)


@pytest.mark.slow
def test_the_points_that_go_on_have_all_seeds_and_the_others_one(
    preset: str, experiment: Experiment, bench: Bench
) -> None:
    store = bench.store
    run = run_study(planned(preset, store, SWEEP, seeds="0,1"), store, quietly(experiment, store))
    val = [_val_of_distilled(results, store) for results in run.results]
    worst = min(reversed(range(3)), key=lambda point: val[point])  # of equals the earlier goes on
    assert run.planned.stopped == {worst}
    assert [len({result.seed for result in results} - {None}) for results in run.results] == [
        1 if point == worst else 2 for point in range(3)
    ]
    built = [
        stage["name"] for stage in run.stages if stage["name"].startswith("distill-") and stage["action"] != "have"
    ]
    assert len(built) == 3 + 2
    assert len({stage["reference"] for stage in run.stages}) == len(run.stages)
    again = planned(preset, store, SWEEP, seeds="0,1")
    assert again.is_complete
    assert again.stopped == run.planned.stopped


def _val_of_distilled(results: Sequence[ModelResult], store: ArtifactStore) -> float:
    [found] = [result for result in results if result.model == STUDENT and result.seed == 0]
    return EvaluationSummary.of(store.manifest(found.evaluation)).scores["val"]["top1"]
