"""Source "transformers": a folder that save_pretrained wrote, of a model for semantic segmentation, for image
classification, or of MaskFormer's kind, whose masks and classes are joined to a semantic map.

Nothing is downloaded, no code in the folder runs, and only safetensors are read.

Shape letters: N images, C channels, H W pixels, F classes, Q queries, h w cells of a map.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForImageClassification,
    AutoModelForSemanticSegmentation,
    AutoModelForUniversalSegmentation,
)

from taskdistill.configs.foreign import ForeignTeacher
from taskdistill.tasks.foreign.network import ForeignModel
from taskdistill.tasks.models.encoder import ModelError
from taskdistill.tasks.prechecks.foreign_models import CONFIG, check_folder
from taskdistill.tasks.prechecks.mixer_folder import read_settings

_KINDS = {
    "ForSemanticSegmentation": AutoModelForSemanticSegmentation,
    "ForImageClassification": AutoModelForImageClassification,
    "ForUniversalSegmentation": AutoModelForUniversalSegmentation,
    "MaskFormerForInstanceSegmentation": AutoModelForUniversalSegmentation,
}
"""How the name of an architecture ends -> what loads it."""
_RESAMPLING = {1: "lanczos", 2: "bilinear", 3: "bicubic"}
_ERRORS = (ValueError, RuntimeError, KeyError, TypeError, AttributeError, OSError, ImportError)
LEAST = 1e-6
"""Smallest score of a semantic map: its logarithm is a logit, and must be finite."""


class Logits(nn.Module):
    """The logits of a model that has them for each image, or for each cell of a map."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images_NCHW: Tensor) -> Tensor:
        logits: Tensor = self.model(pixel_values=images_NCHW).logits
        return logits


class SemanticMap(nn.Module):
    """The semantic map of a model that says, for each of Q queries, its class and where it is.

    The score of a class in a cell is the sum over queries of the probability of the class times that of the cell (arXiv
    2107.06278, section 3.3); its logarithm is taken for the logit.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images_NCHW: Tensor) -> Tensor:
        said = self.model(pixel_values=images_NCHW)
        classes_NQF = said.class_queries_logits.float().softmax(dim=-1)[..., :-1]  # the last one is "nothing"
        masks_NQhw = said.masks_queries_logits.float().sigmoid()
        return torch.einsum("nqf,nqhw->nfhw", classes_NQF, masks_NQhw).clamp(min=LEAST).log()


def build_foreign(teacher: ForeignTeacher) -> ForeignModel:
    """Load the model of a folder; ModelError where it is of another kind or its weights do not fit it."""
    check_folder(teacher)
    folder = Path(teacher.folder).expanduser()
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except _ERRORS as error:
        raise ModelError(f"{folder / CONFIG} is not understood ({type(error).__name__}: {error})") from error
    name = (config.architectures or ["nothing"])[0]
    kind = next((kind for end, kind in _KINDS.items() if name.endswith(end)), None)
    if kind is None:
        raise ModelError(
            f"{folder} holds a {name}: a foreign teacher is a model for semantic segmentation, image classification or "
            f"universal segmentation, as {', '.join(_KINDS)} are"
        )
    model = _loaded(kind, folder, config)
    network = SemanticMap(model) if kind is AutoModelForUniversalSegmentation else Logits(model)
    names = tuple(str(config.id2label[number]) for number in sorted(config.id2label))
    # Where nobody named them, transformers calls them LABEL_0 and on, which is no name.
    return ForeignModel(network, () if all(n.startswith("LABEL_") for n in names) else names, **_seen(folder))


def _loaded(kind: Any, folder: Path, config: Any) -> nn.Module:
    if getattr(config, "use_pretrained_backbone", False):  # would be downloaded, and then overwritten from the folder
        config.use_pretrained_backbone = False
    options: dict[str, Any] = {"use_safetensors": True, "local_files_only": True, "trust_remote_code": False}
    options["dtype"] = torch.float32
    try:
        model, report = kind.from_pretrained(
            folder,
            config=config,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            **options,
        )
    except _ERRORS as error:
        reason = str(error).strip().partition("\n")[0]
        raise ModelError(f"the model in {folder} cannot be loaded ({type(error).__name__}: {reason})") from error
    wrong = [str(one) for key in ("missing_keys", "mismatched_keys", "error_msgs") for one in report.get(key) or ()]
    if wrong:
        raise ModelError(
            f"the weights in {folder} are not those of its {type(model).__name__}: {len(wrong)} tensors are missing or "
            f"of another shape, such as {', '.join(sorted(wrong)[:3])}, and would stay random"
        )
    loaded: nn.Module = model.eval()
    return loaded


def _seen(folder: Path) -> dict[str, Any]:
    """Return what the folder says of how images are shown: mean, std and interpolation, as far as it does."""
    for name in ("preprocessor_config.json", "processor_config.json"):
        if (folder / name).is_file():
            found = read_settings(folder / name)
            found = found.get("image_processor", found)
            break
    else:
        return {}
    resampling = _RESAMPLING.get(found.get("resample", 2), "bilinear")
    if not found.get("do_normalize", True):
        return {"mean": (0.0,) * 3, "std": (1.0,) * 3, "interpolation": resampling}
    mean, std = (tuple(found.get(name) or ()) for name in ("image_mean", "image_std"))
    return {"mean": mean, "std": std, "interpolation": resampling}
