"""What a study says, against numbers worked out by hand: differences, effects, the front, the choice."""

import csv
import re
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from taskdistill.configs.experiment import Experiment
from taskdistill.configs.loading import load_experiment
from taskdistill.configs.study import Study
from taskdistill.configs.study_loading import Point
from taskdistill.flows.pipeline.chain import ModelResult
from taskdistill.flows.pipeline.planning import Plan
from taskdistill.flows.pipeline.study import StudyPlan, StudyRun
from taskdistill.flows.reports import study_in_ui
from taskdistill.flows.reports.study import baseline_in_words, effects_table, sentences, study_table, study_tables
from taskdistill.flows.reports.study_choice import best, effects, pareto
from taskdistill.flows.reports.study_files import table_rows, write_study
from taskdistill.flows.reports.study_in_ui import study_in_markdown
from taskdistill.flows.reports.study_rows import StudyLatency, StudyRows
from taskdistill.flows.reports.tables import as_markdown
from taskdistill.storage.fingerprint import fingerprint
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.tables import HISTORY, write_table
from tests.flows.scored import commit, evaluated

CONTROL, DISTILLED = "student finetuned", "student distilled"
SIXTEEN = 16


def right(number: int) -> list[float]:
    """Sixteen images, of which so many are right."""
    return [1.0] * number + [0.0] * (SIXTEEN - number)


def study_of(**fields: object) -> Study:
    sweep = {"distill.temperature": [1, 2], "distill.alpha": [0.5, 1]}
    return Study.model_validate({"name": "mine", "preset": "small-cpu", "sweep": sweep} | fields)


def run_of(study: Study, results: list[list[ModelResult]], stopped: Sequence[int] = ()) -> StudyRun:
    experiments = [Experiment(name=f"point-{number}") for number in range(len(results))]
    points = list(map(Point, study.variants(), experiments))
    plans = [Plan(experiment, [], point, []) for experiment, point in zip(experiments, results, strict=True)]
    return StudyRun(StudyPlan(study, points, plans, [], [], frozenset(stopped)), results, [])


@pytest.fixture
def control(store: ArtifactStore) -> ModelResult:
    """The student that no factor makes a difference to."""
    return evaluated(store, CONTROL, 0, right(8), val=right(6), artifact=model(store, parameters=100, seconds=5))


def model(store: ArtifactStore, parameters: int, seconds: float) -> object:
    return commit(store, "model", {"parameters": parameters, "seconds": seconds})


def distilled(store: ArtifactStore, test: int, val: int, parameters: int = 200, seed: int = 0) -> ModelResult:
    artifact = model(store, parameters, seconds=10)
    return evaluated(store, DISTILLED, seed, right(test), val=right(val), artifact=artifact)


@pytest.fixture
def results(store: ArtifactStore, control: ModelResult) -> list[list[ModelResult]]:
    """Of temperature 1 and 2, of each alpha 0.5 and 1."""
    scores = [(9, 12), (10, 11), (12, 10), (16, 9)]
    return [[control, distilled(store, test, val)] for test, val in scores]


@pytest.fixture
def rows(results: list[list[ModelResult]], store: ArtifactStore) -> StudyRows:
    return StudyRows(run_of(study_of(), results), store)


# --- the table -----------------------------------------------------------------------------------------------------


def test_a_model_that_points_share_has_one_line_without_the_levels_that_make_no_difference(rows: StudyRows) -> None:
    assert [(row.model, dict(row.levels)) for row in rows.all] == [
        (CONTROL, {}),
        (DISTILLED, {"distill.temperature": "1", "distill.alpha": "0.5"}),
        (DISTILLED, {"distill.temperature": "1", "distill.alpha": "1"}),
        (DISTILLED, {"distill.temperature": "2", "distill.alpha": "0.5"}),
        (DISTILLED, {"distill.temperature": "2", "distill.alpha": "1"}),
    ]


