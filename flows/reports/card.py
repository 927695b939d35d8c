"""The card of a finished model, Markdown with the head that hubs read: what it is, what it was made from and under
which licences, how good it is beside its control, which classes it fails on, and how to make it again.
"""

import html
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from taskdistill.configs.loading import dump_preset
from taskdistill.flows.pipeline.chain import ModelResult
from taskdistill.flows.pipeline.comparing import declared_metrics
from taskdistill.flows.pipeline.dataset_words import dataset_words
from taskdistill.flows.reports.classes import class_tables
from taskdistill.flows.reports.differences import difference_tables
from taskdistill.flows.reports.failing import failing
from taskdistill.flows.reports.lineage import compared_with, licences_of
from taskdistill.flows.reports.results import score_notes, score_table
from taskdistill.flows.reports.tables import as_markdown
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.summaries import EvaluationSummary, IngestSummary, ModelSummary
from taskdistill.storage.weights import ModelDescription
from taskdistill.tasks.models.licences import Licence


def card_of(store: ArtifactStore, ref: ArtifactRef, temperature: float) -> str:
    """Return what the lineage tells of a model, Markdown; no path of this computer is in it."""
    description = ModelDescription.read(store.path(ref))
    results = compared_with(store, ref)
    sections = {
        "What it is": _is(store, ref, description, temperature),
        "Data": _data(store, ref),
        "Licences": [f"- {_plain(licence.sentence())}" for licence in licences_of(store, ref)],
        "Scores": _scores(results, store),
        "Classes": _classes(results, store, description.classes),
        "How to make it again": _again(store, ref),
    }
    return "\n\n".join(f"## {title}\n\n" + "\n".join(lines) for title, lines in sections.items() if lines)


def card_head(store: ArtifactStore, ref: ArtifactRef) -> dict[str, Any]:
    """Return what hubs read: licence, base model, scores."""
    description = ModelDescription.read(store.path(ref))
    head: dict[str, Any] = {"license": _licence(licences_of(store, ref))}
    if description.backbone.get("weights") == "hub":
        head["base_model"] = f"timm/{description.backbone['name']}"
    head["tags"] = ["taskdistill", f"image-{description.problem}"]
    if results := compared_with(store, ref)[:1]:
        head["model-index"] = [{"name": f"taskdistill-{ref.fingerprint[:12]}", "results": _index(results[0], store)}]
    return head


def _licence(licences: Sequence[Licence]) -> str:
    """Return the one licence of all parts, or how hubs call several, or unknown ones."""
    tags = {licence.tag for licence in licences}
    return tags.pop() if len(tags) == 1 and "" not in tags else "unknown" if "" in tags else "other"


def _index(result: ModelResult, store: ArtifactStore) -> list[dict[str, Any]]:
    manifest = store.manifest(result.evaluation)
    summary, images = EvaluationSummary.of(manifest), manifest.input_refs.get("images")
    problem = manifest.recipe["config"].get("problem", "classification")
    metrics = declared_metrics([result], store)
    return [
        {
            "task": {"type": f"image-{problem}"},
            "dataset": {"name": "own images", "type": "own", "split": split, "revision": images.fingerprint[:12]},
            "metrics": [
                {"type": name, "name": metrics[name].heading if name in metrics else name, "value": value}
                for name, value in scores.items()
            ],
        }
        for split, scores in summary.scores.items() if images
    ]  # fmt: skip


def _is(store: ArtifactStore, ref: ArtifactRef, description: ModelDescription, temperature: float) -> list[str]:
    manifest = store.manifest(ref)
    summary, see = ModelSummary.of(manifest), description.preprocessing
    height, width = description.size
    taught = ""
    if summary.temperature is not None:
        taught = f", distilled at temperature {summary.temperature:g} with alpha {summary.alpha:g}"
    synthetic = f", and {summary.synthetic_images} images without labels" if summary.synthetic_images else ""
    lines = [
        f"- {ref.short}, made by taskdistill (stage {manifest.recipe['stage']}, seed "
        f"{manifest.recipe['config'].get('seed', 0)}{taught})",
        f"- {description.problem} of {len(description.classes)} classes: {_listed(description.classes)}",
        f"- network: {_plain(str(description.backbone['name']))}, head {description.head!r} on "
        f"{', '.join(description.blocks)}",
        f"- it sees {height} x {width} pixels (height x width), cut by {see['crop_mode']!r}, resized by "
        f"{see['interpolation']}",
        f"- trained for {summary.steps} steps on {summary.images} images{synthetic}",
    ]
    return [*lines, f"- its logits are divided by {temperature:.4g} before they are probabilities"]


