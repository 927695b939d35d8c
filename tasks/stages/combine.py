"""Stage "combine": what several teachers say of the same views, as the logits of one teacher.

The mean is the problem's; it is kept as log-probabilities, which are logits, never at a fixed temperature.

Shape letters: M teachers, N views of a chunk, K classes (or K, h, w of dense outputs).

Reads `logits`, `logits2`, and further ones by number; writes rows.parquet and outputs.zarr.
"""

from collections.abc import Sequence

import numpy as np
import torch

from taskdistill.configs.data import CLEAN_VIEW
from taskdistill.configs.stages import CombineConfig
from taskdistill.storage.errors import CacheMismatchError
from taskdistill.storage.fingerprint import fingerprint
from taskdistill.storage.summaries import LogitsSummary
from taskdistill.storage.view_attributes import LogitsAttributes
from taskdistill.storage.view_outputs import Half, ViewOutputs, rows_by_id
from taskdistill.storage.view_writer import Chunk, Layout, ViewOutputsWriter
from taskdistill.tasks.functional.views import thumbnail_distance
from taskdistill.tasks.inference.frozen import ChunkPartitions, Outputs
from taskdistill.tasks.partitions import ByPartitions, Throughput
from taskdistill.tasks.problems.problem import problem_named
from taskdistill.tasks.stage import StageContext
from taskdistill.tasks.training.distill_source import CHECK_EVERY, CHECK_TOLERANCE


class MeanLogits(ChunkPartitions[CombineConfig]):
    """The mean of several teachers' logits in the making."""

    def __init__(self, config: CombineConfig, context: StageContext) -> None:
        self.config, self.context = config, context
        roles = sorted(context.inputs)
        self.teachers = [ViewOutputs(context.inputs[role]) for role in roles]
        self.first = self.teachers[0]
        self.attributes = LogitsAttributes.of(self.first)
        self._check_alike()
        # Earlier versions showed more views (format 1), and more images; what all teachers were shown the latest were.
        narrowest = min(
            self.teachers, key=lambda teacher: (len(teacher.ids), sum(part.num_shown for part in teacher.parts))
        )
        ids, parts = narrowest.ids, narrowest.parts
        self.writer = ViewOutputsWriter(context.draft, ids=ids, parts=parts, layout=self._layout)
        # Joined by image id, never by position; once, not for each chunk.
        self.ids, self.places = ids, [rows_by_id(teacher.ids, ids) for teacher in self.teachers]

    def make(self, numbers: Sequence[int]) -> Throughput:
        done = self.writer.num_written
        self.context.on_progress("views", done, self.writer.num_shown)
        for chunk in self.chunks(numbers):
            first, *others = [self._said(teacher, chunk) for teacher in range(len(self.teachers))]
            for said in others:
                self._check_views(chunk, first, said)
            outputs_M = [said.outputs for said in (first, *others)]
            self.writer.write(chunk, self._mean(outputs_M), first.views_N9, first.thumbnails_N64)
            done += chunk.stop - chunk.start
            self.context.on_progress("views", done, self.writer.num_shown)
        return Throughput(0, 0.0)

    def finish(self, throughput: Throughput) -> LogitsSummary:
        return LogitsSummary(
            images=self.writer.num_rows,
            views=max(part.views.stop for part in self.writer.parts.values()),
            outputs=list(self.writer.row_shape),
            encoder_forwards=0,
        )

    def _said(self, number: int, chunk: Chunk) -> Outputs:
        """Read what one teacher said of the views of a chunk."""
        teacher = self.teachers[number]
        rows = teacher.rows_at(self.places[number][self.writer.rows_of(chunk)], chunk.view)
        # Of another format the rows of a chunk may lie among others: the span that holds them all is read.
        span, among = (int(rows.min()), int(rows.max()) + 1, chunk.view), rows - rows.min()
        return Outputs(teacher.rows(*span)[among], teacher.view_fields(*span)[among], teacher.thumbnails(*span)[among])

    def _mean(self, outputs_M: Sequence[Half]) -> Half:
        problem, mean_NK = problem_named(self.attributes.problem), np.empty_like(outputs_M[0])
        # In parts, as float64 takes four times the memory of what is read; no row depends on the others.
        step = self.context.runtime.inference_batch_size
        for start in range(0, len(mean_NK), step):
            given = [torch.from_numpy(outputs_NK[start : start + step]) for outputs_NK in outputs_M]
            mean_NK[start : start + step] = problem.mean(given, self.config.mean_of).to(torch.float16).numpy()
        return mean_NK

    def _check_alike(self) -> None:
        """Raise CacheMismatchError where the logits are not of the same images, views, classes and problem."""
        first, known = self.first, self.attributes
        for teacher in self.teachers[1:]:
            named = f"{first.folder.name[:12]} and {teacher.folder.name[:12]}"
            teacher.require(
                images=known.images, views=dict(known.views), problem=known.problem, classes=list(known.classes)
            )
            if teacher.row_shape != first.row_shape:
                raise CacheMismatchError(
                    f"the logits {named} have outputs of {teacher.row_shape} and {first.row_shape} numbers for a view, "
                    "and the mean of maps needs maps of one size: choose teachers, or their input_px and "
                    "input_width_px, so that their maps are alike"
                )
        if len({teacher.folder for teacher in self.teachers}) < len(self.teachers):
            raise CacheMismatchError("the same logits were given twice: a teacher counts once, so leave one out")

    def _check_views(self, chunk: Chunk, first: Outputs, other: Outputs) -> None:
        """Raise CacheMismatchError where two teachers were not shown the same views."""
        # Each network has its own clean view: how much of the border it leaves out belongs to its weights. Of a whole
        # image they may speak all the same, not of its places.
        if chunk.view == CLEAN_VIEW and len(self.writer.row_shape) == 1:
            return
        images, places = self.writer.rows_of(chunk), "" if chunk.view else " clean"
        differs_N = (first.views_N9 != other.views_N9).any(axis=1)
        if differs_N.any():
            raise CacheMismatchError(
                f"image {self.ids[images[differs_N][0]]!r}: the teachers were shown different{places} views of "
                "it, so that what they say cannot be averaged place by place: leave one of them out, set their "
                "clean_view alike (whole), or make their logits anew with the same version of this program"
            )
        for index in range(0, len(images), CHECK_EVERY):
            distance = thumbnail_distance(first.thumbnails_N64[index], other.thumbnails_N64[index])
            if distance > CHECK_TOLERANCE:
                raise CacheMismatchError(
                    f"image {self.ids[images[index]]!r}: the view that one teacher saw differs from the other's "
                    f"by {distance:.0f} grey levels on average (at most {CHECK_TOLERANCE:.0f} for the same view): they "
                    "were made with different versions of Pillow. Discard the older logits, and features they are of, "
                    "and run the same again"
                )

    def _layout(self) -> Layout:
        encoders = [LogitsAttributes.of(teacher).encoder for teacher in self.teachers]
        encoder = fingerprint({"mean_of": self.config.mean_of, "encoders": encoders})
        # Each teacher was divided by its own temperature; the mean by none.
        mean = self.attributes.model_copy(update={"encoder": encoder, "temperature": None})
        return Layout(self.first.row_shape, mean.as_json(), self.config.logits)


run = ByPartitions(MeanLogits)
