"""About how large an artifact will be, before it is there and without importing torch."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from configs.data import IngestConfig
from configs.experiment import Experiment
from configs.generation import GenerateConfig
from configs.models import Backbone
from flows.pipeline.older_datasets import check_older_reading
from storage.manifest import ArtifactRef
from storage.store import ArtifactStore
from storage.summaries import ImageSetSummary, IngestSummary
from tasks.data.contradictions import settle
from tasks.data.dataset import open_dataset, size_of
from tasks.stage import Stage

_BACKBONES = (
    (r"(vit|eva02?)_giant", 1536, 1140), (r"(vit|eva02?)_large", 1024, 304), (r"(vit|eva02?|deit|beit)_base", 768, 86),
    (r"(vit|eva02?|deit)_small", 384, 22), (r"(vit|eva02?|deit)_tiny", 192, 6), (r"resnet(18|34)", 512, 16),
    (r"resne[xt]*", 2048, 25), (r"mobilenet", 1280, 3), (r"efficientnet", 1280, 6), (r"convnext", 768, 28),
)  # fmt: skip
"""Names, widths and millions of parameters of common backbones."""
_WITH_TOKENS = re.compile(r"vit|eva|deit|beit")
_VIEW_BYTES = 100
"""View fields and thumbnail."""
_PICTURE_BYTES = 60_000
_EMBEDDING_WIDTH = 768
_BYTES_PER_PIXEL = {"jpeg": 0.4, "png": 1.6}
_MAX_COMPARED = 20_000
"""Images among which contradicting labels are looked for at once; of more, ingest does it, as files must be read."""
_OF_IMAGES = ("image-set", "features", "logits", "embeddings")
"""Kinds that hold a row for each image of a set."""


class Sizes:
    """Sizes of artifacts from the counts of the dataset and what is known of common backbones."""

    def __init__(self, experiment: Experiment, store: ArtifactStore) -> None:
        self._experiment, self._store = experiment, store
        self._datasets: dict[ArtifactRef, IngestSummary] = {}
        """What is known of datasets before their images are read (`tasks.data.dataset.Dataset.summary`)."""
        self._num_images: dict[ArtifactRef, int] = {}
        """Of image-sets that are not there yet, and of what is made from them."""
        self._num_train, self._num_classes = 0, 0

    def estimate(
        self, stage: Stage[Any], config: Any, inputs: Mapping[str, ArtifactRef], ref: ArtifactRef
    ) -> int | None:
        """Return bytes, or None where they cannot be said. Called for the stages in order, inputs before users."""
        if isinstance(config, IngestConfig):
            return self._dataset(config, ref)
        num_images = next((count for source in inputs.values() if (count := self._count(source))), 0)
        if isinstance(config, GenerateConfig):
            return self._blends(config, ref)
        self._num_images[ref] = num_images
        known = _about(getattr(config, "backbone", self._experiment.teacher))
        if not num_images:
            return None
        num_views = num_images * (self._experiment.views.num_views + 1)
        sizes = {
            "logits": num_views * (2 * self._num_classes + _VIEW_BYTES),
            "evaluation": num_images * (4 * self._num_classes + 50) + 2 * _PICTURE_BYTES,
            "embeddings": num_images * (2 * _EMBEDDING_WIDTH + _VIEW_BYTES),
            "selection": num_images * _VIEW_BYTES,
        }
        if known is not None:
            width, parameters, blocks = known
            sizes |= {
                "features": num_views * (2 * blocks * width + _VIEW_BYTES),
                "probe": 4 * blocks * width * self._num_classes,
                "model": 2 * 4 * parameters + _PICTURE_BYTES,
            }
        return sizes.get(stage.output)

    def dataset_of(self, config: IngestConfig, ref: ArtifactRef) -> IngestSummary:
        """Return what is known of an image-set, there or estimated."""
        if ref not in self._store:
            return self._datasets[ref]
        check_older_reading(config, ref, self._store)
        return IngestSummary.of(self._store.manifest(ref))

    def _dataset(self, config: IngestConfig, ref: ArtifactRef) -> int:
        """Check the dataset as ingest will before it decodes an image, and add up its files."""
        dataset = open_dataset(config)
        if len(dataset.candidates) <= _MAX_COMPARED:
            dataset = settle(dataset, config.contradictions)
        self._datasets[ref] = dataset.summary()
        self._num_images[ref], self._num_classes = len(dataset.candidates), len(dataset.classes)
        self._num_train = sum(candidate.split == "train" for candidate in dataset.candidates)
        return sum(size_of(candidate.path) for candidate in dataset.candidates)

    def _blends(self, config: GenerateConfig, ref: ArtifactRef) -> int:
        blends = config.blends
        self._num_images[ref] = max(1, round(blends.per_image * self._num_train))
        return round(self._num_images[ref] * blends.side_px**2 * _BYTES_PER_PIXEL[blends.encoding])

    def _count(self, ref: ArtifactRef) -> int:
        """Return how many images an artifact is of; a probe is of none in particular."""
        if ref in self._store:
            summary = ImageSetSummary.of(self._store.manifest(ref))
            if ref.kind == "image-set" and summary.splits.keys() - {"train"}:  # the real one
                self._num_classes, self._num_train = summary.classes, summary.splits["train"]
            return summary.images if ref.kind in _OF_IMAGES else 0
        return self._num_images.get(ref, 0) if ref.kind in _OF_IMAGES else 0


def _about(backbone: Backbone) -> tuple[int, int, int] | None:
    """Return width, parameters and summary blocks of a backbone."""
    found = next((known for known in _BACKBONES if re.search(known[0], backbone.name)), None)
    if found is None:
        return None
    _, width, millions = found
    in_file = Path(backbone.file).expanduser().stat().st_size // 4 if backbone.file else 0
    return width, in_file or millions * 1_000_000, 5 if _WITH_TOKENS.search(backbone.name) else 1
