"""Drawing the birds that the form as it opens is run on, once for all runs of a host."""

import fcntl
from pathlib import Path

from taskdistill.configs.experiment import Experiment
from taskdistill.flows.birds import draw_world
from taskdistill.flows.deployed.short_form import birds_folder


def draw_birds(experiment: Experiment) -> None:
    """Draw them where an experiment is about them and they are not there; of runs that start at once, one does."""
    folder = birds_folder()
    if Path(experiment.data.path) != folder:
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        draw_world(experiment, 0)