def test_each_is_compared_with_the_control_where_nothing_else_is_named(rows: StudyRows) -> None:
    assert baseline_in_words(rows.run.planned) == CONTROL
    assert [row["difference"] for row in table_rows(rows)] == [None, 1 / 16, 2 / 16, 4 / 16, 8 / 16]
    # Of sixteen images four are right that were not: differences 4 x 1, 12 x 0, mean 1/4, variance 3/15.
    assert table_rows(rows)[3]["difference_standard_error"] == pytest.approx((0.2 / 16) ** 0.5)
    # All that differ went one way: of four images by chance in 2 of 16 cases, of eight in 2 of 256.
    assert [row["p"] for row in table_rows(rows)] == [None, 1, 2 / 4, 2 / 16, 2 / 256]
    assert [row["is_clear"] for row in table_rows(rows)] == [None, False, False, False, True]


def test_a_named_level_is_compared_with_by_the_models_that_are_else_the_same(
    results: list[list[ModelResult]], store: ArtifactStore
) -> None:
    rows = StudyRows(run_of(study_of(baseline={"distill.temperature": 1}), results), store)
    found = {str(row): rows.baseline(row) for row in rows.all}
    assert [(one.reference, one.found.mean) if one else None for one in found.values()] == [
        None,  # a model is not compared with itself
        None,
        None,
        (f"{DISTILLED} (temperature 1, alpha 0.5)", 3 / 16),
        (f"{DISTILLED} (temperature 1, alpha 1)", 6 / 16),
    ]


def test_models_of_other_test_images_are_not_compared(store: ArtifactStore, control: ModelResult) -> None:
    other = evaluated(store, CONTROL, 0, [1.0] * 9, val=right(6))
    points = [[control], [other]]
    study = study_of(sweep={"data.path": ["red", "blue"]}, baseline={"data.path": "red"})
    rows = StudyRows(run_of(study, points), store)
    assert [rows.baseline(row) for row in rows.all] == [None, None]
    assert list(effects(rows)) == []


def test_images_of_another_folder_are_others_whatever_they_are_called(store: ArtifactStore) -> None:
    points = []
    for folder in "ab":
        images = commit(store, "image-set", {}, external={"path": folder})
        result = evaluated(store, DISTILLED, 0, right(8), val=right(8), inputs={"images": images})
        points.append([result])
    study = study_of(sweep={"data.path": ["red", "blue"]}, baseline={"data.path": "red"})
    rows = StudyRows(run_of(study, points), store)
    assert [rows.baseline(row) for row in rows.all] == [None, None]
    assert list(effects(rows)) == []


def test_of_several_data_sets_none_is_the_best_and_that_is_said(store: ArtifactStore, tmp_path: Path) -> None:
    points = [[evaluated(store, DISTILLED, 0, [1.0] * number, val=right(8))] for number in (9, 10)]
    rows = StudyRows(run_of(study_of(sweep={"data.path": ["red", "blue"]}), points), store)
    assert best(rows.all) is None
    assert sentences(rows, store) == [
        "What path is worth to student distilled is left out: not all were scored on the same images, and there is no "
        "mean over different ones.",
        "None is the best: the models were scored on 2 sets of images, each of which is another matter.",
    ]
    assert tmp_path / "best.yaml" not in write_study(tmp_path, rows, store, "")


def test_where_no_training_helped_there_is_none_to_choose(store: ArtifactStore) -> None:
    points = []
    for _ in range(2):
        model = commit(store, "model", {"steps": 9, "kept_step": 0})
        points.append([evaluated(store, DISTILLED, 0, right(8), val=right(8), artifact=model)])
    rows = StudyRows(run_of(study_of(sweep={"distill.temperature": [1, 2]}), points), store)
    [said] = sentences(rows, store)
    assert said.startswith("No training helped: every student still is student probed")
    assert said.endswith("There is nothing to choose between.")


