"""The table of scores, for people and for reports."""

from typing import Any

import pytest

from flows.chain import Evaluated
from flows.results import score_markdown, score_rows
from storage.fingerprint import fingerprint
from storage.manifest import ArtifactRef
from storage.store import ArtifactStore


def commit_evaluation(store: ArtifactStore, seed: int, scores: dict[str, Any], **summary: Any) -> ArtifactRef:
    recipe = {"stage": "evaluate", "config": {"seed": seed}, "inputs": {}}
    ref = ArtifactRef("evaluation", fingerprint(recipe))
    with store.lock(ref):
        store.draft(ref, recipe)
        store.commit(ref, recipe=recipe, inputs={}, summary={"scores": scores, **summary})
    return ref


@pytest.fixture
def two_seeds(store: ArtifactStore) -> list[Evaluated]:
    """One model trained with two seeds: top-1 0.80 and 0.90, calibration error 0.02 and 0.03."""
    model = ArtifactRef("model", "f" * 64)
    return [
        Evaluated(
            "student distilled",
            seed,
            commit_evaluation(
                store, seed, {"test": {"top1": top1, "ece": ece}}, parameters=1_250_000, images_per_second=321.4
            ),
            model,
        )
        for seed, top1, ece in ((0, 0.8, 0.02), (1, 0.9, 0.03))
    ]


def test_rows_hold_one_value_for_each_seed_and_metric(two_seeds: list[Evaluated], store: ArtifactStore) -> None:
    rows = score_rows(two_seeds, store)
    assert [(row["seed"], row["metric"], row["value"]) for row in rows] == [
        (0, "top1", 0.8), (0, "ece", 0.02), (1, "top1", 0.9), (1, "ece", 0.03),
    ]  # fmt: skip


def test_the_report_is_a_markdown_table_of_means_and_deviations_over_seeds(
    two_seeds: list[Evaluated], store: ArtifactStore
) -> None:
    # In per cent. 80 and 90: mean 85, standard deviation 5 * sqrt(2) = 7.07; 2 and 3: 2.5 and 0.5 * sqrt(2) = 0.71.
    lines = score_markdown(two_seeds, store, "shapes").splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    assert lines[0] == "# shapes"
    assert cells[0][:4] == ["model", "split", "top-1", "ECE"]
    assert cells[1] == [":---", ":---", "---:", "---:", "---:", "---:"]
    assert cells[2] == ["student distilled", "test", "85.0 ±7.1", "2.5 ±0.7", "1.25 M", "321"]
    assert len(cells) == 3


def test_the_report_names_the_artifact_of_each_seed(two_seeds: list[Evaluated], store: ArtifactStore) -> None:
    text = score_markdown(two_seeds, store, "shapes")
    for seed in (0, 1):
        assert f"- student distilled, seed {seed}: `model@{'f' * 64}`" in text
