"""Teacher, student and the mixer's image encoder learn from labelled pictures of random birds, without end.

Shape letters: N pictures, C H W pixels, D width, L patches, S cells in a patch, A attributes, V values of all of them.
"""

from abc import abstractmethod
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from taskdistill.storage.weights import write_tensors
from taskdistill.tasks.miniature import targets
from taskdistill.tasks.miniature.attributes import ATTRIBUTES, NUM_VALUES, random_attributes
from taskdistill.tasks.miniature.networks import (
    BACKBONES,
    EMBEDDING_WIDTH,
    PATCH_PX,
    new_image_encoder,
    new_image_processor,
)
from taskdistill.tasks.miniature.pretraining import Losses
from taskdistill.tasks.miniature.world import PARTS, SIDE_PX, Pictures, draw
from taskdistill.tasks.models.encoder import build_encoder, summary_blocks
from taskdistill.tasks.models.task_model import as_arrays

NUM_SCORED = 2000
_SCORED_SEED = 10_000_019

PATCHES = (SIDE_PX // PATCH_PX) ** 2
NUM_PLACES = 3 * (len(PARTS) - PARTS.index("body"))
NUM_COARSE = 3 * targets.COARSE_CELLS**2


class NetworkOutputs(NamedTuple):
    """What a network gives for a batch of pictures: what its heads are computed from."""

    summaries: dict[str, Tensor]
    """Name -> [N, D]."""
    patches_NLD: Tensor


def fresh_birds(num: int, generator: torch.Generator) -> Pictures:
    """Draw pictures of random birds."""
    with torch.no_grad():
        return draw(random_attributes(num, generator), generator)


def normalised(pictures: Pictures) -> Tensor:
    """Return the pictures in -1..1, [N, C, H, W]: mean and standard deviation 0.5 of every network here."""
    return pictures.images_NHWC.permute(0, 3, 1, 2).float().div_(127.5).sub_(1)


class SupervisedPart:
    """A network with one linear head for each thing it is asked."""

    def __init__(self, network: Any, widths: dict[str, int], patch_width: int, seed: int) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            heads: dict[str, nn.Module] = {
                f"attributes from {name}": nn.Linear(width, sum(NUM_VALUES)) for name, width in widths.items()
            }
            heads["parts"] = nn.Linear(patch_width, targets.CELLS * len(PARTS))
            heads["colours"] = nn.Linear(patch_width, targets.CELLS * (targets.NO_COLOUR + 1))
            heads["details"] = nn.Linear(patch_width, sum(NUM_VALUES))
            heads |= self.more_heads()
        self.network = network
        self.heads = nn.ModuleDict(heads)
        self.trained = nn.ModuleDict({"network": network, "heads": self.heads})

    def more_heads(self) -> dict[str, nn.Module]:
        return {}

    @abstractmethod
    def outputs_of(self, images_NCHW: Tensor) -> NetworkOutputs: ...

    @abstractmethod
    def save(self, folder: Path) -> None: ...

    def losses(self, batch_size: int, generator: torch.Generator) -> Losses:
        pictures = fresh_birds(batch_size, generator)
        images_NCHW = normalised(pictures)
        outputs = self.outputs_of(images_NCHW)
        losses = {
            f"attributes from {name}": targets.attribute_loss(
                self.heads[f"attributes from {name}"](summary_ND), pictures.attributes_NA
            )
            for name, summary_ND in outputs.summaries.items()
        }
        named = {name: self.heads[name](outputs.patches_NLD) for name in ("parts", "colours", "details")}
        parts_NLS = targets.part_cells(pictures.masks_NHW)
        losses["parts"] = targets.cell_loss(named["parts"], parts_NLS)
        losses["colours"] = targets.cell_loss(named["colours"], targets.colour_cells(pictures))
        losses["details"] = targets.detail_loss(named["details"], parts_NLS, pictures.attributes_NA)
        return losses | self.more_losses(outputs, images_NCHW, pictures)

    def more_losses(self, outputs: NetworkOutputs, images_NCHW: Tensor, pictures: Pictures) -> Losses:
        return {}

    @torch.inference_mode()
    def score(self) -> dict[str, float]:
        """Return the share of attributes named rightly from each summary, and of cells given their part."""
        pictures = fresh_birds(NUM_SCORED, torch.Generator().manual_seed(_SCORED_SEED))
        images = torch.split(normalised(pictures), 100)
        batches = [self.outputs_of(images_NCHW) for images_NCHW in images]
        scores = {}
        for name in batches[0].summaries:
            logits_NV = torch.cat(
                [self.heads[f"attributes from {name}"](outputs.summaries[name]) for outputs in batches]
            )
            hits_NA = targets.attribute_hits(logits_NV, pictures.attributes_NA).float()
            scores[f"attributes from {name}"] = float(hits_NA.mean())
            scores |= {
                f"{attribute.name} from {name}": float(share)
                for attribute, share in zip(ATTRIBUTES, hits_NA.mean(dim=0), strict=True)
            }
        cells_NLS = targets.part_cells(pictures.masks_NHW)
        named = torch.cat([self.heads["parts"](outputs.patches_NLD) for outputs in batches])
        right = named.view(*cells_NLS.shape, -1).argmax(dim=-1) == cells_NLS
        is_bird = cells_NLS >= PARTS.index("body")
        scores["parts of the bird"] = float(right[is_bird].float().mean())
        return {name: round(value, 4) for name, value in scores.items()}


class BackbonePart(SupervisedPart):
    """Teacher or student: a plain vision transformer; its heads read the CLS token and the mean of its patches."""

    def __init__(self, name: str, seed: int) -> None:
        self.name = name
        self.encoder = build_encoder(BACKBONES[name].model_copy(update={"seed": seed}))
        width = summary_blocks(self.encoder)[0].width
        super().__init__(self.encoder.model, {"cls": width, "mean": width}, width, seed)

    def outputs_of(self, images_NCHW: Tensor) -> NetworkOutputs:
        tokens_NLD = self.network.forward_features(images_NCHW)
        patches_NLD = tokens_NLD[:, -PATCHES:]
        return NetworkOutputs({"cls": tokens_NLD[:, 0], "mean": patches_NLD.mean(dim=1)}, patches_NLD)

    def save(self, folder: Path) -> None:
        write_tensors(folder / f"{self.name}.safetensors", as_arrays(self.network.state_dict()))


class ImageEncoderPart(SupervisedPart):
    """The mixer's eyes: the embedding tells the attributes, where each part is, and the scene in a few strokes."""

    def __init__(self, seed: int) -> None:
        encoder = new_image_encoder(seed)
        super().__init__(encoder, {"embedding": EMBEDDING_WIDTH}, encoder.config.hidden_size, seed)

    def more_heads(self) -> dict[str, nn.Module]:
        return {"places": nn.Linear(EMBEDDING_WIDTH, NUM_PLACES), "coarse": nn.Linear(EMBEDDING_WIDTH, NUM_COARSE)}

    def outputs_of(self, images_NCHW: Tensor) -> NetworkOutputs:
        outputs = self.network(pixel_values=images_NCHW)
        return NetworkOutputs({"embedding": outputs.image_embeds}, outputs.last_hidden_state[:, 1:])

    def more_losses(self, outputs: NetworkOutputs, images_NCHW: Tensor, pictures: Pictures) -> Losses:
        embedding_ND = outputs.summaries["embedding"]
        places = mse_loss(self.heads["places"](embedding_ND), targets.part_places(pictures.masks_NHW))
        coarse = mse_loss(self.heads["coarse"](embedding_ND), targets.coarse_picture(images_NCHW))
        # An embedding of about unit scale is what the U-Net's attention is initialised for.
        scale = (embedding_ND.square().mean() - 1).square() * 0.01
        return {"places": places * 4, "coarse": coarse * 2, "scale": scale}

    def save(self, folder: Path) -> None:
        self.network.save_pretrained(folder / "image_encoder")
        new_image_processor().save_pretrained(folder / "feature_extractor")
