"""A frozen network over those views of an image-set that something reads: what extract and precompute do alike.

Shape letters: N images, C channels, H W pixels.
"""

import functools
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Protocol, TypeVar, cast

import torch
from torch import Tensor, nn

from taskdistill.configs.foreign import PrecomputeForeignConfig
from taskdistill.configs.stages import ExtractConfig, PrecomputeImagesConfig, PrecomputeProbedConfig
from taskdistill.storage.image_set import ImageSet
from taskdistill.storage.view_writer import Layout, ViewOutputsWriter
from taskdistill.tasks.data.batches import halves
from taskdistill.tasks.data.processes import view_source
from taskdistill.tasks.data.shown import shown_parts
from taskdistill.tasks.inference.frozen import ChunkPartitions, run_frozen
from taskdistill.tasks.models.device import autocast, device_of, on_device
from taskdistill.tasks.models.preprocessing import Preprocessing
from taskdistill.tasks.partitions import Throughput
from taskdistill.tasks.stage import StageContext

V = TypeVar("V", bound=ExtractConfig | PrecomputeImagesConfig | PrecomputeProbedConfig | PrecomputeForeignConfig)


class Frozen(Protocol):
    """A network of torch that is not trained, and says how it wants to see an image."""

    @property
    def preprocessing(self) -> Preprocessing: ...

    def __call__(self, *arguments: Any) -> Any: ...


class ImagePartitions(ChunkPartitions[V]):
    """Chunks of what a network gives for views of the input "images"; a subclass says which network."""

    def __init__(self, config: V, context: StageContext) -> None:
        self.config, self.context = config, context
        self.images = ImageSet.open(context.inputs["images"])
        self.writer = ViewOutputsWriter(
            context.draft,
            ids=self.images.ids,
            parts=shown_parts(self.images, config.views, config.train_views),
            layout=self.layout,
        )

    @abstractmethod
    def network(self) -> Frozen:
        """Load the network with its weights: only those who show it images need it."""

    @abstractmethod
    def layout(self) -> Layout:
        """Return the shape of one output and what the outputs belong to, without loading weights."""

    def outputs(self, network: Frozen, images_NCHW: Tensor) -> Tensor:
        """Return what is kept of normalised images, [N, ...]."""
        found: Tensor = network(images_NCHW)
        return found

    @torch.inference_mode()
    def make(self, numbers: Sequence[int]) -> Throughput:
        config, runtime = self.config, self.context.runtime
        device = device_of(runtime)
        network = self.network()
        on_device(cast(nn.Module, network).eval(), device)
        images_mb, ahead_mb = halves(runtime.image_cache_mb)
        source = view_source(
            self.images,
            config.views,
            network.preprocessing,
            runtime,
            images_mb=images_mb,
            ahead_mb=ahead_mb,
            kept_in=self.context.views,
        )
        outputs = functools.partial(self.outputs, network)
        with autocast(device, config.precision):
            return run_frozen(outputs, source, self.writer, self.chunks(numbers), device, self.context)
