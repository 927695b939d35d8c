"""Pictures that stages drew and that a chart cannot replace, such as masks over images."""

import io

from PIL import Image

from taskdistill.flows.reports.page.blocks import Block, Code, Picture, Pictures, Section
from taskdistill.flows.reports.page.subject import Subject
from taskdistill.flows.reports.pictures import pictures_of
from taskdistill.tasks.pages import as_jpeg, data_uri

MAX_PX, QUALITY = 1400, 82


def overlays(subject: Subject) -> Section | None:
    """Show the wide pictures of the chosen student's and the teacher's evaluation; None where there are none."""
    results = [subject.chosen, *subject.by_model.get(subject.teacher or "", [])]
    blocks: list[Block] = []
    for result in filter(None, results):
        for kind, paths in pictures_of(result.evaluation, subject.store):
            if kind.is_wide and paths:
                shown = [Picture(_smaller(path.read_bytes()), f"{path.name} of {result.model}") for path in paths[:2]]
                blocks.append(Pictures([(f"{result.model}. {kind.words}", shown)], is_wide=True))
                folder = subject.store.path(result.evaluation)
                blocks += [Code(path.read_text("utf-8")) for path in sorted(folder.glob(f"{paths[0].stem}*.txt"))]
    return Section("Images", blocks) if blocks else None


def _smaller(data: bytes) -> str:
    with Image.open(io.BytesIO(data)) as opened:
        picture = opened.convert("RGB")
    picture.thumbnail((MAX_PX, MAX_PX * 8), Image.Resampling.LANCZOS)
    return data_uri(as_jpeg(picture, QUALITY), "image/jpeg")
