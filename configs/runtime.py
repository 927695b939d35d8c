"""Settings of how work gets done, none of which is part of what an artifact is."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, field_serializer, field_validator, model_validator

from taskdistill.configs.addresses import check_address, without_credentials
from taskdistill.configs.base import Path_, Settings


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
    """Disk space in the store's folder `views`, in MiB, for views that one step has cut: later students, seeds and
    evaluations read them there. For each network a tenth of what is free at most, and none where a run needs more than
    half of that. 0: each step cuts its own, which is better where the store's disk is slower than cutting.
    """
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
