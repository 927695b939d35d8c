"""A run as one HTML page: scores, blends between their parents, learning curves, confusion matrices, what to do next.

The pictures are those that lie in the artifacts, embedded, so that the page can be sent to somebody.
"""

import base64
import html
from collections.abc import Iterable, Sequence
from pathlib import Path

from flows.pipeline.chain import ModelResult
from flows.pipeline.dataset_words import words_of_results
from flows.reports.remarks import remarks
from flows.reports.results import score_notes, score_table
from storage.files import atomic
from storage.manifest import ArtifactRef
from storage.store import ArtifactStore

CONTACT_SHEET, CURVE, CONFUSION = "contact-sheet.png", "history.png", "test-confusion.png"
CLASSES = "test-confusion-classes.txt"
"""Which classes the numbers in a confusion matrix stand for, where names could not be drawn."""


def write_report(
    path: Path,
    title: str,
    results: Sequence[ModelResult],
    made: Iterable[ArtifactRef],
    store: ArtifactStore,
    next_commands: Sequence[str],
) -> None:
    """Write the page of a finished run; `made` are all its artifacts."""
    blends = [picture for ref in made for picture in _pictures(store, ref, CONTACT_SHEET)]
    curves = [figure for result in results for figure in _of_model(store, result, result.artifact, CURVE)]
    confusions = [figure for result in results for figure in _of_model(store, result, result.evaluation, CONFUSION)]
    classes = [f"<pre>{html.escape(text)}</pre>" for text in _numbered_classes(results, store)]
    dataset = "\n".join(words_of_results(results, store))
    sections = [
        _score_html(results, store, title),
        _section("Images", "", [f"<pre>{html.escape(dataset)}</pre>"] if dataset else []),
        _section("Blends", "Each between its two parents; all of them are in blends.html of the artifact.", blends),
        _section("Learning curves", "", curves),
        _section("Confusion on the test split", "Rows are the true classes.", confusions + classes),
        _section("Next", "", [f"<pre>{html.escape(command)}</pre>" for command in next_commands]),
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as partial:
        page = _PAGE.format(title=html.escape(title), sections="\n".join(filter(None, sections)))
        partial.write_text(page, encoding="utf-8", errors="xmlcharrefreplace")


def _score_html(results: Sequence[ModelResult], store: ArtifactStore, title: str) -> str:
    columns = score_table(results, store, title).columns
    head = "".join(f"<th>{html.escape(str(column.header))}</th>" for column in columns)
    lines = zip(*(map(str, column.cells) for column in columns), strict=True)
    rows = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in line) + "</tr>" for line in lines)
    words = [" ".join(score_notes(results, store)), *remarks(results, store)]
    return f"<table><tr>{head}</tr>{rows}</table>" + "".join(f"<p>{html.escape(text)}</p>" for text in words)


def _of_model(store: ArtifactStore, result: ModelResult, ref: ArtifactRef, name: str) -> list[str]:
    seed = "" if result.seed is None else f", seed {result.seed}"
    return [
        f"<figure>{picture}<figcaption>{html.escape(result.model + seed)}</figcaption></figure>"
        for picture in _pictures(store, ref, name)
    ]


def _pictures(store: ArtifactStore, ref: ArtifactRef, name: str) -> list[str]:
    path = store.path(ref) / name
    if not path.is_file():
        return []
    data = base64.b64encode(path.read_bytes()).decode()
    return [f'<img src="data:image/png;base64,{data}" alt="{html.escape(f"{name} of {ref.short}")}">']


def _numbered_classes(results: Sequence[ModelResult], store: ArtifactStore) -> list[str]:
    """Return the list of numbered classes once, for all models have the same."""
    paths = [store.path(result.evaluation) / CLASSES for result in results]
    return list(dict.fromkeys(path.read_text(encoding="utf-8") for path in paths if path.is_file()))


def _section(heading: str, words: str, parts: Sequence[str]) -> str:
    if not parts:
        return ""
    return f"<h2>{heading}</h2>" + (f"<p>{words}</p>" if words else "") + f"<div>{''.join(parts)}</div>"


_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>
<style>
body {{ font: 16px system-ui, sans-serif; margin: 2em auto; max-width: 1200px; padding: 0 1em; color: #222; }}
table {{ border-collapse: collapse; }}
td, th {{ padding: .3em .9em; border-bottom: 1px solid #ddd; text-align: right; }}
td:nth-child(-n+2), th:nth-child(-n+2) {{ text-align: left; }}
div {{ display: flex; flex-wrap: wrap; gap: 20px; }} figure {{ margin: 0; }} figcaption {{ text-align: center; }}
img {{ max-width: 100%; }} figure img {{ max-width: 560px; }} pre {{ background: #f4f4f4; padding: .6em 1em; }}
</style>
<h1>{title}</h1>
{sections}
</html>
"""
