"""Images that were painted between two others: beside their parents, how like them, and which are nearly copies.

Shape letters: N training images, M val and test images, D embedding width.
"""

import altair as alt
import numpy as np
import pyarrow as pa

from taskdistill.flows.reports.page.blocks import Block, Chart, Picture, Pictures, Section, Words
from taskdistill.flows.reports.page.charts import MUTED, WIDTH, data_of, drawn
from taskdistill.flows.reports.page.subject import Subject
from taskdistill.flows.reports.page.thumbnails import Thumbnails
from taskdistill.storage.image_set import ImageSet
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.summaries import SelectionSummary
from taskdistill.storage.tables import BLENDS, read_arrow
from taskdistill.storage.view_outputs import ViewOutputs
from taskdistill.tasks.functional.pairs import normalised
from taskdistill.tasks.functional.views import CLEAN_VIEW

SHOWN, COPIES, BINS, MAX_REAL = 10, 6, 30, 2000


def blends(subject: Subject) -> Section | None:
    """Show the blends of a run; None where it has none."""
    found = next(subject.made("generate"), None)
    parents = Thumbnails.of(subject)
    if not found or not parents:
        return None
    table = read_arrow(subject.store.path(found), "blends.parquet", BLENDS)
    if not len(table):
        return None
    painted = Thumbnails.opened(subject.store, found)
    even = np.unique(np.linspace(0, len(table) - 1, min(SHOWN, len(table))).round().astype(int))
    likest = np.argsort(-_likeness(table), kind="stable")[:COPIES]
    blocks: list[Block] = [
        Words(
            f"{len(table):,} images, each painted by a generator between two training images; they have no labels, and "
            f"students learn what the teacher says of them.{_selected(subject)} Similarity is the cosine of embeddings "
            "by the generator's own image encoder: 1 is a copy."
        ),
        Pictures([("", _triple(subject, table, int(row), painted, parents)) for row in even]),
        _histogram(table, _real_to_held_out(subject, found)),
        Words("Those most like one of their parents:"),
        Pictures([("", _triple(subject, table, int(row), painted, parents)) for row in likest]),
        *_near_held_out(subject, table, painted, parents),
    ]
    return Section("Blends", blocks)


def _likeness(table: pa.Table) -> np.ndarray:
    return np.asarray(np.maximum(*(table[f"similarity_{end}"].to_numpy() for end in "ab")))


def _selected(subject: Subject) -> str:
    for ref in subject.made("select"):
        one = SelectionSummary.of(subject.store.manifest(ref))
        flagged = ", ".join(f"{flag} {number}" for flag, number in one.flagged.items() if number)
        return f" {one.kept:,} of them were kept for training{f' (flagged: {flagged})' if flagged else ''}."
    return ""


def _triple(subject: Subject, table: pa.Table, row: int, painted: Thumbnails, parents: Thumbnails) -> list[Picture]:
    """Return a blend between its parents, as far as they are here."""
    one = {name: table[name][row].as_py() for name in table.column_names}
    names = [_class_of(subject, one[f"parent_{end}"], parents) for end in "ab"]
    pictures = [
        parents.picture(one[f"parent_{end}"], name, f"similarity {one[f'similarity_{end}']:.2f}")
        if one[f"parent_{end}"] in parents else None
        for end, name in zip("ab", names, strict=True)
    ]  # fmt: skip
    blend = painted.picture(one["id"], "blend")
    return [picture for picture in (pictures[0], blend, pictures[1]) if picture]


def _class_of(subject: Subject, image_id: str, parents: Thumbnails) -> str:
    label = parents.label(image_id) if image_id in parents else -1
    return subject.labels[label] if label >= 0 else ""


def _histogram(table: pa.Table, real_N: np.ndarray) -> Chart:
    like = {
        "blends, to the nearer parent": _likeness(table),
        "blends, to the nearest held-out image": _held_out(table),
        "training images, to the nearest held-out image": real_N,
    }
    edges = np.linspace(-0.2, 1, BINS + 1)
    rows = [
        {"to": name, "from": float(low), "until": float(high), "share": 100 * int(number) / len(values)}
        for name, values in like.items()
        for low, high, number in zip(edges, edges[1:], np.histogram(values[~np.isnan(values)], edges)[0], strict=False)
        if number
    ]
    chart = alt.Chart(data_of(rows)).mark_bar(opacity=0.7).encode(
        x=alt.X("from:Q", title="cosine similarity", bin="binned"), x2="until:Q", 
        y=alt.Y("share:Q", title="% of them", stack=None),
        color=alt.Color("to:N", scale=alt.Scale(domain=list(like), range=["var(--accent)", MUTED, "var(--c2)"])),
    )  # fmt: skip
    caption = (
        "How like blends are to the nearer of their parents, and to the nearest validation or test image; beside it "
        "how like the training images themselves are to those, which is what is normal here."
    )
    return drawn(chart.properties(width=WIDTH, height=180), caption)


def _held_out(table: pa.Table) -> np.ndarray:
    return np.asarray(table["similarity_held_out"].to_numpy(zero_copy_only=False), np.float64)


def _real_to_held_out(subject: Subject, generated: ArtifactRef) -> np.ndarray:
    """Return how like training images, at most so many, are to the nearest validation or test image, [N]."""
    embedded = subject.store.manifest(generated).input_refs.get("embeddings")
    if not subject.images or not embedded or embedded not in subject.store:
        return np.empty(0)
    images, embeddings = ImageSet.open(subject.store.path(subject.images)), ViewOutputs(subject.store.path(embedded))
    train, held_out = images.rows_of("train"), images.rows_of("val", "test")
    if not len(train) or not len(held_out):
        return np.empty(0)
    some = np.unique(np.linspace(0, len(train) - 1, min(MAX_REAL, len(train))).round().astype(int))
    every_ND = embeddings.view(CLEAN_VIEW)
    train_ND, held_out_MD = (
        normalised(every_ND[embeddings.rows_of([images.ids[row] for row in rows], CLEAN_VIEW)])
        for rows in (train[some], held_out)
    )
    return np.asarray((train_ND @ held_out_MD.T).max(axis=1))


def _copies(subject: Subject, values: np.ndarray) -> str:
    for ref in subject.made("select"):
        limit = subject.store.manifest(ref).recipe["config"]["select"]["copy_similarity"]
        return f" From {limit:g} on one counts as a copy (select.copy_similarity): {int((values >= limit).sum())} do."
    return ""


def _near_held_out(subject: Subject, table: pa.Table, painted: Thumbnails, parents: Thumbnails) -> list[Block]:
    """Show the blends that are most like an image they must not know."""
    values = np.nan_to_num(_held_out(table), nan=-1)
    rows = []
    for row in np.argsort(-values, kind="stable")[:COPIES]:
        nearest = table["nearest_held_out"][int(row)].as_py()
        if nearest in parents:
            blend = painted.picture(table["id"][int(row)].as_py(), "blend", f"similarity {values[row]:.2f}")
            rows.append(("", [blend, parents.picture(nearest, _class_of(subject, nearest, parents), "held out")]))
    words = Words(
        f"Those most like a validation or test image.{_copies(subject, values)} Look whether they show the same thing:"
    )
    return [words, Pictures(rows)] if rows else []
