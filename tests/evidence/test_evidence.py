"""The answers of the evidence, and that each question can be asked.

Shape letters: N images.
"""

import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from taskdistill.configs.study_loading import points_of
from taskdistill.flows.pipeline.chain import chain
from taskdistill.flows.reports.study_rows import StudyRows
from taskdistill.storage.store import ArtifactStore
from taskdistill.tasks.functional.comparison import Difference
from taskdistill.tasks.problems.metrics import metrics_of
from tests.evidence.__main__ import ANSWERS, PAGE
from tests.evidence.answers import Answer, answer, over_images, over_places
from tests.evidence.claims import CLAIMS, Question, Side
from tests.evidence.kept import Told, all_kept, keep
from tests.evidence.page import page
from tests.evidence.trials import FINETUNED, PROBED, Trial, trials
from tests.flows.reports.test_study import run_of
from tests.flows.scored import evaluated

TOP1 = metrics_of("classification")[0]
WORLDS = [np.array([1.0, 1.0, 0.0, 1.0]), np.array([1.0, 0.0, 0.0, 1.0]), np.array([1.0, 1.0, 1.0, 1.0])]
BESIDE = [np.array([0.0, 1.0, 0.0, 1.0]), np.array([1.0, 0.0, 0.0, 0.0]), np.array([1.0, 0.0, 1.0, 0.0])]


def test_over_worlds_the_means_of_the_worlds_are_compared_by_the_t_test() -> None:
    found, counted = over_places(WORLDS, BESIDE)
    # Differences 1/4, 1/4, 1/2: mean 1/3, error 1/12, so t is 4; with 2 degrees of freedom p is 1 - t / sqrt(t^2 + 2).
    assert found.mean == pytest.approx(1 / 3)
    assert found.standard_error == pytest.approx(1 / 12)
    assert found.p == pytest.approx(1 - 4 / 18**0.5)
    assert counted == "3 worlds (above in 3)"


def test_of_one_split_images_are_compared_by_the_exact_test_of_mcnemar() -> None:
    first_N, second_N = np.array([1.0] * 9 + [0.0] * 11), np.array([1.0] + [0.0] * 8 + [1.0, 1.0] + [0.0] * 9)
    found, counted = over_images([first_N], [second_N])
    assert found.p == pytest.approx(stats.binomtest(2, 10).pvalue)
    assert found.mean == pytest.approx(6 / 20)
    assert counted == "20 images"


def test_of_several_sequences_each_counts_alike_and_the_error_is_that_of_the_images_in_each() -> None:
    first, second = [np.array([0.5, 0.7, 0.9]), np.array([0.2, 0.6])], [np.array([0.4, 0.4, 0.6]), np.array([0.1, 0.3])]
    found, counted = over_images(first, second)
    errors = [stats.sem([0.1, 0.3, 0.3]), stats.sem([0.1, 0.3])]
    assert found.mean == pytest.approx((0.7 / 3 + 0.2) / 2)
    assert found.standard_error == pytest.approx(np.hypot(*errors) / 2)
    assert found.p == pytest.approx(2 * stats.t.sf(found.mean / found.standard_error, df=3))
    assert counted == "5 images of 2 sequences"


def test_an_answer_is_of_the_models_that_its_question_names_in_the_points_of_their_arms(store: ArtifactStore) -> None:
    arms = {PROBED: {"distill.temperature": 1}, FINETUNED: {"distill.temperature": 2}}
    trial = Trial("small-cpu", "shapes", {"": {}}, arms, "images", {})
    question = Question(
        "shapes", Side("student distilled", FINETUNED, "hot"), Side("student distilled", PROBED, "cold")
    )
    # Right where the other is not on 7 of 10 images, and never the other way round: by the exact test p is 2 / 2^7.
    cold = evaluated(store, "student distilled", 0, [0.0] * 8 + [1.0] * 2)
    hot = evaluated(store, "student distilled", 0, [1.0] * 7 + [0.0] + [1.0] * 2)
    found = answer(question, trial, StudyRows(run_of(trial.study("shapes"), [[cold], [hot]]), store))
    assert [found.first, found.second] == pytest.approx([0.9, 0.2])
    assert found.difference.mean == pytest.approx(0.7)
    assert found.difference.p == pytest.approx(2 / 2**7)
    assert (found.counted, found.said) == ("10 images, 1 seed", "yes")


