"""Stage "ingest": from images on disk to an image-set, every image decoded once to know that it can be.

Everything that can be known from names is checked before any image is opened. Each shard is written whole, with a
note of its files' digests and of what was set aside; a killed ingest continues with the shards that have no note, or
differ from it (a power cut may tear either). At the end the digest of all files is compared with the
one in the recipe: a folder that changed meanwhile is not what was asked for.

Reads the dataset at `data.path`, masks too; writes shards/*.parquet, cells.parquet, image-set.json, files.parquet
(what became of each file), duplicates.parquet and left-out.parquet.
"""

import hashlib
import itertools
import logging
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

from taskdistill.configs.data import IngestConfig
from taskdistill.storage.errors import SourceChangedError
from taskdistill.storage.files import read_json_if_whole, write_json
from taskdistill.storage.image_set import ImageRow, is_shard_whole, write_index, write_shard
from taskdistill.storage.summaries import ImageSetSummary, IngestSummary
from taskdistill.storage.tables import DUPLICATES, LEFT_OUT, SOURCE_FILES, write_table
from taskdistill.tasks.data.brightness import PixelStatistics
from taskdistill.tasks.data.candidates import Candidate, DatasetError, dataset_folder
from taskdistill.tasks.data.contradictions import counts_of, identical, settle
from taskdistill.tasks.data.counts import NO_LABEL, warnings
from taskdistill.tasks.data.dataset import Dataset, keep_listing, open_dataset, size_of
from taskdistill.tasks.data.decode import check_mask
from taskdistill.tasks.data.decode_memory import DecodeMemory, DecodeMemoryError
from taskdistill.tasks.data.few_labels import with_few_labels, with_fewer_images
from taskdistill.tasks.data.left_out import by_reason
from taskdistill.tasks.data.mask_checks import checked_masks
from taskdistill.tasks.data.mask_counts import remarks
from taskdistill.tasks.data.mask_reading import Reading, canonical
from taskdistill.tasks.data.opening import UnreadableImageError
from taskdistill.tasks.data.reading import bytes_of, digest_with, look_within
from taskdistill.tasks.data.reduced import within, words_of_reduced
from taskdistill.tasks.data.splits import MIN_TRAIN_IMAGES, check_splits
from taskdistill.tasks.data.survey import survey
from taskdistill.tasks.data.threads import prefetch
from taskdistill.tasks.stage import StageContext

log = logging.getLogger(__name__)

SHARD_BYTES = 64 * 2**20
SHARD_ROWS = 2048


class Read(NamedTuple):
    """One file as it was found: its digest, and either a row or the reason there is none."""

    id: str
    sha256: str
    row: ImageRow | None
    reason: str = ""
    statistics: PixelStatistics | None = None
    is_reduced: bool = False
    """Whether a smaller copy is stored in its place."""


class File(NamedTuple):
    """What became of one file, as a note of its shard says: small, as all are held until the end."""

    id: str
    sha256: str
    quarantined: str | None
    """Why it cannot be used."""
    statistics: PixelStatistics | None
    is_reduced: bool

    @classmethod
    def of(cls, noted: Mapping[str, Any]) -> Self:
        seen = None
        if values := noted["seen"]:  # from JSON, each would have a word of its own
            seen = PixelStatistics(**{**values, "kind": sys.intern(values["kind"])})
        is_reduced = noted.get("reduced", False)  # notes of older versions do not say
        return cls(noted["id"], noted["sha256"], noted["quarantined"], seen, is_reduced)


