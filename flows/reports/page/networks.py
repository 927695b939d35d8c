"""The networks of a run's models, to show images to them: those of students and of finetuned teachers lie in the store,
those of probes are built from the weights that the run began with.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from taskdistill.flows.reports.page.subject import Subject
from taskdistill.storage.errors import NotInStoreError, SourceError
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore

if TYPE_CHECKING:
    from taskdistill.tasks.deploy.deployable import Deployable

WHOLE = ("model", "probe")
"""Kinds of artifacts that say all of a network, of a probe but for its pretrained weights."""


def network_of(subject: Subject, artifact: ArtifactRef) -> "Deployable":
    """Load the network of a model on the CPU; nothing is downloaded.

    Raises UserError where it is damaged or its weights are gone, and NotInStoreError where there is not one network,
    as of a mean of several teachers.
    """
    import torch  # seconds, only where something is to be computed

    from taskdistill.tasks.deploy.deployable import Deployable
    from taskdistill.tasks.deploy.pretrained import probed_network

    ref, device = artifact_of_network(subject, artifact), torch.device("cpu")
    if ref.kind == "model":
        return Deployable.load(subject.store.path(ref), device)
    return probed_network(subject.store.path(ref), _weights(subject.store, ref), device)


def artifact_of_network(subject: Subject, artifact: ArtifactRef) -> ArtifactRef:
    """Return the model or probe that an artifact of a table of scores is, or whose logits it is; NotInStoreError where
    there is none.
    """
    if artifact.kind in WHOLE:
        return artifact
    inputs = subject.store.manifest(artifact).input_refs
    found = next((inputs[kind] for kind in WHOLE if kind in inputs), None)
    if found is None or found not in subject.store:
        raise NotInStoreError(f"{artifact.short} is not what one network of this store says")
    return found


def _weights(store: ArtifactStore, ref: ArtifactRef) -> dict[str, str]:
    """Return the files with weights that the run which made an artifact was told of, with their digests."""
    found = {}
    for file in _files(store.manifest(ref).provenance.get("settings", {})):
        try:
            found[file] = store.sources.digest(file)
        except (NotInStoreError, SourceError):  # moved away since: another may be the one
            continue
    return found


def _files(settings: Mapping[str, Any]) -> Iterator[str]:
    sections = [settings.get("teacher", {}), settings.get("student", {}), *settings.get("more_teachers", [])]
    yield from dict.fromkeys(section["file"] for section in sections if section.get("file"))