def test_none_is_the_best_of_models_that_were_validated_on_different_images(store: ArtifactStore) -> None:
    points = [[evaluated(store, DISTILLED, 0, right(8), val=[1.0] * number)] for number in (3, 5)]
    rows = StudyRows(run_of(study_of(sweep={"data.val_share": [0.1, 0.2]}), points), store)
    assert (best(rows.all), pareto(rows.all)) == (None, [])
    assert sentences(rows, store)[-1].startswith("None is the best: the models were scored on 2 sets of images")


def test_nor_of_two_folders_where_no_image_of_test_was_scored(store: ArtifactStore) -> None:
    points = []
    for folder in "ab":
        images = commit(store, "image-set", {}, external={"path": folder})
        points.append([evaluated(store, DISTILLED, 0, [], val=right(8), inputs={"images": images})])
    rows = StudyRows(run_of(study_of(sweep={"data.path": ["red", "blue"]}), points), store)
    assert best(rows.all) is None


def test_of_image_sets_with_more_and_with_fewer_labels_one_is_the_best(store: ArtifactStore) -> None:
    points = []
    for _ in "ab":  # two image-sets of one folder, with the same images of validation and test
        images = commit(store, "image-set", {}, external={"path": "digest"})
        points.append([evaluated(store, DISTILLED, 0, right(8), val=right(8), inputs={"images": images})])
    rows = StudyRows(run_of(study_of(sweep={"data.labels_per_class": [1, 2]}), points), store)
    assert str(best(rows.all)) == f"{DISTILLED} (labels_per_class 1)"


def test_data_sets_of_equal_size_are_not_averaged_and_that_is_said(store: ArtifactStore) -> None:
    points = []
    for folder in "ab":
        images = commit(store, "image-set", {}, external={"path": folder})
        points += [[evaluated(store, DISTILLED, 0, right(test), inputs={"images": images})] for test in (8, 12)]
    sweep = {"data.path": ["red", "blue"], "distill.temperature": [1, 2]}
    rows = StudyRows(run_of(study_of(sweep=sweep), points), store)
    assert list(effects(rows)) == []
    assert [line.partition(":")[0] for line in sentences(rows, store)[:2]] == [
        "What path is worth to student distilled is left out",
        "What temperature is worth to student distilled is left out",
    ]


def test_of_several_problems_the_column_is_called_score(store: ArtifactStore) -> None:
    of_masks = evaluated(store, DISTILLED, 0, right(8), score_name="miou", problem="segmentation")
    points = [[evaluated(store, DISTILLED, 0, right(8))], [of_masks]]
    rows = StudyRows(run_of(study_of(sweep={"data.path": ["red", "blue"]}), points), store)
    assert "| test score |" in as_markdown(study_table(rows)).splitlines()[0]


def test_seeds_are_one_line_with_their_spread(store: ArtifactStore) -> None:
    points = [[distilled(store, 8, 8, seed=0), distilled(store, 12, 10, seed=1)], [distilled(store, 8, 8)]]
    rows = StudyRows(run_of(study_of(sweep={"distill.alpha": [0.5, 1]}), points), store)
    first, second = table_rows(rows)
    assert (first["test"], first["seeds"]) == (10 / 16, 2)
    assert first["test_deviation"] == pytest.approx(0.25 / 2**0.5)  # of 1/2 and 3/4
    assert second["test_deviation"] is None


def test_seconds_are_those_of_all_that_a_model_is_made_from_each_once(store: ArtifactStore) -> None:
    features = commit(store, "features", {"seconds": 100})
    probe = commit(store, "probe", {"seconds": 3}, features=features)
    logits = commit(store, "logits", {"seconds": 20}, features=features, probe=probe)
    student = commit(store, "model", {"seconds": 7, "steps": 9, "kept_step": 5}, probe=probe, logits=logits)
    points = [[evaluated(store, DISTILLED, 0, right(8), artifact=student)], [distilled(store, 8, 8)]]
    rows = StudyRows(run_of(study_of(sweep={"distill.alpha": [0.5, 1]}), points), store)
    assert [row.seconds for row in rows.all] == [130, 10]


