"""What a plan says there is to compute, and about how long a frozen encoder takes for it."""

from typing import Any

import pytest

from taskdistill.configs.experiment import Experiment
from taskdistill.flows.pipeline.planning import make_plan
from taskdistill.flows.pipeline.work import Work, works
from taskdistill.storage.files import write_json
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import PROGRESS, ArtifactStore
from taskdistill.tasks.sizes import Shown
from tests.conftest import Bench
from tests.flows.conftest import quietly


def work(experiment: Experiment, store: ArtifactStore) -> dict[str, Work]:
    return works(make_plan(experiment, store).steps, store, experiment.runtime)


def with_views(experiment: Experiment, **views: Any) -> Experiment:
    return experiment.model_copy(update={"views": experiment.views.model_copy(update=views)})


def with_images(experiment: Experiment, **data: Any) -> Experiment:
    return experiment.model_copy(update={"data": experiment.data.model_copy(update=data)})


def noted(store: ArtifactStore, ref: ArtifactRef, **facts: Any) -> None:
    """Let an artifact say other things of how it was made."""
    manifest = store.manifest(ref)
    host = {"host": facts.pop("host", manifest.provenance["host"])}
    said = {"summary": {**manifest.summary, **facts}, "provenance": {**manifest.provenance, **host}}
    manifest.model_copy(update=said).write(store.path(ref))


def pace(units: int, seconds: float) -> dict[str, Any]:
    return {"steps": {"units": units, "seconds": seconds}}


def test_the_views_that_encoders_are_shown_and_the_steps_of_trainings_are_counted(
    experiment: Experiment, store: ArtifactStore
) -> None:
    said = {name: found.words for name, found in work(experiment, store).items() if found.words}
    steps = experiment.training.epochs * 24 // experiment.training.batch_size
    assert said == {
        "extract-teacher": "24 x 2 + 24 views",
        "extract-student": "24 x 2 + 24 views",
        "probe-teacher": "60 steps",
        "probe-student": "60 steps",
        "finetune-seed0": f"{steps} steps",
        "distill-seed0": f"{steps} steps",
    }


def test_few_images_are_counted_in_the_views_that_a_limit_allows_and_the_steps_asked_for(
    experiment: Experiment, store: ArtifactStore
) -> None:
    longer = with_views(experiment, num_views=64, max_total=1000)
    training = experiment.training.model_copy(update={"min_steps": 2500})
    found = work(longer.model_copy(update={"training": training}), store)
    assert found["extract-teacher"].shown == (Shown(24, 41), Shown(24, 1))
    assert found["distill-seed0"].words == "2,500 steps"


def test_a_search_for_settings_is_counted_with_the_steps_that_it_may_take(
    experiment: Experiment, store: ArtifactStore
) -> None:
    training = experiment.training.model_copy(update={"min_steps": 600})
    tuning = experiment.tuning.model_copy(update={"search": "halving", "budget": 1.25})
    found = work(experiment.model_copy(update={"training": training, "tuning": tuning}), store)
    # Finetuning: the default is in the list of 3, so 3 candidates and then 2 for twice as long, 750 // 7 steps each.
    # Distillation: of 8 candidates the 5 that have room for 80 steps, 750 // (5 + 2 * 2), and then 2.
    assert [found[name].words for name in ("tune-finetune", "tune-distill")] == ["749 steps", "747 steps"]


@pytest.mark.parametrize("changed", [{"learning_rates": (1e-3,)}, {"min_steps": 10_000}])
def test_a_search_that_tries_nothing_has_nothing_to_compute(
    experiment: Experiment, store: ArtifactStore, changed: dict[str, Any]
) -> None:
    tuning = experiment.tuning.model_copy(update={"search": "halving", **changed})
    assert work(experiment.model_copy(update={"tuning": tuning}), store)["tune-finetune"].words == ""


