"""Which weights are kept, from the scores alone."""

import pytest

from taskdistill.configs.training import Keep
from taskdistill.tasks.training.state import State


def ended(best: float, best_error: float, last: float) -> State:
    return State(best_score=best, best_error=best_error, history=[{"val_score": last}])


@pytest.mark.parametrize("keep", ["best", "last"])
def test_best_and_last_mean_what_they_say_whatever_the_scores_are(keep: Keep) -> None:
    assert [ended(best, 0.0, 0.5).kept(keep) for best in (0.5, 0.9)] == [keep, keep]


def test_the_last_weights_stay_unless_the_best_are_better_by_more_than_the_error() -> None:
    assert ended(0.8, 0.05, 0.76).kept("last-unless-worse") == "last"
    assert ended(0.8, 0.05, 0.74).kept("last-unless-worse") == "best"
