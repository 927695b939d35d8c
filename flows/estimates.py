"""About how large an artifact will be, before it is there and without importing torch."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from configs.choices import DATASET_FORMS, load
from configs.data import IngestConfig
from configs.experiment import Experiment
from configs.models import Backbone
from storage.manifest import ArtifactRef
from storage.store import ArtifactStore
from tasks.data.splits import check_splits, class_names, with_splits
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


class Sizes:
    """Sizes of artifacts from the counts of the dataset and what is known of common backbones."""

    def __init__(self, experiment: Experiment, store: ArtifactStore) -> None:
        self._experiment, self._store = experiment, store
        self._num_images, self._num_classes = 0, 0

    def estimate(self, stage: Stage[Any], config: Any, inputs: Mapping[str, ArtifactRef]) -> int | None:
        """Return bytes, or None where they cannot be said. Called for the stages in order: counts are those of the
        last set.
        """
        if stage.output == "image-set":
            return self._dataset(config) if isinstance(config, IngestConfig) else None
        self._count(inputs.get("images"))
        if not self._num_images:
            return None
        known = _about(getattr(config, "backbone", self._experiment.teacher))
        if stage.output == "logits":
            return self._views() * (2 * self._num_classes + _VIEW_BYTES)
        if stage.output == "evaluation":
            return self._num_images * (4 * self._num_classes + 50) + 2 * _PICTURE_BYTES
        if known is None:
            return None
        width, parameters, blocks = known
        return {
            "features": self._views() * (2 * blocks * width + _VIEW_BYTES),
            "probe": 4 * blocks * width * self._num_classes,
            "model": 2 * 4 * parameters + _PICTURE_BYTES,
        }.get(stage.output)

    def _views(self) -> int:
        return self._num_images * (self._experiment.views.num_views + 1)

    def _dataset(self, config: IngestConfig) -> int:
        """Check the dataset by its names, as ingest will, and add up its files."""
        candidates = load(DATASET_FORMS, config.form)(config)
        classes = class_names(candidates)
        candidates, _ = with_splits(candidates, config)
        check_splits(candidates, classes)
        self._num_images, self._num_classes = len(candidates), len(classes)
        return sum(candidate.path.stat().st_size for candidate in candidates)

    def _count(self, images: ArtifactRef | None) -> None:
        if images is not None and images in self._store:
            summary = self._store.manifest(images).summary
            self._num_images, self._num_classes = int(summary["images"]), int(summary["classes"])


def _about(backbone: Backbone) -> tuple[int, int, int] | None:
    """Return width, parameters and summary blocks of a backbone."""
    found = next((known for known in _BACKBONES if re.search(known[0], backbone.name)), None)
    if found is None:
        return None
    _, width, millions = found
    in_file = Path(backbone.file).expanduser().stat().st_size // 4 if backbone.file else 0
    return width, in_file or millions * 1_000_000, 5 if _WITH_TOKENS.search(backbone.name) else 1
