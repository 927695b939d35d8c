"""Generator "image-mixer": which folders it takes, and what it makes of the substitute."""

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from taskdistill.configs.generation import BlendSettings, GeneratorModel
from taskdistill.configs.runtime import RuntimeConfig
from taskdistill.storage.errors import NotFiniteError, SourceChangedError
from taskdistill.tasks.generators.generator import build_generator_as_named
from taskdistill.tasks.generators.image_mixer import ImageMixerPipeline
from taskdistill.tasks.generators.mixer_generator import MixerGenerator, build_generator
from taskdistill.tasks.prechecks.mixer_folder import GeneratorFolderError

SETTINGS = BlendSettings(side_px=16, num_steps=3)


def built(folder: Path, **runtime: object) -> MixerGenerator:
    settings = RuntimeConfig.model_validate({"device": "cpu", **runtime})
    return build_generator(GeneratorModel(folder=str(folder)), settings)


def blend(generator: MixerGenerator, seed: int = 3) -> np.ndarray:
    pair = torch.randn(1, 2, generator.width, generator=torch.Generator().manual_seed(0))
    return generator.blend(pair, [seed], SETTINGS)[0].astype(int)


@pytest.fixture
def variations_folder(mixer_folder: Path, tmp_path: Path) -> Path:
    """The tiny mixer in the layout of sd-image-variations: another class, another scheduler, a safety checker."""
    folder = tmp_path / "variations"
    shutil.copytree(mixer_folder, folder)
    index = json.loads((folder / "model_index.json").read_text())
    index |= {"_class_name": "StableDiffusionImageVariationPipeline", "scheduler": ["diffusers", "PNDMScheduler"]}
    index["safety_checker"] = ["stable_diffusion", "StableDiffusionSafetyChecker"]
    index.pop("num_slots")
    (folder / "model_index.json").write_text(json.dumps(index))
    scheduler = json.loads((folder / "scheduler" / "scheduler_config.json").read_text())
    scheduler = {name: value for name, value in scheduler.items() if name not in ("clip_sample", "set_alpha_to_one")}
    scheduler |= {"_class_name": "PNDMScheduler", "skip_prk_steps": True}
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(scheduler))
    return folder


def test_the_substitute_is_used_without_padding_and_says_that_it_is_one(
    variations_folder: Path, mixer_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        substitute = built(variations_folder)
    assert "in place of ImageMixer" in substitute.substitution
    assert "is a substitute" in caplog.text
    assert substitute.pipeline.config.num_slots == 2
    assert substitute.pipeline.scheduler.config.clip_sample is False  # latents are not pixels
    assert built(mixer_folder).substitution == ""
    # The weights are the same, so it is the missing three slots of zeros that make another picture.
    assert abs(blend(substitute) - blend(built(mixer_folder))).max() > 1


def test_the_number_of_slots_is_kept_in_the_folder(variations_folder: Path, tmp_path: Path) -> None:
    built(variations_folder).pipeline.save_pretrained(tmp_path / "saved")
    assert ImageMixerPipeline.from_pretrained(tmp_path / "saved").config.num_slots == 2


def test_a_folder_of_another_pipeline_is_refused_by_name(mixer_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(mixer_folder, tmp_path / "other")
    index = json.loads((tmp_path / "other" / "model_index.json").read_text())
    (tmp_path / "other" / "model_index.json").write_text(json.dumps(index | {"_class_name": "FluxPipeline"}))
    with pytest.raises(GeneratorFolderError, match="holds a FluxPipeline; a generator 'image-mixer' is one of"):
        built(tmp_path / "other")


def test_pickled_weights_are_not_read(mixer_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(mixer_folder, tmp_path / "pickled")
    weights = tmp_path / "pickled" / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    with pytest.raises(GeneratorFolderError, match=r"Weights must be safetensors; pickled ones \(\.bin\) can run code"):
        built(tmp_path / "pickled")


def test_a_folder_that_changed_since_the_recipe_was_written_is_refused(mixer_folder: Path) -> None:
    with pytest.raises(SourceChangedError, match="is not what it was when its digest was taken"):
        build_generator_as_named(
            GeneratorModel(folder=str(mixer_folder)), {"model.folder": "0" * 64}, RuntimeConfig(device="cpu")
        )


def test_working_in_slices_paints_the_same_picture(mixer_folder: Path) -> None:
    """At 48 px, where tiling, which is another thing, would show."""
    large = SETTINGS.model_copy(update={"side_px": 48})
    pair = torch.randn(2, 2, 32, generator=torch.Generator().manual_seed(0))
    whole, sliced = (
        generator.blend(pair, [1, 2], large).astype(int)
        for generator in (built(mixer_folder), built(mixer_folder, generation_memory="sliced"))
    )
    assert abs(whole - sliced).max() <= 1


def test_a_picture_that_is_no_number_is_an_error_and_not_a_black_one(mixer_folder: Path) -> None:
    broken = built(mixer_folder)
    torch.nn.init.constant_(broken.pipeline.vae.post_quant_conv.bias, float("inf"))
    with pytest.raises(NotFiniteError, match=r"not finite in torch.float32: set generator\.precision"):
        blend(broken)


def test_half_precision_paints_nearly_the_same_picture(mixer_folder: Path) -> None:
    model = GeneratorModel(folder=str(mixer_folder), precision="bf16")
    half = build_generator(model, RuntimeConfig(device="cpu"))
    assert half.pipeline.unet.dtype is torch.bfloat16
    assert half.embed(torch.zeros(1, 3, 32, 32)).dtype is torch.float32
    assert abs(blend(built(mixer_folder)) - blend(half)).mean() < 8