def test_without_cached_features_the_probes_show_views_at_every_step(
    experiment: Experiment, store: ArtifactStore
) -> None:
    found = work(experiment.model_copy(update={"teacher_cache": "logits"}), store)
    assert found["probe-teacher"].words == "60 steps, 960 + 12 views"
    assert found["precompute"].words == "24 x 2 + 24 views"


def test_what_is_there_has_nothing_left_to_compute(experiment: Experiment, bench: Bench) -> None:
    found = work(experiment, bench.store)
    assert [found[name] for name in ("ingest", "extract-teacher", "probe-student")] == [Work()] * 3


def test_the_first_run_of_a_store_knows_of_no_step_how_long_it_takes(
    experiment: Experiment, store: ArtifactStore
) -> None:
    assert {one.seconds for one in work(experiment, store).values()} == {None}


# 24 images in 4 views and 24 in one are 120 views: 48 of the 72 views before them took 30 seconds.
@pytest.mark.parametrize(
    ("seconds", "words"), [(31.0, "~76 s"), (95.0, "~2 min"), (3600.0, "~61 min"), (36_000.0, "~10.0 h")]
)
def test_earlier_features_of_the_same_network_say_about_how_long_it_takes(
    experiment: Experiment, bench: Bench, seconds: float, words: str
) -> None:
    noted(bench.store, bench.features, seconds=seconds, pace={"views": {"units": 48, "seconds": 30.0}})
    noted(bench.store, bench.student_features, pace={"spans": {"units": 2, "seconds": 3.0}})
    found = work(with_views(experiment, num_views=4, seed=9), bench.store)
    assert found["extract-teacher"].words == f"24 x 4 + 24 views, {words}"
    assert found["extract-student"].words == "24 x 4 + 24 views"


def test_of_several_the_largest_tells(experiment: Experiment, bench: Bench) -> None:
    more = experiment.model_copy(update={"seeds": (0, 1, 2)})
    steps = {step.name: step for step in make_plan(more, bench.store).steps}
    for name, units, seconds in (("finetune-seed0", 10, 100.0), ("finetune-seed1", 40, 40.0)):
        noted(bench.store, quietly(more, bench.store)(steps[name]), seconds=seconds + 3, pace=pace(units, seconds))
    found = work(more, bench.store)["finetune-seed2"]
    assert found.seconds == pytest.approx(3 + found.num_steps)


def test_what_as_many_threads_and_workers_made_tells_rather_than_a_larger_one(
    experiment: Experiment, bench: Bench
) -> None:
    more = experiment.model_copy(update={"seeds": (0, 1, 2)})
    steps = {step.name: step for step in make_plan(more, bench.store).steps}
    few, many = (quietly(more, bench.store)(steps[name]) for name in ("finetune-seed0", "finetune-seed1"))
    noted(bench.store, few, seconds=20, pace=pace(10, 20))
    noted(bench.store, many, seconds=40, pace=pace(40, 40), hands={**more.runtime.hands, "threads": 9})
    found = work(more, bench.store)["finetune-seed2"]
    assert found.seconds == pytest.approx(2 * found.num_steps)


@pytest.mark.parametrize("facts", [{"host": "elsewhere"}, {"device": "cuda"}, {"pace": None}])
def test_another_computer_or_device_or_a_continued_attempt_says_nothing(
    experiment: Experiment, bench: Bench, facts: dict[str, Any]
) -> None:
    noted(bench.store, bench.features, **facts)
    assert work(with_views(experiment, seed=9), bench.store)["extract-teacher"].seconds is None


def test_what_is_left_of_a_step_is_what_counts(experiment: Experiment, bench: Bench) -> None:
    noted(bench.store, bench.features, seconds=34.0, pace={"views": {"units": 48, "seconds": 24.0}})
    asked = with_views(experiment, num_views=4, seed=9)
    step = next(step for step in make_plan(asked, bench.store).steps if step.name == "extract-teacher")
    recipe = step.stage.recipe(step.config, step.inputs, {})
    draft = bench.store.draft(step.ref, recipe)
    write_json(draft / PROGRESS, {"unit": "views", "done": 100, "total": 120})
    assert work(asked, bench.store)["extract-teacher"].seconds == pytest.approx(10 + 20 / 2)


