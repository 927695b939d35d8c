"""A run as one HTML page: scores, the pictures that its stages drew, what to do next.

The pictures are those that lie in the artifacts, embedded, so that the page can be sent to somebody.
"""

import html
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from PIL import Image

from taskdistill.flows.pipeline.chain import ModelResult
from taskdistill.flows.pipeline.dataset_words import words_of_results
from taskdistill.flows.reports.chosen import choices_of, trials_table
from taskdistill.flows.reports.classes import class_tables
from taskdistill.flows.reports.differences import difference_tables
from taskdistill.flows.reports.pictures import pictures_of
from taskdistill.flows.reports.remarks import remarks
from taskdistill.flows.reports.results import score_notes, score_table
from taskdistill.flows.reports.tables import as_html
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.tasks.catalog import STAGES
from taskdistill.tasks.pages import as_jpeg, image_tag, page, write_page
from taskdistill.tasks.stage import Pictures

KINDS = list(dict.fromkeys(pictures for stage in STAGES for pictures in stage.pictures))
"""Of pictures: the order of their sections."""


def write_report(
    path: Path,
    title: str,
    results: Sequence[ModelResult],
    made: Iterable[ArtifactRef],
    store: ArtifactStore,
    next_commands: Sequence[str],
) -> None:
    """Write the page of a finished run; `made` are all its artifacts."""
    dataset = "\n".join(words_of_results(results, store))
    sections = [
        _score_html(results, store, title),
        _section("Images", "", [_text(dataset)] if dataset else []),
        *_class_sections(results, store),
        *_trial_sections(results, store),
        *_picture_sections(results, made, store),
        _section("Next", "", [_text(command) for command in next_commands]),
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_page(path, page(title, _STYLE, "\n".join(filter(None, sections))))


def _score_html(results: Sequence[ModelResult], store: ArtifactStore, title: str) -> str:
    parts = [as_html(score_table(results, store, title)), _paragraph(" ".join(score_notes(results, store)))]
    for table, notes in difference_tables(results, store):
        parts += [as_html(table), _paragraph(notes)]
    return "".join([*parts, *map(_paragraph, remarks(results, store))])


def _class_sections(results: Sequence[ModelResult], store: ArtifactStore) -> Iterator[str]:
    for table, notes in class_tables(results, store):
        yield _section("Classes", html.escape(notes), [as_html(table)])


def _trial_sections(results: Sequence[ModelResult], store: ArtifactStore) -> Iterator[str]:
    for ref, models in choices_of(results, store).items():
        yield _section(f"Settings tried: {html.escape(models)}", "", [as_html(trials_table(store, ref))])


def _picture_sections(
    results: Sequence[ModelResult], made: Iterable[ArtifactRef], store: ArtifactStore
) -> Iterator[str]:
    """One section for each kind of picture, in the order in which the catalog names them."""
    captions = {ref: _caption(result) for result in results for ref in (result.artifact, result.evaluation)}
    figures, legends = defaultdict[Pictures, list[str]](list), defaultdict[Pictures, list[str]](list)
    for ref in dict.fromkeys([*made, *captions]):
        for pictures, paths in pictures_of(ref, store):
            figures[pictures] += [_figure(path, ref, captions.get(ref, ""), pictures) for path in paths]
            legends[pictures] += _legends(pictures, store.path(ref))
    for pictures in sorted(figures, key=KINDS.index):
        parts = figures[pictures] + list(dict.fromkeys(legends[pictures]))  # once, for all models have the same
        yield _section(pictures.heading, pictures.words, parts)


def _caption(result: ModelResult) -> str:
    return result.model if result.seed is None else f"{result.model}, seed {result.seed}"


def _figure(path: Path, ref: ArtifactRef, caption: str, kind: Pictures) -> str:
    picture = image_tag(*_embedded(path, kind), alt=f"{path.name} of {ref.short}")
    shown = " class=wide" if kind.is_wide else ""
    return f"<figure{shown}>{picture}<figcaption>{html.escape(caption)}</figcaption></figure>" if caption else picture


def _embedded(path: Path, kind: Pictures) -> tuple[bytes, str]:
    """Return a picture as it is; of sheets full of photographs, some for each model, a tenth of the bytes."""
    if not kind.is_wide:
        return path.read_bytes(), "image/png"
    with Image.open(path) as opened:
        return as_jpeg(opened.convert("RGB"), quality=85), "image/jpeg"


def _legends(pictures: Pictures, folder: Path) -> list[str]:
    paths = sorted(folder.glob(pictures.legend)) if pictures.legend else []
    return [_text(path.read_text(encoding="utf-8")) for path in paths]


def _paragraph(words: str) -> str:
    return f"<p>{html.escape(words)}</p>"


def _text(words: str) -> str:
    return f"<pre>{html.escape(words)}</pre>"


def _section(heading: str, words: str, parts: Sequence[str]) -> str:
    if not parts:
        return ""
    return f"<h2>{heading}</h2>" + (f"<p>{words}</p>" if words else "") + f"<div>{''.join(parts)}</div>"


_STYLE = """\
body { font: 16px system-ui, sans-serif; margin: 2em auto; max-width: 1200px; padding: 0 1em; color: #222; }
table { border-collapse: collapse; }
td, th { padding: .3em .9em; border-bottom: 1px solid #ddd; text-align: right; }
td:nth-child(-n+2), th:nth-child(-n+2) { text-align: left; }
div { display: flex; flex-wrap: wrap; gap: 20px; } figure { margin: 0; } figcaption { text-align: center; }
img { max-width: 100%; } figure img { max-width: 560px; }
figure.wide img { max-width: 100%; } pre { background: #f4f4f4; padding: .6em 1em; }"""
