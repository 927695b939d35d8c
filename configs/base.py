"""The two types of setting everything is built from.

`StageConfig` says what an artifact *is*: all of it enters the fingerprint. `RuntimeConfig` says how it gets made
(device, workers, batch size of inference): none of it does. We keep two types rather than a flag per field, because a
field in the wrong type is seen in review, and a forgotten flag serves a stale artifact in silence.

Two markers refine identity. `Location` is where something lies on this machine: the *content* found there enters the
fingerprint (see `storage.sources`), the path does not, so that moving a folder rebuilds nothing. `AddedLater` marks a
field that came after a release: at its neutral default it stays out of the fingerprint, so old artifacts stay valid.

The defaults of a section belong to its type, never to the place where it stands: whoever sets one field of a section
gets the type's defaults for the others. A section that wants another default has a small type of its own. A stage that
is given one takes its values as those of the plain type, so that they mean the same artifact wherever they stood.
"""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_serializer,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError, to_jsonable_python

from taskdistill.configs.addresses import check_address, without_credentials


class Location:
    """Marks a path field whose content, not its name, is identity."""


class AddedLater:
    """Marks a field that stays out of the fingerprint while it has its default value."""


NO_NUMBER = "no_number"
"""The type of the error that says so; its context has the `entry` of a list that is meant."""


def _without_nul(path: str) -> str:
    if "\0" in path:
        raise ValueError("a path cannot hold the character U+0000")
    return path


Path_ = Annotated[str, Location, AfterValidator(_without_nul)]

Seed = Annotated[int, Field(ge=0, le=2**63 - 1)]
"""What every generator of random numbers takes, and every file format holds."""


class Settings(BaseModel):
    """A frozen group of settings; unknown keys are errors; the docstring under a field is its description in the
    form.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        validate_default=True,
        revalidate_instances="subclass-instances",
    )

    @model_validator(mode="before")
    @classmethod
    def _as_this_type(cls, given: Any) -> Any:
        """Take the values of a section of the same form; ValueError where its type has another default than this one
        for a value that nobody set.
        """
        if not isinstance(given, Settings) or isinstance(given, cls) or _names(type(given)) != _names(cls):
            return given
        values = {name: getattr(given, name) for name in _names(cls)}
        unclear = [name for name in _names(cls) - given.model_fields_set if values[name] != _default(cls, name)]
        if unclear:
            raise ValueError(
                f"{type(given).__name__} and {cls.__name__} have different defaults of {', '.join(sorted(unclear))}: "
                f"set it, or make a {cls.__name__}"
            )
        return values

    @field_validator("*", mode="before")
    @classmethod
    def _numbers_are_numbers(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse true, false and text where a number is meant: pydantic would take true for 1 and "010" for 10."""
        kind = _innermost(cls.model_fields[str(info.field_name)].annotation)
        refused = () if kind is bool else (bool, str) if kind in (int, float) else bool
        for entry, item in enumerate(value if isinstance(value, list | tuple) else [value]):
            if isinstance(item, refused):
                raise PydanticCustomError(NO_NUMBER, "neither true or false nor text is a number", {"entry": entry})
        return value

    def __eq__(self, other: object) -> bool:
        """Settings of one form are equal when their values are, in whatever section they stand."""
        if not isinstance(other, Settings) or _names(type(self)) != _names(type(other)):
            return NotImplemented
        return dict(self) == dict(other)

    def identity(self) -> dict[str, Any]:
        """Return everything that decides bytes, as plain JSON values."""
        return {
            name: _identity(value)
            for name, value, markers in self._fields_with_markers()
            if Location not in markers and not (AddedLater in markers and value == _neutral(type(self), name))
        }

    def locations(self, prefix: str = "") -> dict[str, str]:
        """Return the dotted name, such as teacher.file or more_teachers[0].file, and path of every place on disk these
        settings point at; empty paths are left out.
        """
        found: dict[str, str] = {}
        for name, value, markers in self._fields_with_markers():
            sections = {name: value} | {f"{name}[{entry}]": item for entry, item in enumerate(_entries(value))}
            for place, section in sections.items():
                if isinstance(section, Settings):
                    found |= section.locations(f"{prefix}{place}.")
            if Location in markers and value:
                found[f"{prefix}{name}"] = value
        return found

    def _fields_with_markers(self) -> Iterator[tuple[str, Any, list[Any]]]:
        for name, markers in _markers(type(self)).items():
            yield name, getattr(self, name), markers


