"""Stage "ingest-unlabelled": photographs without labels as an image-set, every one decoded once to know that it can be.

They come from a folder of the user's own and from the dataset, as far as it has images without labels. All become
training images, as nobody can be judged on them. What is byte for byte an image of validation or test is left out, for
a teacher would show the student what it is judged on; so is what is a training image already. Images of more than 8
bits are scaled as those of the dataset are.

Each shard is written whole, with a note of what became of its images; a killed run continues with the shards that have
none, as ingest does.

Reads `images` (image-set, of it files.parquet where ingest wrote one) and the folder at `unlabelled.path`; writes
shards/*.parquet, cells.parquet, image-set.json, files.parquet and left-out.parquet.
"""

import hashlib
import itertools
import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from taskdistill.configs.counting import counted
from taskdistill.configs.data import IngestConfig, UnlabelledConfig
from taskdistill.storage.errors import SourceChangedError
from taskdistill.storage.files import read_json_if_whole, write_json
from taskdistill.storage.image_set import ImageRow, ImageSet, Levels, is_shard_whole, write_index, write_shard
from taskdistill.storage.summaries import ImageSetSummary, IngestSummary
from taskdistill.storage.tables import LEFT_OUT, SOURCE_FILES, write_table
from taskdistill.tasks.data.brightness import PixelStatistics
from taskdistill.tasks.data.candidates import DatasetError, LeftOut, some
from taskdistill.tasks.data.counts import NO_LABEL
from taskdistill.tasks.data.decode_memory import DecodeMemory, DecodeMemoryError
from taskdistill.tasks.data.left_out import by_reason, most_telling
from taskdistill.tasks.data.opening import UnreadableImageError
from taskdistill.tasks.data.reading import bytes_of, digest_with, look_within
from taskdistill.tasks.data.reduced import within, words_of_reduced
from taskdistill.tasks.data.survey import survey
from taskdistill.tasks.data.threads import prefetch
from taskdistill.tasks.data.unlabelled import (
    IS_HELD_OUT,
    Unlabelled,
    digests_of,
    find_unlabelled,
    nothing_new,
    reason_against,
    shards_of,
)
from taskdistill.tasks.stage import StageContext

log = logging.getLogger(__name__)

SHARD_ROWS = 256

File = dict[str, Any]
"""What became of one image: id, name of its file, sha256, why it is set aside or left out, and its statistics."""


class Job(NamedTuple):
    """What reading an image takes."""

    config: UnlabelledConfig
    images: ImageSet
    split_of: Mapping[str, str]
    """Of each digest of the dataset."""
    memory: DecodeMemory


def run(config: UnlabelledConfig, context: StageContext) -> IngestSummary:
    """Write the image-set.

    Raises DatasetError where there is none that can be used, or too many cannot, DecodeMemoryError where an image needs
    more memory than decoding may take, and SourceChangedError where the folder changed while it was read.
    """
    images = ImageSet.open(context.inputs["images"])
    found = find_unlabelled(config, images)
    job = Job(config, images, digests_of(images), DecodeMemory(context.runtime.decode_memory_mb))
    shards, files = list(shards_of(found.images, SHARD_ROWS)), list[File]()
    notes = context.draft / "notes"
    notes.mkdir(exist_ok=True)
    context.on_progress("images", 0, len(found.images))  # from here on it goes image by image
    for number, shard in enumerate(shards):
        note = notes / f"{number:05d}.json"
        noted: list[File] = read_json_if_whole(note) or []
        if not _is_whole(context.draft, number, shard, noted):
            noted = _write_shard(job, context, number, shard)
            write_json(note, noted)
        files += noted
        context.on_progress("images", len(files), len(found.images))
    _check_unchanged(config, context, files)
    _check_quarantine(config, files)
    left_out = [*found.left_out, *(LeftOut(file["id"], file["left_out"]) for file in files if file["left_out"])]
    kept = {file["id"]: PixelStatistics(**file["seen"]) for file in files if file["seen"]}
    if not kept:
        raise nothing_new(len(files), left_out)
    said = [*found.said, *_said_of(left_out)]
    if num_reduced := sum(file.get("reduced", False) for file in files):
        said.append(words_of_reduced(num_reduced, config))
    for sentence in said:
        log.warning("%s", sentence)
    levels, brightness = _levels(images, kept)
    write_table(context.draft / "files.parquet", SOURCE_FILES, files)
    write_table(context.draft / "left-out.parquet", LEFT_OUT, [one._asdict() for one in left_out])
    counts = write_index(context.draft, classes=images.classes, num_shards=len(shards), levels=levels)
    return IngestSummary.joined(_summary(files, left_out, said), ImageSetSummary(**counts), brightness)


