"""Synthetic images that a run is given, by `--synthetic`, in place of blends: what can be asked of them."""

from taskdistill.configs.experiment import Experiment
from taskdistill.configs.training import check_synthetic_images_teach
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore


def check_given_images(experiment: Experiment, store: ArtifactStore, synthetic: ArtifactRef) -> None:
    """Raise SettingsError where the settings ask for what these images cannot give, before any work on them."""
    check_synthetic_images_teach(experiment.distill, experiment.training)
    if "blends.parquet" not in store.manifest(synthetic).files:
        experiment.select.check_is_known(synthetic.short)