@pytest.mark.parametrize(
    ("mean", "p", "said"), [(0.1, 0.01, "yes"), (-0.1, 0.01, "no, the reverse"), (0.1, 0.05, "cannot be told")]
)
def test_an_answer_is_yes_or_no_only_where_chance_is_rare(mean: float, p: float, said: str) -> None:
    question = CLAIMS[0].questions[0]
    assert Answer(question, TOP1, 0.5, 0.5, Difference(mean, 0.05, p), "").said == said


def test_every_question_names_models_that_the_study_of_its_trial_makes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REAL_DATA_DIR", str(tmp_path))
    for name, trial in trials(tmp_path).items():
        points = points_of(trial.study(name))
        for question in (one for claim in CLAIMS for one in claim.questions if one.trial == name):
            for side in (question.first, question.second):
                graphs = [chain(points[trial.point(place, side.arm)].experiment) for place in trial.places]
                assert all(side.model in {model.model for model in graph.models} for graph in graphs)


def test_the_page_has_each_claim_and_says_what_was_not_run(tmp_path: Path) -> None:
    question = CLAIMS[0].questions[0]
    known = trials(tmp_path)
    one = Answer(question, TOP1, 0.625, 0.6, Difference(0.025, 0.01, 0.02), "5 worlds (above in 4), 1 seed")
    written = page({"birds": Told([one], "40 min", ["its teacher is a probe."], "0.1.0, x86_64")}, known)
    assert all(claim.sentence in written for claim in CLAIMS)
    assert "| +2.5 (1.0) | 0.02 | 5 worlds (above in 4), 1 seed | **yes** |" in written
    assert "| 40 min | 0.1.0, x86_64 |" in written
    assert "| 1: student of the probed teacher to student of the finetuned teacher | **+2.5** |" in written
    assert "| 2: distilled to finetuned |  |" in written
    assert "Not run for this page: clothing." in written
    assert "Asked something else when run: birds." in written
    assert "- birds: its teacher is a probe." in written


def test_answers_that_are_kept_are_what_the_page_is_made_of_later_and_elsewhere(tmp_path: Path) -> None:
    one = Answer(CLAIMS[0].questions[0], TOP1, 0.625, 0.6, Difference(0.025, math.nan, 0.02), "1 world, 1 seed")
    birds, clothing = (
        Told([one], "40 min", ["its teacher is a probe."], "0.1.0, x86_64"),
        Told([], "2 min", [], "0.1.0, x86_64"),
    )
    keep(clothing, tmp_path, "clothing")
    keep(birds, tmp_path, "birds")
    found = all_kept(tmp_path, {"birds": None, "roads": None, "clothing": None})
    assert list(found) == ["birds", "clothing"]
    assert found["clothing"] == clothing
    assert repr(found["birds"]) == repr(birds)  # NaN is not equal to itself


def test_what_a_side_is_called_may_change_and_a_question_that_is_asked_no_more_is_left_out(tmp_path: Path) -> None:
    asked = CLAIMS[0].questions[0]
    renamed = asked._replace(first=asked.first._replace(called="something else"))
    gone = asked._replace(first=asked.first._replace(arm="of old"))
    answers = [Answer(one, TOP1, 0.6, 0.5, Difference(0.1, 0.01, 0.001), "") for one in (renamed, gone)]
    keep(Told(answers, "2 min", [], "0.1.0"), tmp_path, "birds")
    assert [one.question for one in all_kept(tmp_path, ["birds"])["birds"].answers] == [asked]


def test_the_page_is_the_one_that_the_kept_answers_make() -> None:
    known = trials(Path("RUNS"))
    assert PAGE.read_text(encoding="utf-8") == page(all_kept(ANSWERS, known), known)
