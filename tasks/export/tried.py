"""The images that an exported network is tried on, and how near its answers are to those of the model in the store.

Shape letters: N images of one size, H W their pixels, K classes.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from taskdistill.storage.image_set import ImageSet
from taskdistill.tasks.data.batches import decoded_row
from taskdistill.tasks.deploy.deployable import Deployable
from taskdistill.tasks.export.target import ExportError
from taskdistill.tasks.functional.views import Pixels
from taskdistill.tasks.problems.labelled import WholeImages
from taskdistill.tasks.problems.metrics import Metric

SPLITS = ("test", "val", "train")
"""The first of these that has images is tried."""
MAX_IMAGES = 500
TOLERANCE, OF_LARGEST = 1e-4, 1e-5
"""How far a logit of float32 may be from ours, or as a share of the largest one where that is more."""
_NOISE = ((61, 83), (224, 224), (90, 300), (300, 90))

Answers = tuple[npt.NDArray[np.generic], ...]
Run = Callable[[Pixels], Answers]
"""An exported network: uint8 [N, H, W, 3] -> its answers, logits first."""


class Tried(NamedTuple):
    """Images to compare answers on."""

    images: ImageSet | None
    rows: list[int]
    what: str
    """What they are, in words."""

    @property
    def num(self) -> int:
        return len(self.rows) if self.images else len(_NOISE)

    def pixels(self) -> Iterator[tuple[Pixels, int]]:
        """Yield each image as uint8 [H, W, 3], and its row in the set."""
        if self.images is None:
            noise = np.random.default_rng(0)
            yield from ((noise.integers(0, 256, (*size, 3), np.uint8), -1) for size in _NOISE)
            return
        for row in self.rows:
            yield decoded_row(self.images, row), row


def tried_images(images: ImageSet | None) -> Tried:
    """Return the images of the test split, spread over it where they are very many; noise where there are none."""
    if images is None:
        return Tried(None, [], f"{len(_NOISE)} images of noise, as the store no longer has those it was tested on")
    split = next(split for split in SPLITS if len(images.rows_of(split)))
    rows = images.rows_of(split)
    chosen = rows[np.linspace(0, len(rows) - 1, min(MAX_IMAGES, len(rows))).astype(int)].tolist()
    some = "" if len(chosen) == len(rows) else f" of {len(rows)}"
    return Tried(images, chosen, f"{len(chosen)}{some} images of the {split} split")


class Parity(NamedTuple):
    """How near the answers of an exported network are to ours."""

    difference: float
    """The largest between two logits."""
    allowed: float
    num_answers: int
    """Images, or pixels of all of them."""
    num_changed: int
    """Answers that differ."""
    num_beyond: int
    """Those of them that differ although our two largest logits lie further apart than both may be wrong."""
    metric: Metric
    score: float | None
    """Of the exported network on these images; None where there are no labels."""
    our_score: float | None

    @property
    def is_the_same(self) -> bool:
        """Whether it is within what float32 allows."""
        return self.difference <= self.allowed and self.num_beyond == 0

    def measured(self) -> dict[str, float]:
        scores = {"score": self.score, "score_in_the_store": self.our_score}
        numbers = {"difference": self.difference, "answers": self.num_answers, "answers_changed": self.num_changed}
        return {name: float(value) for name, value in (numbers | scores).items() if value is not None}

    def sentence(self, by: str, tried: Tried) -> str:
        """Say how near the answers are, and what the score is where answers changed."""
        noun = "answers" if self.num_answers == tried.num else "answers for a pixel"
        changed = f"all {self.num_answers} {noun} are the same"
        if self.num_changed:
            changed = f"{self.num_changed} of {self.num_answers} {noun} changed"
        found = f"{by}, on {tried.what}: {changed}; logits differ by {self.difference:.1e} at most"
        if self.num_changed and self.score is not None and self.our_score is not None:
            found += (
                f"; {self.metric.heading} is {self.metric.in_words(self.score)} instead of "
                f"{self.metric.in_words(self.our_score)} ({self.metric.signed(self.score - self.our_score)})"
            )
        return found


class _Counts:
    """What is counted over images of any size."""

    def __init__(self) -> None:
        self.difference, self.largest, self.num_answers, self.num_changed, self.num_beyond = 0.0, 0.0, 0, 0, 0

    def add(self, ours: Tensor, theirs: Tensor) -> None:
        """Take the logits [1, K, ...] of one image; ExportError where they are of another shape."""
        if ours.shape != theirs.shape:
            raise ExportError(f"the exported network answers in the shape {list(theirs.shape)}, not {list(ours.shape)}")
        apart = float((ours - theirs).abs().max())
        # Not a number is further away than any.
        self.difference = max(self.difference, apart if apart == apart else float("inf"))
        self.largest = max(self.largest, float(ours.abs().max()))
        changed = ours.argmax(1) != theirs.argmax(1)
        best = ours.topk(min(2, ours.shape[1]), dim=1).values
        margins = best[:, 0] - best[:, -1]
        self.num_answers += changed.numel()
        self.num_changed += int(changed.sum())
        self.num_beyond += int((changed & (margins > 2 * self.allowed)).sum())

    @property
    def allowed(self) -> float:
        return max(TOLERANCE, OF_LARGEST * self.largest)


def compared(
    deployable: Deployable,
    run: Run,
    tried: Tried,
    on_progress: Callable[[str, int, int], None] = lambda unit, done, total: None,
) -> Parity:
    """Compare an exported network with the model that it was made of, image by image.

    Raises ExportError where its answers have another shape.
    """
    counts, problem = _Counts(), deployable.problem
    meters = [problem.meter(deployable.classes) for _ in range(2)]
    for done, (pixels_HW3, row) in enumerate(tried.pixels(), 1):
        ours, theirs = _own_logits(deployable, pixels_HW3), torch.tensor(run(pixels_HW3[None])[0]).float()
        counts.add(ours, theirs)
        if tried.images is not None:
            truth = WholeImages(problem, tried.images, np.asarray([row])).truth(0)
            for meter, logits in zip(meters, (ours, theirs), strict=True):
                meter.update(logits, truth)
        on_progress("images compared", done, tried.num)
    metric = problem.metrics[0]
    our_score, score = (meter.compute()[metric.name] if tried.images else None for meter in meters)
    return Parity(
        counts.difference, counts.allowed, counts.num_answers, counts.num_changed, counts.num_beyond,
        metric, score, our_score,
    )  # fmt: skip


def _own_logits(deployable: Deployable, pixels_HW3: Pixels) -> Tensor:
    """Return what the model in the store says, by the view that Pillow cuts."""
    outputs = deployable.outputs(deployable.shown(pixels_HW3)[None])
    return deployable.answering()(outputs, *pixels_HW3.shape[:2])[0].cpu()
