"""How long each network of a run takes to answer one image, measured while the page is written: by then nothing else
of the run is at work, and steps that ran side by side would have slowed each other.
"""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from taskdistill.configs.errors import UserError
from taskdistill.flows.pipeline.chain import ModelResult
from taskdistill.flows.reports.page.blocks import Table, plain
from taskdistill.flows.reports.page.networks import artifact_of_network, network_of
from taskdistill.flows.reports.page.subject import Subject
from taskdistill.storage.weights import ModelDescription
from taskdistill.tasks.cores import are_shared, beside_this, num_cores

if TYPE_CHECKING:
    from taskdistill.tasks.export.latency import Latency


class Timed(NamedTuple):
    """Latencies of the models of a run; those that are the same network share one."""

    by_model: dict[str, "Latency"]
    missing: list[str]
    """Sentences about models whose latency is not known."""
    beside: float
    """How many threads of other programs wanted a processor meanwhile."""

    @property
    def table(self) -> Table:
        """The latencies, and how they were measured."""
        return Table(["model", "median ms", "95 % within, ms", "times"], list(self._rows()), self._how())

    def _rows(self) -> Iterator[list[str]]:
        for latency in dict.fromkeys(self.by_model.values()):
            models = [model for model, one in self.by_model.items() if one == latency]
            yield [", ".join(models), f"{latency.p50_ms:.1f}", f"{latency.p95_ms:.1f}", str(latency.passes)]

    def _how(self) -> str:
        threads = next(iter(self.by_model.values())).threads
        return (
            "Latency of one image, from uint8 pixels in memory, of the size that the network sees, to its answer: on "
            f"this machine's CPU with {threads} thread{'s' if threads != 1 else ''}, warm, measured while this page "
            f"was written, when nothing else of the run was at work{self._but(threads)}. 'taskdistill latency' "
            "measures again, also other batches, a GPU and exported forms."
        )

    def _but(self, threads: int) -> str:
        """Say so where other programs had the processors too."""
        if not are_shared(threads, self.beside):
            return ""
        return (
            f"; but other programs were ({self.beside:.1f} threads beside this one on {os.cpu_count()} processors), so "
            "these are not the figures of an idle machine"
        )


def timed(subject: Subject) -> Timed:
    """Measure the networks of a run, each once and one after the other, a second each."""
    from taskdistill.tasks.export.latency import measured_alone  # torch, seconds

    of_networks: dict[str, Latency] = {}
    by_model: dict[str, Latency] = {}
    missing, beside = list[str](), 0.0
    for model, results in subject.by_model.items():
        try:
            kind = _kind_of(subject, results[0])
            if kind not in of_networks:
                network, beside = network_of(subject, results[0].artifact), max(beside, beside_this())
                of_networks[kind] = measured_alone(network, num_cores())
        except UserError as error:  # weights that are gone, or a mean of several teachers
            missing.append(f"The latency of {model} is not known: {plain(str(error))}")
        else:
            by_model[model] = of_networks[kind]
    return Timed(by_model, missing, beside)


def _kind_of(subject: Subject, result: ModelResult) -> str:
    """Return what is the same of networks that differ in the values of their weights alone."""
    description = ModelDescription.read(subject.store.path(artifact_of_network(subject, result.artifact)))
    return repr((description.backbone, description.preprocessing, description.blocks, description.head))
