"""What teacher and students see in single images: their patch tokens as colours, as in the paper's fourth figure.

Shape letters: N images, H W their pixels, h w cells of a network's grid.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from taskdistill.configs.errors import UserError
from taskdistill.flows.pipeline.chain import CONTROL, START, STUDENT, ModelResult
from taskdistill.flows.reports.page.blocks import Block, Picture, Pictures, Section, Words, file_name, named, plain
from taskdistill.flows.reports.page.networks import network_of
from taskdistill.flows.reports.page.subject import SPLIT, Numbers, Subject
from taskdistill.flows.reports.page.thumbnails import SIDE_PX
from taskdistill.storage.image_set import ImageSet
from taskdistill.tasks.functional.patch_colours import Scores, colours, patch_components, turned_to
from taskdistill.tasks.pages import as_jpeg, as_png, data_uri

MAX_IMAGES, QUALITY, DECODED_MB = 6, 85, 256

Pixels = npt.NDArray[np.uint8]


class Seen(NamedTuple):
    """What one network makes of the images."""

    model: str
    views: Sequence[Pixels]
    """Of each image, what it was shown."""
    scores_Nhw3: Scores


def patches(subject: Subject) -> Section | None:
    """Show the patch tokens of teacher, untrained student, control and chosen student; None without test images."""
    if not subject.images or not subject.results:
        return None
    images = ImageSet.open(subject.store.path(subject.images))
    rows = few_rows(images)
    if not rows:
        return None
    found, missing = _seen(subject, images, rows)
    if not found:
        return Section("Patches", [Words(missing[0])])
    first, *others = found
    turned = [one._replace(scores_Nhw3=turned_to(one.scores_Nhw3, first.scores_Nhw3)) for one in others]
    blocks: list[Block] = [Words(_about(len(rows), found)), _pictures(subject, images, rows, [first, *turned])]
    return Section("Patches", [*blocks, *map(Words, missing)])


def few_rows(images: ImageSet) -> list[int]:
    """Choose a few images of test: of classes spread evenly over all the first one each, where there are few classes
    more of each; of images without classes some that are spread evenly.
    """
    rows = images.rows_of(SPLIT)
    if (is_known := images.labels[rows] >= 0).any():
        rows = _by_turns(rows[is_known], images.labels[rows[is_known]])
    even = np.linspace(0, len(rows) - 1, min(MAX_IMAGES, len(rows))).round().astype(int)
    return sorted(rows[even].tolist())


def _by_turns(rows: Numbers, labels: Numbers) -> Numbers:
    """Return the first row of each class where there are enough of them, else as many of the next ones as it takes."""
    order = np.argsort(labels, kind="stable")
    classes, firsts = np.unique(labels[order], return_index=True)
    place_in_class = np.arange(len(rows)) - firsts[np.searchsorted(classes, labels[order])]
    by_turns = rows[order][np.argsort(place_in_class, kind="stable")]
    return by_turns[: max(len(classes), MAX_IMAGES)]


def _seen(subject: Subject, images: ImageSet, rows: Sequence[int]) -> tuple[list[Seen], list[str]]:
    """Show the images to each network; returns also sentences about those that cannot be shown any."""
    from taskdistill.tasks.data.batches import DecodedImages  # torch, seconds

    found, missing, decoded = list[Seen](), list[str](), DecodedImages(images, cache_mb=DECODED_MB)
    for result in _networks(subject):
        try:
            found.append(_seen_by(subject, result, map(decoded.pixels, rows)))
        except UserError as error:  # weights that are gone, or a network without tokens, cost its own pictures alone
            missing.append(f"{result.model} is not drawn: {plain(str(error))}")
    return found, missing


def _networks(subject: Subject) -> list[ModelResult]:
    chosen = subject.chosen
    models = dict.fromkeys([subject.teacher, START, CONTROL, STUDENT, chosen.model if chosen else None])
    return [
        chosen if chosen and model == chosen.model else subject.by_model[model][0]
        for model in models
        if model in subject.by_model
    ]


def _seen_by(subject: Subject, result: ModelResult, images: Iterable[Pixels]) -> Seen:
    from taskdistill.tasks.deploy.encoded import encoded
    from taskdistill.tasks.models.encoder import MAP

    network = network_of(subject, result.artifact)
    views = [network.shown(pixels_HW3) for pixels_HW3 in images]
    return Seen(result.model, views, patch_components(encoded(network, views, MAP)))


def _about(number: int, seen: Sequence[Seen]) -> str:
    grids = ", ".join(f"{one.model} {one.scores_Nhw3.shape[1]} x {one.scores_Nhw3.shape[2]}" for one in seen)
    return (
        f"The last patch tokens of {number} images of {SPLIT} (of a CNN the positions of its last feature map) along "
        "the three directions in which those of all these images differ most, as red, green and blue: what has one "
        "colour is alike to the network. Signs and order of such directions mean nothing, so the colours are turned to "
        f"those of {seen[0].model} as nearly as they can be (orthogonal Procrustes). Cells: {grids}."
    )


def _pictures(subject: Subject, images: ImageSet, rows: Sequence[int], seen: Sequence[Seen]) -> Pictures:
    """Return a row for each image: as the last network was shown it, then what each network makes of it."""
    drawn = [colours(one.scores_Nhw3) for one in seen]
    found = []
    for number, row in enumerate(rows):
        image_id = images.ids[row]
        view = Image.fromarray(seen[-1].views[number])
        view.thumbnail((2 * SIDE_PX, 2 * SIDE_PX), Image.Resampling.LANCZOS)
        shown = Picture(data_uri(as_jpeg(view, QUALITY), "image/jpeg"), plain(image_id), [file_name(image_id)])
        cells = [
            Picture(_enlarged(one[number]), f"patch tokens of {named(image_id)} by {by.model}", [by.model])
            for one, by in zip(drawn, seen, strict=True)
        ]
        label = int(images.labels[row])
        found.append((subject.labels[label] if label >= 0 else "", [shown, *cells]))
    return Pictures(found)


def _enlarged(cells_hw3: Pixels) -> str:
    """Return a picture whose cells are squares of several pixels: a browser blurs one that has a pixel for each."""
    times = max(1, round(SIDE_PX / max(cells_hw3.shape[:2])))
    return data_uri(as_png(Image.fromarray(cells_hw3.repeat(times, axis=0).repeat(times, axis=1))), "image/png")
