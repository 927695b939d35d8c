"""About how large the artifacts of a run will be: hands each stage what is known of its inputs, and asks it."""

from collections.abc import Mapping, Sequence
from typing import Any

from taskdistill.configs.data import IngestConfig, UnlabelledConfig, ViewSettings
from taskdistill.configs.experiment import Experiment
from taskdistill.configs.foreign import PrecomputeForeignConfig
from taskdistill.configs.models import Backbone
from taskdistill.flows.pipeline.older_datasets import check_older_reading
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.summaries import ImageSetSummary, IngestSummary
from taskdistill.tasks.problems.output_sizes import num_foreign_outputs, num_outputs
from taskdistill.tasks.sizes import Estimate, Known, num_shown, shown
from taskdistill.tasks.stage import Stage

_OF_IMAGES = ("image-set", "features", "logits", "embeddings")
"""Kinds that hold a row for each image of a set."""
_NOTHING = Estimate(None, {})


class Sizes:
    """Sizes of artifacts from the counts of the dataset and what their stages say."""

    def __init__(self, experiment: Experiment, store: ArtifactStore) -> None:
        self._experiment, self._store = experiment, store
        self._datasets: dict[ArtifactRef, IngestSummary] = {}
        """What is known of datasets before their images are read (`tasks.data.dataset.Dataset.summary`)."""
        self._found: dict[ArtifactRef, Estimate] = {}
        self._num_train, self._num_classes = 0, 0
        self.classes: tuple[str, ...] = ()
        """Of the dataset, where a foreign teacher's must fit them; none before a step that reads it was estimated."""

    def estimate(self, stage: Stage[Any], config: Any, inputs: Mapping[str, ArtifactRef], ref: ArtifactRef) -> Estimate:
        """Return what is known of an artifact before it is there. Called for the stages in order, inputs before users.

        Raises what the stage's estimate raises: ingest looks at its folder.
        """
        source = self._of_first(inputs)
        backbone = getattr(config, "backbone", self._experiment.teacher)
        known = Known(
            splits=source.splits,
            num_shown=source.num_shown,
            num_train=self._num_train,
            num_classes=self._num_classes,
            num_outputs=self._num_outputs(config, backbone),
            backbone=backbone,
        )
        found = self._found[ref] = stage.load_size()(config, known)
        if found.dataset:
            self._datasets[ref] = found.dataset
            self._note_real_images(found.dataset, found.classes)
        return found

    def _num_outputs(self, config: Any, backbone: Backbone) -> int | None:
        experiment = self._experiment
        if isinstance(config, PrecomputeForeignConfig):
            return num_foreign_outputs(config.problem, config.model, self._num_classes)
        probe = experiment.student_probe if backbone == experiment.student else experiment.probe
        return num_outputs(experiment.problem, backbone, probe, self._num_classes)

    def dataset_of(self, config: IngestConfig | UnlabelledConfig, ref: ArtifactRef) -> IngestSummary:
        """Return what is known of an image-set, there or estimated; raises what `check_older_reading` raises."""
        if ref not in self._store:
            return self._datasets[ref]
        if isinstance(config, IngestConfig):
            check_older_reading(config, ref, self._store)
        return IngestSummary.of(self._store.manifest(ref))

    def _of_first(self, inputs: Mapping[str, ArtifactRef]) -> Estimate:
        """Return what is known of the first input that is of images."""
        return next((found for source in inputs.values() if (found := self._of(source)).splits), _NOTHING)

    def _of(self, ref: ArtifactRef) -> Estimate:
        """Return what is known of an artifact, there or estimated; a probe is of no images in particular."""
        if ref.kind not in _OF_IMAGES:
            return _NOTHING
        if ref not in self._found and ref in self._store:
            self._found[ref] = self._look_up(ref)
        return self._found.get(ref, _NOTHING)

    def _look_up(self, ref: ArtifactRef) -> Estimate:
        manifest = self._store.manifest(ref)
        if ref.kind == "image-set":
            images = ImageSetSummary.of(manifest)
            self._note_real_images(images, self._classes_of(ref))
            return Estimate(None, images.splits)
        source = next(
            (found for source in manifest.input_refs.values() if (found := self._of(source)).splits), _NOTHING
        )
        config = manifest.recipe["config"]
        if "views" not in config:
            return source
        # The whole config cannot be read back: a recipe leaves out where files lay.
        views, train_views = ViewSettings.model_validate(config["views"]), config.get("train_views", "augmented")
        return Estimate(None, source.splits, num_shown(shown(views, train_views, source.splits)))

    def _classes_of(self, ref: ArtifactRef) -> Sequence[str]:
        if self._experiment.teacher_training != "foreign":
            return ()
        from taskdistill.storage.image_set import class_names_of  # pyarrow, which other plans do without

        return class_names_of(self._store.path(ref))

    def _note_real_images(self, images: ImageSetSummary, classes: Sequence[str]) -> None:
        if images.splits.keys() <= {"train"}:  # blends and other images without labels have no other split
            return
        self._num_classes, self._num_train = images.classes, images.splits.get("train", 0)
        self.classes = tuple(classes)
