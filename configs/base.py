"""The two types of setting everything is built from.

`StageConfig` says what an artifact *is*: all of it enters the fingerprint. `RuntimeConfig` says how it gets made
(device, workers, batch size of inference): none of it does. We keep two types rather than a flag per field, because a
field in the wrong type is seen in review, and a forgotten flag serves a stale artifact in silence.

Two markers refine identity. `Location` is where something lies on this machine: the *content* found there enters the
fingerprint (see `storage.sources`), the path does not, so that moving a folder rebuilds nothing. `AddedLater` marks a
field that came after a release: at its neutral default it stays out of the fingerprint, so old artifacts stay valid.
"""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import to_jsonable_python


class Location:
    """Marks a path field whose content, not its name, is identity."""


class AddedLater:
    """Marks a field that stays out of the fingerprint while it has its default value."""


Path_ = Annotated[str, Location]


class Settings(BaseModel):
    """A frozen group of settings; unknown keys are errors; the docstring under a field is its description in the
    form.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True, validate_default=True
    )

    def identity(self) -> dict[str, Any]:
        """Return everything that decides bytes, as plain JSON values."""
        return {
            name: value.identity() if isinstance(value, Settings) else to_jsonable_python(value)
            for name, value, markers in self._fields_with_markers()
            if Location not in markers and not (AddedLater in markers and value == _default_of(self, name))
        }

    def locations(self, prefix: str = "") -> dict[str, str]:
        """Return the dotted name and path of every place on disk these settings point at; empty paths are left out."""
        found: dict[str, str] = {}
        for name, value, markers in self._fields_with_markers():
            if isinstance(value, Settings):
                found |= value.locations(f"{prefix}{name}.")
            elif Location in markers and value:
                found[f"{prefix}{name}"] = value
        return found

    def _fields_with_markers(self) -> Iterator[tuple[str, Any, list[Any]]]:
        for name, field in type(self).model_fields.items():
            yield name, getattr(self, name), field.metadata


def _default_of(settings: Settings, name: str) -> Any:
    return type(settings).model_fields[name].get_default(call_default_factory=True)


class StageConfig(Settings):
    """Settings of one stage. Every field is identity: the same settings and inputs mean the same bytes."""


class RuntimeConfig(Settings):
    """How the work is done on this machine. Nothing here may change what is made, rounding of sums aside."""

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where networks run; auto takes a GPU when there is one."""
    workers: int = Field(default=2, ge=1, le=256)
    """Threads that decode and crop images while the network computes."""
    threads: int = Field(default=1, ge=1, le=256)
    """CPU threads of one network operation; more than one helps only where cores are idle. Another number may change
    the last bits of a sum, as another device does.
    """
    inference_batch_size: int = Field(default=64, ge=1, le=65536)
    """Images per forward pass when nothing is trained."""
    generation_batch_size: int = Field(default=8, ge=1, le=1024)
    """Images painted at a time; halved by itself where memory does not suffice."""
    generation_memory: Literal["plain", "sliced"] = "plain"
    """How the generator uses the device; sliced: images are decoded one by one, slower and in less memory."""
    generation_compile: Literal["none", "default", "max-autotune"] = "none"
    """torch.compile of the generator's U-Net: minutes at the start, faster afterwards on recent GPUs."""
    fan_out: int = Field(default=1, ge=1, le=1024)
    """Workers that generate, embed, extract and precompute are spread over, through Prefect; 1: where the run is."""
    decode_memory_mb: int = Field(default=2048, ge=64)
    """Memory for images while they are decoded, in MiB: as many at once as fit. Images within data.max_megapixels of 80
    fit alone.
    """
    image_cache_mb: int = Field(default=1024, ge=0)
    """Memory for images kept decoded between epochs, in MiB."""
    logits_cache_mb: int = Field(default=2048, ge=0)
    """Memory for cached features or logits of several views, in MiB; the view in use is always held."""
    checkpoint_seconds: float = Field(default=30.0, gt=0)
    """Longest time of training that a crash may cost."""
