"""The table of paired differences, against numbers worked out by hand."""

import pytest

from taskdistill.flows.pipeline.chain import ModelResult
from taskdistill.flows.reports.differences import difference_rows, difference_tables
from taskdistill.flows.reports.tables import as_markdown
from taskdistill.storage.store import ArtifactStore
from tests.flows.scored import commit, evaluated

PROBED, FINETUNED, DISTILLED = "student probed", "student finetuned", "student distilled"

SIX = [1.0] * 6 + [0.0] * 4
"""Ten images, of which the probe has six right."""
SEVEN = [1.0] * 7 + [0.0] * 3
TEN = [1.0] * 10


@pytest.fixture
def results(store: ArtifactStore) -> list[ModelResult]:
    """A teacher, the probe, and two students of two seeds."""
    return [
        evaluated(store, "teacher probed", None, TEN),
        evaluated(store, PROBED, None, SIX),
        evaluated(store, FINETUNED, 0, SIX),
        evaluated(store, DISTILLED, 0, TEN),
        evaluated(store, FINETUNED, 1, SEVEN),
        evaluated(store, DISTILLED, 1, TEN),
    ]


def rows_of(results: list[ModelResult], store: ArtifactStore) -> list[list[str]]:
    """The cells of the table, those of the heading first."""
    ((table, _),) = difference_tables(results, store)
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in as_markdown(table).splitlines()]


def test_students_are_compared_with_their_start_and_taught_ones_with_the_control_too(
    results: list[ModelResult], store: ArtifactStore
) -> None:
    # finetuned: 0.5 above the probe on one of ten images: mean 5 points, variance 0.25/10 - 0.0025, over 10: 4.74.
    # distilled: 1 above it on four: 40, variance 0.4 - 0.16 = 0.24, over 10: 15.49; all four by chance in 2 of 16.
    # distilled over finetuned: 0.5 on one, 1 on three: 35, variance 3.25/10 - 0.1225 = 0.2025, over 10: 14.23.
    head, alignment, *rows = rows_of(results, store)
    assert head == ["model", "to student probed", "to student finetuned"]
    assert alignment == [":---", "---:", "---:"]
    assert rows == [
        [FINETUNED, "+5.0 (SE 5.0)", ""],
        [DISTILLED, "+40.0 (SE 16.3)", "+35.0 (SE 15.0)"],
    ]


def test_the_notes_say_on_how_many_images_and_what_the_star_means(
    results: list[ModelResult], store: ArtifactStore
) -> None:
    ((_, notes),) = difference_tables(results, store)
    assert notes == (
        "Points of top-1 on test, image by image (10 images, mean of 2 seeds). *: more than chance (p < 0.05); the "
        "others cannot be told from it on so few images."
    )


def test_students_on_synthetic_images_have_a_line_too(results: list[ModelResult], store: ArtifactStore) -> None:
    synthetic = evaluated(store, "student distilled +blends", 0, SEVEN)
    head, *_, last = rows_of([*results, synthetic], store)
    assert last[:2] == ["student distilled +blends", "+10.0 (SE 10.0)"]
    # And are compared with the one without them: 1 below it on three of ten: variance 0.7/3, over 10: 15.28.
    assert (head[-1], last[-1]) == ("to student distilled", "-30.0 (SE 15.3)")


def test_rows_for_programs_hold_shares_and_whether_a_difference_is_clear(
    results: list[ModelResult], store: ArtifactStore
) -> None:
    rows = difference_rows(results, store)
    assert [(row["model"], row["reference"]) for row in rows] == [
        (FINETUNED, PROBED), (DISTILLED, PROBED), (DISTILLED, FINETUNED),
    ]  # fmt: skip
    assert rows[0] == {
        "model": FINETUNED, "reference": PROBED, "split": "test", "metric": "top1",
        "difference": pytest.approx(0.05), "standard_error": pytest.approx(0.05),
        "p": 1,  # one image, which might as well have gone the other way
        "is_clear": False,
        "seeds": 2, "images": 10,
    }  # fmt: skip
    assert [row["is_clear"] for row in rows] == [False, False, False]


def test_two_models_that_never_differ_are_no_difference_apart_without_error_and_without_a_star(
    store: ArtifactStore,
) -> None:
    results = [evaluated(store, PROBED, None, SIX), evaluated(store, FINETUNED, 0, SIX)]
    assert rows_of(results, store)[2] == [FINETUNED, "+0.0 (SE 0.0)"]


