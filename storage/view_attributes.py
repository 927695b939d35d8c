"""What the outputs in a Zarr group belong to (storage.view_outputs): which images and views, whose encoder, which
classes. One record for each kind; the group's attributes are its fields.

    FeaturesAttributes.of(ViewOutputs(folder)).blocks

A field that an older artifact lacks has a neutral value, an unknown one is passed over. What must agree with other
artifacts is compared by `ViewOutputs.require`, not here.
"""

from typing import Any, Self

from pydantic import BaseModel, ConfigDict

from taskdistill.storage.view_outputs import ViewOutputs
from taskdistill.storage.weights import size_of


class ViewAttributes(BaseModel):
    """What all kinds say."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    images: str = ""
    """Fingerprint of the image-set."""

    @classmethod
    def of(cls, outputs: ViewOutputs) -> Self:
        return cls.model_validate(outputs.attributes)

    def as_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude_none=True)


class EmbeddingsAttributes(ViewAttributes):
    """Of embeddings."""

    generator: str = ""
    """Fingerprint of the generator whose image encoder made them."""
    preprocessing: dict[str, Any] = {}
    substitution: str = ""
    """What stands in for a part of the generator that cannot be had here."""


class FeaturesAttributes(ViewAttributes):
    """Of features."""

    encoder: str = ""
    """Fingerprint of the encoder: its settings and the content of its weights."""
    views: dict[str, Any] = {}
    """Settings of the views (configs.data.ViewSettings)."""
    backbone: dict[str, Any] = {}
    """Settings of the backbone (configs.models.Backbone), without the place of its weight file."""
    preprocessing: dict[str, Any] = {}
    """How the encoder wants to see an image (tasks.models.preprocessing)."""
    blocks: list[str] = []
    """Names of what lies along the axis of blocks."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the views that the encoder was shown, in pixels."""
        return size_of(self.preprocessing)


class LogitsAttributes(ViewAttributes):
    """Of logits."""

    views: dict[str, Any] = {}
    encoder: str = ""
    """Fingerprint of the teacher's encoder; of several teachers, that of the list of theirs (tasks.stages.combine)."""
    side_px: int = 0
    """Side of the square views that the teacher was shown; their height where there is a width."""
    width_px: int | None = None
    """None: as wide as high."""
    problem: str = ""
    classes: list[str] = []
    temperature: float | None = None
    """What the outputs were divided by to be calibrated; None where they are as the head gave them."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the views that the teacher was shown, in pixels."""
        return self.side_px, self.width_px or self.side_px
