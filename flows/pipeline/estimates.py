"""About how large the artifacts of a run will be: hands each stage what is known of its inputs, and asks it."""

from collections.abc import Mapping
from typing import Any

from configs.data import IngestConfig
from configs.experiment import Experiment
from flows.pipeline.older_datasets import check_older_reading
from storage.manifest import ArtifactRef
from storage.store import ArtifactStore
from storage.summaries import ImageSetSummary, IngestSummary
from tasks.sizes import Known
from tasks.stage import Stage

_OF_IMAGES = ("image-set", "features", "logits", "embeddings")
"""Kinds that hold a row for each image of a set."""


class Sizes:
    """Sizes of artifacts from the counts of the dataset and what their stages say."""

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
        """Return bytes, or None where they cannot be said. Called for the stages in order, inputs before users.

        Raises what the stage's estimate raises: ingest looks at its folder.
        """
        num_images = next((count for source in inputs.values() if (count := self._count(source))), 0)
        known = Known(
            num_images=num_images,
            num_train=self._num_train,
            num_classes=self._num_classes,
            num_views=self._experiment.views.num_views,
            backbone=getattr(config, "backbone", self._experiment.teacher),
        )
        found = stage.load_size()(config, known)
        self._num_images[ref] = found.num_images
        if found.dataset:
            self._datasets[ref] = found.dataset
            self._note_real_images(found.dataset)
        return found.num_bytes

    def dataset_of(self, config: IngestConfig, ref: ArtifactRef) -> IngestSummary:
        """Return what is known of an image-set, there or estimated; raises what `check_older_reading` raises."""
        if ref not in self._store:
            return self._datasets[ref]
        check_older_reading(config, ref, self._store)
        return IngestSummary.of(self._store.manifest(ref))

    def _count(self, ref: ArtifactRef) -> int:
        """Return how many images an artifact is of; a probe is of none in particular."""
        if ref.kind not in _OF_IMAGES:
            return 0
        if ref not in self._store:
            return self._num_images.get(ref, 0)
        images = ImageSetSummary.of(self._store.manifest(ref))
        if ref.kind == "image-set" and images.splits.keys() - {"train"}:  # blends and the like have no other split
            self._note_real_images(images)
        return images.images

    def _note_real_images(self, images: ImageSetSummary) -> None:
        self._num_classes, self._num_train = images.classes, images.splits.get("train", 0)
