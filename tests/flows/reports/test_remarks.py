"""What is said of students that training did not help, on the screen, in every report and to programs."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from taskdistill.flows.pipeline.chain import ModelResult
from taskdistill.flows.pipeline.teacher_gap import teacher_gap
from taskdistill.flows.reports.differences import difference_tables
from taskdistill.flows.reports.page.subject import Subject
from taskdistill.flows.reports.page.writing import write_report
from taskdistill.flows.reports.prefect_ui import scores_in_markdown
from taskdistill.flows.reports.remarks import print_scores, remarks, scores_for_programs
from taskdistill.storage.store import ArtifactStore
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
        "student finetuned is clearly below student probed: training made it worse. Lower training.learning_rate or "
        "training.epochs, or use the probe as it is."
    ]


def test_a_student_clearly_below_the_one_without_a_teacher_is_said_to_have_the_wrong_teacher(
    store: ArtifactStore,
) -> None:
    students = [evaluated(store, "student finetuned", 0, PROBE), evaluated(store, "student distilled", 0, WORSE)]
    assert remarks(students, store) == [
        "student distilled is clearly below student finetuned: this teacher made it worse. Lower distill.alpha, or "
        "take another teacher."
    ]


def test_what_the_table_shows_to_be_chance_is_not_remarked_upon(store: ArtifactStore) -> None:
    # Three wrong, one right that was not: 2 points; squares 4/100, less (2/100)^2: 0.0396, error 1.99 points.
    other = [0.0] * 3 + [1.0] * 88 + [0.0] * 9
    assert remarks([*probed(store), evaluated(store, "student finetuned", 0, other)], store) == []


def test_of_three_images_that_all_got_worse_it_is_not_said_that_training_did_it(store: ArtifactStore) -> None:
    results = [evaluated(store, "student probed", None, [1.0] * 3), evaluated(store, "student finetuned", 0, [0.0] * 3)]
    assert remarks(results, store) == []


def test_a_student_as_good_as_its_probe_or_better_is_not_remarked_upon(store: ArtifactStore) -> None:
    better = [1.0] * 100
    results = [evaluated(store, f"student {number}", 0, right) for number, right in enumerate((PROBE, better))]
    assert remarks([*probed(store), *results], store) == []


def test_a_teacher_is_not_compared_with_the_students_probe_on_test(store: ArtifactStore) -> None:
    results = [evaluated(store, TEACHER, None, WORSE), evaluated(store, "student probed", None, PROBE)]
    assert remarks(results, store) == []


def test_a_model_that_kept_the_weights_it_started_from_is_named(store: ArtifactStore) -> None:
    model = commit(store, "model", {"steps": 40, "kept_step": 0})
    other = evaluated(store, "student distilled", 1, PROBE, artifact=commit(store, "model", {"kept_step": 9}))
    results = [*probed(store), evaluated(store, "student finetuned", 1, PROBE, artifact=model), other]
    assert remarks(results, store) == [
        "student finetuned of seed 1 is the probe it started from: in 40 steps of training it never scored higher on "
        "validation."
    ]


def test_where_no_training_helped_that_is_said_once_for_all_students(store: ArtifactStore) -> None:
    students = [
        evaluated(store, name, 1, PROBE, artifact=commit(store, "model", {"steps": 40, "kept_step": 0}))
        for name in ("student finetuned", "student distilled")
    ]
    [said] = remarks([*probed(store), *students], store)
    assert said.startswith("No training helped: every student still is student probed")


def test_the_settings_that_students_were_trained_with_are_named_where_their_models_tell(store: ArtifactStore) -> None:
    def student(name: str, seed: int, **settings: float) -> ModelResult:
        model = commit(store, "model", {"steps": 40, "kept_step": 20, **settings})
        return evaluated(store, f"student {name}", seed, PROBE, artifact=model)

    students = [
        student("finetuned", 0, learning_rate=0.001),
        student("distilled", 0, learning_rate=0.0003, alpha=0.75, temperature=2.0),
        student("finetuned", 1, learning_rate=0.001),
        student("distilled", 1, learning_rate=0.001, alpha=0.75, temperature=2.0),
        student("old", 0),
    ]
    probe = commit(store, "probe", {"learning_rate": 0.1})  # of a head on frozen features: another matter
    assert remarks([evaluated(store, "student probed", None, PROBE, artifact=probe), *students], store) == [
        "Trained with: student finetuned learning rate 0.001; student distilled learning rate 0.0003, alpha 0.75, "
        "temperature 2 or learning rate 0.001, alpha 0.75, temperature 2."
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
    notes = "SE: standard error of one accuracy on so many images (100 test)."
    (compared,) = difference_tables(results, store)
    assert lines[-2:] == [compared.notes, *remarks(results, store)]
    (below,) = [number for number, line in enumerate(lines) if line.rstrip().endswith("* -9.0 (SE 2.9)")]
    assert lines.index(notes) < below < len(lines) - 2


def test_the_page_says_them_under_its_table(results: list[ModelResult], store: ArtifactStore, tmp_path: Path) -> None:
    write_report(tmp_path / "report.html", Subject("shapes", results, {}, store, "", []))
    (said,) = remarks(results, store)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert f"<li>{said}</li>" in page
    assert '<td class="number">81.0 (SE 3.9)</td>' in page
    assert '<th scope="row"><bdi>student finetuned</bdi></th><td class="number">* -9.0 (SE 2.9)</td></tr>' in page


def test_prefects_ui_shows_them_after_both_tables(results: list[ModelResult], store: ArtifactStore) -> None:
    text = scores_in_markdown(results, store, "shapes")
    (compared,) = difference_tables(results, store)
    in_order = ["| student finetuned | test |", "| student finetuned | \\* -9.0 (SE 2.9) |", compared.notes]
    places = [text.index(part) for part in [*in_order, *remarks(results, store)]]
    assert places == sorted(places)


def test_programs_are_given_scores_differences_and_remarks(results: list[ModelResult], store: ArtifactStore) -> None:
    found = scores_for_programs(results, store)
    assert [row["difference"] for row in found["differences"]] == [pytest.approx(-0.09)]
    assert len(found["scores"]) == 3
    assert found["remarks"] == remarks(results, store)
    assert json.loads(json.dumps(found)) == found


def test_what_teacher_and_probe_have_on_validation_stands_before_the_other_remarks(store: ArtifactStore) -> None:
    logits = commit(store, "logits", {})
    teacher = evaluated(store, TEACHER, None, PROBE, val=[1.0, 1.0], inputs={"logits": logits})
    start = evaluated(store, "student probed", None, PROBE, val=[0.0, 1.0], inputs={"teacher": logits})
    results = [teacher, start, evaluated(store, "student finetuned", 0, WORSE)]
    first, second = remarks(results, store)
    assert first == str(teacher_gap(results, store))
    assert second.startswith("student finetuned is clearly below")
