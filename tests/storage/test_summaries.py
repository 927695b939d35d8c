"""Records of what came out: the JSON they write, and what they read of older, newer and edited manifests."""

import math
from pathlib import Path

import pytest

from taskdistill.storage.errors import CorruptArtifactError
from taskdistill.storage.manifest import Manifest
from taskdistill.storage.summaries import (
    BlendsSummary,
    EmbeddingsSummary,
    EvaluationSummary,
    FeaturesSummary,
    ImageSetSummary,
    IngestSummary,
    LogitsSummary,
    ModelSummary,
    NetworkSummary,
    PaceSummary,
    ProbeSummary,
    SelectionSummary,
    SettingsSummary,
)

KEPT = Path(__file__).parents[1] / "formats"
"""Artifacts of every kind, as earlier versions made them."""
KEPT_FOLDERS = sorted(path.parent for path in KEPT.rglob("manifest.json"))


def manifest(**summary: object) -> Manifest:
    return Manifest(reference=f"model@{'a' * 64}", recipe={}, inputs={}, summary=summary, files={}, provenance={})


def test_a_record_writes_the_fields_it_was_given_and_no_others() -> None:
    assert ModelSummary(steps=3, kept_step=None).as_json() == {"steps": 3, "kept_step": None}


def test_a_validation_score_of_an_older_version_is_read_from_the_name_of_its_metric() -> None:
    found = ModelSummary.of(manifest(best_val_minus_mae=-0.5, best_val_minus_mae_standard_error=0.25, steps=8))
    assert (found.score_name, found.best_val_score, found.best_val_score_standard_error) == ("minus_mae", -0.5, 0.25)
    assert found.steps == 8
    found = ProbeSummary.of(manifest(val_top1=0.5))
    assert (found.score_name, found.val_score, found.val_score_standard_error) == ("top1", 0.5, 0.0)


def test_what_an_older_version_did_not_write_is_neutral() -> None:
    found = IngestSummary.of(manifest(images=3, splits={"train": 3}, classes=2))
    assert (found.counts, found.brightness, found.said, found.quarantined) == (None, None, [], 0)
    assert NetworkSummary.of(manifest(images=3)) == NetworkSummary()


def test_a_field_that_this_version_does_not_know_is_passed_over() -> None:
    found = EvaluationSummary.of(manifest(scores={"test": {"top1": 1.0}}, of_the_future=[1]))
    assert found.scores == {"test": {"top1": 1.0}}


def test_joined_parts_keep_what_each_was_given_and_the_last_word_on_what_several_have() -> None:
    parts = ImageSetSummary(images=2, classes=1), BlendsSummary(painted=5), BlendsSummary(painted=6, pairs="nearest")
    expected = {"images": 2, "classes": 1, "painted": 6, "pairs": "nearest"}
    assert BlendsSummary.joined(*parts).as_json() == expected


def test_a_value_of_another_type_is_damage_that_names_the_field_and_what_to_do() -> None:
    edited = manifest(steps="many")
    with pytest.raises(
        CorruptArtifactError, match=r"summary of model@aaaaaaaaaaaa .* \(steps\): run 'taskdistill disc"
    ):
        ModelSummary.of(edited)


def test_a_number_that_json_does_not_have_is_not_made_another_value() -> None:
    written = ModelSummary(score_name="top1", best_val_score=float("nan")).as_json()
    assert math.isnan(written["best_val_score"])


OF_STAGE = {
    "ingest": IngestSummary, "generate": BlendsSummary, "embed": EmbeddingsSummary, "extract": FeaturesSummary,
    "probe": ProbeSummary, "precompute": LogitsSummary, "precompute-images": LogitsSummary, "select": SelectionSummary,
    "tune-finetune": SettingsSummary, "tune-distill": SettingsSummary,
    "finetune": ModelSummary, "distill": ModelSummary,
    "evaluate": EvaluationSummary, "evaluate-teacher": EvaluationSummary,
}  # fmt: skip


@pytest.mark.parametrize("folder", KEPT_FOLDERS, ids=lambda path: path.name)
def test_every_field_of_a_kept_summary_is_read_and_written_under_its_name_of_today(folder: Path) -> None:
    found = Manifest.read(folder)
    others = {*PaceSummary.model_fields, "speed"}  # what execute notes, and what is not measured any more
    expected = {_name_today(name): value for name, value in found.summary.items() if name not in others}
    expected |= {"score_name": "top1"} if "top1" in str(list(found.summary)) else {}
    assert OF_STAGE[found.recipe["stage"]].of(found).as_json() == expected


def _name_today(name: str) -> str:
    """Older versions wrote the metric into the name: best_val_top1."""
    return name.replace("val_top1", "val_score")
