"""Stages "precompute" and "precompute-images": what the teacher says about every view, as raw logits.

A probed teacher costs one small matrix product a view, from cached features; its encoder does not run. A finetuned
teacher has other features than the cached ones, so it is shown the images once.
"""

import torch

from configs.stages import PrecomputeConfig, PrecomputeImagesConfig
from storage.image_set import ImageSet
from storage.teacher_outputs import TeacherOutputs, TeacherOutputsWriter
from storage.weights import ModelDescription
from tasks.data.batches import DecodedImages, ViewSource
from tasks.models.encoder import block_indices
from tasks.models.task_model import autocast, device_of, load_head, load_model, on_device, select_blocks
from tasks.show import show_all
from tasks.stage import Job, Summary


@torch.inference_mode()
def run(config: PrecomputeConfig, job: Job) -> Summary:
    features = TeacherOutputs(job.inputs["features"])
    description = ModelDescription.read(job.inputs["probe"])
    features.require(encoder=description.encoder)
    device = device_of(job.runtime)
    num_rows, num_views, _, width = features.shape
    head = load_head(job.inputs["probe"], description, width).to(device).eval()
    indices = block_indices(features.attributes["blocks"], description.blocks)
    row_shape = head(torch.zeros(1, width * len(indices), device=device)).shape[1:]
    writer = TeacherOutputsWriter(
        job.draft,
        ids=features.ids,
        num_views=num_views,
        row_shape=row_shape,
        attributes=_attributes(features.attributes, description),
    )
    missing = writer.missing()
    total = len(writer.chunks())
    for done, chunk in enumerate(missing, start=total - len(missing) + 1):
        features_NRD = torch.from_numpy(features.rows(chunk.start, chunk.stop, chunk.view)).to(device).float()
        logits_NK = head(select_blocks(features_NRD, indices)).to(torch.float16).cpu().numpy()
        writer.write(
            chunk,
            logits_NK,
            features.view_fields(chunk.start, chunk.stop, chunk.view),
            features.thumbnails(chunk.start, chunk.stop, chunk.view),
        )
        job.report("chunks", done, total)
    return {"images": num_rows, "views": num_views, "outputs": list(row_shape), "encoder_forwards": 0}


@torch.inference_mode()
def run_on_images(config: PrecomputeImagesConfig, job: Job) -> Summary:
    images = ImageSet.open(job.inputs["images"])
    model, description = load_model(job.inputs["model"])
    device = device_of(job.runtime)
    on_device(model, device)
    side_px = model.preprocessing.side_px
    row_shape = model(torch.zeros(1, 3, side_px, side_px, device=device)).shape[1:]
    writer = TeacherOutputsWriter(
        job.draft,
        ids=images.ids,
        num_views=config.views.num_views + 1,
        row_shape=row_shape,
        attributes=_attributes({"images": images.fingerprint, "views": config.views.identity()}, description),
    )
    source = ViewSource(DecodedImages(images, cache_mb=job.runtime.image_cache_mb), config.views, model.preprocessing)
    with autocast(device, config.precision):
        forwards, _ = show_all(model, source, writer, device, job)
    return {
        "images": len(images),
        "views": config.views.num_views + 1,
        "outputs": list(row_shape),
        "encoder_forwards": forwards,
    }


def _attributes(shown: dict[str, object], description: ModelDescription) -> dict[str, object]:
    """The proof that travels with logits: which images and views, whose encoder, which classes."""
    return {
        "images": shown["images"],
        "views": shown["views"],
        "encoder": description.encoder,
        "side_px": description.preprocessing["side_px"],
        "problem": description.problem,
        "classes": description.classes,
    }
