"""Runs that never were: predictions that a test makes up, in the tables that stages write."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from taskdistill.flows.pipeline.chain import CONTROL, STUDENT, ModelResult
from taskdistill.flows.reports.page.subject import Subject
from taskdistill.storage.fingerprint import fingerprint
from taskdistill.storage.image_set import ImageRow, write_index, write_shard
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.tables import HISTORY, write_columns, write_table

TEACHER = "teacher probed"
ACCURACY = {TEACHER: 0.9, CONTROL: 0.6, STUDENT: 0.75}
VALUES = ("top1", "nll", "ece")


def made_up(
    store: ArtifactStore, classes: Sequence[str], labels: Sequence[int], seeds: Sequence[int] = (0,), kept_step: int = 2
) -> Subject:
    """A teacher and two students of each seed, whose answers on images of these classes are drawn with chances; which
    of 2 steps is kept makes no difference to them.
    """
    ids = [f"{classes[label]}/{number}.png" for number, label in enumerate(labels)]
    images = image_set(store, classes, labels, ids)
    results = [model(store, images, ids, labels, len(classes), TEACHER, None)]
    for name in (CONTROL, STUDENT):
        results += [model(store, images, ids, labels, len(classes), name, seed, kept_step) for seed in seeds]
    steps = {"ingest": images} | {f"{one.model} {one.seed or 0}": one.artifact for one in results}
    return Subject("made up", results, steps, store, "taskdistill run made-up", ["taskdistill list model"])


def image_set(store: ArtifactStore, classes: Sequence[str], labels: Sequence[int], ids: Sequence[str]) -> ArtifactRef:
    colours = [_png(number) for number in range(8)]
    rows = [
        ImageRow(image_id, colours[label % 8], 8, 8, "test", label)
        for image_id, label in sorted(zip(ids, labels, strict=True))
    ]
    recipe = {"stage": "ingest", "config": {"classes": list(classes), "images": len(ids)}, "inputs": {}}
    ref = ArtifactRef("image-set", fingerprint(recipe))
    with store.lock(ref):
        draft = store.draft(ref, recipe)
        write_shard(draft, 0, rows)
        counts = write_index(draft, classes=classes, num_shards=1)
        store.commit(ref, recipe=recipe, inputs={}, summary=counts)
    return ref


def model(
    store: ArtifactStore, images: ArtifactRef, ids: Sequence[str], labels: Sequence[int], num_classes: int,
    name: str, seed: int | None, kept_step: int = 2,
) -> ModelResult:  # fmt: skip
    generator = np.random.default_rng([len(ids), seed or 0, sum(map(ord, name))])
    true = np.asarray(labels)
    is_right = generator.random(len(ids)) < ACCURACY[name]
    said = np.where(is_right, true, (true + 1) % num_classes)
    teacher = np.where(generator.random(len(ids)) < ACCURACY[TEACHER], true, (true + 2) % num_classes)
    columns = {
        "id": list(ids), "label": true, "predicted": said, "confidence": generator.uniform(0.5, 1, len(ids)),
        "score": (said == true).astype(np.float32), "teacher_predicted": teacher,
    }  # fmt: skip
    artifact = _model(store, name, seed, images, kept_step)
    scores = dict.fromkeys(VALUES, float(np.mean(said == true)))
    summary = {"score_name": "top1", "num_images": dict.fromkeys(("test", "val"), len(ids)),
               "parameters": 10**6 * (1 + len(name)), "scores": {"test": scores, "val": scores},
               "standard_errors": {"test": {"top1": 0.01}}}  # fmt: skip
    inputs = {"images": images, "model": artifact}
    ref = _committed(store, "evaluation", {"problem": "classification"}, inputs, summary, columns)
    return ModelResult(name, seed, ref, artifact)


def _model(store: ArtifactStore, name: str, seed: int | None, images: ArtifactRef, kept_step: int) -> ArtifactRef:
    kept = {"kept_step": kept_step, "best_step": kept_step, "steps": 2}
    return _committed(store, "model", {"seed": seed, "name": name}, {"images": images}, kept, {})


def _committed(
    store: ArtifactStore, kind: str, config: Mapping[str, Any], inputs: Mapping[str, ArtifactRef],
    summary: Mapping[str, Any], columns: Mapping[str, Any],
) -> ArtifactRef:  # fmt: skip
    named = {role: ref.fingerprint for role, ref in inputs.items()}
    recipe = {"stage": kind, "config": dict(config), "inputs": named}
    ref = ArtifactRef(kind, fingerprint(recipe))
    with store.lock(ref):
        draft = store.draft(ref, recipe)
        if columns:
            for split in ("val", "test"):  # the same images, so that what is said of both is known
                write_columns(draft / f"{split}-predictions.parquet", columns)
        else:
            rows = [{"step": step, "val_score": 0.4 + step / 10} for step in range(3)]
            write_table(draft / "history.parquet", HISTORY, rows)
        store.commit(ref, recipe=recipe, inputs=dict(inputs), summary=dict(summary))
    return ref


def _png(number: int) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (8, 8), (30 * number, 255 - 30 * number, 120)).save(data, "PNG")
    return data.getvalue()
