"""Which images are to be predicted: those of folders, of tables, and single files; known before anything is loaded."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from taskdistill.tasks.data.candidates import DatasetError, LeftOut
from taskdistill.tasks.data.left_out import NO_PICTURES, by_reason, contents
from taskdistill.tasks.data.table_file import Expected, read_rows

TABLES = ("csv", "tsv", "parquet")
VIDEOS = ("mp4", "mov", "avi", "mkv", "webm", "m4v", "mpg", "mpeg", "wmv")
_EXPECTED = Expected({"path": ("path", "file", "image", "id")}, needed=(("path",),), example="cats/1.jpg")


class Wanted(NamedTuple):
    """One image to predict."""

    name: str
    """What it is called in the table of predictions: its path as it was given, or as a table says it."""
    file: Path


class Listed(NamedTuple):
    """All that was named, sorted out."""

    images: list[Wanted]
    said: list[str]
    """A sentence for what was left out, and for each decision that was taken for the user."""


def listed(sources: Sequence[str]) -> Listed:
    """Return every image that some folders, files and tables name, each once, in their order.

    Raises DatasetError where something is not there, is no image, such as a video, where two images have the same name,
    or where there is no image at all, and SourceError where a folder cannot be looked into.
    """
    found: dict[str, Wanted] = {}
    said: list[str] = []
    for source in sources:
        for image in _images_of(source, said):
            _check_same(found.setdefault(image.name, image), image)
    if not found:
        raise DatasetError(f"there is nothing to predict: {'; '.join(said) or 'no folder, file or table was named'}")
    return Listed(list(found.values()), said)


def _check_same(first: Wanted, other: Wanted) -> None:
    """Raise DatasetError where what is called the same is not the same file: only one of them would be predicted."""
    if first.file != other.file and first.file.resolve() != other.file.resolve():
        raise DatasetError(
            f"{first.file} and {other.file} are both called {other.name!r}, as their tables say: predict each table "
            "by itself, to an --output of its own, or write whole paths in them"
        )


def _images_of(source: str, said: list[str]) -> Iterator[Wanted]:
    path, ending = Path(source).expanduser(), _ending(source)
    if path.is_dir():
        yield from _in_folder(source, path, said)
    elif not path.is_file():
        raise DatasetError(f"there is no file or folder {source!r}: name images, a folder of them, or a table of them")
    elif ending in TABLES:
        yield from _in_table(path, said)
    elif ending in VIDEOS:
        raise DatasetError(_of_video(source))
    elif ending in NO_PICTURES:
        tables = ", ".join(f".{ending}" for ending in TABLES)
        raise DatasetError(f"{source} is no image: name images, a folder of images, or a table of them ({tables})")
    else:
        yield Wanted(source, path)


def _in_folder(source: str, folder: Path, said: list[str]) -> Iterator[Wanted]:
    found = contents(folder)
    before = source.rstrip("/") or source
    for path in found.pictures:
        yield Wanted(f"{before}/{path}", folder / path)
    if found.left_out and not found.pictures:
        said.append(f"{source} holds no images ({_counted(found.left_out)})")
    elif found.left_out:
        said.append(f"left out in {source}: {_counted(found.left_out)}")
    elif not found.pictures:
        said.append(f"{source} is empty")
    if not found.pictures and (videos := [one.path for one in found.left_out if _ending(one.path) in VIDEOS]):
        said.append(_of_video(f"{before}/{videos[0]}"))


def _in_table(table: Path, said: list[str]) -> Iterator[Wanted]:
    """Paths are relative to the table's folder, as those of a data set are; or absolute."""
    rows, decisions = read_rows(table, _EXPECTED)
    said += decisions
    images = [Wanted(row["path"], table.parent / row["path"].replace("\\", "/")) for _, row in rows if row["path"]]
    if not any(image.file.is_file() for image in images[:1000]):
        raise DatasetError(
            f"{table}: there is none of the first files that it names, such as {images[0].file}: paths are relative to "
            "the folder of the table, with their endings"
            if images
            else f"{table} names no file"
        )
    yield from images


def _of_video(source: str) -> str:
    return (
        f"{source} is a video: write its frames as images first, such as with "
        f"'ffmpeg -i {Path(source).name} -vf fps=1 frames/%06d.jpg', and predict the folder frames"
    )


def _counted(left_out: Sequence[LeftOut]) -> str:
    return ", ".join(f"{reason} {count}" for reason, count in by_reason(left_out).items())


def _ending(source: str) -> str:
    return Path(source).suffix[1:].casefold()
