"""Generator "image-mixer": ImageMixer from a diffusers folder of safetensors.

The folder is one that `taskdistill convert-image-mixer` wrote, or lambdalabs/sd-image-variations-diffusers v2.0 as a
substitute. That model was trained with a single image token, so the two embeddings are its whole context, without
padding, and what it makes is recorded as a substitution.

Shape letters: N images or pairs, C channels, H W pixels, D embedding width, S side of a blend.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from diffusers.utils.logging import disable_progress_bar
from safetensors import SafetensorError
from torch import Tensor
from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection
from transformers.utils import logging as transformers_logging

from taskdistill.configs.generation import BlendSettings, GeneratorModel
from taskdistill.configs.runtime import RuntimeConfig
from taskdistill.tasks.functional.views import Pixels
from taskdistill.tasks.generators.generator import GeneratorDescription
from taskdistill.tasks.generators.image_mixer import NUM_SLOTS, ImageMixerPipeline
from taskdistill.tasks.generators.mixer_fit import AUTOENCODERS, check_fit
from taskdistill.tasks.models.encoder import ModelError
from taskdistill.tasks.models.preprocessing import Preprocessing
from taskdistill.tasks.prechecks.mixer_folder import CONFIGS, MIXER, VARIATIONS, read_index, read_settings

log = logging.getLogger(__name__)

_LOCAL: dict[str, Any] = {"use_safetensors": True, "local_files_only": True, "low_cpu_mem_usage": False}
"""How diffusers loads: no pickles, no downloads, and not by way of accelerate, which need not be installed."""
DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


class MixerGenerator:
    """An ImageMixerPipeline behind the protocol of generators."""

    def __init__(self, pipeline: ImageMixerPipeline, substitution: str = "") -> None:
        self.pipeline, self.substitution = pipeline, substitution
        self.width = int(pipeline.image_encoder.config.projection_dim)
        self.preprocessing = _preprocessing(pipeline.feature_extractor)

    def ready_to_embed(self, device: torch.device) -> Self:
        self.pipeline.image_encoder.to(device)  # type: ignore[arg-type]  # its decorator hides its own type
        return self

    def ready_to_blend(self, device: torch.device) -> Self:
        self.pipeline.to(device)
        return self

    def embed(self, images_NCHW: Tensor) -> Tensor:
        return self.pipeline.encode(images_NCHW).float()

    def blend(self, embeddings_N2D: Tensor, seeds: Sequence[int], settings: BlendSettings) -> Pixels:
        blends_NSS3 = self.pipeline(
            embeddings_N2D.to(self.pipeline.unet.dtype),
            # One for each image, on the CPU: its noise is the same in any batch and on any device.
            generators=[torch.Generator().manual_seed(seed) for seed in seeds],
            strengths=settings.strengths,
            height=settings.side_px,
            width=settings.side_px,
            guidance=settings.guidance,
            num_steps=settings.num_steps,
            timesteps=settings.timesteps,
        )
        return blends_NSS3.numpy()


def build_generator(model: GeneratorModel, runtime: RuntimeConfig) -> MixerGenerator:
    """Load the pipeline of a folder, running nothing that lies in it.

    Raises GeneratorFolderError where it is none or not whole, ModelError where its parts do not fit or do not
    load.
    """
    check_fit(model)  # or diffusers would fill what is missing with random numbers, and say so in a log line only
    folder = Path(model.folder).expanduser()
    kind = read_index(folder)["_class_name"]
    disable_progress_bar()  # of loading, which takes seconds
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        pipeline = _load(folder, DTYPES[model.precision])
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise ModelError(
            f"{folder} could not be loaded as an {kind} ({error}): its files fit each other, so look at what they say"
        ) from error
    substitution = _SUBSTITUTIONS[kind]
    if substitution:
        log.warning("%s is a substitute: %s; this is recorded with the images", folder, substitution)
    return MixerGenerator(_prepared(pipeline, runtime), substitution)


def describe(model: GeneratorModel) -> GeneratorDescription:
    """Read a generator's description from its folder's settings; GeneratorFolderError where the folder is none,
    ModelError where its parts do not fit each other.
    """
    check_fit(model)
    folder = Path(model.folder).expanduser()
    clip = CLIPVisionConfig.from_pretrained(folder / "image_encoder", local_files_only=True)
    extractor = CLIPImageProcessor.from_pretrained(folder / "feature_extractor", local_files_only=True)
    kind = read_index(folder)["_class_name"]
    return GeneratorDescription(int(clip.projection_dim), _preprocessing(extractor), _SUBSTITUTIONS[kind])


def _prepared(pipeline: ImageMixerPipeline, runtime: RuntimeConfig) -> ImageMixerPipeline:
    pipeline.set_progress_bar_config(disable=True)
    if runtime.generation_memory == "sliced" and hasattr(pipeline.vae, "enable_slicing"):
        # Not the attention's slicing, which gives up torch's fused attention and takes more memory, nor tiling, which
        # makes another picture.
        pipeline.vae.enable_slicing()
    if runtime.generation_compile != "none":
        # The U-Net alone, which takes nearly all of the time; in place, so that its tensors keep their names.
        pipeline.unet.compile(mode=runtime.generation_compile)
    return pipeline


def _load(folder: Path, dtype: torch.dtype) -> ImageMixerPipeline:
    """Load each part as what it may be, and nothing by the names that stand in the folder's index."""
    index = read_index(folder)
    kind = index["_class_name"]

    def part(network: Any, name: str) -> Any:
        return network.from_pretrained(folder, subfolder=name, dtype=dtype, **_LOCAL)

    return ImageMixerPipeline(
        unet=part(UNet2DConditionModel, "unet"),
        vae=part(AUTOENCODERS[read_settings(folder / "vae" / CONFIGS["vae"])["_class_name"]], "vae"),
        image_encoder=CLIPVisionModelWithProjection.from_pretrained(
            folder / "image_encoder", dtype=dtype, use_safetensors=True, local_files_only=True
        ),
        feature_extractor=CLIPImageProcessor.from_pretrained(folder / "feature_extractor", local_files_only=True),
        scheduler=DDIMScheduler.from_pretrained(
            folder, subfolder="scheduler", local_files_only=True, **_SCHEDULERS[kind]
        ),
        # One was trained with its images alone, the other with slots that may stay empty.
        num_slots=2 if kind == VARIATIONS else index.get("num_slots", NUM_SLOTS),
    )


_SCHEDULERS: dict[str, dict[str, bool]] = {
    MIXER: {},
    # Its settings are those of another scheduler, which lack what DDIM would take otherwise than SD.
    VARIATIONS: {"clip_sample": False, "set_alpha_to_one": False},
}
_SUBSTITUTIONS = {
    MIXER: "",
    VARIATIONS: "sd-image-variations, the two embeddings as its context, in place of ImageMixer",
}


def _preprocessing(extractor: CLIPImageProcessor) -> Preprocessing:
    """Read how the image encoder wants to see an image: short side, central square, mean and deviation of CLIP."""
    side_px, crop_px = int(extractor.size["shortest_edge"]), int(extractor.crop_size["height"])
    return Preprocessing(
        side_px=crop_px,
        mean=tuple(extractor.image_mean),
        std=tuple(extractor.image_std),
        interpolation="bicubic",
        crop_share=crop_px / side_px,
        crop_mode="center",
    )
