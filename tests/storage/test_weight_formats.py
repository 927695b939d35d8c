"""Files given as weights that are something else: each is named, with what mends it."""

import bz2
import gzip
import os
import socket
import zipfile
from pathlib import Path

import numpy as np
import pytest

from taskdistill.storage.weight_formats import WeightFileError, check_weights, tensor_forms
from taskdistill.storage.weights import write_tensors

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0000\nsize 14234567\n"

WRONG = {
    "pointer": (POINTER, "pointer that Git LFS leaves in place of a file: run 'git lfs pull'"),
    "page": (b"\n<!DOCTYPE html><html></html>", "a web page: download the file itself"),
    "pickle": (b"\x80\x02}q\x00.", "a pickled checkpoint .*weights_only=True"),
    "empty": (b"", "it is empty: copy or download it again"),
    "gzip": (gzip.compress(b"x" * 99), "compressed by gzip: unpack it"),
    "bzip2": (bz2.compress(b"x" * 99), "compressed by bzip2: unpack it"),
    "gguf": (b"GGUF\3\0\0\0" + bytes(99), "a GGUF file: take the model's safetensors"),
    "keras": (b"\x89HDF\r\n\x1a\n" + bytes(99), "an HDF5 file, as Keras writes"),
    "index": (b'{"weight_map": {}}', "a JSON text, such as the index of a model in several files"),
    "onnx": (b"\x08\x08\x12\x07pytorch" + bytes(99), "safetensors file .*: take the model's safetensors file"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_stands_in_place_of_weights_is_named_with_what_mends_it(tmp_path: Path, kind: str) -> None:
    content, message = WRONG[kind]
    (tmp_path / "w.safetensors").write_bytes(content)
    with pytest.raises(WeightFileError, match=rf"w\.safetensors is not a .*{message}"):
        check_weights(tmp_path / "w.safetensors")


@pytest.mark.parametrize(
    ("member", "message"),
    [
        ("archive/data.pkl", "a pickled checkpoint"),
        ("a.npy", "an archive of NumPy"),
        ("w.safetensors", "a zip: unpack it"),
    ],
)
def test_a_zip_is_told_by_what_is_in_it(tmp_path: Path, member: str, message: str) -> None:
    with zipfile.ZipFile(tmp_path / "w.bin", "w") as archive:
        archive.writestr(member, b"x")
    with pytest.raises(WeightFileError, match=message):
        check_weights(tmp_path / "w.bin")


def test_a_download_that_broke_off_is_said_to_be_no_whole_file(tmp_path: Path) -> None:
    write_tensors(tmp_path / "w", {"a": np.arange(100, dtype=np.float32)})
    whole = (tmp_path / "w").read_bytes()
    (tmp_path / "w").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(
        WeightFileError, match=rf"not a whole .*it has {len(whole) // 2} bytes.*copy or download it again"
    ):
        check_weights(tmp_path / "w")


def test_what_is_no_file_is_refused_without_being_opened(tmp_path: Path) -> None:
    """Opening a pipe that nobody writes to would wait for ever."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        for name, kind in (("pipe", "a named pipe"), ("folder", "a folder"), ("socket", "a socket")):
            with pytest.raises(WeightFileError, match=f"{name} is {kind}, not a file"):
                check_weights(tmp_path / name)
    with pytest.raises(WeightFileError, match="/dev/zero is a device, not a file"):
        check_weights(Path("/dev/zero"))


def test_a_link_to_weights_is_followed(tmp_path: Path) -> None:
    write_tensors(tmp_path / "w", {"a": np.zeros((2, 3), np.float32)})
    (tmp_path / "link").symlink_to("w")
    assert tensor_forms(tmp_path / "link") == {"a": ((2, 3), "F32")}


def test_a_file_without_tensors_is_no_weights(tmp_path: Path) -> None:
    write_tensors(tmp_path / "w", {})
    with pytest.raises(WeightFileError, match="holds no tensors"):
        check_weights(tmp_path / "w")
