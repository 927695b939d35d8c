"""What a study says, against numbers worked out by hand: differences, effects, the front, the choice."""

import csv
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from taskdistill.configs.experiment import Experiment
from taskdistill.configs.loading import load_experiment
from taskdistill.configs.study import Study
from taskdistill.flows.pipeline.chain import ModelResult
from taskdistill.flows.pipeline.planning import Plan
from taskdistill.flows.pipeline.study import StudyPlan, StudyRun
from taskdistill.flows.reports.study import baseline_in_words, effects_table, study_table
from taskdistill.flows.reports.study_choice import best, effects, pareto
from taskdistill.flows.reports.study_files import table_rows, write_study
from taskdistill.flows.reports.study_rows import StudyRows
from taskdistill.flows.reports.tables import as_markdown
from taskdistill.storage.store import ArtifactStore
from tests.flows.scored import commit, evaluated

CONTROL, DISTILLED = "student finetuned", "student distilled"
SIXTEEN = 16


def right(number: int) -> list[float]:
    """Sixteen images, of which so many are right."""
    return [1.0] * number + [0.0] * (SIXTEEN - number)


def study_of(**fields: object) -> Study:
    sweep = {"distill.temperature": [1, 2], "distill.alpha": [0.5, 1]}
    return Study.model_validate({"name": "mine", "preset": "small-cpu", "sweep": sweep} | fields)


def run_of(study: Study, results: list[list[ModelResult]]) -> StudyRun:
    variants = study.variants()
    plans = [Plan(Experiment(name=f"point-{number}"), [], point, []) for number, point in enumerate(results)]
    return StudyRun(StudyPlan(study, variants, plans, [], []), results, [])


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
    assert [row["is_clear"] for row in table_rows(rows)] == [None, False, False, True, True]


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


def test_the_table_shows_every_model(rows: StudyRows) -> None:
    lines = as_markdown(study_table(rows)).splitlines()
    heading = "| temperature | alpha | model | val top-1 | test top-1 | to student finetuned | size | time |"
    assert lines[0] == heading
    assert lines[2].startswith("|  |  | student finetuned | 37.5 (SE 12.1) | 50.0 (SE 12.5) |  |")
    assert lines[-1].startswith(f"| 2 | 1 | {DISTILLED} | 56.2 (SE 12.4) | 100.0 (SE 0.0) | \\* +50.0 (SE 12.9) |")


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
    written = {path.name for path in write_study(tmp_path / "out", rows, store)}
    tables = {f"{name}.{end}" for name in ("scores", "table", "effects") for end in ("parquet", "csv")}
    assert written == {*tables, "best.yaml"}
    parquet = pq.read_table(tmp_path / "out" / "table.parquet").to_pylist()
    assert parquet == table_rows(rows)
    with (tmp_path / "out" / "table.csv").open() as file:
        assert [float(row["test"]) for row in csv.DictReader(file)] == [row["test"] for row in parquet]
    scores = pq.read_table(tmp_path / "out" / "scores.parquet").to_pylist()
    assert len(scores) == 5 * 2  # models, each once, on two splits


def test_the_preset_of_the_best_is_that_of_its_point(rows: StudyRows, store: ArtifactStore, tmp_path: Path) -> None:
    write_study(tmp_path, rows, store)
    assert load_experiment(str(tmp_path / "best.yaml")).name == "point-0"
    assert (
        "student distilled (temperature 1, alpha 0.5) (top-1 75.0 % on validation"
        in (tmp_path / "best.yaml").read_text()
    )
