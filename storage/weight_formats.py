"""Files given as weights, told from what they are not without torch: by their kind, first bytes and header.

What people have in place of a safetensors file is nearly always one of a few things: a pointer of Git LFS, a web
page, a download that broke off, a pickle. Each is named with what mends it.
"""

import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from safetensors import SafetensorError, safe_open

from taskdistill.storage.errors import StoreError
from taskdistill.storage.sources import LFS_POINTER

_AGAIN = "copy or download it again"
_PICKLE = (
    "a pickled checkpoint (as .pth, .pt, .bin and .ckpt are), which can run code and is not read",
    "convert yours with safetensors.torch.save_file(torch.load(path, weights_only=True), new_path)",
)
_NO_TENSORS = "take the model's safetensors file"
_UNPACK = "unpack it, and name the safetensors file in it"

_BEGINNINGS: tuple[tuple[bytes, str, str], ...] = (
    (
        LFS_POINTER,
        "the pointer that Git LFS leaves in place of a file",
        "run 'git lfs pull' in the repository it lies in",
    ),
    (b"<!doctype", "a web page", "download the file itself (on the hub: the address with /resolve/, not /blob/)"),
    (b"<html", "a web page", "download the file itself (on the hub: the address with /resolve/, not /blob/)"),
    (b"\x80", *_PICKLE),
    (b"\x1f\x8b", "compressed by gzip", _UNPACK),
    (b"bzh", "compressed by bzip2", _UNPACK),
    (b"\xfd7zxz", "compressed by xz", _UNPACK),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd", _UNPACK),
    (b"7z\xbc\xaf", "an archive of 7-Zip", _UNPACK),
    (b"gguf", "a GGUF file", _NO_TENSORS),
    (b"\x89hdf\r\n", "an HDF5 file, as Keras writes (.h5)", _NO_TENSORS),
    (b"\x93numpy", "an array of NumPy", _NO_TENSORS),
    (b"{", "a JSON text, such as the index of a model in several files", _NO_TENSORS),
)
"""How a file begins, in lower case -> what it is, and what to do."""


class WeightFileError(StoreError):
    """A file that cannot be read as weights."""

    finding = ""
    """What is wrong with the file, as a predicate."""

    @classmethod
    def of(cls, path: Path, finding: str, remedy: str) -> "WeightFileError":
        # Made from its message alone, as all errors, which pass from one process to another by what they are made from.
        error = cls(f"{path} {finding}: {remedy}")
        error.finding = finding
        return error


class TensorForm(NamedTuple):
    """Shape and type of a stored tensor."""

    shape: tuple[int, ...]
    dtype: str
    """As safetensors writes it, such as F32 or BF16."""


def check_regular(path: Path) -> None:
    """Raise WeightFileError where a path leads to something that must not be opened, such as a device or a named
    pipe.
    """
    mode = path.stat().st_mode
    if stat.S_ISREG(mode):
        return
    kinds = {stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket", stat.S_IFDIR: "a folder"}
    kind = kinds.get(stat.S_IFMT(mode), "a device")
    remedy = "name the safetensors file in it" if kind == "a folder" else "give an ordinary file"
    raise WeightFileError.of(path, f"is {kind}, not a file", remedy)


def tensor_forms(path: Path) -> dict[str, TensorForm]:
    """Read the header of a safetensors file, which is compared with the file's length; WeightFileError where it is no
    such file, or not whole.
    """
    if not path.exists():
        raise WeightFileError.of(path, "does not exist", "check the path in the settings")
    check_regular(path)
    with readable(path), safe_open(path, "np") as file:
        slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118  # it cannot be iterated
        return {name: TensorForm(tuple(part.get_shape()), part.get_dtype()) for name, part in slices.items()}


def check_weights(path: Path) -> None:
    """Raise WeightFileError where a file holds nothing that a network could be filled with; reads its header only."""
    forms = tensor_forms(path)
    if not forms:
        raise WeightFileError.of(path, "holds no tensors", _NO_TENSORS)
    for name, form in forms.items():
        if form.dtype == "F64":
            raise WeightFileError.of(
                path, f"is in float64 ({name})", "save the same tensors in float32: tensor.float()"
            )
        if form.dtype.startswith(("F4", "F6", "F8", "I8", "U8")):
            raise WeightFileError.of(
                path,
                f"is quantised: {name} has {form.dtype} numbers, which mean nothing without their scales",
                "take the file in float32, float16 or bfloat16",
            )


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn what safetensors and the system say of a file into WeightFileError."""
    try:
        with path.open("rb"):
            pass
        yield
    except SafetensorError as error:
        raise WeightFileError.of(path, *_what_it_is(path, error)) from None
    except OSError as error:
        raise WeightFileError.of(
            path, f"cannot be read ({error.strerror or error})", "check its permissions and disk"
        ) from None


def _what_it_is(path: Path, error: SafetensorError) -> tuple[str, str]:
    """Return what stands in place of a safetensors file, and what to do."""
    with path.open("rb") as file:
        beginning = file.read(512)
    size = path.stat().st_size
    if not size:
        return "is not a safetensors file: it is empty", _AGAIN
    lowered = beginning.lstrip().lower() if beginning.lstrip()[:1] == b"<" else beginning.lower()
    for sign, what, remedy in _BEGINNINGS:
        if lowered.startswith(sign):
            return f"is not a safetensors file: it is {what}", remedy
    if beginning.startswith(b"PK"):
        what, remedy = _zip(path)
        return f"is not a safetensors file: it is {what}", remedy
    if beginning[257:262] == b"ustar":
        return "is not a safetensors file: it is an archive of tar", _UNPACK
    if size < 9 or beginning[8:9] == b"{":
        return f"is not a whole safetensors file ({error}; it has {size} bytes)", _AGAIN
    remedy = _PICKLE[1] if path.suffix in (".pth", ".pt", ".bin", ".ckpt", ".pkl") else _NO_TENSORS
    return f"is not a safetensors file ({error})", remedy


def _zip(path: Path) -> tuple[str, str]:
    """Tell torch's own format, which is a zip with a pickle in it, from other zips."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile:
        return "half a zip, as torch.save writes too", _AGAIN
    if any(name.endswith(".pkl") for name in names):
        return _PICKLE
    if any(name.endswith(".npy") for name in names):
        return "an archive of NumPy (.npz)", _NO_TENSORS
    return "a zip", _UNPACK