@cache
def _markers(form: type[Settings]) -> dict[str, list[Any]]:
    """Return the markers of each field; looked up once, as a study of many points asks for them a million times."""
    return {name: _first_declared(form, name).model_fields[name].metadata for name in form.model_fields}


def _entries(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else ()


def _identity(value: Any) -> Any:
    """Return a value as plain JSON, and of each section in it what decides bytes."""
    if isinstance(value, Settings):
        return value.identity()
    if isinstance(value, tuple):
        return [_identity(entry) for entry in value]
    return to_jsonable_python(value)


def _innermost(annotation: Any) -> Any:
    """Return the plain type of a field, or of the entries of a list."""
    while get_origin(annotation) in (tuple, Annotated):
        annotation = get_args(annotation)[0]
    return annotation


def _names(form: type[Settings]) -> set[str]:
    return set(form.model_fields)


def _default(form: type[Settings], name: str) -> Any:
    return form.model_fields[name].get_default(call_default_factory=True)


def _first_declared(form: type[Settings], name: str) -> type[Settings]:
    """Return the type that brought the field in: one made from it may give it another default, but no other meaning."""
    types = (base for base in reversed(form.__mro__) if issubclass(base, Settings))
    return next(base for base in types if name in base.model_fields)


@cache
def _neutral(form: type[Settings], name: str) -> Any:
    return _default(_first_declared(form, name), name)


class StageConfig(Settings):
    """Settings of one stage. Every field is identity: the same settings and inputs mean the same bytes."""


class RuntimeConfig(Settings):
    """How the work is done on this machine. Nothing here may change what is made, rounding of sums aside."""

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where networks run; auto takes a GPU when there is one."""
    workers: int = Field(default=2, ge=1, le=256)
    """Threads, or processes, that decode and crop images while the network computes."""
    loading: Literal["threads", "processes"] = "threads"
    """What decodes and crops images: so many threads, or processes beside the one that computes: faster where a GPU
    takes more than about 1,000 images a second. Processes share out image_cache_mb and decode_memory_mb; an image that
    needs more than its share is decoded by the run itself, in as much again. A script of your own that uses processes
    begins its work under `if __name__ == "__main__":`, as they read it too.
    """
    threads: int = Field(default=1, ge=1, le=256)
    """CPU threads of one network operation; more than one helps only where cores are idle. Another number may change
    the last bits of a sum, as another device does.
    """
    slots: int = Field(default=0, ge=0, le=256)
    """Steps that run at the same time, each in a process of its own; 0: one for each GPU, or on a CPU as many as have
    `threads` cores each. Never more than do not need each other.
    """
    ranks: int = Field(default=1, ge=1, le=64)
    """Processes that finetune or distil one network together (torch.distributed), each on a GPU of its own, or on a CPU
    with its part of `threads`; so many GPUs are then one slot. They share each batch, `workers` and the caches below.
    Another number changes the last bits of sums, which layers `drop_path` drops, and which images BatchNorm in training
    compares: those of one rank; a draft may be continued with it too. Probes and `tuning` train in one process.
    """
    inference_batch_size: int = Field(default=64, ge=1, le=65536)
    """Images per forward pass when nothing is trained."""
    generation_batch_size: int = Field(default=8, ge=1, le=1024)
    """Images painted at a time; halved by itself where memory does not suffice."""
    generation_memory: Literal["plain", "sliced"] = "plain"
    """How the generator uses the device; sliced: images are decoded one by one, slower and in less memory."""
    generation_compile: Literal["none", "default", "max-autotune"] = "none"
    """torch.compile of the generator's U-Net: minutes at the start, faster afterwards on recent GPUs."""
    training_compile: Literal["none", "default", "max-autotune"] = "none"
    """torch.compile of a network while it is trained: minutes at the start, faster afterwards on recent GPUs. With
    `training.drop_path` it drops other layers than without: what is compiled draws random numbers of its own.
    """
    fan_out: int = Field(default=1, ge=1, le=1024)
    """Workers that generate, embed, extract and precompute are spread over, and that train probes and students, so
    many at the same time, through Prefect; 1: all is done where the run is.
    """
    decode_memory_mb: int = Field(default=2048, ge=64)
    """Memory for images while they are decoded, in MiB: as many at once as fit. Images within data.max_megapixels of 80
    fit alone.
    """
    image_cache_mb: int = Field(default=1024, ge=0)
    """Memory for images kept decoded between epochs, in MiB, half of it for views cut from them; each step at work has
    its own.
    """
    kept_views_mb: int = Field(default=8192, ge=0)
    """Disk space for cut views that later steps read, in MiB, where so much is free; 0: each step cuts its own."""
    logits_cache_mb: int = Field(default=2048, ge=0)
    """Memory for cached features or logits of several views, in MiB; the view in use is always held, and each step at
    work has its own.
    """
    checkpoint_seconds: float = Field(default=30.0, gt=0)
    """Longest time of training that a crash may cost."""
    tensorboard: Path_ = ""
    """Folder, outside of the store, for TensorBoard's event files: losses, learning rate and validation score of each
    training by step, a folder for each. Empty: none. Needs the package tensorboard.
    """
    mlflow_uri: str = Field(default="", repr=False)
    """Address of an MLflow server, http or https, that is told of each finished run: settings, scores, learning curves,
    the report and the best student. Empty: none. Name and password in it are never printed or kept. Needs the package
    mlflow-skinny.
    """

    @model_validator(mode="after")
    def _workers_have_one_gpu(self) -> Self:
        if self.ranks > 1 and self.fan_out > 1:
            raise ValueError(
                f"ranks {self.ranks} and fan_out {self.fan_out}: each of the workers that fan_out spreads a run over "
                "has one GPU, and ranks train on several. Set one of the two to 1"
            )
        return self

    @field_validator("mlflow_uri")
    @classmethod
    def _is_an_address(cls, uri: str) -> str:
        check_address(uri)
        return uri

    @field_serializer("mlflow_uri")
    def _without_credentials(self, uri: str) -> str:
        """Manifests, and requests to other processes, hold settings as JSON."""
        return without_credentials(uri)

    @property
    def cores(self) -> int:
        """CPU cores that a step takes at most."""
        return max(self.threads, self.ranks)

    @property
    def hands(self) -> dict[str, int | str]:
        """How many of what a step works with, on which its speed depends beside the device."""
        return {name: getattr(self, name) for name in ("threads", "ranks", "workers", "loading")}

    def of_one_rank(self) -> Self:
        """Return what each of the ranks has of the threads and of the memory."""
        share = {
            "threads": max(1, self.threads // self.ranks),
            "workers": max(1, self.workers // self.ranks),
            "decode_memory_mb": max(64, self.decode_memory_mb // self.ranks),
            "image_cache_mb": self.image_cache_mb // self.ranks,
            "logits_cache_mb": self.logits_cache_mb // self.ranks,
        }
        return self.model_copy(update=share)

    def within(self, name: str) -> Self:
        """Return the same with event files in a folder of this name within theirs, where they are asked for."""
        if not self.tensorboard:
            return self
        folder = Path(self.tensorboard).expanduser().absolute()  # workers have another working folder
        # Names of a study's steps have values of settings in them, such as paths.
        return self.model_copy(update={"tensorboard": str(folder / name.replace("/", "_"))})
