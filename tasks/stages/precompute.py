"""Stages "precompute", "precompute-images" and "precompute-probed": what the teacher says about views, as raw logits.

A probed teacher costs one small matrix product a view, from cached features; its encoder does not run, and there are
logits of the very views of which there are features. A finetuned teacher has other features than the cached ones, so it
is shown the images once; so is a probed one whose features are not cached.

Shape letters: N views of a chunk, R blocks, D width, K classes.

Reads `features` and `probe`, or `images` (image-set) and `model` or `probe`; writes rows.parquet and outputs.zarr.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import torch

from configs.stages import PrecomputeConfig, PrecomputeImagesConfig, PrecomputeProbedConfig
from storage.errors import CacheMismatchError
from storage.summaries import LogitsSummary
from storage.view_attributes import FeaturesAttributes, LogitsAttributes
from storage.view_outputs import ViewOutputs
from storage.view_writer import Layout, ViewOutputsWriter
from storage.weights import ModelDescription
from tasks.inference.frozen import ChunkPartitions
from tasks.inference.frozen_images import ImagePartitions
from tasks.models.device import device_of
from tasks.models.encoder import Block, blocks_named
from tasks.models.task_model import TaskModel, empty_head, load_head, load_model
from tasks.models.weightless import model_output_shape, without_weights
from tasks.partitions import ByPartitions, Throughput
from tasks.stage import StageContext
from tasks.training.probed import probed_model

Config = TypeVar("Config", bound=PrecomputeImagesConfig | PrecomputeProbedConfig)


class LogitsOfFeatures(ChunkPartitions[PrecomputeConfig]):
    """Logits of a probed teacher in the making."""

    def __init__(self, config: PrecomputeConfig, context: StageContext) -> None:
        self.context = context
        self.features = ViewOutputs(context.inputs["features"])
        self.extracted = FeaturesAttributes.of(self.features)
        self.description = ModelDescription.read(context.inputs["probe"])
        self.features.require(encoder=self.description.encoder)
        self.writer = ViewOutputsWriter(
            context.draft, ids=self.features.ids, parts=self.features.parts, layout=self._layout
        )
        self._check_views()

    def _check_views(self) -> None:
        """Raise CacheMismatchError where the draft was begun from features of other views.

        An earlier version showed all views; its unfinished logits need more than features that were made since hold.
        """
        held, begun = ([part.views for part in parts] for parts in (self.features.parts, self.writer.parts.values()))
        if held != begun:
            raise CacheMismatchError(
                f"these logits were begun from features of other views ({begun}) than there are now ({held}): discard "
                f"what was begun ('taskdistill discard logits@{self.context.draft.name[:12]}') and run the same again"
            )

    @property
    def cached(self) -> list[Block]:
        """What the features hold."""
        return [Block(name, self.features.row_shape[-1]) for name in self.extracted.blocks]

    @torch.inference_mode()
    def make(self, numbers: Sequence[int]) -> Throughput:
        device, features = device_of(self.context.runtime), self.features
        head = load_head(self.context.inputs["probe"], self.description, self.cached).eval().to(device)
        indices = [self.extracted.blocks.index(name) for name in self.description.blocks]
        total = len(self.writer.chunks())
        for done, chunk in enumerate(self.chunks(numbers), start=total - len(self.missing()) + 1):
            # Rows that follow each other here do so in the features, as both keep the order of the images.
            rows = features.rows_at(self.writer.rows_of(chunk), chunk.view)
            span = (int(rows[0]), int(rows[-1]) + 1, chunk.view)
            features_NRD = torch.from_numpy(features.rows(*span)).to(device).float()
            logits_NK = head(*(features_NRD[:, index] for index in indices)).to(torch.float16).cpu().numpy()
            self.writer.write(chunk, logits_NK, features.view_fields(*span), features.thumbnails(*span))
            self.context.on_progress("chunks", done, total)
        return Throughput(0, 0.0)

    def finish(self, throughput: Throughput) -> LogitsSummary:
        return _summary(self.writer, self.features.num_views, throughput)

    def _layout(self) -> Layout:
        def shape() -> tuple[int, ...]:
            seen = [torch.zeros(1, block.width) for block in blocks_named(self.cached, self.description.blocks)]
            return tuple(empty_head(self.description, self.cached)(*seen).shape[1:])

        attributes = _attributes(self.extracted.images, self.extracted.views, self.description)
        return Layout(without_weights(shape), attributes)


class LogitsOfImages(ImagePartitions[Config]):
    """Logits of a teacher that is shown the images, in the making; `role` is the input that holds its weights."""

    role: str

    def finish(self, throughput: Throughput) -> LogitsSummary:
        num_augmented = self.config.views.num_augmented(len(self.images.rows_of("train")))
        return _summary(self.writer, 1 + num_augmented, throughput)

    def layout(self) -> Layout:
        folder = self.context.inputs[self.role]
        description = ModelDescription.read(folder)
        attributes = _attributes(self.images.fingerprint, self.config.views.identity(), description)
        return Layout(model_output_shape(folder, description), attributes)


class LogitsOfModel(LogitsOfImages[PrecomputeImagesConfig]):
    """Logits of a finetuned teacher."""

    role = "model"

    def network(self) -> TaskModel:
        return load_model(self.context.inputs["model"])[0]


class LogitsOfProbe(LogitsOfImages[PrecomputeProbedConfig]):
    """Logits of a probed teacher whose features are not cached."""

    role = "probe"

    def network(self) -> TaskModel:
        return probed_model(self.config.backbone, self.context)


run = ByPartitions(LogitsOfFeatures)
run_on_images = ByPartitions(LogitsOfModel)
run_probed_on_images = ByPartitions(LogitsOfProbe)


def _summary(writer: ViewOutputsWriter, num_views: int, throughput: Throughput) -> LogitsSummary:
    return LogitsSummary(
        images=writer.num_rows,
        views=num_views,
        outputs=list(writer.row_shape),
        encoder_forwards=throughput.images,
    )


def _attributes(images: str, views: Mapping[str, Any], description: ModelDescription) -> dict[str, Any]:
    """The proof that travels with logits: which images and views, whose encoder, which classes."""
    return LogitsAttributes(
        images=images,
        views=dict(views),
        encoder=description.encoder,
        side_px=description.side_px,
        problem=description.problem,
        classes=description.classes,
    ).as_json()