def test_seconds_hang_on_no_order_so_that_a_finished_study_says_the_same_each_time(store: ArtifactStore) -> None:
    # Rounded after each of them ten tenths are 0.9999999999999999, and other times another sum in another order.
    made: dict[str, ArtifactRef] = {}
    for _ in range(9):
        made = {"features": commit(store, "features", {"seconds": 0.1}, **made)}
    student = commit(store, "model", {"seconds": 0.1, "steps": 9, "kept_step": 5}, **made)
    points = [[evaluated(store, DISTILLED, 0, right(8), artifact=student)], [distilled(store, 8, 8)]]
    rows = StudyRows(run_of(study_of(sweep={"distill.alpha": [0.5, 1]}), points), store)
    assert rows.all[0].seconds == 1


def test_the_table_shows_every_model(rows: StudyRows) -> None:
    lines = as_markdown(study_table(rows)).splitlines()
    heading = "| temperature | alpha | model | val top-1 | test top-1 | to student finetuned | size | time |"
    assert lines[0] == heading
    assert lines[2].startswith("|  |  | student finetuned | 37.5 (SE 12.1) | 50.0 (SE 12.5) |  |")
    assert lines[-1].startswith(f"| 2 | 1 | {DISTILLED} | 56.2 (SE 12.4) | 100.0 (SE 0.0) | \\* +50.0 (SE 12.9) |")


def test_a_latency_that_is_known_has_a_column(results: list[list[ModelResult]], store: ArtifactStore) -> None:
    rows = StudyRows(run_of(study_of(), results), store, {results[0][1].artifact: StudyLatency(12.345, beside=0.0)})
    lines = as_markdown(study_table(rows)).splitlines()
    assert lines[0].endswith("| size | latency | time |")
    assert [line.split(" | ")[-2] for line in lines[2:]] == ["", "12.3 ms", "", "", ""]
    assert [row["latency_ms"] for row in table_rows(rows)] == [None, 12.345, None, None, None]
    assert "latency: median for one image on one CPU thread" in study_tables(rows)[0][1]
    assert "Other programs" not in study_tables(rows)[0][1]


def test_a_latency_of_a_busy_machine_is_said_to_be_one(results: list[list[ModelResult]], store: ArtifactStore) -> None:
    busy = StudyLatency(12.345, beside=1000.0)
    rows = StudyRows(run_of(study_of(), results), store, {results[0][1].artifact: busy})
    assert "Other programs had the processors too (up to 1000.0 threads)" in study_tables(rows)[0][1]


# --- points that were stopped --------------------------------------------------------------------------------------


@pytest.fixture
def halved(store: ArtifactStore, control: ModelResult) -> StudyRows:
    """Three points, of which the second was stopped; their control is the same."""
    other = evaluated(store, CONTROL, 1, right(8), val=right(6))
    points = [
        [control, distilled(store, 9, 8, seed=0), other, distilled(store, 9, 7, seed=1)],
        [control, distilled(store, 11, 8, seed=0)],
        [control, distilled(store, 16, 8, seed=0), other, distilled(store, 0, 6, seed=1)],
    ]
    study = study_of(sweep={"distill.alpha": [0.25, 0.5, 1]}, baseline={"distill.alpha": 0.25})
    return StudyRows(run_of(study, points, stopped=[1]), store)


