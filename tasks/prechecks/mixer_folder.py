"""A diffusers folder given as ImageMixer, looked at without torch: its parts, their files, and nothing that runs.

diffusers imports what a folder's index names, and Python files that lie in it; only the few classes that the pipeline
is made of are let through, and loaded each by itself. Weights must be safetensors: other files lie there unread.
"""

import json
from pathlib import Path
from typing import Any

from taskdistill.configs.generation import GeneratorModel
from taskdistill.storage.errors import StoreError
from taskdistill.storage.sources import LFS_POINTER, visible_files
from taskdistill.storage.weight_formats import check_weights

INDEX = "model_index.json"
MIXER, VARIATIONS = "ImageMixerPipeline", "StableDiffusionImageVariationPipeline"

_AUTOENCODERS = {
    ("diffusers", "AutoencoderKL"),
    ("diffusers", "AutoencoderTiny"),
    ("taskdistill.tasks.models.patch_autoencoder", "PatchAutoencoder"),
    ("tasks.models.patch_autoencoder", "PatchAutoencoder"),  # its name in folders of older versions, as in the shipped
}
_PARTS: dict[str, set[tuple[str, str]]] = {
    "unet": {("diffusers", "UNet2DConditionModel")},
    "vae": _AUTOENCODERS,
    "image_encoder": {("transformers", "CLIPVisionModelWithProjection")},
    "feature_extractor": {
        ("transformers", name)
        for name in ("CLIPImageProcessor", "CLIPImageProcessorFast", "CLIPImageProcessorPil", "CLIPFeatureExtractor")
    },
    "scheduler": {("diffusers", "DDIMScheduler")},
}
"""Part of the pipeline -> the library and class it may be."""
CONFIGS = {
    "unet": "config.json",
    "vae": "config.json",
    "image_encoder": "config.json",
    "feature_extractor": "preprocessor_config.json",
    "scheduler": "scheduler_config.json",
}
_WEIGHTS = {
    "unet": "diffusion_pytorch_model",
    "vae": "diffusion_pytorch_model",
    "image_encoder": "model",
}
FROM_ELSEWHERE = ("auto_map", "custom_pipelines", "quantization_config", "attn_implementation", "_attn_implementation")
"""Keys of a configuration by which transformers and diffusers import or download more."""


class GeneratorFolderError(StoreError):
    """A folder that is no generator, or not a whole one."""


def check_folder(model: GeneratorModel) -> None:
    """Raise GeneratorFolderError or WeightFileError where a folder is no whole pipeline of known parts."""
    folder = Path(model.folder).expanduser()
    index = read_index(folder)
    if code := [path for path in visible_files(folder) if path.suffix == ".py"]:
        raise GeneratorFolderError(
            f"{code[0]} is a program, and a generator's folder is read, never run: take it out, or name another folder"
        )
    for part, allowed in _PARTS.items():
        found = index.get(part)
        known = isinstance(found, list) and tuple(found) in allowed
        if found is None or (index["_class_name"] == MIXER and not known):
            wanted = " or ".join(".".join(name) for name in sorted(allowed))
            raise GeneratorFolderError(f"{folder / INDEX} has {found} as its {part}: it must be {wanted}")
        settings = read_settings(folder / part / CONFIGS[part])
        if foreign := [key for key in FROM_ELSEWHERE if settings.get(key)]:
            raise GeneratorFolderError(
                f"{folder / part / CONFIGS[part]} asks for code or formats from elsewhere ({foreign[0]}), which are "
                "not used: remove the entry where the part is an ordinary one"
            )
    for part in _WEIGHTS:
        for path in weight_files(folder, part):
            check_weights(path)


def read_index(folder: Path) -> dict[str, Any]:
    """Return a folder's index, which names a pipeline that can be an ImageMixer; GeneratorFolderError where it
    does not.
    """
    if not (folder / INDEX).is_file():
        raise GeneratorFolderError(
            f"{folder} is no diffusers folder (it has no {INDEX}): name one with generator.folder, or make it from the "
            "original checkpoint with 'taskdistill convert-image-mixer CHECKPOINT FOLDER'"
        )
    index = read_settings(folder / INDEX)
    kind = index.get("_class_name")
    if kind not in (MIXER, VARIATIONS):
        raise GeneratorFolderError(
            f"{folder} holds a {kind}; a generator 'image-mixer' is one of {MIXER}, {VARIATIONS}"
        )
    return index


def read_settings(path: Path) -> dict[str, Any]:
    """Return a JSON file that must hold settings; GeneratorFolderError where it is not there or something else."""
    if not path.is_file():
        raise GeneratorFolderError(f"{path} is missing: copy or download the whole folder again")
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        pointer = path.read_bytes().startswith(LFS_POINTER)
        remedy = "run 'git lfs pull' in the repository it lies in" if pointer else "copy or download it again"
        raise GeneratorFolderError(f"{path} is not JSON ({error}): {remedy}") from None
    if not isinstance(settings, dict):
        raise GeneratorFolderError(f"{path} holds no settings, but a {type(settings).__name__}: download it again")
    return settings


def weight_files(folder: Path, part: str) -> list[Path]:
    """Return the safetensors of a part: one file, or those its index lists; GeneratorFolderError where there are
    none.
    """
    whole = folder / part / f"{_WEIGHTS[part]}.safetensors"
    index = folder / part / f"{_WEIGHTS[part]}.safetensors.index.json"
    if whole.exists() or not index.is_file():
        if not whole.exists():
            pickled = whole.with_suffix(".bin").exists() or (whole.parent / "pytorch_model.bin").exists()
            raise GeneratorFolderError(
                f"{whole} is missing{' (there is a .bin)' if pickled else ''}. Weights must be safetensors; pickled "
                "ones (.bin) can run code and are not read"
            )
        return [whole]
    names = read_settings(index).get("weight_map", {})
    if not isinstance(names, dict) or not all(isinstance(name, str) and "/" not in name for name in names.values()):
        raise GeneratorFolderError(f"{index} does not say which tensor is in which file: download it again")
    return [folder / part / name for name in sorted(set(names.values()))]
