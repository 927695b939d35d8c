"""What lies in a user's folder: which files may be opened, and what everything else is called."""

import os
import socket
from pathlib import Path

import pytest

from taskdistill.storage.errors import NotInStoreError, SourceError
from taskdistill.storage.sources import SourceDigests, content_digest, visible_files
from taskdistill.storage.tree import walk
from tests.other_user import as_another_user


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """a.txt and sub/b.txt."""
    (tmp_path / "data/sub").mkdir(parents=True)
    (tmp_path / "data/a.txt").write_text("a")
    (tmp_path / "data/sub/b.txt").write_text("b")
    return tmp_path / "data"


def kinds(folder: Path) -> dict[str, str]:
    return {entry.path: entry.kind for entry in walk(folder)}


def test_files_and_folders_are_told_those_of_a_folder_before_those_deeper(folder: Path):
    (folder / "z.txt").touch()
    assert [tuple(entry) for entry in walk(folder)] == [
        ("a.txt", "file"), ("sub", "folder"), ("z.txt", "file"), ("sub/b.txt", "file"),
    ]  # fmt: skip
    assert list(visible_files(folder)) == [folder / "a.txt", folder / "z.txt", folder / "sub/b.txt"]


def test_a_link_that_leads_back_is_a_loop_wherever_it_leads_back_to(folder: Path):
    (folder / "sub/all").symlink_to("..")
    (folder / "sub/root").symlink_to("/")
    (folder / "sub/itself").symlink_to("itself")
    assert kinds(folder) == {
        "a.txt": "file", "sub": "folder", "sub/b.txt": "file",
        "sub/all": "link loop", "sub/root": "link loop", "sub/itself": "link loop",
    }  # fmt: skip


def test_two_folders_with_links_to_each_other_end(folder: Path):
    (folder / "other").mkdir()
    (folder / "other/back").symlink_to("../sub")
    (folder / "sub/over").symlink_to("../other")
    assert [path for path, kind in kinds(folder).items() if kind == "link loop"] == ["other/back/over", "sub/over/back"]


def test_many_folders_with_links_to_each_other_are_refused_rather_than_walked_for_ever(folder: Path):
    for name in "bcdefghijklm":
        (folder / name).mkdir()
        for other in "bcdefghijklm".replace(name, ""):
            (folder / name / other).symlink_to(f"../{other}")
    with pytest.raises(SourceError, match="reached through 5 links from folder to folder, which may never end"):
        kinds(folder)


def test_a_folder_linked_twice_is_no_loop(folder: Path):
    (folder / "one").symlink_to("sub")
    (folder / "two").symlink_to("sub")
    assert kinds(folder).keys() >= {"one/b.txt", "two/b.txt", "sub/b.txt"}
    assert "link loop" not in kinds(folder).values()


def test_pipes_sockets_and_devices_are_told_and_never_opened(
    folder: Path, sources: SourceDigests, monkeypatch: pytest.MonkeyPatch
):
    before = sources.digest(str(folder))
    os.mkfifo(folder / "sub/pipe.jpg")
    (folder / "sub/zero.jpg").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as server:
        monkeypatch.chdir(folder / "sub")  # the address of a socket may be no longer than 107 bytes
        server.bind("socket.jpg")
        found = kinds(folder)
    assert {path for path, kind in found.items() if kind == "special"} == {
        "sub/pipe.jpg", "sub/zero.jpg", "sub/socket.jpg",
    }  # fmt: skip
    assert sources.digest(str(folder)) == before


@pytest.mark.parametrize("name", ["pipe", "/dev/zero"])
def test_the_digest_of_what_never_ends_is_refused_at_once(folder: Path, sources: SourceDigests, name: str):
    os.mkfifo(folder / "pipe")
    with pytest.raises(SourceError, match="is a pipe, a device or a folder: only regular files are read"):
        sources.digest(str(folder / name))


def test_a_name_that_is_no_utf8_is_told_with_its_bytes_and_kept_from_every_record(folder: Path, sources: SourceDigests):
    before = sources.digest(str(folder))
    os.mkdir(os.fsencode(folder) + b"/caf\xe9")
    for name in (b"/sub/caf\xe9.jpg", b"/caf\xe9/plain.jpg"):
        Path(os.fsdecode(os.fsencode(folder) + name)).touch()
    odd = {path for path, kind in kinds(folder).items() if kind == "odd name"}
    assert odd == {r"sub/caf\xe9.jpg", r"caf\xe9/plain.jpg"}
    assert sources.digest(str(folder)) == before


def test_links_to_nothing_are_counted_and_the_first_is_named(folder: Path, sources: SourceDigests):
    (folder / "gone.jpg").symlink_to("nowhere")
    (folder / "sub/gone.jpg").symlink_to("nowhere")
    with pytest.raises(NotInStoreError, match=r"/gone\.jpg is a link to nothing: .* \(and 1 more: .*git annex get"):
        sources.digest(str(folder))


def test_a_folder_that_may_not_be_entered_is_named(folder: Path):
    (folder / "sub").chmod(0)
    said = as_another_user(folder, lambda: str(kinds(folder)))
    assert f"SourceError: {folder}/sub cannot be read (Permission denied): make it readable for this user" in said


def test_a_file_that_may_not_be_read_is_named(folder: Path):
    (folder / "sub/b.txt").chmod(0)
    said = as_another_user(folder, lambda: content_digest(folder / "sub/b.txt"))
    assert f"SourceError: {folder}/sub/b.txt cannot be read (Permission denied)" in said


def test_a_folder_that_the_system_keeps_for_itself_is_passed_over_when_it_is_closed(folder: Path):
    (folder / "lost+found").mkdir(mode=0)
    assert "b.txt" in as_another_user(folder, lambda: str(kinds(folder)))


@pytest.fixture
def sources(tmp_path: Path) -> SourceDigests:
    return SourceDigests(tmp_path / "memory")
