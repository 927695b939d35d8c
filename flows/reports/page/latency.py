"""How long each network of a run takes to answer one image, measured while the page is written: by then nothing else
of the run is at work, and steps that ran side by side would have slowed each other.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from taskdistill.configs.errors import UserError
from taskdistill.flows.pipeline.chain import ModelResult
from taskdistill.flows.reports.page.blocks import Table, plain
from taskdistill.flows.reports.page.networks import artifact_of_network, network_of
from taskdistill.flows.reports.page.subject import Subject
from taskdistill.storage.weights import ModelDescription

if TYPE_CHECKING:
    from taskdistill.tasks.export.latency import Latency


class Timed(NamedTuple):
    """Latencies of the models of a run; those that are the same network share one."""

    by_model: dict[str, "Latency"]
    missing: list[str]
    """Sentences about models whose latency is not known."""


def timed(subject: Subject) -> Timed:
    """Measure the networks of a run, each once and one after the other, a second each."""
    of_networks: dict[str, Latency] = {}
    found = Timed({}, [])
    for model, results in subject.by_model.items():
        try:
            kind = _kind_of(subject, results[0])
            of_networks[kind] = of_networks.get(kind) or _measured(subject, results[0])
        except UserError as error:  # weights that are gone, or a mean of several teachers
            found.missing.append(f"The latency of {model} is not known: {plain(str(error))}")
        else:
            found.by_model[model] = of_networks[kind]
    return found


def _kind_of(subject: Subject, result: ModelResult) -> str:
    """Return what is the same of networks that differ in the values of their weights alone."""
    description = ModelDescription.read(subject.store.path(artifact_of_network(subject, result.artifact)))
    return repr((description.backbone, description.preprocessing, description.blocks, description.head))


def _measured(subject: Subject, result: ModelResult) -> "Latency":
    from taskdistill.tasks.export.latency import measured_alone  # torch, seconds

    return measured_alone(network_of(subject, result.artifact))


def latency_table(by_model: dict[str, "Latency"]) -> Table:
    """Return the latencies, and how they were measured."""
    return Table(["model", "median ms", "95 % within, ms", "times"], list(_rows(by_model)), _how(by_model))


def _rows(by_model: dict[str, "Latency"]) -> Iterator[list[str]]:
    for latency in dict.fromkeys(by_model.values()):
        models = [model for model, one in by_model.items() if one == latency]
        yield [", ".join(models), f"{latency.p50_ms:.1f}", f"{latency.p95_ms:.1f}", str(latency.passes)]


def _how(by_model: dict[str, "Latency"]) -> str:
    threads = next(iter(by_model.values())).threads
    return (
        "Latency of one image, from uint8 pixels in memory, of the size that the network sees, to its answer: on this "
        f"machine's CPU with {threads} thread{'s' if threads != 1 else ''}, warm, measured while this page was "
        "written, when nothing else of the run was at work. 'taskdistill latency' measures other batches, a GPU and "
        "exported forms."
    )
