"""Finished models of the shapes, to be exported, and processes that know nothing of this program."""

import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from taskdistill.configs.models import Backbone
from taskdistill.storage.image_set import ImageSet
from taskdistill.storage.manifest import ArtifactRef
from tests.conftest import Bench
from tests.tasks.openmmlab.models import finished_model

CONVOLUTIONAL = Backbone(name="test_resnet", weights="random", input_px=32)
TRANSFORMER = Backbone(name="test_vit", weights="random", input_px=48)
SURE = 200.0
"""Its head is untrained: so much larger, its logits are as large as those of a trained one."""


def classifier(bench: Bench, backbone: Backbone = CONVOLUTIONAL, blocks: Sequence[str] = ("last",)) -> ArtifactRef:
    """Commit a model that names one of the three shapes."""
    return finished_model(
        bench.store, backbone, problem="classification", blocks=list(blocks), classes=images_of(bench).classes,
        sure=SURE, inputs={"images": bench.images},
    )  # fmt: skip


def images_of(bench: Bench) -> ImageSet:
    return ImageSet.open(bench.path(bench.images))


def alone(code: str, folder: Path, *arguments: str, packages: Sequence[str] = ()) -> str:
    """Run code in a folder, in a process that finds none of this program; with `packages`, nothing but these."""
    environment = {"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1"}
    flags = ["-I"]
    if packages:
        links = folder.parent / "packages"
        links.mkdir()
        for name in packages:
            place = Path(next(iter(find_spec(name).submodule_search_locations)))
            for found in (place, place.with_name(f"{name}.libs")):
                if found.exists():
                    (links / found.name).symlink_to(found)
        code = f"import sys; sys.path.append({str(links)!r})\n{code}"
        flags = ["-I", "-S"]
    done = subprocess.run(
        [sys.executable, *flags, "-c", code, *arguments], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