def run(config: IngestConfig, context: StageContext) -> IngestSummary:
    """Write the image-set of a dataset.

    Raises DatasetError where it cannot be one, naming what to change, DecodeMemoryError where an image needs more
    memory than decoding may take, and SourceChangedError where the dataset changed while it was read.
    """
    dataset = with_fewer_images(settle(open_dataset(config), config.contradictions), config)
    dataset = with_few_labels(dataset, config)
    _tell_listed(context, dataset)
    masks = checked_masks(dataset, config, context.runtime, context.on_progress) if dataset.labels else None
    shards = list(_shards(dataset.candidates))
    notes = context.draft / "notes"
    notes.mkdir(exist_ok=True)
    keep_listing(context.draft, dataset, len(shards))
    done = 0
    files: list[File] = []
    context.on_progress("images", 0, len(dataset.candidates))  # from here on it goes image by image
    for number, shard in enumerate(shards):
        # The note is written after the shard, and both are read back: whichever was torn, the shard is made anew.
        note = notes / f"{number:05d}.json"
        found = read_json_if_whole(note)
        if found is None or not _has_statistics(found) or not is_shard_whole(context.draft, number, _kept_ids(found)):
            found = _write_shard(config, context, number, shard, dataset.classes, masks.reading if masks else None)
            write_json(note, found)
        files += map(File.of, found)
        done += len(shard)
        context.on_progress("images", done, len(dataset.candidates))

    _check_unchanged(config, context, files)
    kept = _check_quarantine(config, dataset, files)
    if num_reduced := sum(file.is_reduced for file in files):
        kept = kept._replace(said=[*kept.said, words_of_reduced(num_reduced, config)])
    of_masks = IngestSummary()
    if masks:
        counted = masks.counts(kept.candidates)
        of_masks, kept = masks.summary(counted), kept._replace(said=[*kept.said, *masks.said, *remarks(counted)])
    statistics = {file.id: file.statistics for file in files if file.statistics}
    levels, brightness = survey(statistics, {one.id: one.label or NO_LABEL for one in kept.candidates}, config)
    summary = _write_tables(context, kept, files)
    counts = write_index(context.draft, classes=dataset.classes, num_shards=len(shards), levels=levels)
    if summary.quarantined:
        log.info("kept, without the %d set aside: %s", summary.quarantined, kept.described())
    else:
        log.info("kept: every image that was listed")
    return IngestSummary.joined(summary, ImageSetSummary(**counts), brightness, of_masks)


def _tell_listed(context: StageContext, dataset: Dataset) -> None:
    """Log what the dataset is before its images are read, and write the table of what was left out: where the work ends
    early, the draft has it.
    """
    log.info("listed, before any image is read: %s", dataset.described())
    for reason, count in by_reason(dataset.left_out).items():
        log.info("left out: %d, %s", count, reason)
    if dataset.left_out:
        log.info("each is named in %s, which becomes part of the image-set", _write_left_out(context, dataset))
    for sentence in [*dataset.made_splits, *dataset.said, *warnings(dataset.counts)]:
        log.warning("%s", sentence)


def _write_left_out(context: StageContext, dataset: Dataset) -> Path:
    path = context.draft / "left-out.parquet"
    write_table(path, LEFT_OUT, (one._asdict() for one in dataset.left_out))
    return path


def _write_tables(context: StageContext, kept: Dataset, files: Sequence[File]) -> IngestSummary:
    """Write what became of each file, what is there twice, and what was left out; returns its part of the summary."""
    duplicates = identical(kept.candidates, {file.id: file.sha256 for file in files})
    write_table(context.draft / "files.parquet", SOURCE_FILES, (file._asdict() for file in files))
    write_table(context.draft / "duplicates.parquet", DUPLICATES, duplicates)
    _write_left_out(context, kept)
    quarantined = {file.id: file.quarantined for file in files if file.quarantined}
    unusable = IngestSummary(
        quarantined=len(quarantined), quarantined_first=dict(itertools.islice(quarantined.items(), 10))
    )
    return IngestSummary.joined(kept.summary(), unusable, counts_of(duplicates))


def _kept_ids(files: Sequence[dict[str, Any]]) -> list[str]:
    return [file["id"] for file in files if not file["quarantined"]]


def _has_statistics(files: Sequence[dict[str, Any]]) -> bool:
    """Whether a shard's note holds the statistics of its images' pixels: those of older versions do not."""
    return all("seen" in file for file in files)


def _shards(candidates: Sequence[Candidate]) -> Iterator[list[Candidate]]:
    """Cut the candidates into shards by the size of their files, which is known without reading them."""
    shard: list[Candidate] = []
    num_bytes = 0
    for candidate in candidates:
        size = size_of(candidate.path)
        if shard and (num_bytes + size > SHARD_BYTES or len(shard) == SHARD_ROWS):
            yield shard
            shard, num_bytes = [], 0
        shard.append(candidate)
        num_bytes += size
    yield shard


