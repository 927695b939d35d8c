"""Puts the sections of the page of a run together."""

from collections.abc import Callable
from pathlib import Path

from taskdistill.flows.reports.page.blends import blends
from taskdistill.flows.reports.page.blocks import Section
from taskdistill.flows.reports.page.by_class import by_class
from taskdistill.flows.reports.page.confusion import confusion
from taskdistill.flows.reports.page.curves import curves
from taskdistill.flows.reports.page.dataset import dataset
from taskdistill.flows.reports.page.drawn_by_stages import overlays
from taskdistill.flows.reports.page.feature_space import feature_space
from taskdistill.flows.reports.page.lineage import lineage
from taskdistill.flows.reports.page.making import again, costs, tried
from taskdistill.flows.reports.page.mistakes import agreement, mistakes
from taskdistill.flows.reports.page.patches import patches
from taskdistill.flows.reports.page.scores import scores
from taskdistill.flows.reports.page.size import size
from taskdistill.flows.reports.page.subject import Subject
from taskdistill.flows.reports.page.sureness import sureness
from taskdistill.flows.reports.page.template import write_sections
from taskdistill.flows.reports.page.verdict import verdict

SECTIONS: tuple[Callable[[Subject], Section | None], ...] = (
    verdict, dataset, scores, curves, by_class, confusion, mistakes, sureness, agreement, size, feature_space,
    patches, blends, overlays,
    lineage, tried, costs, again,
)  # fmt: skip
"""In the order of the page; each leaves itself out where a run has nothing for it."""


def write_report(path: Path, subject: Subject) -> None:
    """Write the page of a run. CorruptArtifactError where something it shows is damaged."""
    found = [section for make in SECTIONS if (section := make(subject))]
    write_sections(path, subject.title, subject.fingerprint, found)
