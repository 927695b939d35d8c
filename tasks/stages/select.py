"""Stage "select": score every synthetic image and choose those that a student is trained on.

The table has a row for each image, from the similarities of its blend and the teacher's logits of the clean view.
Nothing is dropped by default. The choice is an artifact of its own, so that another one needs no new images
and no new logits.

Shape letters: N synthetic images.

Reads `synthetic` (image-set), of it blends.parquet where generate wrote one, and `logits` of it; writes
selection.parquet.
"""

from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from taskdistill.configs.errors import UserError
from taskdistill.configs.generation import SelectConfig, SelectSettings
from taskdistill.storage.image_set import ImageSet
from taskdistill.storage.summaries import SelectionSummary
from taskdistill.storage.tables import SELECTION, read_table, write_table
from taskdistill.storage.view_outputs import ViewOutputs
from taskdistill.tasks.data.view_cache import ViewCache
from taskdistill.tasks.functional.views import CLEAN_VIEW
from taskdistill.tasks.problems.problem import Problem, problem_named
from taskdistill.tasks.stage import StageContext


class NothingSelectedError(UserError, ValueError):
    """Every synthetic image was dropped."""


def run(config: SelectConfig, context: StageContext) -> SelectionSummary:
    """Write the selection; CacheMismatchError where the logits are of other images, NothingSelectedError where all of
    them are dropped.
    """
    images = ImageSet.open(context.inputs["synthetic"])
    logits = ViewOutputs(context.inputs["logits"])
    logits.require(images=images.fingerprint, problem=config.problem)
    scores = _scores(images, config.select)
    entropy_N = _uncertainties(problem_named(config.problem), images, logits, context.runtime.inference_batch_size)
    rows = [_judged(config, *found) for found in zip(scores, entropy_N.tolist(), strict=True)]
    kept = [row for row in rows if row["is_kept"]]
    if not kept:
        raise NothingSelectedError(
            f"all {len(rows)} synthetic images are dropped by select.drop = {list(config.select.drop)} (max_entropy "
            f"{config.select.max_entropy:g}, median entropy {np.median(entropy_N):.2f}): drop less"
        )
    write_table(context.draft / "selection.parquet", SELECTION, rows)
    flags = Counter(flag for row in rows for flag in (row["flags"] or "").split(", ") if flag)
    return SelectionSummary(
        images=len(rows),
        kept=len(kept),
        dropped=len(rows) - len(kept),
        flagged=dict(sorted(flags.items())),
        mean_teacher_entropy=round(float(entropy_N.mean()), 4),
        mean_teacher_entropy_of_kept=round(float(np.mean([row["teacher_entropy"] for row in kept])), 4),
    )


def _uncertainties(problem: Problem, images: ImageSet, logits: ViewOutputs, batch_size: int) -> npt.NDArray[np.float32]:
    """Return how uncertain the teacher is of each image, [N]."""
    cache, found = ViewCache(logits, images.ids, budget_mb=0), []
    for start in range(0, len(images), batch_size):
        items = np.arange(start, min(start + batch_size, len(images)))
        # Of the clean view: how certain a teacher is of an image should not go by how that image happened to be cut.
        outputs = cache.take(items, np.full_like(items, CLEAN_VIEW)).outputs
        found.append(problem.uncertainty(torch.from_numpy(outputs).float()))
    return torch.cat(found).numpy()


def _judged(config: SelectConfig, score: dict[str, Any], entropy: float) -> dict[str, Any]:
    limit = config.select.copy_similarity
    to_parents = max(score.get("similarity_a") or 0.0, score.get("similarity_b") or 0.0)
    signs = {
        "parent-copy": to_parents >= limit,
        "held-out-copy": (score.get("similarity_held_out") or 0.0) >= limit,
        "uncertain": entropy > config.select.max_entropy,
    }
    flags = [flag for flag, is_so in signs.items() if is_so]
    names = ("id", "similarity_a", "similarity_b", "similarity_held_out")
    return {name: score.get(name) for name in names} | {
        "is_kept": not set(flags).intersection(config.select.drop),
        "flags": ", ".join(flags) or None,
        "teacher_entropy": entropy,
    }


def _scores(images: ImageSet, select: SelectSettings) -> list[dict[str, Any]]:
    """Return what generate noted of each image; sets that were made elsewhere have ids only."""
    if (images.folder / "blends.parquet").is_file():
        scored = {row["id"]: row for row in read_table(images.folder / "blends.parquet")}
        return [scored[image_id] for image_id in images.ids]
    select.check_is_known(f"image-set@{images.fingerprint[:12]}")
    return [{"id": image_id} for image_id in images.ids]
