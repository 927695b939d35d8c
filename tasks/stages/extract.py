"""Stage "extract": show every view of every image to a frozen encoder, once, and keep what it says."""

from collections.abc import Sequence

import torch

from configs.stages import ExtractConfig
from storage.image_set import ImageSet
from storage.view_outputs import TeacherOutputsWriter
from tasks.data.batches import DecodedImages, ViewSource
from tasks.inference.frozen import ChunkUnits, show_all
from tasks.inference.speed import BATCH_SIZE, measured_speed
from tasks.models.encoder import build_encoder_as_named, encoder_fingerprint
from tasks.models.task_model import autocast, device_of, on_device
from tasks.partitions import ByUnits, Effort
from tasks.stage import Job, Summary


class Extraction(ChunkUnits[ExtractConfig]):
    """Features in the making."""

    def __init__(self, config: ExtractConfig, job: Job) -> None:
        self.config, self.job = config, job
        self.images = ImageSet.open(job.inputs["images"])
        self.encoder = build_encoder_as_named(config.backbone, job.external).eval()
        self.writer = TeacherOutputsWriter(
            job.draft,
            ids=self.images.ids,
            num_views=config.views.num_views + 1,
            row_shape=(len(self.encoder.blocks), self.encoder.width),
            attributes={
                "images": self.images.fingerprint,
                "encoder": encoder_fingerprint(config.backbone, job.external),
                "views": config.views.identity(),
                "backbone": config.backbone.identity(),
                "preprocessing": self.encoder.preprocessing._asdict(),
                "blocks": list(self.encoder.blocks),
            },
        )

    @torch.inference_mode()
    def make(self, numbers: Sequence[int]) -> Effort:
        config, runtime = self.config, self.job.runtime
        device = device_of(runtime)
        encoder = on_device(self.encoder, device)
        decoded = DecodedImages(self.images, cache_mb=runtime.image_cache_mb, decode_mb=runtime.decode_memory_mb)
        source = ViewSource(decoded, config.views, encoder.preprocessing)
        with autocast(device, config.precision):
            return show_all(encoder.summarise, source, self.writer, self.chunks(numbers), device, self.job)

    def finish(self, effort: Effort) -> Summary:
        summary = {
            "images": len(self.images),
            "views": self.config.views.num_views + 1,
            "encoder_forwards": effort.images,
            "parameters": sum(parameter.numel() for parameter in self.encoder.parameters()),
        }
        # Where others made the units, this process may have no device of the kind that they have.
        return summary if self.job.spread else summary | {"speed": self._speed()}

    def _speed(self) -> Summary:
        device = device_of(self.job.runtime)
        encoder = on_device(self.encoder, device)
        source = ViewSource(DecodedImages(self.images, cache_mb=0), self.config.views, encoder.preprocessing)
        rows = list(range(min(BATCH_SIZE, len(self.images))))
        return measured_speed(encoder.summarise, source, rows, self.job.runtime, device)


run = ByUnits(Extraction)
