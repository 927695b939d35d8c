"""Evaluations as the stages leave them, with scores that a test writes down itself."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from flows.pipeline.chain import ModelResult
from storage.fingerprint import fingerprint
from storage.manifest import ArtifactRef
from storage.store import ArtifactStore
from storage.tables import write_columns

_number = itertools.count()


def commit(store: ArtifactStore, kind: str, summary: Mapping[str, Any], **inputs: ArtifactRef) -> ArtifactRef:
    """Commit an artifact that has nothing but a summary and inputs."""
    recipe = {"stage": kind, "config": {"number": next(_number)}, "inputs": {}}
    ref = ArtifactRef(kind, fingerprint(recipe))
    with store.lock(ref):
        store.draft(ref, recipe)
        store.commit(ref, recipe=recipe, inputs=inputs, summary=dict(summary))
    return ref


def evaluated(
    store: ArtifactStore,
    model: str,
    seed: int | None,
    test: Sequence[float],
    *,
    score_name: str = "top1",
    more: Mapping[str, float] | None = None,
    artifact: ArtifactRef | None = None,
    problem: str = "classification",
    **summary: Any,
) -> ModelResult:
    """Commit the evaluation of a model whose test images have these scores; `more` are other metrics of the split."""
    mean = sum(test) / len(test)
    error = (sum((score - mean) ** 2 for score in test) / len(test) / len(test)) ** 0.5
    config = {"number": next(_number), "problem": problem}
    recipe = {"stage": "evaluate", "config": config, "inputs": {}}
    ref = ArtifactRef("evaluation", fingerprint(recipe))
    with store.lock(ref):
        draft = store.draft(ref, recipe)
        ids = [f"{number}.png" for number in range(len(test))]
        write_columns(draft / "test-predictions.parquet", {"id": ids, "score": [float(score) for score in test]})
        facts = {
            "score_name": score_name,
            "num_images": {"test": len(test)},
            "scores": {"test": {score_name: mean, **(more or {})}},
            "standard_errors": {"test": {score_name: error}},
            **summary,
        }
        store.commit(ref, recipe=recipe, inputs={}, summary=facts)
    return ModelResult(model, seed, ref, artifact or commit(store, "model", {"steps": 9, "kept_step": 5}))


def speed(images_per_second: float, **conditions: Any) -> dict[str, Any]:
    return {"images_per_second": images_per_second, "batch_size": 16, "threads": 1, "device": "cpu"} | conditions
