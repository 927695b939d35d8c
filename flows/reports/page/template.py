"""Writes sections as a page: one file that runs no script and asks nothing of any network."""

from collections.abc import Sequence
from pathlib import Path

import jinja2
from markupsafe import Markup

from taskdistill.flows.reports.page.blocks import Section, plain
from taskdistill.tasks.pages import write_page


def write_sections(path: Path, title: str, made_of: str, sections: Sequence[Section]) -> None:
    """Write a page, all of it or nothing; `made_of` is what tells it from one that would be another."""
    here = jinja2.PackageLoader("taskdistill.flows.reports", "page")
    environment = jinja2.Environment(
        loader=here, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    style, _, _ = here.get_source(environment, "style.css")
    template = environment.get_template("page.html.jinja")
    path.parent.mkdir(parents=True, exist_ok=True)
    ours = Markup(style)  # a style sheet has no text of a user's
    named = {"title": plain(title), "made_of": made_of, "style": ours, "sections": list(sections)}
    write_page(path, template.render(**named))
