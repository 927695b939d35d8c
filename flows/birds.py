"""The embedded world of birds as a dataset on disk: what the demonstrations are run on, and the form as it opens."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from taskdistill.configs.experiment import Experiment

NUM_SPECIES = 25


class Task(NamedTuple):
    """What is learnt in a demonstration."""

    preset: str
    drawn: str
    """Folder of the images, without the number of the world."""
    title: str
    report: str
    """The page, likewise."""
    per_class: Mapping[str, int]
    """Pictures of each species."""
    preset_of_yours: str
    """What to go on with."""
    num_labelled: int = 0
    """Training pictures whose labels are given away; 0: all."""


SPECIES = Task(
    preset="miniature",
    drawn="birds",
    title="Birds",
    report="report",
    per_class={"train_per_class": 8, "val_per_class": 4, "test_per_class": 20},
    preset_of_yours="small-cpu",
)
PARTS = Task(
    preset="miniature-segmentation",
    drawn="parts",
    title="Parts of the birds",
    report="report-parts",
    per_class={"train_per_class": 4, "val_per_class": 1, "test_per_class": 12},
    preset_of_yours="segmentation-small-cpu",
    num_labelled=10,
)
TASKS = {"classification": SPECIES, "segmentation": PARTS}
"""By the problem that is shown."""
PRESET = SPECIES.preset
DEMO = Path("demo")
"""Where worlds are drawn if nobody says where."""


def folder_of(place: Path, world: int, task: Task = SPECIES) -> Path:
    """Return where the pictures of a world lie in a folder for worlds."""
    return place / f"{task.drawn}-{world}"


def draw_world(experiment: Experiment, world: int, task: Task = SPECIES) -> None:
    """Write the dataset an experiment names, unless it is there with as many pictures."""
    birds = Path(experiment.data.path)
    table = birds / experiment.data.table
    num_pictures = NUM_SPECIES * sum(task.per_class.values())
    if not table.is_file() or len(table.read_text(encoding="utf-8").splitlines()) != num_pictures + 1:
        from taskdistill.tasks.miniature.dataset import write_dataset  # torch, only when there is something to draw

        write_dataset(birds, seed=world, num_labelled=task.num_labelled, **task.per_class)


def draw_where_missing(experiment: Experiment) -> None:
    """Draw the world that the presets of the miniature name, where an experiment is about it and it is not there."""
    for task in TASKS.values():
        folder = folder_of(DEMO, 0, task)
        if Path(experiment.data.path) == folder and not folder.exists():
            draw_world(experiment, 0, task)