def _listed(classes: Sequence[str], at_most: int = 30) -> str:
    more = f" and {len(classes) - at_most} more" if len(classes) > at_most else ""
    return ", ".join(map(_plain, classes[:at_most])) + more


def _data(store: ArtifactStore, ref: ArtifactRef) -> list[str]:
    images = store.manifest(ref).input_refs.get("images")
    if images is None or images not in store:
        return ["The images are no longer in the store that it was exported from."]
    lines = dataset_words(IngestSummary.of(store.manifest(images)))
    return [f"Revision {images.short}.", "", *_quoted(lines)]


def _quoted(lines: Sequence[str], language: str = "") -> list[str]:
    """Return lines as they are, fenced so that nothing in them is taken for Markdown."""
    longest = max(
        (len(run) for line in lines for run in line.replace("`", " `").split(" ") if set(run) == {"`"}), default=0
    )
    fence = "`" * max(3, longest + 1, *(line.count("`") + 1 for line in lines))
    return [f"{fence}{language}", *lines, fence]


def _scores(results: Sequence[ModelResult], store: ArtifactStore) -> list[str]:
    if not results:
        return ["It was not evaluated, or its evaluation is no longer in the store."]
    rest = sorted(results[1:], key=lambda result: result.seed is not None)
    shown = [*rest, results[0]]
    lines = [as_markdown(score_table(shown, store, "")), "", " ".join(score_notes(shown, store))]
    for table, notes in difference_tables(shown, store):
        lines += ["", as_markdown(table), "", notes.replace("*:", "\\*:")]
    return lines


def _classes(results: Sequence[ModelResult], store: ArtifactStore, classes: Sequence[str]) -> list[str]:
    if not results:
        return []
    if tables := class_tables(results[:1], store):
        return [line for found in tables for line in (as_markdown(found.table), "", found.notes)]
    return failing(results[0], store, [_plain(name) for name in classes])


def _again(store: ArtifactStore, ref: ArtifactRef) -> list[str]:
    manifest = store.manifest(ref)
    made_by = manifest.provenance
    packages = ", ".join(f"{name} {version}" for name, version in made_by.get("packages", {}).items())
    # Of the machine, not of the model.
    settings = {name: _without_places(each) for name, each in made_by.get("settings", {}).items() if name != "runtime"}
    if not settings:
        return []
    return [
        "Save this as `preset.yaml`, put your own places for `/path/to/...`, then: `taskdistill run preset.yaml`.",
        "",
        *_quoted(dump_preset(settings).splitlines(), "yaml"),
        "",
        f"Made {made_by.get('made', '')[:10]} by commit {made_by.get('commit', '')[:12]} with {packages}.",
    ]


def _without_places(value: Any) -> Any:
    """Return settings whose places on a disk are left out but for their last part: nobody else has them."""
    match value:
        case Mapping():
            return {name: _without_places(each) for name, each in value.items()}
        case list() | tuple():
            return [_without_places(each) for each in value]
        case str() if value.startswith(("/", "~", "\\")) or PurePath(value).is_absolute():
            return f"/path/to/{PurePath(value).name}"
    return value


def _plain(text: str) -> str:
    """Return a user's text on one line, in which nothing is taken for Markdown or HTML."""
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return "".join(f"\\{letter}" if letter in "\\`*_[]|#~" else letter for letter in html.escape(line, quote=False))


def warnings_of(store: ArtifactStore, ref: ArtifactRef) -> Iterator[str]:
    """Yield what stands against commercial use of a model."""
    yield from filter(None, (licence.warning() for licence in licences_of(store, ref)))