def _write_shard(
    config: IngestConfig,
    context: StageContext,
    number: int,
    shard: Sequence[Candidate],
    classes: Sequence[str],
    reading: Reading | None,
) -> list[dict[str, Any]]:
    """Write one shard of images; returns what became of each of its files."""
    labels: dict[str | None, int | None] = {None: None} | {name: label for label, name in enumerate(classes)}
    memory = DecodeMemory(context.runtime.decode_memory_mb)
    files: list[dict[str, Any]] = []

    def rows() -> Iterator[ImageRow]:
        for found in prefetch(
            lambda c: _read(config, c, labels[c.label], memory, reading), shard, workers=context.runtime.workers
        ):
            statistics = found.statistics._asdict() if found.statistics else None
            files.append({
                "id": found.id, "sha256": found.sha256, "quarantined": found.reason or None, "seen": statistics,
                "reduced": found.is_reduced,
            })  # fmt: skip
            if found.row:
                yield found.row

    write_shard(context.draft, number, rows())
    return files


def _read(
    config: IngestConfig,
    candidate: Candidate,
    label: int | None,
    memory: DecodeMemory,
    reading: Reading | None = None,
) -> Read:
    data = bytes_of(candidate.path)
    sha256 = hashlib.sha256(data).hexdigest()
    try:
        (height, width), statistics = look_within(data, config, memory, section="data")
        mask = _read_mask(candidate, (width, height), reading, memory)
    except UnreadableImageError as error:
        return Read(candidate.id, sha256, None, str(error))
    except DecodeMemoryError as error:
        raise DecodeMemoryError(f"{candidate.id}: {error}") from None
    # An image with a mask that is not learnt from, as a table may name one, stays as it is: the mask is on its grid.
    stored, size = (data, (height, width)) if mask else within(data, (height, width), config, memory)
    row = ImageRow(candidate.id, stored, *size, candidate.split, label, mask)
    return Read(candidate.id, sha256, row, statistics=statistics, is_reduced=size != (height, width))


def _read_mask(
    candidate: Candidate, size: tuple[int, int], reading: Reading | None, memory: DecodeMemory
) -> bytes | None:
    """Return an image's mask: canonical where masks are learnt from, else as it came.

    Raises UnreadableImageError where it is none, or not of this width and height.
    """
    if candidate.mask is None:
        return None
    mask = bytes_of(candidate.mask)
    try:
        if reading:
            return canonical(mask, size, reading, memory)
        check_mask(mask, size, memory=memory)
    except UnreadableImageError as error:
        raise UnreadableImageError(f"its mask {candidate.mask.name}: {error}") from error
    return mask


def _check_unchanged(config: IngestConfig, context: StageContext, files: Sequence[File]) -> None:
    folder = dataset_folder(config)
    known = {file.id: file.sha256 for file in files}
    if digest_with(folder, known) != context.content_digests["path"]:
        shutil.rmtree(context.draft / "notes")  # of other contents than this draft is for
        raise SourceChangedError(
            f"{folder} changed while it was being read, or since its digest was taken, so nothing was committed: run "
            "the same command again, every file is read anew and what was added, removed or edited gets a new "
            f"image-set. 'taskdistill discard image-set@{context.draft.name[:12]}' removes what was begun"
        )


def _check_quarantine(config: IngestConfig, dataset: Dataset, files: Sequence[File]) -> Dataset:
    """Return the dataset of what became rows; DatasetError where too much did not."""
    reasons = {file.id: file.quarantined for file in files if file.quarantined}
    for name, reason in itertools.islice(reasons.items(), 20):
        log.warning("set aside %s: %s", name, reason)
    total = len(dataset.candidates)
    if len(reasons) > config.max_quarantined_share * total:
        first = "; ".join(f"{name}: {reason}" for name, reason in itertools.islice(reasons.items(), 5))
        raise DatasetError(
            f"{len(reasons)} of {total} files cannot be used, more than data.max_quarantined_share = "
            f"{config.max_quarantined_share:g} allows. {first}. Repair or remove them, or allow more with "
            f"--set data.max_quarantined_share={len(reasons) / total + 0.005:.2f}"
        )
    kept = dataset._replace(candidates=[one for one in dataset.candidates if one.id not in reasons])
    # Few labels, or images, were asked for: one is enough, and none would be too few.
    least = 1 if config.max_images else min(MIN_TRAIN_IMAGES, config.labels_per_class or MIN_TRAIN_IMAGES)
    check_splits(kept.candidates, dataset.classes, least)
    for sentence in warnings(kept.counts):
        if sentence not in warnings(dataset.counts):
            log.warning("%s", sentence)
    return kept
