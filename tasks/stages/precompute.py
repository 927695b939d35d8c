"""Stages "precompute", "precompute-images" and "precompute-probed": what the teacher says about views, as raw logits.

A probed teacher costs one small matrix product a view, from cached features; its encoder does not run, and there are
logits of the very views of which there are features. A finetuned teacher has other features than the cached ones, so it
is shown the images once; so is a probed one whose features are not cached.

Training images may get the logits of heads that did not see them, and all logits may be divided by a temperature.

Shape letters: N views of a chunk, R blocks, D width, K classes.

Reads `features` and `probe`, of other inputs `images` (splits, labels) or `calibrated` (a temperature) where the
settings need them; or `images` (image-set) and `model` or `probe`. Writes rows.parquet and outputs.zarr.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from taskdistill.configs.stages import PrecomputeConfig, PrecomputeImagesConfig, PrecomputeProbedConfig
from taskdistill.storage.errors import CacheMismatchError
from taskdistill.storage.image_set import ImageSet
from taskdistill.storage.summaries import LogitsSummary
from taskdistill.storage.view_attributes import FeaturesAttributes, LogitsAttributes
from taskdistill.storage.view_outputs import ViewOutputs
from taskdistill.storage.view_writer import Layout, ViewOutputsWriter
from taskdistill.storage.weights import ModelDescription
from taskdistill.tasks.inference.frozen import ChunkPartitions
from taskdistill.tasks.inference.frozen_images import ImagePartitions
from taskdistill.tasks.models.device import device_of
from taskdistill.tasks.models.encoder import Block, blocks_named
from taskdistill.tasks.models.task_model import TaskModel, empty_head, load_head, load_model
from taskdistill.tasks.models.weightless import model_output_shape, without_weights
from taskdistill.tasks.partitions import ByPartitions, Throughput
from taskdistill.tasks.problems.problem import problem_named
from taskdistill.tasks.stage import StageContext
from taskdistill.tasks.training.calibration import fitted_temperature, remarks, temperature_taken_over
from taskdistill.tasks.training.fold_heads import read_fold_heads, read_folds
from taskdistill.tasks.training.probed import probed_model

log = logging.getLogger(__name__)

Config = TypeVar("Config", bound=PrecomputeImagesConfig | PrecomputeProbedConfig)


class LogitsOfFeatures(ChunkPartitions[PrecomputeConfig]):
    """Logits of a probed teacher in the making."""

    def __init__(self, config: PrecomputeConfig, context: StageContext) -> None:
        self.context, self.config = context, config
        self.features = ViewOutputs(context.inputs["features"])
        self.extracted = FeaturesAttributes.of(self.features)
        self.description = ModelDescription.read(context.inputs["probe"])
        self.features.require(encoder=self.description.encoder)
        _check_inputs(config, context)
        self._fold_of = self._folds_of_training_images() if config.train_logits == "out-of-fold" else {}
        self.writer = ViewOutputsWriter(
            context.draft, ids=self.features.ids, parts=self.features.parts, layout=self._layout
        )
        self._check_views()
        # As the draft says, whoever fitted it: workers on other devices must divide by the very same number.
        self.temperature: float | None = self.writer.attributes.get("temperature")

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
        features, heads = self.features, self._heads()
        done = self.writer.num_written
        self.context.on_progress("views", done, self.writer.num_shown)
        for chunk in self.chunks(numbers):
            # Rows that follow each other here do so in the features, as both keep the order of the images.
            images = self.writer.rows_of(chunk)
            rows = features.rows_at(images, chunk.view)
            span = (int(rows[0]), int(rows[-1]) + 1, chunk.view)
            head_N = np.asarray([self._fold_of.get(features.ids[image], -1) for image in images])
            outputs = _outputs(heads, head_N, self._blocks(torch.from_numpy(features.rows(*span))))
            if self.temperature is not None:
                outputs = outputs / self.temperature
            logits = outputs.to(torch.float16).cpu().numpy()
            self.writer.write(chunk, logits, features.view_fields(*span), features.thumbnails(*span))
            done += chunk.stop - chunk.start
            self.context.on_progress("views", done, self.writer.num_shown)
        return Throughput(0, 0.0)

    def finish(self, throughput: Throughput) -> LogitsSummary:
        summary = _summary(self.writer, self.features.num_views, throughput)
        if self.temperature is None:
            return summary
        said = remarks(self.temperature)
        for sentence in said:
            log.warning("%s", sentence)
        return summary.model_copy(update={"temperature": self.temperature, "said": said})

    def _heads(self) -> dict[int, nn.Module]:
        """Return the heads by the fold that they left out; -1 is the one that was trained on all training images."""
        folder, device = self.context.inputs["probe"], device_of(self.context.runtime)
        heads = {-1: load_head(folder, self.description, self.cached).eval().to(device)}
        if self._fold_of:
            found = read_fold_heads(folder, self.description, self.cached).heads
            heads |= {fold: head.to(device) for fold, head in enumerate(found)}
        return heads

    def _blocks(self, features_NRD: Tensor) -> list[Tensor]:
        """Return what a head sees of some features, in the order in which it sees it."""
        on_device = features_NRD.to(device_of(self.context.runtime)).float()
        return [on_device[:, self.extracted.blocks.index(name)] for name in self.description.blocks]

    def _folds_of_training_images(self) -> dict[str, int]:
        """Return the fold of each training image by its id; CacheMismatchError where the probe is of other images."""
        images = ImageSet.open(self.context.inputs["images"])
        self.features.require(images=images.fingerprint)
        fold_of, ids = read_folds(self.context.inputs["probe"]), [images.ids[row] for row in images.rows_of("train")]
        if strangers := [image_id for image_id in ids if image_id not in fold_of]:
            raise CacheMismatchError(
                f"{len(strangers)} training images are in no fold of the probe, the first is {strangers[0]!r}: it was "
                "trained on other images. Run the probe on these first"
            )
        return {image_id: fold_of[image_id] for image_id in ids}

    def _layout(self) -> Layout:
        def shape() -> tuple[int, ...]:
            seen = [torch.zeros(1, block.width) for block in blocks_named(self.cached, self.description.blocks)]
            return tuple(empty_head(self.description, self.cached)(*seen).shape[1:])

        attributes = _attributes(self.extracted.images, self.extracted.views, self.description)
        if self.config.calibration == "temperature":
            attributes["temperature"] = self._fitted_temperature()
        return Layout(without_weights(shape), attributes, self.config.logits)

    def _fitted_temperature(self) -> float:
        inputs, description = self.context.inputs, self.description
        if "calibrated" in inputs:
            return temperature_taken_over(
                inputs["calibrated"], encoder=description.encoder, classes=description.classes
            )
        head, problem = self._heads()[-1], problem_named(description.problem)
        images = ImageSet.open(inputs["images"])
        return fitted_temperature(
            problem, images, self.features, lambda features: head(*self._blocks(features)), self.context.runtime
        )


def _outputs(heads: Mapping[int, nn.Module], head_N: npt.NDArray[np.int64], blocks: Sequence[Tensor]) -> Tensor:
    """Return the outputs for N samples, of each by the head that is named for it."""
    outputs: Tensor = heads[-1](*blocks)
    for number in np.unique(head_N[head_N >= 0]).tolist():
        is_its = torch.from_numpy(head_N == number).to(outputs.device)
        outputs[is_its] = heads[number](*(block[is_its] for block in blocks))
    return outputs


def _check_inputs(config: PrecomputeConfig, context: StageContext) -> None:
    """Raise CacheMismatchError where an optional input is missing that these settings need."""
    needed = {
        "train_logits 'out-of-fold'": {"images"} if config.train_logits == "out-of-fold" else set(),
        "calibration 'temperature'": {"images", "calibrated"} if config.calibration == "temperature" else set(),
    }
    for setting, roles in needed.items():
        if roles and not roles & context.inputs.keys():
            raise CacheMismatchError(
                f"{setting} needs the input {' or '.join(sorted(roles, reverse=True))}: the image-set that the probe "
                "was trained on, for its splits and labels"
                + (", or logits that were calibrated on it" if "calibrated" in roles else "")
            )


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
        return Layout(model_output_shape(folder, description), attributes, self.config.logits)


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
    height, width = description.size
    return LogitsAttributes(
        images=images,
        views=dict(views),
        encoder=description.encoder,
        side_px=height,
        width_px=None if width == height else width,
        problem=description.problem,
        classes=description.classes,
    ).as_json()
