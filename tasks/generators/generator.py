"""What a generator is: it embeds real images, and paints a new one from the embeddings of two of them.

Shape letters: N images or pairs, C channels, H W pixels, D embedding width, S side of a blend.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, Self

import torch
from torch import Tensor

from taskdistill.configs.choices import GENERATOR_DESCRIPTIONS, GENERATORS, load
from taskdistill.configs.generation import BlendSettings, GeneratorModel
from taskdistill.configs.runtime import RuntimeConfig
from taskdistill.storage.errors import SourceChangedError
from taskdistill.storage.files import sha256_of
from taskdistill.storage.fingerprint import fingerprint
from taskdistill.storage.sources import tree_digest, visible_files
from taskdistill.tasks.functional.views import Pixels
from taskdistill.tasks.models.preprocessing import Preprocessing


class GeneratorDescription(NamedTuple):
    """What is known of a generator before its weights are loaded; each as in Generator."""

    width: int
    preprocessing: Preprocessing
    substitution: str


class Generator(Protocol):
    """A finished model. An image depends on its two embeddings, its seed and the settings alone."""

    preprocessing: Preprocessing
    """How its image encoder sees an image."""
    width: int
    """D, of an embedding."""
    substitution: str
    """What it stands in for, where it is not the model the recipe was made with; else empty."""

    def ready_to_embed(self, device: torch.device) -> Self:
        """Move what embeds to a device, and return itself."""
        ...

    def ready_to_blend(self, device: torch.device) -> Self:
        """Move everything to a device, and return itself."""
        ...

    def embed(self, images_NCHW: Tensor) -> Tensor:
        """Return float32 [N, D] for normalised images."""
        ...

    def blend(self, embeddings_N2D: Tensor, seeds: Sequence[int], settings: BlendSettings) -> Pixels:
        """Return uint8 [N, S, S, 3], one blend for each pair of embeddings."""
        ...


def build_generator_as_named(
    model: GeneratorModel, content_digests: Mapping[str, str], runtime: RuntimeConfig
) -> Generator:
    """Load a stage's generator into main memory; SourceChangedError where its folder is no longer the recipe's."""
    generator: Generator = load(GENERATORS, model.kind)(model, runtime)
    for name, place in model.locations("model.").items():
        folder = Path(place).expanduser()
        # After it was loaded: a folder that changed before is found, and one that changes later is no longer read.
        contents = [(path.relative_to(folder).as_posix(), sha256_of(path)) for path in visible_files(folder)]
        if tree_digest(contents) != content_digests[name]:
            raise SourceChangedError(
                f"{folder} is not what it was when its digest was taken: run the same command again, it is read anew"
            )
    return generator


def describe_generator(model: GeneratorModel, runtime: RuntimeConfig) -> GeneratorDescription:
    """Return a generator's description, without loading its weights where its kind can do without.

    Raises UserError, of the kind that its adapter raises, where the folder holds no such generator.
    """
    if model.kind in GENERATOR_DESCRIPTIONS:
        described: GeneratorDescription = load(GENERATOR_DESCRIPTIONS, model.kind)(model)
        return described
    generator: Generator = load(GENERATORS, model.kind)(model, runtime)
    return GeneratorDescription(generator.width, generator.preprocessing, generator.substitution)


def generator_fingerprint(model: GeneratorModel, content_digests: Mapping[str, str]) -> str:
    """Return the identity of a stage's generator: its settings and the content of its folder."""
    contents = {name: digest for name, digest in content_digests.items() if name.startswith("model.")}
    return fingerprint({"model": model.identity(), "external": contents})
