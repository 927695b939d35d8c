"""Weights that presets name and this machine lacks, and downloads of some that came to no end."""

import time
from collections.abc import Iterator
from pathlib import Path

from huggingface_hub.constants import HF_HUB_CACHE

from taskdistill.configs.errors import UserError
from taskdistill.configs.loading import load_experiment
from taskdistill.configs.models import Backbone
from taskdistill.flows.operation.finding import Finding
from taskdistill.storage.files import bytes_in_words

UNFINISHED_SECONDS = 600.0
"""Since its file last grew, until a download counts as one that nobody goes on with."""


def weights_findings(presets: Path) -> Iterator[Finding]:
    """Yield presets of one's own that cannot be read, and weights they name that are not on this machine."""
    for path in sorted(presets.glob("*.yaml")):
        try:
            experiment = load_experiment(str(path))
        except UserError as error:
            yield Finding(str(error), f"taskdistill plan {path}")
            continue
        for name, backbone in {**experiment.teachers, "student": experiment.student}.items():
            if missing := _missing_weights(backbone):
                what = f"the weights of the {name} {backbone.name} of {path.name} are not on this machine ({missing})"
                yield Finding(what, f"taskdistill run {path}   (where the hub can be reached, it downloads them)")


def _missing_weights(backbone: Backbone) -> str:
    if backbone.weights == "file":
        return "" if Path(backbone.file).expanduser().exists() else f"no file {backbone.file}"
    if backbone.weights == "random" or backbone.source != "timm":
        return ""
    from taskdistill.tasks.models.hub import lacks_weights  # takes seconds, and no preset may need it

    return f"not in {HF_HUB_CACHE}" if lacks_weights(backbone.name) else ""


def download_findings(cache: Path = Path(HF_HUB_CACHE)) -> Iterator[Finding]:
    """Yield downloads of weights that nobody goes on with."""
    for path in sorted(cache.glob("*/blobs/*.incomplete")):
        try:
            state = path.stat()
        except FileNotFoundError:  # it has just been finished
            continue
        if time.time() - state.st_mtime > UNFINISHED_SECONDS:
            model = path.parents[1].name.removeprefix("models--").replace("--", "/")
            what = f"a download of {model} stopped after {bytes_in_words(state.st_size)}, and takes room"
            yield Finding(f"{what}: the next run that needs it downloads it", f"rm {path}")