def test_a_point_that_was_stopped_stays_in_the_table_with_its_seed_and_a_mark(halved: StudyRows) -> None:
    assert [(str(row), len(row.results), row.is_stopped) for row in halved.all] == [
        (CONTROL, 2, False),  # which the point that was stopped shares
        (f"{DISTILLED} (alpha 0.25)", 2, False),
        (f"{DISTILLED} (alpha 0.5)", 1, True),
        (f"{DISTILLED} (alpha 1)", 2, False),
    ]
    table, notes = study_tables(halved)[0]
    assert "| 0.5 | student distilled (stopped after rung 1) | 50.0 " in as_markdown(table)
    assert "(stopped after rung 1): has seed 0 alone, as others were better by it on validation" in notes


def test_it_is_compared_by_the_seed_that_both_have(halved: StudyRows) -> None:
    found = {row["distill.alpha"]: row["difference"] for row in table_rows(halved)[1:]}
    assert found == {"0.25": None, "0.5": (11 - 9) / 16, "1": (16 + 0 - 9 - 9) / 2 / 16}


def test_it_is_never_the_best_also_where_its_one_seed_is_above_the_means_of_the_others(halved: StudyRows) -> None:
    val = {str(row): row.spreads["val"].mean * 16 for row in halved.all if row.model == DISTILLED}
    assert list(val.values()) == [7.5, 8, 7]
    assert str(best(halved.all)) == f"{DISTILLED} (alpha 0.25)"


def test_it_keeps_no_model_that_went_on_from_the_front(store: ArtifactStore) -> None:
    small = distilled(store, 8, 15, parameters=100)
    large, again = (distilled(store, 8, val, parameters=900, seed=seed) for seed, val in enumerate((16, 12)))
    rows = StudyRows(run_of(study_of(sweep={"distill.alpha": [0.5, 1]}), [[small], [large, again]], stopped=[0]), store)
    assert [str(row) for row in pareto(rows.all)] == [str(best(rows.all))] == [f"{DISTILLED} (alpha 1)"]


def test_the_preset_of_the_best_has_all_seeds_also_where_a_stopped_point_comes_first(
    store: ArtifactStore, tmp_path: Path
) -> None:
    first, second = (distilled(store, 9, 8, seed=seed) for seed in (0, 1))
    points = [[first], [first, second], [distilled(store, 9, 7)]]
    rows = StudyRows(run_of(study_of(sweep={"distill.alpha": [0.25, 0.5, 1]}), points, stopped=[0, 2]), store)
    write_study(tmp_path, rows, store, "")
    assert load_experiment(str(tmp_path / "best.yaml")).name == "point-1"


# --- effects, front, choice ----------------------------------------------------------------------------------------


def test_the_effect_of_a_factor_is_the_mean_over_the_pairs_that_differ_in_it_alone(rows: StudyRows) -> None:
    found = {(one.factor, one.model, one.level): one for one in effects(rows)}
    assert found.keys() == {("distill.temperature", DISTILLED, "2"), ("distill.alpha", DISTILLED, "1")}
    temperature = found["distill.temperature", DISTILLED, "2"]
    assert temperature.num_pairs == 2
    assert temperature.compared.found.mean == pytest.approx((3 + 6) / 2 / 16)
    # Image by image the means of both pairs: one of 10, 11, 12 is right in both and is 1, each of the others 1/2.
    assert found["distill.alpha", DISTILLED, "1"].compared.found.mean == pytest.approx((1 + 4) / 2 / 16)
    assert "| distill.temperature | 2 | 1 | student distilled | \\* +28.1" in as_markdown(effects_table([temperature]))


def test_the_best_is_chosen_on_validation_whatever_test_says(rows: StudyRows) -> None:
    chosen = best(rows.all)
    assert chosen
    assert str(chosen) == f"{DISTILLED} (temperature 1, alpha 0.5)"  # 12 of 16 on validation, and the worst on test


def test_the_best_is_told_with_how_far_it_is_ahead_of_the_next_and_whether_that_is_chance(
    rows: StudyRows, store: ArtifactStore
) -> None:
    # Of sixteen images one is right that was not: differences 1 x 1, 15 x 0, mean 1/16, variance 1/16, SE 1/16.
    assert sentences(rows, store)[-1].endswith(
        f"The next best is {DISTILLED} (temperature 1, alpha 1): the difference is +6.2 (SE 6.2) on 16 images of "
        "validation, so that chance may have chosen between the two."
    )


