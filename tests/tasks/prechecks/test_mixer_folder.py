"""A generator's folder as it may lie on a disk: nothing in it runs, and what is not whole is known without loading."""

import json
import os
import shutil
from pathlib import Path

import pytest
from safetensors.numpy import load_file, save_file

from taskdistill.configs.generation import GeneratorModel
from taskdistill.storage.weight_formats import WeightFileError
from taskdistill.tasks.generators.mixer_fit import check_fit
from taskdistill.tasks.models.encoder import ModelError
from taskdistill.tasks.prechecks.mixer_folder import GeneratorFolderError, check_folder

SHIPPED = Path(__file__).parents[3] / "tasks/miniature/weights/mixer"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the mixer that is shipped."""
    return shutil.copytree(SHIPPED, tmp_path / "mixer")


def change(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def check(folder: Path) -> None:
    check_folder(GeneratorModel(folder=str(folder)))


def fit(folder: Path) -> None:
    check_fit(GeneratorModel(folder=str(folder)))


def test_a_whole_folder_passes(folder: Path) -> None:
    fit(folder)


@pytest.mark.parametrize(
    "part", [["my_code", "Unet"], ["os", "system"], ["diffusers", "AutoPipelineForImage2Image"], None, "unet"]
)
def test_a_part_of_an_unknown_class_is_refused_before_anything_is_imported(folder: Path, part: object) -> None:
    change(folder / "model_index.json", unet=part)
    with pytest.raises(GeneratorFolderError, match=r"as its unet: it must be diffusers\.UNet2DConditionModel"):
        check(folder)


def test_a_program_in_the_folder_is_refused_and_not_run(folder: Path, tmp_path: Path) -> None:
    (folder / "unet" / "diffusers.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(GeneratorFolderError, match=r"diffusers\.py is a program"):
        fit(folder)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("key", ["auto_map", "quantization_config", "attn_implementation"])
def test_settings_that_fetch_code_or_formats_are_refused(folder: Path, key: str) -> None:
    change(folder / "image_encoder" / "config.json", **{key: {"AutoModel": "code.Model"}})
    with pytest.raises(GeneratorFolderError, match=rf"asks for code or formats from elsewhere \({key}\)"):
        check(folder)


def test_settings_that_are_a_pointer_or_broken_are_named(folder: Path) -> None:
    (folder / "vae" / "config.json").write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(GeneratorFolderError, match=r"vae/config\.json is not JSON .*git lfs pull"):
        check(folder)
    (folder / "vae" / "config.json").unlink()
    with pytest.raises(GeneratorFolderError, match=r"vae/config\.json is missing"):
        check(folder)


def test_weights_that_broke_off_or_cannot_be_opened_are_named(folder: Path) -> None:
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1])
    with pytest.raises(WeightFileError, match=r"unet/diffusion_pytorch_model\.safetensors is not a whole"):
        check(folder)
    weights.unlink()
    os.mkfifo(weights)
    with pytest.raises(WeightFileError, match="is a named pipe, not a file"):
        check(folder)


def test_a_tensor_that_the_weights_lack_is_not_filled_with_random_numbers(folder: Path) -> None:
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(weights)
    tensors.pop("conv_in.weight")
    save_file(tensors, weights)
    with pytest.raises(ModelError, match=r"in .*unet do not fit its config\.json: 1 of \d+ tensors .*conv_in\.weight"):
        fit(folder)


def test_parts_of_two_models_are_told_apart(folder: Path) -> None:
    tensors = load_file(folder / "image_encoder" / "model.safetensors")
    tensors["visual_projection.weight"] = tensors["visual_projection.weight"][:32]
    save_file(tensors, folder / "image_encoder" / "model.safetensors")
    change(folder / "image_encoder" / "config.json", projection_dim=32)
    with pytest.raises(ModelError, match="gives embeddings of 32 numbers, the U-Net takes 96"):
        fit(folder)


def test_settings_that_describe_no_network_are_named(folder: Path) -> None:
    change(folder / "unet" / "config.json", down_block_types=["NoSuchBlock"])
    with pytest.raises(ModelError, match=r"unet/config\.json describes no network that can be built"):
        fit(folder)


def test_an_extractor_without_its_sizes_is_an_error(folder: Path) -> None:
    change(folder / "feature_extractor" / "preprocessor_config.json", size={"height": 64, "width": 64})
    with pytest.raises(ModelError, match=r"has size .*: it must say shortest_edge"):
        fit(folder)
