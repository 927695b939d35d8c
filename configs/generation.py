"""Settings of synthetic images: which model blends, which images meet, and which blends are used."""

from typing import Annotated, Any, Literal

from pydantic import Field

from taskdistill.configs.base import Path_, Seed, Settings, StageConfig
from taskdistill.configs.choices import GeneratorName, ProblemName
from taskdistill.configs.errors import SettingsError

DropReason = Literal["parent-copy", "held-out-copy", "uncertain"]


class GeneratorModel(Settings):
    """The model that looks at training images and paints new ones."""

    kind: GeneratorName = "image-mixer"
    """The adapter that runs it."""
    folder: Path_ = ""
    """A diffusers folder of safetensors (see `taskdistill convert-image-mixer`); its content is identity, its place is
    not.
    """
    precision: Literal["fp32", "fp16", "bf16"] = "fp32"
    """Precision of all its networks; fp16 on GPUs."""


class BlendSettings(Settings):
    """How many blends, of which parents, painted how. The defaults are those of Image Mixer's authors."""

    per_image: float = Field(default=1.0, gt=0, le=100)
    """Blends for each training image."""
    pairs: Literal["uniform", "same-class", "nearest"] = "uniform"
    """Which training images meet. uniform: any two. same-class: two of one class. nearest: neighbours in the embedding
    space of the generator.
    """
    neighbours: int = Field(default=10, ge=1, le=1000)
    """Pairs nearest: how many neighbours of an image may be its partner."""
    seed: Seed = 0
    """Decides the pairs; with the rest of the recipe also each image's noise."""
    strengths: tuple[Annotated[float, Field(ge=0, le=10)], Annotated[float, Field(ge=0, le=10)]] = (1.0, 1.0)
    """Factor on the embedding of either parent."""
    side_px: int = Field(default=640, ge=16, le=2048, multiple_of=8)
    """Side of the square blends, in pixels."""
    guidance: float = Field(default=3.0, ge=0, le=50)
    """Weight of classifier-free guidance; 1: none."""
    num_steps: int = Field(default=30, ge=1, le=1000)
    """Steps of DDIM."""
    timesteps: Literal["original", "scheduler"] = "original"
    """Noise levels visited: as the original program does (31 evaluations for 30 steps), or the scheduler's own."""
    encoding: Literal["jpeg", "png"] = "jpeg"
    """How blends are stored; png loses nothing and takes several times the room."""
    jpeg_quality: int = Field(default=95, ge=1, le=100)
    """Quality of JPEG."""

    def identity(self) -> dict[str, Any]:
        """Leave out what decides nothing with the other settings as they are."""
        idle = {"neighbours": self.pairs != "nearest", "jpeg_quality": self.encoding != "jpeg"}
        return {name: value for name, value in super().identity().items() if not idle.get(name)}


class EmbedConfig(StageConfig):
    """From images to the embeddings a generator mixes: every image once, not once for every pair."""

    model: GeneratorModel = GeneratorModel()


class GenerateConfig(StageConfig):
    """From pairs of training images to a synthetic image-set without labels."""

    model: GeneratorModel = GeneratorModel()
    blends: BlendSettings = BlendSettings()


class SelectSettings(Settings):
    """Which synthetic images a student is shown."""

    drop: tuple[DropReason, ...] = ()
    """What is left out. parent-copy, held-out-copy: flagged as near-copies of a parent, of a val or test image.
    uncertain: the teacher's entropy is above max_entropy. Nothing by default; all is scored and counted in any case.
    """
    copy_similarity: float = Field(default=0.97, gt=0, le=1)
    """Cosine similarity to an image from which on a blend is flagged as its near-copy."""
    max_entropy: float = Field(default=0.9, ge=0, le=1)
    """Entropy of the teacher's answer, as a share of the largest possible, above which an image counts as uncertain."""

    def check_is_known(self, images: str) -> None:
        """Raise SettingsError where images are to be dropped for a likeness that only 'generate' measures."""
        if unknown := [reason for reason in self.drop if reason != "uncertain"]:
            raise SettingsError(
                f"select.drop names {', '.join(unknown)}, but {images} was not made by 'generate': nobody has compared "
                "its images with others. Drop 'uncertain' alone, or nothing"
            )


class SelectConfig(StageConfig):
    """From synthetic images and the teacher's logits to a score for each and the choice of those used."""

    problem: ProblemName = "classification"
    """What is learnt."""
    select: SelectSettings = SelectSettings()
