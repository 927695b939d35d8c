"""What a pipeline is written in: steps, each of which reads artifacts of the store or what other steps make."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from taskdistill.configs.base import StageConfig
from taskdistill.configs.data import TrainViews
from taskdistill.configs.experiment import Experiment
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.tasks.stage import Stage

Source = ArtifactRef | str
"""What a step reads: an artifact in the store, or what the step of this name makes."""


class Step(NamedTuple):
    """One node of the graph."""

    name: str
    stage: Stage[Any]
    config: StageConfig
    inputs: Mapping[str, Source]
    """Role -> where it comes from; the steps named here stand before this one."""


class Steps:
    """The steps so far of one experiment."""

    def __init__(self, experiment: Experiment) -> None:
        self.experiment = experiment
        self.all: list[Step] = []

    def add(self, name: str, stage: Stage[Any], config: StageConfig, inputs: Mapping[str, Source]) -> str:
        """Note a step; returns its name, for others to read what it makes."""
        self.all.append(Step(name, stage, config, inputs))
        return name


class ShownSet(NamedTuple):
    """An image-set that a teacher is shown, and which views of its training images."""

    images: Source
    train_views: TrainViews
