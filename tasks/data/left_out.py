"""Which files of a folder are pictures, and what is left out because of what it is, each with a reason.

By name: litter that desktop programs leave (`Thumbs.db`), and files whose ending says that they never were pictures
(`.txt`, `.xml`). A file with the ending of a picture is one, be it sound or broken: ingest sets broken ones aside and
counts them. A file with any other name is a picture if its first bytes are those of one.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from taskdistill.storage.tree import Entry, unreadable, walk
from taskdistill.tasks.data.candidates import LeftOut

HIDDEN = "hidden"
LITTER = "litter"
NOT_AN_IMAGE = "not an image"
NO_CLASS = "in no class folder"
EMPTY_FOLDER = "no images in it"
LINK_LOOP = "link loop"
DEAD_LINK = "link to nothing"
SPECIAL = "pipe or device"
ODD_NAME = "name is not UTF-8"
NOT_IN_TABLE = "not in the table"
CONTRADICTS = "contradicting labels"
BY_SETTING = "left out by data.left_out_images"
NO_IMAGE = "mask of no image"
NOT_IN_LAYOUT = "in no folder of images or masks"
IN_NO_LIST = "in no list of images"

PICTURES = frozenset((
    "jpg", "jpeg", "jpe", "jfif", "png", "apng", "webp", "avif", "tif", "tiff", "bmp", "dib", "gif", "jp2", "j2k",
    "jpf", "jpx", "ppm", "pgm", "pbm", "pnm", "mpo",
    # Pictures that we do not read: they are missing from the dataset, and are to be counted as unusable.
    "heic", "heif", "jxl", "dng", "cr2", "cr3", "nef", "arw", "raw", "psd", "svg", "ico", "tga",
))  # fmt: skip
NO_PICTURES = frozenset((
    "txt", "csv", "tsv", "json", "jsonl", "xml", "yaml", "yml", "toml", "ini", "cfg", "log", "md", "rst", "html", "htm",
    "pdf", "doc", "docx", "xls", "xlsx", "ods", "odt", "ppt", "pptx", "zip", "tar", "gz", "tgz", "bz2", "xz", "7z",
    "rar", "py", "pyc", "ipynb", "m", "r", "sh", "bat", "exe", "js", "css", "db", "sqlite", "mat", "npy", "npz", "pkl",
    "pickle", "pt", "pth", "h5", "hdf5", "parquet", "safetensors", "onnx", "ckpt", "mp4", "avi", "mov", "mkv", "webm",
    "mp3", "wav", "lnk", "url", "lock", "sha256", "md5",
))  # fmt: skip
_LITTER = frozenset(("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "picasa.ini", "zbthumbnail.info"))
_LITTER_FOLDERS = frozenset(
    ("__macosx", "@eadir", "$recycle.bin", "#recycle", "system volume information", "lost+found", "__pycache__")
)
_SIGNATURES = (
    b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"\0\0\0\x0cjP  ",
    b"\xff\x4f\xff\x51", b"8BPS", b"P1\n", b"P2\n", b"P3\n", b"P4\n", b"P5\n", b"P6\n",
)  # fmt: skip
_NUM_BYTES = 16


class Contents(NamedTuple):
    """A folder, sorted out. Paths are relative, with forward slashes."""

    pictures: list[str]
    folders: list[str]
    left_out: list[LeftOut]


def contents(folder: Path) -> Contents:
    """Sort out a folder: pictures, folders, and the rest with a reason. SourceError where it cannot be looked into."""
    found = Contents([], [], [])
    for entry in walk(folder):
        if reason := _reason(folder, entry):
            found.left_out.append(LeftOut(entry.path, reason, _DETAILS.get(reason, "")))
        elif entry.kind == "folder":
            found.folders.append(entry.path)
        else:
            found.pictures.append(entry.path)
    return found


def is_picture_by_name(path: str) -> bool:
    return _suffix(path) in PICTURES


def by_reason(left_out: Sequence[LeftOut]) -> dict[str, int]:
    """Return how many things were left out for each reason, the most frequent first."""
    return dict(Counter(one.reason for one in left_out).most_common())


def most_telling(left_out: Sequence[LeftOut]) -> list[LeftOut]:
    """Return the same with what nobody misses last."""
    return sorted(left_out, key=lambda one: one.reason in (HIDDEN, LITTER))


_DETAILS = {
    LINK_LOOP: "the link leads back to a folder it lies in",
    ODD_NAME: "rename it; 'convmv -r -f latin1 -t utf8 --notest FOLDER' renames all of them",
}
_KINDS = {"hidden": HIDDEN, "link loop": LINK_LOOP, "special": SPECIAL, "odd name": ODD_NAME, "dead link": DEAD_LINK}


def _reason(folder: Path, entry: Entry) -> str:
    """Return why an entry is left out; empty for a picture, and for a folder that may hold some."""
    if entry.kind in _KINDS:
        return _KINDS[entry.kind]
    *above, name = entry.path.casefold().split("/")
    if not _LITTER_FOLDERS.isdisjoint((*above, name)) or name in _LITTER or name.startswith("~$"):
        return LITTER
    suffix = _suffix(name)
    if entry.kind == "folder" or suffix in PICTURES:
        return ""
    return NOT_AN_IMAGE if suffix in NO_PICTURES or not _begins_like_a_picture(folder / entry.path) else ""


def _suffix(path: str) -> str:
    _, dot, suffix = path.rpartition("/")[2].rpartition(".")
    return suffix.casefold() if dot else ""


def _begins_like_a_picture(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            begin = file.read(_NUM_BYTES)
    except OSError as error:
        raise unreadable(path, error) from error
    in_riff = begin[:4] == b"RIFF" and begin[8:12] == b"WEBP"
    return begin.startswith(_SIGNATURES) or in_riff or begin[4:12] in (b"ftypavif", b"ftypheic", b"ftypmif1")
