"""The table of scores, for people and for reports."""

import math

import numpy as np
import pytest

from taskdistill.configs import choices
from taskdistill.flows.pipeline.chain import ModelResult
from taskdistill.flows.reports.calibrated import calibrated_rows
from taskdistill.flows.reports.results import score_markdown, score_notes, score_rows, score_table
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.tables import write_columns
from taskdistill.tasks.problems.metrics import Metric
from tests.flows.scored import commit, evaluated

EIGHT, NINE = [1.0] * 8 + [0.0] * 2, [1.0] * 9 + [0.0]
"""Ten images, of which eight and nine are right: standard errors sqrt(0.16 / 10) = 0.126 and sqrt(0.09 / 10) = 0.095.
"""

TOY_METRICS = (
    Metric("loss", "minus loss", noun="mean loss"),
    Metric("unsaid", "unsaid", is_shown=False),
    Metric("share", "a share", "%"),
)
NARROW_METRICS = (Metric("loss", "minus loss", shows_error=False),)


@pytest.fixture
def two_seeds(store: ArtifactStore) -> list[ModelResult]:
    """One model trained with two seeds: top-1 0.80 and 0.90, calibration error 0.02 and 0.03."""
    return [
        evaluated(store, "student distilled", seed, right, more={"ece": ece}, parameters=1_250_000)
        for seed, right, ece in ((0, EIGHT, 0.02), (1, NINE, 0.03))
    ]  # fmt: skip


def cells(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in text.splitlines() if line[:1] == "|"]


def test_rows_hold_one_value_for_each_seed_and_metric_with_its_standard_error(
    two_seeds: list[ModelResult], store: ArtifactStore
) -> None:
    rows = score_rows(two_seeds, store)
    assert [(row["seed"], row["metric"], row["value"], row["images"]) for row in rows] == [
        (0, "top1", 0.8, 10), (0, "ece", 0.02, 10), (1, "top1", 0.9, 10), (1, "ece", 0.03, 10),
    ]  # fmt: skip
    errors = [row["standard_error"] for row in rows]
    assert errors == [pytest.approx(0.016**0.5), None, pytest.approx(0.009**0.5), None]


def test_the_report_is_a_markdown_table_of_means_deviations_over_seeds_and_standard_errors(
    two_seeds: list[ModelResult], store: ArtifactStore
) -> None:
    # In per cent. 80 and 90: mean 85, standard deviation 5 * sqrt(2) = 7.07; 2 and 3: 2.5 and 0.5 * sqrt(2) = 0.71.
    # The standard errors are 12.65 and 9.49, on average 11.07.
    text = score_markdown(two_seeds, store, "shapes")
    found = cells(text)
    assert text.startswith("# shapes\n")
    assert found[0] == ["model", "split", "top-1", "ECE", "size"]
    assert found[1] == [":---", ":---", "---:", "---:", "---:"]
    assert found[2] == ["student distilled", "test", "85.0 ±7.1 (SE 11.1)", "2.5 ±0.7", "1.25 M"]
    assert len(found) == 3


def test_one_seed_has_no_deviation_and_a_standard_error_all_the_same(store: ArtifactStore) -> None:
    (row,) = cells(score_markdown([evaluated(store, "student distilled", 0, EIGHT)], store, "shapes"))[2:]
    assert row[2] == "80.0 (SE 12.6)"


def test_the_notes_say_how_many_images_and_seeds_there_are(two_seeds: list[ModelResult], store: ArtifactStore) -> None:
    assert score_notes(two_seeds, store) == [
        "SE: standard error of one accuracy on so many images (10 test).",
        "±: standard deviation over 2 seeds.",
    ]
    assert " ".join(score_notes(two_seeds, store)) in score_markdown(two_seeds, store, "shapes")


def test_the_report_names_the_artifact_of_each_seed(two_seeds: list[ModelResult], store: ArtifactStore) -> None:
    text = score_markdown(two_seeds, store, "shapes")
    for result in two_seeds:
        assert f"- student distilled, seed {result.seed}: `{result.artifact}`" in text


