"""Latencies of a model in each of its forms, as a table and in words."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rich import box
from rich.table import Table

from taskdistill.tasks.cores import num_cores
from taskdistill.tasks.export.latency import Latency, busy, exported_form, form_in_store, measured

BUSY = 0.3
"""Processes that want a processor beside this one: beyond it the figures are not those of an idle machine."""


class Latencies(NamedTuple):
    """What was measured, and how busy the machine was before."""

    latencies: list[Latency]
    load: float

    def notes(self, size: tuple[int, int]) -> list[str]:
        """Say what the numbers mean."""
        said = [
            f"From uint8 images of {size[0]} x {size[1]} pixels in memory to answers in memory: resizing, network, "
            "answer; warm, one batch after the other. p50: median; p95: 95 of 100 are faster."
        ]
        if self.load > BUSY:
            said.append(
                f"Other programs were at work before (load {self.load:.1f} on {num_cores()} processors): these are "
                "not the figures of an idle machine. Measure again when it is; until then the rows of one thread tell "
                "most, and compare p50 only"
            )
        return said


def measured_forms(artifact: Path, exported: Sequence[Path], size: tuple[int, int]) -> Latencies:
    """Measure a model as it lies in the store and in exported folders; raises as `exported_form` and `measured` do."""
    load = busy()
    forms = [form_in_store(artifact), *map(exported_form, exported)]
    return Latencies([one for form in forms for one in measured(form, *size)], load)


def latency_table(latencies: Sequence[Latency]) -> Table:
    """Return a line for each form, device, number of threads and batch."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for column in ("form", "device"):
        table.add_column(column, no_wrap=True)
    for column in ("threads", "batch", "p50 ms", "p95 ms"):
        table.add_column(column, justify="right", no_wrap=True)
    for one in latencies:
        table.add_row(
            one.form, one.device, str(one.threads or ""), str(one.batch), f"{one.p50_ms:.1f}", f"{one.p95_ms:.1f}"
        )
    return table
