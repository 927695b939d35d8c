"""About how large the artifacts of a run will be: hands each stage what is known of its inputs, and asks it."""

from collections.abc import Mapping
from typing import Any

from taskdistill.configs.data import IngestConfig, UnlabelledConfig, ViewSettings
from taskdistill.configs.experiment import Experiment
from taskdistill.configs.foreign import PrecomputeForeignConfig
from taskdistill.configs.models import Backbone
from taskdistill.flows.pipeline.older_datasets import check_older_reading
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.summaries import IngestSummary
from taskdistill.tasks.problems.output_sizes import num_foreign_outputs, num_outputs
from taskdistill.tasks.sizes import Estimate, Known, num_shown, shown
from taskdistill.tasks.stage import Stage

_OF_IMAGES = ("image-set", "features", "logits", "embeddings")
"""Kinds that hold a row for each image of a set."""
_NOTHING = Estimate(None, {})


class Sizes:
    """Sizes of artifacts from the counts of the dataset and what their stages say."""

    def __init__(self, experiment: Experiment, store: ArtifactStore, found: dict[ArtifactRef, Estimate]) -> None:
        """`found` holds what is known of artifacts already, and is added to: experiments planned together share it."""
        self._experiment, self._store, self._found = experiment, store, found
        self._num_train, self._num_classes = 0, 0
        self.classes: tuple[str, ...] = ()
        """Of the dataset, where a foreign teacher's must fit them; none before a step that reads it was estimated."""

    def estimate(self, stage: Stage[Any], config: Any, inputs: Mapping[str, ArtifactRef], ref: ArtifactRef) -> Estimate:
        """Return what is known of an artifact before it is there. Called for the stages in order, inputs before users.

        Raises what the stage's estimate raises: ingest looks at its folder.
        """
        if ref not in self._found:
            self._found[ref] = self._estimate(stage, config, inputs)
        return self._found[ref]

    def know(self, ref: ArtifactRef) -> None:
        """Take note of an image-set of the plan, there or estimated, for what is estimated after it."""
        self._of(ref)

    def _estimate(self, stage: Stage[Any], config: Any, inputs: Mapping[str, ArtifactRef]) -> Estimate:
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
        found: Estimate = stage.load_size()(config, known)
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
            dataset = self._found[ref].dataset
            assert dataset  # of an image-set it is always known
            return dataset
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
        found = self._found.get(ref, _NOTHING)
        self._note_real_images(ref, found)
        return found

    def _look_up(self, ref: ArtifactRef) -> Estimate:
        manifest = self._store.manifest(ref)
        if ref.kind == "image-set":
            images = IngestSummary.of(manifest)  # of any image-set, as far as counts go
            return Estimate(None, images.splits, dataset=images)
        source = next(
            (found for source in manifest.input_refs.values() if (found := self._of(source)).splits), _NOTHING
        )
        config = manifest.recipe["config"]
        if "views" not in config:
            return source
        # The whole config cannot be read back: a recipe leaves out where files lay.
        views, train_views = ViewSettings.model_validate(config["views"]), config.get("train_views", "augmented")
        return Estimate(None, source.splits, num_shown(shown(views, train_views, source.splits)))

    def _classes_of(self, ref: ArtifactRef) -> tuple[str, ...]:
        if self._experiment.teacher_training != "foreign" or ref not in self._store:
            return ()
        from taskdistill.storage.image_set import class_names_of  # pyarrow, which other plans do without

        return tuple(class_names_of(self._store.path(ref)))

    def _note_real_images(self, ref: ArtifactRef, found: Estimate) -> None:
        images = found.dataset
        # Blends and other images without labels have no other split than train.
        if images and not images.splits.keys() <= {"train"}:
            self._num_classes, self._num_train = images.classes, images.splits.get("train", 0)
            self.classes = found.classes or self._classes_of(ref)
