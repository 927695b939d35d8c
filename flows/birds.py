"""The embedded world of birds as a dataset on disk: what `miniature` is run on where nobody has images yet."""

from pathlib import Path

from configs.experiment import Experiment

PRESET = "miniature"
PER_CLASS = {"train_per_class": 8, "val_per_class": 4, "test_per_class": 20}
"""Pictures of each species."""
NUM_SPECIES = 25


def folder_of(place: Path, world: int) -> Path:
    """Return where the pictures of a world lie in a folder for worlds."""
    return place / f"birds-{world}"


def draw_world(experiment: Experiment, world: int) -> None:
    """Write the dataset an experiment names, unless it is there with as many pictures."""
    birds = Path(experiment.data.path)
    table = birds / experiment.data.table
    num_pictures = NUM_SPECIES * sum(PER_CLASS.values())
    if not table.is_file() or len(table.read_text(encoding="utf-8").splitlines()) != num_pictures + 1:
        from tasks.miniature.dataset import write_dataset  # torch, only when there is something to draw

        write_dataset(birds, seed=world, **PER_CLASS)