def test_the_size_of_a_probed_teacher_is_that_of_its_own_features_and_of_no_teacher_of_it(
    store: ArtifactStore,
) -> None:
    large = commit(store, "features", {"parameters": 9_000_000})
    small = commit(store, "features", {"parameters": 1_000_000})
    results = [
        evaluated(store, name, None, EIGHT, artifact=commit(store, "probe", {}, features=features))
        for name, features in (("teacher probed", large), ("student probed", small))
    ]
    columns = {str(column.header): list(column.cells) for column in score_table(results, store, "").columns}
    assert columns["size"] == ["9.00 M", "1.00 M"]


def test_a_metric_with_any_name_stays_within_its_cell(store: ArtifactStore) -> None:
    result = evaluated(store, "student distilled", 0, EIGHT, score_name="a|b\nc")
    text = score_markdown([result], store, "shapes")
    assert "| model | split | a\\|b c | size |" in text


def test_what_stands_in_the_table_and_how_is_the_problems_to_say(
    store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(choices.METRICS, "toy", "tests.flows.reports.test_results:TOY_METRICS")
    more = {"unsaid": 0.5, "share": 0.25}
    result = evaluated(store, "student", 0, [-1.0, -2.0], score_name="loss", more=more, problem="toy")
    (found, _, row) = cells(score_markdown([result], store, "toys"))
    # Mean of -1 and -2, deviation 0.5, error 0.5 / sqrt(2) = 0.354.
    assert found == ["model", "split", "minus loss", "a share", "size"]
    assert row[2:4] == ["-1.500 (SE 0.354)", "25.0"]
    assert score_notes([result], store) == ["SE: standard error of one mean loss on so many images (2 test)."]
    assert {row["metric"] for row in score_rows([result], store)} == {"loss", "share", "unsaid"}


def test_a_metric_may_keep_its_standard_error_out_of_the_table(
    store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(choices.METRICS, "toy", "tests.flows.reports.test_results:NARROW_METRICS")
    result = evaluated(store, "student", 0, [-1.0, -2.0], score_name="loss", problem="toy")
    assert cells(score_markdown([result], store, "toys"))[2][2] == "-1.500"
    assert score_rows([result], store)[0]["standard_error"] == pytest.approx(0.5 / 2**0.5)


def test_metrics_of_a_problem_that_is_not_known_here_are_all_shown_by_name(store: ArtifactStore) -> None:
    result = evaluated(store, "student", 0, [1.0, 0.5], score_name="luck", more={"fate": 0.5}, problem="tarot")
    (found, _, row) = cells(score_markdown([result], store, "cards"))
    assert found[2:4] == ["luck", "fate"]
    assert row[2:4] == ["0.750 (SE 0.177)", "0.500"]


def test_the_calibration_error_at_the_temperature_fitted_on_validation_stands_behind_it_on_test_alone(
    store: ArtifactStore,
) -> None:
    """Two classes whose logits differ by 2, right 3 times of 4 on validation: at T = 2 / log 3 it is 0.75 sure."""
    logits, labels = np.asarray([[2.0, 0.0]] * 4), np.asarray([0, 0, 0, 1])
    recipe = {"stage": "evaluate", "config": {"problem": "classification"}, "inputs": {}}
    ref = ArtifactRef("evaluation", "e" * 64)
    with store.lock(ref):
        draft = store.draft(ref, recipe)
        for split in ("val", "test"):
            write_columns(draft / f"{split}-predictions.parquet", {"label": labels, "outputs": logits})
        splits = {split: {"top1": 0.75, "ece": 0.131} for split in ("val", "test")}
        summary = {"score_name": "top1", "num_images": {"val": 4, "test": 4}, "scores": splits}
        store.commit(ref, recipe=recipe, inputs={}, summary=summary)
    results = [ModelResult("student distilled", 0, ref, commit(store, "model", {}))]
    found, _, val, test = cells(score_markdown(results, store, "birds"))
    assert found[2:5] == ["top-1", "ECE", "calibrated"]
    assert (val[3:5], test[3:5]) == (["13.1", ""], ["13.1", "0.0"])
    assert "(student distilled 1.82)" in " ".join(score_notes(results, store))
    (row,) = calibrated_rows(results, store)
    assert (row["split"], row["temperature"]) == ("test", pytest.approx(2 / math.log(3), rel=1e-5))
    assert (row["before"], row["after"]) == (pytest.approx(0.1308, abs=1e-4), pytest.approx(0, abs=1e-6))