def test_other_problems_are_compared_in_their_own_unit(store: ArtifactStore) -> None:
    start = evaluated(store, PROBED, None, [-0.25, -0.5] * 3, score_name="minus_mae")
    student = evaluated(store, FINETUNED, 0, [-0.75, -1.5] * 3, score_name="minus_mae")
    # Differences -0.5 and -1, three times: mean -0.75, variance 0.375 / 5, error sqrt(0.075 / 6).
    assert rows_of([start, student], store)[2] == [FINETUNED, "\\* -0.750 (SE 0.112)"]
    assert difference_tables([start, student], store)[0].notes.startswith("Differences of minus_mae on test")


def test_one_image_gives_a_difference_without_an_error_and_without_a_star(store: ArtifactStore) -> None:
    results = [evaluated(store, PROBED, None, [0.0]), evaluated(store, FINETUNED, 0, [1.0])]
    assert rows_of(results, store)[2] == [FINETUNED, "+100.0"]
    ((_, notes),) = difference_tables(results, store)
    assert notes == "Differences in top-1 on test: one image, which has no standard error."
    assert difference_rows(results, store)[0]["standard_error"] is None


def test_a_model_without_scores_of_single_images_is_left_out(results: list[ModelResult], store: ArtifactStore) -> None:
    """Early evaluations have them not, nor one that was not asked for test."""
    early = evaluated(store, "student early", 0, TEN, column="confidence")
    assert [row[0] for row in rows_of([*results, early], store)[2:]] == [FINETUNED, DISTILLED]
    elsewhere = evaluated(store, "student elsewhere", 0, TEN, scores={"val": {"top1": 1.0}})
    assert [row[0] for row in rows_of([*results, elsewhere], store)[2:]] == [FINETUNED, DISTILLED]


def test_where_nothing_can_be_compared_there_is_no_table(store: ArtifactStore) -> None:
    early = evaluated(store, PROBED, None, SIX, column="confidence")
    results = [evaluated(store, "teacher probed", None, TEN), early, evaluated(store, FINETUNED, 0, SIX)]
    assert difference_tables(results, store) == []
    assert difference_rows(results, store) == []


def test_without_a_probe_in_the_table_students_are_compared_with_the_control_alone(store: ArtifactStore) -> None:
    results = [evaluated(store, FINETUNED, 0, SIX), evaluated(store, DISTILLED, 0, SEVEN)]
    assert rows_of(results, store) == [
        ["model", "to student finetuned"],
        [":---", "---:"],
        [DISTILLED, "+10.0 (SE 10.0)"],
    ]


def test_teacher_and_probe_on_validation_are_the_first_row_for_programs(store: ArtifactStore) -> None:
    logits = commit(store, "logits", {})
    results = [
        evaluated(store, "teacher probed", None, TEN, val=SEVEN, inputs={"logits": logits}),
        evaluated(store, PROBED, None, SIX, val=SIX, inputs={"teacher": logits}),
        evaluated(store, FINETUNED, 0, SIX),
    ]
    first, second = difference_rows(results, store)
    assert (first["model"], first["reference"], first["split"]) == ("teacher probed", PROBED, "val")
    assert first["difference"] == pytest.approx(0.1)
    assert (second["model"], second["split"]) == (FINETUNED, "test")


def test_on_fewer_than_six_images_no_difference_has_a_star_and_it_is_said_why(store: ArtifactStore) -> None:
    """All of five images may agree by chance, in 1 of 16 cases."""
    for num_images, cell in ((5, "-100.0 (SE 0.0)"), (6, "\\* -100.0 (SE 0.0)")):
        ones, zeros = [1.0] * num_images, [0.0] * num_images
        results = [evaluated(store, PROBED, None, ones), evaluated(store, FINETUNED, 0, zeros)]
        assert rows_of(results, store)[2] == [FINETUNED, cell]
        few = "(5 images). So few cannot tell a difference from chance, whatever its error: it takes 6 at least."
        assert (few in difference_tables(results, store)[0].notes) == (num_images == 5)
        assert difference_rows(results, store)[0]["is_clear"] == (num_images == 6)
