"""What is said of students that training did not help, on the screen and in every report."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from flows.pipeline.chain import ModelResult
from flows.reports.page import write_report
from flows.reports.remarks import print_scores, remarks
from storage.manifest import ArtifactRef
from storage.store import ArtifactStore
from tests.flows.scored import commit, evaluated

PROBE = [1.0] * 90 + [0.0] * 10
"""100 images, of which the probe has 90 right."""
WORSE = [0.0] * 9 + [1.0] * 81 + [0.0] * 10
"""Nine of them wrong and no other right: 9 points, and sqrt(0.09 * 0.91 / 100) = 2.86 points of error."""
TEACHER = "teacher probed"


def probed(store: ArtifactStore) -> list[ModelResult]:
    return [evaluated(store, TEACHER, None, PROBE), evaluated(store, "student probed", None, PROBE)]


def test_a_student_clearly_below_its_probe_is_said_to_be_worse(store: ArtifactStore) -> None:
    results = [*probed(store), evaluated(store, "student finetuned", 0, WORSE)]
    assert remarks(results, store) == [
        "student finetuned is 9.0 points (SE 2.9) below the probe it started from on test (100 images): training made "
        "it worse. Lower training.learning_rate or training.epochs, or use the probe as it is."
    ]


def test_a_difference_within_two_standard_errors_is_said_to_tell_nothing(store: ArtifactStore) -> None:
    # Three wrong, one right that was not: 2 points; squares 4/100, less (2/100)^2: 0.0396, error 1.99 points.
    other = [0.0] * 3 + [1.0] * 88 + [0.0] * 9
    (said,) = remarks([*probed(store), evaluated(store, "student finetuned", 0, other)], store)
    assert said.startswith("student finetuned is 2.0 points (SE 2.0) below the probe it started from on test")
    assert said.endswith("within two standard errors, so that the two cannot be told apart on so few images.")


def test_seeds_are_compared_together(store: ArtifactStore) -> None:
    results = [*probed(store), *(evaluated(store, "student distilled", seed, WORSE) for seed in (0, 1, 2))]
    (said,) = remarks(results, store)
    assert "is 9.0 points (SE 2.9) below the probe it started from on test (100 images, mean of 3 seeds)" in said


def test_a_student_as_good_as_its_probe_or_better_is_not_remarked_upon(store: ArtifactStore) -> None:
    better = [1.0] * 100
    results = [evaluated(store, f"student {number}", 0, right) for number, right in enumerate((PROBE, better))]
    assert remarks([*probed(store), *results], store) == []


def test_a_teacher_is_not_compared_with_the_students_probe(store: ArtifactStore) -> None:
    results = [evaluated(store, TEACHER, None, WORSE), evaluated(store, "student probed", None, PROBE)]
    assert remarks(results, store) == []


def test_other_problems_are_compared_in_their_own_unit(store: ArtifactStore) -> None:
    start = evaluated(store, "student probed", None, [-0.25, -0.5], score_name="minus_mae")
    student = evaluated(store, "student finetuned", 0, [-0.75, -1.5], score_name="minus_mae")
    (said,) = remarks([start, student], store)
    # Differences -0.5 and -1: mean -0.75, deviation 0.25, error 0.25 / sqrt(2).
    assert said.startswith("student finetuned is 0.750 in minus_mae (SE 0.177) below the probe it started from")


def test_a_model_that_kept_the_weights_it_started_from_is_named(store: ArtifactStore) -> None:
    model = commit(store, "model", {"steps": 40, "kept_step": 0})
    results = [*probed(store), evaluated(store, "student finetuned", 1, PROBE, artifact=model)]
    assert remarks(results, store) == [
        "student finetuned of seed 1 is the probe it started from: in 40 steps of training it never scored higher on "
        "validation."
    ]


@pytest.fixture
def results(store: ArtifactStore) -> list[ModelResult]:
    return [*probed(store), evaluated(store, "student finetuned", 0, WORSE)]


def test_the_screen_shows_whole_numbers_notes_and_remarks_in_a_narrow_pipe_too(
    results: list[ModelResult], store: ArtifactStore
) -> None:
    console = Console(file=(shown := io.StringIO()), width=40)
    print_scores(console, results, store, "shapes")
    lines = shown.getvalue().splitlines()
    assert sum("81.0 (SE 3.9)" in line and "student finetuned" in line for line in lines) == 1
    assert "…" not in shown.getvalue()
    assert lines[-2:] == [
        "SE: standard error of one accuracy on so many images (100 test).",
        *remarks(results, store),
    ]


def test_the_page_says_them_under_its_table(results: list[ModelResult], store: ArtifactStore, tmp_path: Path) -> None:
    made: list[ArtifactRef] = []
    write_report(tmp_path / "report.html", "shapes", results, made, store, [])
    (said,) = remarks(results, store)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert f"<p>{said}</p>" in page
    assert "<td>81.0 (SE 3.9)</td>" in page
