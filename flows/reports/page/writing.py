"""Puts the sections of a page together and writes it: one file that runs no script and asks nothing of any network."""

from collections.abc import Callable
from pathlib import Path

import jinja2
from markupsafe import Markup

from taskdistill.flows.reports.page.blends import blends
from taskdistill.flows.reports.page.blocks import Section, plain
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
from taskdistill.flows.reports.page.verdict import verdict
from taskdistill.tasks.pages import write_page

SECTIONS: tuple[Callable[[Subject], Section | None], ...] = (
    verdict, dataset, scores, curves, by_class, confusion, mistakes, sureness, agreement, size, feature_space,
    patches, blends, overlays,
    lineage, tried, costs, again,
)  # fmt: skip
"""In the order of the page; each leaves itself out where a run has nothing for it."""


def write_report(path: Path, subject: Subject) -> None:
    """Write the page of a run. CorruptArtifactError where something it shows is damaged."""
    found = [section for make in SECTIONS if (section := make(subject))]
    here = jinja2.PackageLoader("taskdistill.flows.reports", "page")
    environment = jinja2.Environment(
        loader=here, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    style, _, _ = here.get_source(environment, "style.css")
    template = environment.get_template("page.html.jinja")
    path.parent.mkdir(parents=True, exist_ok=True)
    ours = Markup(style)  # a style sheet has no text of a user's
    named = {"title": plain(subject.title), "made_of": subject.fingerprint, "style": ours, "sections": found}
    write_page(path, template.render(**named))
