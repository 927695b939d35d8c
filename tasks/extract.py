"""Stage "extract": show every view of every image to a frozen encoder, once, and keep what it says."""

import torch

from configs.stages import ExtractConfig
from storage.image_set import ImageSet
from storage.teacher_outputs import TeacherOutputsWriter
from tasks.data.batches import DecodedImages, ViewSource
from tasks.models.encoder import build_encoder_as_named, encoder_fingerprint
from tasks.models.task_model import autocast, device_of, on_device
from tasks.show import show_all
from tasks.stage import Job, Summary


@torch.inference_mode()
def run(config: ExtractConfig, job: Job) -> Summary:
    images = ImageSet.open(job.inputs["images"])
    device = device_of(job.runtime)
    encoder = on_device(build_encoder_as_named(config.backbone, job.external).eval(), device)
    writer = TeacherOutputsWriter(
        job.draft,
        ids=images.ids,
        num_views=config.views.num_views + 1,
        row_shape=(len(encoder.blocks), encoder.width),
        attributes={
            "images": images.fingerprint,
            "encoder": encoder_fingerprint(config.backbone, job.external),
            "views": config.views.identity(),
            "backbone": config.backbone.identity(),
            "preprocessing": encoder.preprocessing._asdict(),
            "blocks": list(encoder.blocks),
        },
    )
    source = ViewSource(DecodedImages(images, cache_mb=job.runtime.image_cache_mb), config.views, encoder.preprocessing)
    with autocast(device, config.precision):
        forwards, speed = show_all(encoder.summarise, source, writer, device, job)
    return {
        "images": len(images),
        "views": config.views.num_views + 1,
        "encoder_forwards": forwards,
        "parameters": sum(parameter.numel() for parameter in encoder.parameters()),
        "images_per_second": round(speed, 1),
    }