def test_a_lead_that_is_more_than_chance_is_not_called_so(store: ArtifactStore) -> None:
    points = [[distilled(store, 8, val)] for val in (4, 12)]
    rows = StudyRows(run_of(study_of(sweep={"distill.alpha": [0.5, 1]}), points), store)
    # Eight of sixteen: mean 1/2, variance 4/15.
    said = f"The next best is {DISTILLED} (alpha 0.5): the difference is +50.0 (SE 12.9) on 16 images of validation."
    assert sentences(rows, store)[-1].endswith(said)


def test_without_scores_of_images_the_lead_is_told_and_that_chance_is_not_known(store: ArtifactStore) -> None:
    points = [[evaluated(store, DISTILLED, 0, right(8), val=right(val), column="other")] for val in (4, 12)]
    rows = StudyRows(run_of(study_of(sweep={"distill.alpha": [0.5, 1]}), points), store)
    assert sentences(rows, store)[-1].endswith(
        f"The next best is {DISTILLED} (alpha 0.5): the difference is +50.0, and without a score of each image it is "
        "not known whether that is chance."
    )


def test_the_notes_of_both_tables_say_that_of_many_differences_some_are_chance(rows: StudyRows) -> None:
    notes = [notes for _, notes in study_tables(rows)]
    assert len(notes) == 2
    assert all(
        "*: more than chance (p < 0.05), and of twenty differences between equals one has a star all the same." in one
        for one in notes
    )


def test_the_front_has_no_model_than_which_a_smaller_one_is_as_good_on_validation(store: ArtifactStore) -> None:
    sizes_and_scores = [(300, 12), (100, 8), (200, 8), (250, 11), (400, 12), (100, 7)]
    points = [[distilled(store, 8, val, parameters=size)] for size, val in sizes_and_scores]
    sweep = {"distill.alpha": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]}
    rows = StudyRows(run_of(study_of(sweep=sweep), points), store)
    front = [(row.parameters, row.spreads["val"].mean * 16) for row in pareto(rows.all)]
    assert front == [(100, 8), (250, 11), (300, 12)]


def test_teachers_are_no_choice_where_there_are_students(store: ArtifactStore, control: ModelResult) -> None:
    teacher = evaluated(store, "teacher probed", None, right(16), val=right(16))
    study = study_of(sweep={"distill.alpha": [0.5, 1]})
    with_students = StudyRows(run_of(study, [[teacher, control], [distilled(store, 8, 8)]]), store)
    assert str(best(with_students.all)) == f"{DISTILLED} (alpha 1)"
    other = evaluated(store, "teacher probed", None, right(16), val=right(15))
    assert str(best(StudyRows(run_of(study, [[teacher], [other]]), store).all)) == "teacher probed (alpha 0.5)"


# --- files ---------------------------------------------------------------------------------------------------------


def test_tables_are_written_as_parquet_and_csv_with_the_same_rows(
    rows: StudyRows, store: ArtifactStore, tmp_path: Path
) -> None:
    written = {path.name for path in write_study(tmp_path / "out", rows, store, "")}
    tables = {f"{name}.{end}" for name in ("scores", "table", "effects") for end in ("parquet", "csv")}
    assert written == {*tables, "best.yaml", "study.html"}
    parquet = pq.read_table(tmp_path / "out" / "table.parquet").to_pylist()
    assert parquet == table_rows(rows)
    with (tmp_path / "out" / "table.csv").open() as file:
        assert [float(row["test"]) for row in csv.DictReader(file)] == [row["test"] for row in parquet]
    scores = pq.read_table(tmp_path / "out" / "scores.parquet").to_pylist()
    assert len(scores) == 5 * 2  # models, each once, on two splits


