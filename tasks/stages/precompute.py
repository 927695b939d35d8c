"""Stages "precompute" and "precompute-images": what the teacher says about every view, as raw logits.

A probed teacher costs one small matrix product a view, from cached features; its encoder does not run. A finetuned
teacher has other features than the cached ones, so it is shown the images once.
"""

from collections.abc import Mapping, Sequence

import torch

from configs.stages import PrecomputeConfig, PrecomputeImagesConfig
from storage.image_set import ImageSet
from storage.view_outputs import TeacherOutputs, TeacherOutputsWriter
from storage.weights import ModelDescription
from tasks.data.batches import DecodedImages, ViewSource
from tasks.inference.frozen import ChunkUnits, show_all
from tasks.models.encoder import block_indices
from tasks.models.task_model import autocast, device_of, load_head, load_model, on_device, select_blocks
from tasks.partitions import ByUnits, Effort
from tasks.stage import Job, Summary


class LogitsOfFeatures(ChunkUnits[PrecomputeConfig]):
    """Logits of a probed teacher in the making."""

    @torch.inference_mode()
    def __init__(self, config: PrecomputeConfig, job: Job) -> None:
        self.job = job
        self.features = TeacherOutputs(job.inputs["features"])
        description = ModelDescription.read(job.inputs["probe"])
        self.features.require(encoder=description.encoder)
        num_views, _, width = self.features.shape[1:]
        self.head = load_head(job.inputs["probe"], description, width).eval()
        self.indices = block_indices(self.features.attributes["blocks"], description.blocks)
        self.row_shape = self.head(torch.zeros(1, width * len(self.indices))).shape[1:]
        self.writer = TeacherOutputsWriter(
            job.draft,
            ids=self.features.ids,
            num_views=num_views,
            row_shape=self.row_shape,
            attributes=_attributes(self.features.attributes, description),
        )

    @torch.inference_mode()
    def make(self, numbers: Sequence[int]) -> Effort:
        device = device_of(self.job.runtime)
        head, features = self.head.to(device), self.features
        total = len(self.writer.chunks())
        for done, chunk in enumerate(self.chunks(numbers), start=total - len(self.missing()) + 1):
            features_NRD = torch.from_numpy(features.rows(chunk.start, chunk.stop, chunk.view)).to(device).float()
            logits_NK = head(select_blocks(features_NRD, self.indices)).to(torch.float16).cpu().numpy()
            self.writer.write(
                chunk,
                logits_NK,
                features.view_fields(chunk.start, chunk.stop, chunk.view),
                features.thumbnails(chunk.start, chunk.stop, chunk.view),
            )
            self.job.report("chunks", done, total)
        return Effort(0, 0.0)

    def finish(self, effort: Effort) -> Summary:
        return _summary(self.writer, self.row_shape, effort)


class LogitsOfImages(ChunkUnits[PrecomputeImagesConfig]):
    """Logits of a finetuned teacher in the making."""

    @torch.inference_mode()
    def __init__(self, config: PrecomputeImagesConfig, job: Job) -> None:
        self.config, self.job = config, job
        self.images = ImageSet.open(job.inputs["images"])
        self.model, description = load_model(job.inputs["model"])
        side_px = self.model.preprocessing.side_px
        self.row_shape = self.model(torch.zeros(1, 3, side_px, side_px)).shape[1:]
        shown = {"images": self.images.fingerprint, "views": config.views.identity()}
        self.writer = TeacherOutputsWriter(
            job.draft,
            ids=self.images.ids,
            num_views=config.views.num_views + 1,
            row_shape=self.row_shape,
            attributes=_attributes(shown, description),
        )

    @torch.inference_mode()
    def make(self, numbers: Sequence[int]) -> Effort:
        config, runtime = self.config, self.job.runtime
        device = device_of(runtime)
        model = on_device(self.model, device)
        decoded = DecodedImages(self.images, cache_mb=runtime.image_cache_mb, decode_mb=runtime.decode_memory_mb)
        source = ViewSource(decoded, config.views, model.preprocessing)
        with autocast(device, config.precision):
            return show_all(model, source, self.writer, self.chunks(numbers), device, self.job)

    def finish(self, effort: Effort) -> Summary:
        return _summary(self.writer, self.row_shape, effort)


run = ByUnits(LogitsOfFeatures)
run_on_images = ByUnits(LogitsOfImages)


def _summary(writer: TeacherOutputsWriter, row_shape: Sequence[int], effort: Effort) -> Summary:
    return {
        "images": writer.num_rows,
        "views": writer.num_views,
        "outputs": list(row_shape),
        "encoder_forwards": effort.images,
    }


def _attributes(shown: Mapping[str, object], description: ModelDescription) -> dict[str, object]:
    """The proof that travels with logits: which images and views, whose encoder, which classes."""
    return {
        "images": shown["images"],
        "views": shown["views"],
        "encoder": description.encoder,
        "side_px": description.preprocessing["side_px"],
        "problem": description.problem,
        "classes": description.classes,
    }
