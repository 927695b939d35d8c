"""Where images lie for teacher and students: their features seen along two principal components, as in the paper's
first figure.

What the teacher and the untrained student say is cached in the store. Trained students are shown some images, once: the
vectors are kept beside the page.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import altair as alt
import numpy as np
import numpy.typing as npt

from taskdistill.configs.data import CLEAN_VIEW
from taskdistill.configs.errors import UserError
from taskdistill.flows.pipeline.chain import CONTROL, ModelResult
from taskdistill.flows.reports.page.blocks import Block, Chart, Section, Words, distinct, plain, short
from taskdistill.flows.reports.page.charts import MUTED, data_of, drawn
from taskdistill.flows.reports.page.networks import network_of
from taskdistill.flows.reports.page.subject import FOLDER, SPLIT, Subject
from taskdistill.storage.image_set import ImageSet
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.tables import read_matrix, write_columns
from taskdistill.tasks.functional.components import Components

MAX_CLASSES, MAX_IMAGES, MAX_SYNTHETIC, SIDE_PX = 30, 120, 60, 220
FEWEST = 6
LEGEND_COLUMNS, COLUMN_PX, ROW_PX = 2, 190, 20
LEGEND_LETTERS = 24
FEATURES = "features"
SYNTHETIC = "synthetic"
LAST = "last"
"""The vector that heads see, of the last layer."""

Vectors = npt.NDArray[np.float32]


class Shown(NamedTuple):
    """Some images of a set."""

    ref: ArtifactRef
    images: ImageSet
    rows: Sequence[int]

    @property
    def ids(self) -> list[str]:
        return [self.images.ids[row] for row in self.rows]


def feature_space(subject: Subject) -> Section | None:
    """Draw teacher, control and chosen student; None where images have no classes, or too few are in test."""
    real = _real(subject)
    if not real or not subject.chosen:
        return None
    models = dict.fromkeys([subject.teacher, CONTROL, subject.chosen.model])
    results = [
        subject.chosen if model == subject.chosen.model else subject.by_model[model][0]
        for model in models
        if model in subject.by_model
    ]
    colours = _colours(dict.fromkeys(_names(subject, real)))
    try:
        charts = [chart for result in results if (chart := _chart(subject, result, real, colours))]
    except UserError as error:  # a network that cannot be built here, or is damaged, costs this section alone
        return Section("Features", [Words(f"Not drawn: {plain(str(error))}")])
    words = (
        f"Features of {len(real.rows)} images of {SPLIT} along the two directions in which they differ most, coloured "
        "by class: where classes lie apart, a model tells them apart. Synthetic images are grey."
    )
    blocks: list[Block] = [Words(words), *charts, _legend(colours)]
    return Section("Features", blocks) if charts else None


def _real(subject: Subject) -> Shown | None:
    """Choose images of test, of each class as many."""
    if not subject.images:
        return None
    images = ImageSet.open(subject.store.path(subject.images))
    rows = [int(row) for row in images.rows_of(SPLIT) if images.labels[row] >= 0]
    classes = sorted({int(images.labels[row]) for row in rows})[:MAX_CLASSES]
    each = MAX_IMAGES // max(len(classes), 1)
    chosen = [row for label in classes for row in [row for row in rows if images.labels[row] == label][:each]]
    return Shown(subject.images, images, chosen) if len(chosen) >= FEWEST else None


def _synthetic(subject: Subject) -> Shown | None:
    for ref in subject.made("generate"):
        images = ImageSet.open(subject.store.path(ref))
        even = np.linspace(0, len(images) - 1, min(MAX_SYNTHETIC, len(images))).round().astype(int)
        return Shown(ref, images, np.unique(even).tolist())
    return None


def _names(subject: Subject, real: Shown) -> list[str]:
    """Return the class of each image, as it is written."""
    labels = [int(real.images.labels[row]) for row in real.rows]
    present = sorted(set(labels))
    written = distinct([short(subject.classes[label], LEGEND_LETTERS) for label in present])
    names = {
        label: f"{name} (class)" if name == SYNTHETIC else name for label, name in zip(present, written, strict=True)
    }
    return [names[label] for label in labels]


def _colours(classes: Iterable[str]) -> dict[str, str]:
    names = list(classes)
    hues = {name: f"hsl({360 * number / len(names):.0f} 65% 52%)" for number, name in enumerate(names)}
    return hues | {SYNTHETIC: MUTED}


def _coloured(colours: Mapping[str, str]) -> alt.Color:
    scale = alt.Scale(domain=list(colours), range=list(colours.values()))
    return alt.Color("class:N", scale=scale, legend=None)


def _legend(colours: Mapping[str, str]) -> Chart:
    """Draw the colours once, for all charts."""
    classes = [name for name in colours if name != SYNTHETIC]
    rows = [
        {"class": name, "column": number % LEGEND_COLUMNS, "row": number // LEGEND_COLUMNS}
        for number, name in enumerate(classes)
    ]
    places = alt.Chart(data_of(rows)).encode(x=alt.X("column:O", axis=None), y=alt.Y("row:O", axis=None))
    dots = places.mark_point(filled=True, size=70, opacity=1, xOffset=-COLUMN_PX / 2 + 8).encode(
        color=_coloured(colours), description="class:N"
    )
    names = places.mark_text(align="left", xOffset=-COLUMN_PX / 2 + 18).encode(text="class:N")
    size = {"width": {"step": COLUMN_PX}, "height": {"step": ROW_PX}}
    return drawn((dots + names).properties(**size), f"Colours of {len(classes)} classes.")


def _chart(subject: Subject, result: ModelResult, real: Shown, colours: Mapping[str, str]) -> Chart | None:
    vectors = _vectors(subject, result, real)
    if vectors is None:
        return None
    synthetic = _synthetic(subject)
    grey = _vectors(subject, result, synthetic) if synthetic else None
    components = Components.of(vectors, 2)
    rows = _points(components.project(vectors), _names(subject, real))
    rows = (_points(components.project(grey), [SYNTHETIC] * len(grey)) if grey is not None else []) + rows
    chart = alt.Chart(data_of(rows)).mark_point(filled=True, size=45, opacity=0.85).encode(
        x=alt.X("x:Q", title=f"{100 * components.shares_C[0]:.0f} % of all variance", axis=_bare()),
        y=alt.Y("y:Q", title=f"{100 * components.shares_C[1]:.0f} %", axis=_bare()),
        color=_coloured(colours),
        description="class:N",
    )  # fmt: skip
    return drawn(chart.properties(width=SIDE_PX, height=SIDE_PX), f"{result.model}: images along two components.")


def _bare() -> alt.Axis:
    return alt.Axis(labels=False, ticks=False, grid=False)


def _points(places: npt.NDArray[np.float64], names: Sequence[str]) -> list[dict[str, Any]]:
    return [{"x": x, "y": y, "class": name} for (x, y), name in zip(places.tolist(), names, strict=True)]


def _vectors(subject: Subject, result: ModelResult, shown: Shown) -> Vectors | None:
    """Return what a model's encoder says of images, [N, D]; None where that is neither cached nor to be had."""
    if result.artifact.kind == "model":
        return _of_network(subject, result.artifact, shown)
    return _cached(subject, result, shown)


