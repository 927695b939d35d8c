"""What the shell offers at the press of a key: presets, stages, artifacts, settings; `--install-completion` sets it up.

Nothing here may fail or be slow: a shell shows neither errors nor a reason to wait.
"""

from collections.abc import Iterator
from pathlib import Path

from taskdistill.configs.errors import UserError
from taskdistill.configs.experiment import Experiment
from taskdistill.configs.fields import Kind, dotted_names
from taskdistill.configs.study_loading import study_names
from taskdistill.flows.presets import preset_choices
from taskdistill.storage.store import ArtifactStore
from taskdistill.tasks.catalog import STAGES


def presets(incomplete: str) -> list[str]:
    """Return the presets that begin so, and the YAML files."""
    return [name for name in preset_choices() if name.startswith(incomplete)] + list(_yaml_files(incomplete))


def studies(incomplete: str) -> list[str]:
    """Return the studies that begin so, and what they may be made from."""
    return [name for name in study_names() if name.startswith(incomplete)] + presets(incomplete)


def stages(incomplete: str) -> list[str]:
    """Return the stages that begin so."""
    return [stage.name for stage in STAGES if stage.name.startswith(incomplete)]


def kinds(incomplete: str) -> list[str]:
    """Return the kinds of artifact that begin so."""
    return [kind for kind in dict.fromkeys(stage.output for stage in STAGES) if kind.startswith(incomplete)]


def references(incomplete: str) -> list[str]:
    """Return the labels and, after a kind and @, the references that begin so."""
    try:
        store = ArtifactStore.from_env()
        found = [name for name in store.labels() if name.startswith(incomplete)]
        kind = incomplete.partition("@")[0]
        if kind in {stage.output for stage in STAGES}:
            found += [ref.short for ref in store.references(kind) if str(ref).startswith(incomplete)]
    except (UserError, OSError):
        return []
    return found


def settings(incomplete: str) -> list[str]:
    """Return the settings that begin so, as `--set` writes them."""
    return [name for name in dotted_names(Kind(Experiment)) if name.startswith(incomplete)]


def _yaml_files(incomplete: str) -> Iterator[str]:
    folder, begin = Path(incomplete).parent, Path(incomplete).name if not incomplete.endswith("/") else ""
    try:
        found = sorted((folder if not incomplete.endswith("/") else Path(incomplete)).iterdir())
    except OSError:
        return
    for path in found:
        if path.name.startswith(begin) and path.suffix in (".yaml", ".yml") and not path.name.startswith("."):
            yield str(path)
