"""Stage "precompute-foreign": what a network that was trained elsewhere says of views, as logits of the task's classes.

It answers the task as it is, so that there is nothing to probe: it is shown the images once. Where they have labels,
what it answers is compared with them, as classes in a wrong order or images of a wrong range make no error.

Shape letters: N images, K classes.

Reads `images` (image-set) and, where these have no labels, `labelled`, a set whose classes are the task's; writes
rows.parquet and outputs.zarr, and confusion.txt where there are labels of validation.
"""

import logging
from collections.abc import Sequence

import numpy as np
import torch

from taskdistill.configs.data import CLEAN_VIEW
from taskdistill.configs.foreign import PrecomputeForeignConfig
from taskdistill.storage.files import atomic
from taskdistill.storage.image_set import ImageSet
from taskdistill.storage.summaries import ForeignLogitsSummary
from taskdistill.storage.view_attributes import LogitsAttributes
from taskdistill.storage.view_outputs import ViewOutputs
from taskdistill.storage.view_writer import Layout
from taskdistill.tasks.foreign.confusion import counted, doubts, table
from taskdistill.tasks.foreign.label_map import LabelMap
from taskdistill.tasks.foreign.network import ForeignNetwork, foreign_fingerprint, opened
from taskdistill.tasks.inference.frozen_images import ImagePartitions
from taskdistill.tasks.models.device import device_of
from taskdistill.tasks.partitions import ByPartitions, Throughput
from taskdistill.tasks.problems.labelled import LabelledCache
from taskdistill.tasks.problems.problem import problem_named
from taskdistill.tasks.stage import StageContext

log = logging.getLogger(__name__)

MAX_COMPARED = 256
"""Validation images, spread over all of them, whose answers are compared with their labels."""


class LogitsOfForeign(ImagePartitions[PrecomputeForeignConfig]):
    """Logits of a foreign teacher in the making.

    Raises ModelError where it cannot be built or its classes do not fit the task's, DatasetError where no set has
    labels.
    """

    def __init__(self, config: PrecomputeForeignConfig, context: StageContext) -> None:
        self.problem = problem_named(config.problem)
        labelled = ImageSet.open(context.inputs.get("labelled", context.inputs["images"]))
        self.classes = self.problem.classes(labelled)
        self._opened: tuple[ForeignNetwork, LabelMap] | None = None
        super().__init__(config, context)

    def network(self) -> ForeignNetwork:
        return self._network_and_map()[0]

    def layout(self) -> Layout:
        """Show it one grey image: nothing but a network made elsewhere knows the shape of its outputs."""
        network, found = self._network_and_map()
        for sentence in found.said:
            log.warning("%s", sentence)
        height, width = self.config.model.input_size
        device = device_of(self.context.runtime)
        with torch.inference_mode():
            shape = tuple(network(torch.zeros(1, 3, height, width, device=device)).shape[1:])
        of_width = {"width_px": width} if width != height else {}
        attributes = LogitsAttributes(
            images=self.images.fingerprint,
            views=self.config.views.identity(),
            encoder=foreign_fingerprint(self.config.model, self.context.content_digests),
            side_px=height,
            problem=self.config.problem,
            classes=self.classes,
            **of_width,
        )
        return Layout(shape, attributes.as_json(), self.config.logits)

    def finish(self, throughput: Throughput) -> ForeignLogitsSummary:
        network, found = self._network_and_map()
        num_augmented = self.config.views.num_augmented(len(self.images.rows_of("train")))
        return ForeignLogitsSummary(
            images=self.writer.num_rows,
            views=1 + num_augmented,
            outputs=list(self.writer.row_shape),
            encoder_forwards=throughput.images,
            parameters=sum(parameter.numel() for parameter in network.parameters()) or None,
            said=[*found.said, *self._compared_with_labels()],
        )

    def _network_and_map(self) -> tuple[ForeignNetwork, LabelMap]:
        if self._opened is None:
            with torch.inference_mode():
                self._opened = opened(
                    self.config.model,
                    self.context.content_digests,
                    self.classes,
                    self.problem.output_axes,
                    device_of(self.context.runtime),
                )
        return self._opened

    def _compared_with_labels(self) -> Sequence[str]:
        """Write the table of answers against labels; returns, and warns with it, where these do not go together."""
        rows = self.images.rows_of("val")
        if "labelled" in self.context.inputs or not len(rows):
            return []
        rows = rows[np.unique(np.linspace(0, len(rows) - 1, min(len(rows), MAX_COMPARED)).astype(np.int64))]
        cache = LabelledCache(
            self.problem,
            self.images,
            rows,
            ViewOutputs(self.context.draft),
            size=self.config.model.input_size,
            budget_mb=0,
        )
        counts_KK = np.zeros((len(self.classes), len(self.classes)), np.int64)
        step = self.context.runtime.inference_batch_size
        for start in range(0, len(rows), step):
            items = np.arange(start, min(start + step, len(rows)))
            outputs, targets = cache.take(items, np.full_like(items, CLEAN_VIEW))
            answers = torch.from_numpy(outputs).float(), torch.from_numpy(targets)
            counts_KK += counted(*answers, num_classes=len(self.classes))
        said, written = doubts(counts_KK, self.classes), table(counts_KK, self.classes)
        with atomic(self.context.draft / "confusion.txt") as partial:
            partial.write_text(written, encoding="utf-8")
        if said:
            log.warning("%s\n%s", "; ".join(said), written.rstrip())
        return said


run = ByPartitions(LogitsOfForeign)
