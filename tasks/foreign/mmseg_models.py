"""Source "mmseg": a segmentor of mmsegmentation, from its configuration and a plain state dict.

Shape letters: N images, F its classes, h w cells of a map.
"""

from pathlib import Path

from taskdistill.configs.choices import load
from taskdistill.configs.foreign import ForeignTeacher
from taskdistill.tasks.foreign.network import ForeignModel

_ROOM = {"teacher": "taskdistill.tasks.openmmlab.teacher:load_teacher"}
"""By name: mmsegmentation is large, need not be installed, and is imported by nobody who does not ask for it."""


def build_foreign(teacher: ForeignTeacher) -> ForeignModel:
    """Build and fill the segmentor; raises ModelError or MissingPackageError as `tasks.openmmlab.teacher` does.

    It is shown images as R, G and B, and turns them round itself where it was trained on B, G and R.
    """
    config, weights = (Path(place).expanduser() for place in (teacher.config_file, teacher.weights))
    network = load(_ROOM, "teacher")(config, weights)
    return ForeignModel(network, network.classes, network.mean, network.std)
