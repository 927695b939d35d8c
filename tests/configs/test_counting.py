"""A count and its noun agree."""

import pytest

from taskdistill.configs.counting import counted


@pytest.mark.parametrize(("number", "said"), [(0, "0 images"), (1, "1 image"), (2, "2 images")])
def test_one_thing_is_said_in_the_singular_and_every_other_number_in_the_plural(number: int, said: str) -> None:
    assert counted(number, "image") == said


def test_a_verb_and_an_irregular_plural_are_given_with_the_noun() -> None:
    assert [counted(number, "class is", "classes are") for number in (1, 3)] == ["1 class is", "3 classes are"]