def _is_whole(draft: Path, number: int, shard: Sequence[Unlabelled], noted: Sequence[File]) -> bool:
    if [file["id"] for file in noted] != [one.id for one in shard]:
        return False
    return is_shard_whole(draft, number, [file["id"] for file in noted if file["seen"]])


def _write_shard(job: Job, context: StageContext, number: int, shard: Sequence[Unlabelled]) -> list[File]:
    """Write one shard of images; returns what became of each of them."""
    files: list[File] = []

    def rows() -> Iterator[ImageRow]:
        for file, row in prefetch(partial(_read, job), shard, workers=context.runtime.workers):
            files.append(file)
            if row:
                yield row

    write_shard(context.draft, number, rows())
    return files


def _read(job: Job, one: Unlabelled) -> tuple[File, ImageRow | None]:
    data = bytes_of(one.path) if one.path else job.images.image(one.row)
    digest = hashlib.sha256(data).hexdigest()
    name = _name(job.config, one)
    file: File = {"id": one.id, "name": name, "sha256": digest, "quarantined": None, "left_out": None, "seen": None}
    if reason := reason_against(one, job.split_of.get(digest)):
        return file | {"left_out": reason}, None
    try:
        (height, width), statistics = look_within(data, job.config, job.memory, section="unlabelled")
    except UnreadableImageError as error:
        return file | {"quarantined": str(error)}, None
    except DecodeMemoryError as error:
        raise DecodeMemoryError(f"{one.id}: {error}") from None
    stored, size = within(data, (height, width), job.config, job.memory)
    noted = {"seen": statistics._asdict(), "reduced": size != (height, width)}
    return file | noted, ImageRow(one.id, stored, *size, "train")


def _name(config: UnlabelledConfig, one: Unlabelled) -> str:
    """Return the name of a file within its folder; empty for an image of the dataset."""
    return one.path.relative_to(_folder(config)).as_posix() if one.path else ""


def _folder(config: UnlabelledConfig) -> Path:
    return Path(config.path).expanduser().absolute()


def _check_unchanged(config: UnlabelledConfig, context: StageContext, files: Sequence[File]) -> None:
    if not config.path:
        return
    known = {file["name"]: file["sha256"] for file in files if file["name"]}
    if digest_with(_folder(config), known) != context.content_digests["path"]:
        shutil.rmtree(context.draft / "notes")  # of other contents than this draft is for
        raise SourceChangedError(
            f"{_folder(config)} changed while it was being read, or since its digest was taken, so nothing was "
            "committed: run the same command again, every file is read anew"
        )


def _check_quarantine(config: UnlabelledConfig, files: Sequence[File]) -> None:
    reasons = {file["id"]: file["quarantined"] for file in files if file["quarantined"]}
    for name, reason in itertools.islice(reasons.items(), 20):
        log.warning("set aside %s: %s", name, reason)
    if len(reasons) > config.max_quarantined_share * len(files):
        first = "; ".join(f"{name}: {reason}" for name, reason in itertools.islice(reasons.items(), 5))
        raise DatasetError(
            f"{len(reasons)} of {len(files)} unlabelled images cannot be used, more than "
            f"unlabelled.max_quarantined_share = {config.max_quarantined_share:g} allows. {first}. Repair or remove "
            f"them, or allow more with --set unlabelled.max_quarantined_share={len(reasons) / len(files) + 0.005:.2f}"
        )


def _said_of(left_out: Sequence[LeftOut]) -> list[str]:
    judged = [one.path for one in left_out if one.reason == IS_HELD_OUT]
    if not judged:
        return []
    same = counted(len(judged), "unlabelled image is byte for byte one", "unlabelled images are byte for byte images")
    gone = "it is left out" if len(judged) == 1 else "they are left out"
    return [
        f"{same} of val or test, such as {some(judged)}: {gone}, as the student is judged on those. Others that "
        "show the same in another file cannot be found so: look"
    ]


def _levels(images: ImageSet, kept: Mapping[str, PixelStatistics]) -> tuple[Levels | None, IngestSummary]:
    """Return how values of more than 8 bits are scaled: as in the dataset, where the same value means the same."""
    known = images.levels
    scale = IngestConfig(black_level=known.black, white_level=known.white) if known else IngestConfig()
    levels, brightness = survey(kept, dict.fromkeys(kept, NO_LABEL), scale)
    return known or levels, brightness


def _summary(files: Sequence[File], left_out: Sequence[LeftOut], said: list[str]) -> IngestSummary:
    quarantined = {file["id"]: file["quarantined"] for file in files if file["quarantined"]}
    return IngestSummary(
        left_out=by_reason(left_out),
        left_out_first=[f"{one.path}: {one.reason}" for one in most_telling(left_out)[:10]],
        said=said,
        quarantined=len(quarantined),
        quarantined_first=dict(itertools.islice(quarantined.items(), 10)),
    )