def test_the_preset_of_the_best_is_that_of_its_point(rows: StudyRows, store: ArtifactStore, tmp_path: Path) -> None:
    write_study(tmp_path, rows, store, "")
    assert load_experiment(str(tmp_path / "best.yaml")).name == "point-0"
    assert (
        "student distilled (temperature 1, alpha 0.5) (top-1 75.0 % on validation"
        in (tmp_path / "best.yaml").read_text()
    )


# --- the page ------------------------------------------------------------------------------------------------------


def learnt(store: ArtifactStore, test: int, val: int, parameters: int, seed: int) -> ModelResult:
    """A student with a learning curve."""
    recipe = {"stage": "distill", "config": {"test": test, "seed": seed, "parameters": parameters}, "inputs": {}}
    ref = ArtifactRef("model", fingerprint(recipe))
    with store.lock(ref):
        curve = [{"step": step, "val_score": val / 16 * step / 2} for step in range(3)]
        write_table(store.draft(ref, recipe) / "history.parquet", HISTORY, curve)
        summary = {"parameters": parameters, "kept_step": 2, "best_step": 2, "steps": 2}
        store.commit(ref, recipe=recipe, inputs={}, summary=summary)
    return evaluated(store, DISTILLED, seed, right(test), val=right(val), artifact=ref)


@pytest.fixture
def with_curves(store: ArtifactStore) -> StudyRows:
    """2 x 2 points of two seeds, of two sizes, the second of which is stopped."""
    points = [
        [learnt(store, 8 + number, 6 + number, 10**6 * (1 + number % 2), seed) for seed in (0, 1)]
        for number in range(4)
    ]
    points[1] = points[1][:1]
    latencies = {results[0].artifact: StudyLatency(3.0 + number, beside=0.0) for number, results in enumerate(points)}
    return StudyRows(run_of(study_of(name="a-study"), points, stopped=[1]), store, latencies)


@pytest.fixture
def page(with_curves: StudyRows, store: ArtifactStore, tmp_path: Path) -> str:
    command = "taskdistill study mine --sweep '<b>=1,2'"
    assert tmp_path / "study.html" in write_study(tmp_path, with_curves, store, command)
    return (tmp_path / "study.html").read_text(encoding="utf-8")


def test_the_page_has_verdict_tables_costs_curves_and_the_command(page: str) -> None:
    assert re.findall("<h2>(.*?)</h2>", page) == [
        "Verdict", "Models", "What each level is worth", "Score and cost", "Learning curves", "How to make it again",
    ]  # fmt: skip
    assert "<p>Best on validation: student distilled (temperature 2, alpha 1) (val 56.2" in page
    assert "student distilled (stopped after rung 1)" in page
    assert "taskdistill study mine --sweep &#39;&lt;b&gt;=1,2&#39;" in page
    assert "<script" not in page


def test_its_charts_are_size_and_latency_and_a_set_of_curves_for_each_factor(page: str) -> None:
    captions = re.findall(r'<figure class="chart.*?<figcaption>(.*?)</figcaption>', page, re.DOTALL)
    assert [caption.partition(",")[0].partition(" by step")[0] for caption in captions] == [
        "top-1 on validation % against million parameters",
        "top-1 on validation % against ms for one image",
        "student distilled by temperature: top-1 on validation",
        "student distilled by alpha: top-1 on validation",
    ]
    assert "temperature 2, alpha 1, seed 1: 56.2 at step 2" in page  # a dot where the weights were kept
    assert 'stroke="var(--c0)"' in page.replace("'", '"')


