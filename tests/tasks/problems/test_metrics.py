"""How values of a metric are written."""

from taskdistill.tasks.problems.metrics import PERCENT, Metric, undeclared

SHARE = Metric("accuracy", "acc", PERCENT)


def test_a_share_is_written_in_per_cent_and_another_value_as_it_is() -> None:
    assert (SHARE.number(0.825), SHARE.in_words(0.825)) == ("82.5", "82.5 %")
    assert (undeclared("depth").number(0.825), undeclared("depth").in_words(0.825)) == ("0.825", "0.825")


def test_a_difference_has_a_sign_and_one_that_rounds_to_nothing_a_plus() -> None:
    assert [SHARE.signed(value) for value in (0.0312, -0.0312, 0.0, -0.0001)] == ["+3.1", "-3.1", "+0.0", "+0.0"]