def _of_network(subject: Subject, model: ArtifactRef, shown: Shown) -> Vectors:
    """Show a trained network the images, once."""
    kept = subject.store.root / FOLDER / "features" / f"{model.fingerprint[:16]}-{shown.ref.fingerprint[:16]}.parquet"
    if kept.is_file():
        return np.asarray(read_matrix(kept, "vector"), np.float32)
    # torch takes seconds: only where something is to be computed
    from taskdistill.tasks.data.batches import decoded_row
    from taskdistill.tasks.deploy.encoded import encoded

    network = network_of(subject, model)
    found = encoded(network, (network.shown(decoded_row(shown.images, row)) for row in shown.rows), LAST)
    _keep(kept, {"id": shown.ids, "vector": found})
    return found


def _keep(path: Path, columns: Mapping[str, Any]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_columns(path, columns)
    except OSError:  # a store that can only be read: they are computed each time
        return


def _cached(subject: Subject, result: ModelResult, shown: Shown) -> Vectors | None:
    """Return the features from which a probe's logits were computed."""
    from taskdistill.storage.view_attributes import FeaturesAttributes  # zarr, a second to import
    from taskdistill.storage.view_outputs import ViewOutputs

    wanted = subject.store.manifest(result.artifact).input_refs.get(FEATURES)
    for ref in subject.steps.values():
        if wanted and ref.kind == FEATURES and _has(subject, ref, _backbone(subject, wanted), shown):
            outputs = ViewOutputs(subject.store.path(ref))
            blocks = outputs.take(outputs.rows_of(shown.ids, CLEAN_VIEW), CLEAN_VIEW)
            return np.asarray(blocks[:, _place_of_last(FeaturesAttributes.of(outputs).blocks)], np.float32)
    return None


def _place_of_last(blocks: Sequence[str]) -> int:
    """Return where among an image's vectors that of the last layer is; the last one where features do not say."""
    return blocks.index(LAST) if LAST in blocks else -1


def _has(subject: Subject, features: ArtifactRef, backbone: Any, shown: Shown) -> bool:
    """Whether features are of this backbone and these images, and are here."""
    if features not in subject.store or backbone is None:
        return False
    images = subject.store.manifest(features).input_refs.get("images")
    return images == shown.ref and _backbone(subject, features) == backbone


def _backbone(subject: Subject, features: ArtifactRef) -> Any:
    return subject.store.manifest(features).recipe["config"].get("backbone") if features in subject.store else None