def test_files_that_would_be_the_same_are_not_written_again(
    page: str, with_curves: StudyRows, store: ArtifactStore, tmp_path: Path
) -> None:
    files = [path for path in tmp_path.iterdir() if path.is_file()]
    before = {path.name: path.stat().st_mtime_ns for path in files}
    again = write_study(tmp_path, with_curves, store, "taskdistill study mine --sweep '<b>=1,2'")
    assert set(again) == set(files)
    assert {path.name: path.stat().st_mtime_ns for path in files} == before
    write_study(tmp_path, with_curves, store, "taskdistill study mine")
    assert all(path.stat().st_mtime_ns > before[path.name] for path in files)


@pytest.mark.parametrize("name", ["table.csv", "scores.parquet", "effects.csv", "best.yaml"])
def test_a_file_that_was_deleted_is_written_again(
    rows: StudyRows, store: ArtifactStore, tmp_path: Path, name: str
) -> None:
    written = write_study(tmp_path, rows, store, "")
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).unlink()
    assert write_study(tmp_path, rows, store, "") == written
    assert (tmp_path / name).read_bytes() == content


def test_what_an_earlier_study_left_in_the_folder_is_removed(
    rows: StudyRows, store: ArtifactStore, tmp_path: Path
) -> None:
    write_study(tmp_path, rows, store, "")
    (tmp_path / "notes.txt").touch()
    points = [[evaluated(store, DISTILLED, 0, [1.0] * number, val=right(8))] for number in (9, 10)]
    other = StudyRows(run_of(study_of(sweep={"data.path": ["red", "blue"]}), points), store)
    kept = {"scores.parquet", "scores.csv", "table.parquet", "table.csv", "study.html"}
    for _ in range(2):
        assert {path.name for path in write_study(tmp_path, other, store, "")} == kept
        assert {path.name for path in tmp_path.iterdir() if path.is_file()} == {*kept, "notes.txt"}


def test_a_page_that_cannot_be_written_leaves_none_of_an_earlier_study(
    page: str, with_curves: StudyRows, store: ArtifactStore, tmp_path: Path
) -> None:
    (store.path(with_curves.all[0].results[0].artifact) / "history.parquet").write_bytes(b"damaged")
    written = write_study(tmp_path, with_curves, store, "another command")
    assert tmp_path / "table.csv" in written
    assert tmp_path / "study.html" not in written
    assert not (tmp_path / "study.html").exists()


def test_a_study_of_teachers_has_no_curves(store: ArtifactStore, tmp_path: Path) -> None:
    points = [[evaluated(store, "teacher probed", None, right(8), val=right(number))] for number in (8, 9)]
    rows = StudyRows(run_of(study_of(sweep={"teacher.name": ["a", "b"]}), points), store)
    write_study(tmp_path, rows, store, "")
    assert "Learning curves" not in (tmp_path / "study.html").read_text()


# --- in the Prefect UI ---------------------------------------------------------------------------------------------


def test_the_report_of_the_ui_says_the_best_first_and_where_the_files_are(
    rows: StudyRows, store: ArtifactStore
) -> None:
    lines = study_in_markdown(rows, store, [Path("/store/reports/table.csv"), Path("/store/reports/study.html")])
    heading, chosen, *_ = lines.split("\n\n")
    assert (heading, chosen[:40]) == ("# mine", "Best on validation: student distilled (t")
    assert lines.endswith("all rows: `/store/reports`: table.csv, study.html.")


def test_of_a_long_table_it_shows_the_best_on_validation(store: ArtifactStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study_in_ui, "MAX_ROWS", 3)
    points = [[distilled(store, 8, val)] for val in (9, 8, 12, 7, 9)]
    rows = StudyRows(run_of(study_of(sweep={"distill.alpha": [0.1, 0.2, 0.3, 0.4, 0.5]}), points), store)
    text = study_in_markdown(rows, store, [Path("/store/table.csv")])
    models, *_ = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    assert [line.split(" | ")[0] for line in models.splitlines()] == ["| alpha", "| :---", "| 0.1", "| 0.3", "| 0.5"]
    assert "2 more lines are in the files: these are the best on validation." in text