def test_an_artifact_of_the_same_images_tells_rather_than_a_larger_one_of_others(
    experiment: Experiment, of_other_images: Experiment, bench: Bench
) -> None:
    for step in make_plan(of_other_images, bench.store).steps[:2]:
        ref = quietly(of_other_images, bench.store)(step)
    noted(bench.store, ref, seconds=900.0, pace={"views": {"units": 900, "seconds": 900.0}})
    noted(bench.store, bench.features, seconds=7.2, pace={"views": {"units": 48, "seconds": 7.2}})
    assert work(with_views(experiment, num_views=4, seed=9), bench.store)["extract-teacher"].seconds == pytest.approx(
        18
    )


def test_a_time_by_other_images_alone_is_marked_as_such(
    experiment: Experiment, of_other_images: Experiment, bench: Bench
) -> None:
    known = {name: one for name, one in work(of_other_images, bench.store).items() if one.seconds is not None}
    others = {name for name, one in known.items() if one.is_by_other_images}
    assert {"ingest", "extract-teacher", "probe-student"} <= others
    assert known.keys() - others == {"precompute"}  # from features: it reads no images
    # Of its own images with other views, of fewer of them, or where nothing tells.
    for same in (with_views(experiment, seed=9), with_images(experiment, max_images=6)):
        assert {one.is_by_other_images for one in work(same, bench.store).values()} == {False}


def test_pictures_of_another_size_are_other_images_though_they_are_of_the_same_files(
    experiment: Experiment, bench: Bench
) -> None:
    found = work(with_images(experiment, reduce_to_px=16), bench.store)
    assert (found["extract-teacher"].seconds is not None, found["extract-teacher"].is_by_other_images) == (True, True)


def test_of_two_steps_that_make_the_same_artifact_the_second_takes_no_time(
    experiment: Experiment, bench: Bench
) -> None:
    same = with_views(experiment.model_copy(update={"student": experiment.teacher}), num_views=4, seed=9)
    noted(bench.store, bench.features, seconds=7.2, pace={"views": {"units": 48, "seconds": 7.2}})
    found = work(same, bench.store)
    assert [found[name].seconds for name in ("extract-teacher", "extract-student")] == [pytest.approx(18), 0]


def test_a_damaged_artifact_tells_nothing_and_keeps_nobody_from_planning(experiment: Experiment, bench: Bench) -> None:
    path = bench.path(bench.features) / "manifest.json"
    path.write_text(path.read_text().replace('"encoder_forwards": 72', '"encoder_forwards": 73'))
    assert work(with_views(experiment, seed=9), bench.store)["extract-teacher"].words == "24 x 2 + 24 views"


def test_a_run_tells_of_each_of_its_steps_how_long_another_like_it_takes(
    experiment: Experiment, store: ArtifactStore
) -> None:
    for step in make_plan(experiment, store).steps:
        quietly(experiment, store)(step)
    training = experiment.training.model_copy(update={"epochs": 9})
    other = with_views(experiment, seed=9).model_copy(update={"seeds": (7,), "training": training})
    steps = make_plan(other, store).steps
    assert [step.name for step in steps if step.action == "have"] == ["ingest"]
    assert {one.seconds is None for one in works(steps, store, experiment.runtime).values()} == {False}


def test_logits_of_a_finetuned_teacher_go_by_earlier_ones_of_its_backbone(
    with_finetuned_teacher: Experiment, bench: Bench
) -> None:
    first = with_finetuned_teacher
    for step in make_plan(first, bench.store).steps[:5]:  # ingest, extract, probe, finetune, precompute
        quietly(first, bench.store)(step)
    assert work(with_views(first, seed=9), bench.store)["precompute"].seconds is not None
    other = first.model_copy(update={"teacher": first.teacher.model_copy(update={"input_px": 64})})
    assert work(other, bench.store)["precompute"].words == "24 x 2 + 24 views"
