"""Records of what cached outputs belong to."""

from pathlib import Path

from taskdistill.storage.view_attributes import EmbeddingsAttributes, FeaturesAttributes, LogitsAttributes
from taskdistill.storage.view_outputs import ViewOutputs
from tests.storage.artifacts import writer_of_every_view


def outputs_with(folder: Path, attributes: dict[str, object]) -> ViewOutputs:
    writer_of_every_view(folder, ["a"], num_views=1, row_shape=(2,), attributes=attributes)
    return ViewOutputs(folder)


def test_attributes_that_were_written_are_read_back_as_a_record(tmp_path: Path) -> None:
    written = LogitsAttributes(images="i", views={"num_views": 2}, encoder="e", side_px=32, problem="p", classes=["a"])
    assert LogitsAttributes.of(outputs_with(tmp_path, written.as_json())) == written


def test_tuples_of_the_preprocessing_are_lists_in_json() -> None:
    attributes = FeaturesAttributes(preprocessing={"side_px": 48, "mean": (0.5, 0.5, 0.25)})
    assert attributes.as_json()["preprocessing"] == {"side_px": 48, "mean": [0.5, 0.5, 0.25]}
    assert attributes.size == (48, 48)


def test_a_field_that_is_missing_is_neutral_and_an_unknown_one_is_passed_over(tmp_path: Path) -> None:
    found = EmbeddingsAttributes.of(outputs_with(tmp_path, {"images": "i", "of_the_future": 1}))
    assert found == EmbeddingsAttributes(images="i", substitution="")
