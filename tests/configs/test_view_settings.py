"""How many augmented views each image of a set has."""

import pytest
from pydantic import ValidationError

from taskdistill.configs.base import Settings
from taskdistill.configs.data import ViewSettings, views_of_train
from taskdistill.configs.experiment import Experiment
from taskdistill.configs.foreign import PrecomputeForeignConfig
from taskdistill.configs.stages import ExtractConfig, PrecomputeImagesConfig


def test_without_a_limit_every_set_has_the_same_number() -> None:
    assert [ViewSettings(num_views=8).num_augmented(count) for count in (1, 10, 1_000_000)] == [8, 8, 8]


@pytest.mark.parametrize(
    ("num_train", "num_views"), [(1, 64), (10, 64), (31, 64), (32, 62), (500, 4), (501, 4), (2001, 4), (10**6, 4)]
)
def test_a_limit_for_all_together_gives_few_images_many_views_and_each_at_least_four(
    num_train: int, num_views: int
) -> None:
    assert ViewSettings(num_views=64, max_total=2000).num_augmented(num_train) == num_views


@pytest.mark.parametrize("num_views", [0, 1, 3])
def test_a_limit_never_gives_more_views_than_are_asked_for(num_views: int) -> None:
    assert {ViewSettings(num_views=num_views, max_total=1).num_augmented(count) for count in (0, 1, 50)} == {num_views}


def test_a_limit_below_the_number_of_images_is_one_that_leaves_each_four_views() -> None:
    assert ViewSettings(num_views=16, max_total=3).num_augmented(10) == 4


def test_a_negative_limit_is_refused() -> None:
    with pytest.raises(ValidationError, match="max_total"):
        ViewSettings(max_total=-1)


def test_a_set_of_its_own_has_a_number_of_its_own() -> None:
    """As blends have, of which there are more than of photographs: they also show their clean view."""
    settings = ViewSettings(num_views=12, max_total=80)
    assert views_of_train(settings, "augmented", {"train": 8, "val": 2}) == range(1, 11)
    assert views_of_train(settings, "augmented", {"train": 16}) == range(6)
    assert views_of_train(settings, "clean", {"train": 16}) == range(1)


def test_an_old_recipe_that_says_nothing_of_a_limit_keeps_its_fingerprint() -> None:
    assert "max_total" not in ViewSettings().identity()
    assert ViewSettings(max_total=80).identity()["max_total"] == 80


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"min_scale": 0.7}, r"views\.min_scale would change nothing: read where views\.crop is 'scaled'.* at 0\.5"),
        ({"max_scale": 3.0}, r"and it is 'resized'. Set views\.crop to 'scaled', or leave views\.max_scale at 2"),
        (
            {"crop": "scaled", "min_area": 0.2, "max_aspect": 2.0},
            r"views\.min_area and views\.max_aspect would change nothing: .* 'resized'.* at 0\.3 and 1\.333",
        ),
    ],
)
@pytest.mark.parametrize("form", [Experiment, ExtractConfig, PrecomputeImagesConfig, PrecomputeForeignConfig])
def test_what_a_way_of_cropping_does_not_read_is_refused(
    form: type[Settings], settings: dict[str, object], words: str
) -> None:
    with pytest.raises(ValidationError, match=words):
        form.model_validate({"views": settings})
    ViewSettings.model_validate(settings)  # as recipes of what exists may have it


@pytest.mark.parametrize(
    "settings", [{"crop": "scaled", "min_scale": 0.7}, {"min_area": 0.2}, {"crop": "scaled", "min_area": 0.3}]
)
def test_what_it_reads_or_is_at_its_default_is_taken(settings: dict[str, object]) -> None:
    ExtractConfig.model_validate({"views": settings})
