"""Evaluations as the stages leave them, with scores that a test writes down itself."""

import itertools
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from taskdistill.flows.pipeline.chain import ModelResult
from taskdistill.storage.fingerprint import fingerprint
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.tables import write_columns

_number = itertools.count()


def commit(
    store: ArtifactStore,
    kind: str,
    summary: Mapping[str, Any],
    external: Mapping[str, str] = MappingProxyType({}),
    *,
    stage: str = "",
    config: Mapping[str, Any] = MappingProxyType({}),
    **inputs: ArtifactRef,
) -> ArtifactRef:
    """Commit an artifact that has nothing but a summary and inputs; `external` are digests of what it was read from."""
    settings = {"number": next(_number), **config}
    recipe = {"stage": stage or kind, "config": settings, "external": dict(external), "inputs": {}}
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
    val: Sequence[float] = (),
    score_name: str = "top1",
    more: Mapping[str, float] | None = None,
    artifact: ArtifactRef | None = None,
    problem: str = "classification",
    column: str = "score",
    inputs: Mapping[str, ArtifactRef] | None = None,
    settings: Mapping[str, Any] | None = None,
    classes: Mapping[str, Sequence[Any]] | None = None,
    **summary: Any,
) -> ModelResult:
    """Commit the evaluation of a model whose images of test, and of val where there are any, have these scores; `more`
    are other metrics of each split, `classes` the columns of the table of classes on test, `settings` are of its stage.
    """
    splits = {split: scores for split, scores in (("test", test), ("val", val)) if scores}
    config = {"number": next(_number), "problem": problem, **(settings or {})}
    recipe = {"stage": "evaluate", "config": config, "inputs": {}}
    ref = ArtifactRef("evaluation", fingerprint(recipe))
    with store.lock(ref):
        draft = store.draft(ref, recipe)
        for split, scores in splits.items():
            columns = {"id": [f"{number}.png" for number in range(len(scores))], column: [*map(float, scores)]}
            write_columns(draft / f"{split}-predictions.parquet", columns)
        if classes:
            write_columns(draft / "test-classes.parquet", classes)
        facts = {
            "score_name": score_name,
            "num_images": {split: len(scores) for split, scores in splits.items()},
            "scores": {split: {score_name: _mean(scores), **(more or {})} for split, scores in splits.items()},
            "standard_errors": {split: {score_name: _error(scores)} for split, scores in splits.items()},
            **summary,
        }
        store.commit(ref, recipe=recipe, inputs=inputs or {}, summary=facts)
    return ModelResult(model, seed, ref, artifact or commit(store, "model", {"steps": 9, "kept_step": 5}))


def _mean(scores: Sequence[float]) -> float:
    return sum(scores) / len(scores)


def _error(scores: Sequence[float]) -> float:
    mean = _mean(scores)
    return (sum((score - mean) ** 2 for score in scores) / len(scores) / len(scores)) ** 0.5
