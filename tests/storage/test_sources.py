"""Content digests of what lies outside the store."""

import hashlib
import os
from pathlib import Path

import pytest

from taskdistill.storage.errors import NotInStoreError
from taskdistill.storage.files import write_json
from taskdistill.storage.sources import SourceDigests, tree_digest
from tests.storage.artifacts import opened_files

SHA_OF_ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
SHA_OF_DEFG = "4c8a43980498636e9c1d1595fa5d115af7937c2422dfe68a2520a52b7a5fb4de"
# printf 'a.txt\0%s\nsub/d.txt\0%s\n' $SHA_OF_ABC $SHA_OF_DEFG | sha256sum
SHA_OF_FOLDER = "1b63eba0faba234bb8ff464093adff797857957b10df94f0d2c1e7e6b58b818b"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.txt").write_bytes(b"abc")
    (folder / "sub" / "d.txt").write_bytes(b"defg")
    return folder


@pytest.fixture
def sources(tmp_path: Path) -> SourceDigests:
    return SourceDigests(tmp_path / "memory")


def edit(path: Path, data: bytes) -> None:
    """Write a file as an editor does a second later."""
    status = path.stat()
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000_000))


def write_unseen(path: Path, data: bytes) -> None:
    """Write as many bytes as before and set the modification time back."""
    status = path.stat()
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_the_digest_of_a_file_is_its_sha256(sources: SourceDigests, folder: Path):
    assert sources.digest(str(folder / "a.txt")) == SHA_OF_ABC


def test_the_digest_of_a_folder_covers_relative_paths_and_contents(sources: SourceDigests, folder: Path):
    assert sources.digest(str(folder)) == SHA_OF_FOLDER


def test_the_order_in_which_files_are_named_makes_no_difference():
    contents = [("sub/d.txt", SHA_OF_DEFG), ("a.txt", SHA_OF_ABC)]
    assert tree_digest(contents) == tree_digest(reversed(contents)) == SHA_OF_FOLDER


def test_moving_a_folder_keeps_its_digest(sources: SourceDigests, folder: Path):
    before = sources.digest(str(folder))
    assert sources.digest(str(folder.rename(folder.with_name("moved")))) == before


def test_one_changed_byte_changes_the_digest(sources: SourceDigests, folder: Path):
    before = sources.digest(str(folder))
    edit(folder / "sub" / "d.txt", b"defh")
    assert sources.digest(str(folder)) != before


@pytest.mark.parametrize("change", ["rename", "add", "remove"])
def test_a_renamed_added_or_removed_file_changes_the_digest(sources: SourceDigests, folder: Path, change: str):
    before = sources.digest(str(folder))
    if change == "rename":
        (folder / "a.txt").rename(folder / "b.txt")
    elif change == "add":
        (folder / "empty.txt").touch()
    else:
        (folder / "a.txt").unlink()
    assert sources.digest(str(folder)) != before


def test_a_file_that_is_unchanged_is_not_read_again(sources: SourceDigests, folder: Path):
    before = sources.digest(str(folder))
    with opened_files() as opened:
        assert sources.digest(str(folder)) == before
    assert not [path for path in opened if path.startswith(str(folder))]


def test_only_the_changed_file_of_a_folder_is_read_again(sources: SourceDigests, folder: Path):
    sources.digest(str(folder))
    edit(folder / "a.txt", b"abd")
    with opened_files() as opened:
        sources.digest(str(folder))
    assert [path for path in opened if path.startswith(str(folder))] == [str(folder / "a.txt")]


def test_digests_are_remembered_from_one_process_to_the_next(tmp_path: Path, sources: SourceDigests, folder: Path):
    before = sources.digest(str(folder))
    with opened_files() as opened:
        assert SourceDigests(tmp_path / "memory").digest(str(folder)) == before
    assert not [path for path in opened if path.startswith(str(folder))]


def test_other_content_of_the_same_size_and_time_is_found(sources: SourceDigests, folder: Path):
    before = sources.digest(str(folder)), sources.digest(str(folder / "a.txt"))
    write_unseen(folder / "a.txt", b"xyz")
    assert sources.digest(str(folder)) != before[0]
    assert sources.digest(str(folder / "a.txt")) == hashlib.sha256(b"xyz").hexdigest()


def test_another_file_of_the_same_size_and_time_in_its_place_is_found(sources: SourceDigests, folder: Path):
    before = sources.digest(str(folder))
    other = folder.parent / "other.txt"
    other.write_bytes(b"xyz")
    status = (folder / "a.txt").stat()
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.replace(folder / "a.txt")
    assert sources.digest(str(folder)) != before


def test_a_change_at_once_after_the_digest_is_found(tiny_disk: Path):
    """In memory, where all of it is done within one tick of the clock by which Linux before 6.13 dates files."""
    sources, file = SourceDigests(tiny_disk / "memory"), tiny_disk / "a.txt"
    file.write_bytes(b"abc")
    for number in range(20):
        data = f"{number:03d}".encode()
        write_unseen(file, data)
        assert sources.digest(str(file)) == hashlib.sha256(data).hexdigest()


def remember_wrongly(sources: SourceDigests, memory: Path, file: Path) -> None:
    """Bring the memory where a file system that hides changes brings it: the file looks unchanged and is not."""
    right = sources.digest(str(file))
    [record] = memory.iterdir()
    record.write_text(record.read_text().replace(right, "0" * 64))
    assert sources.digest(str(file)) == "0" * 64


@pytest.mark.parametrize("forget", ["one", "all"])
def test_what_was_forgotten_is_read_again(sources: SourceDigests, folder: Path, tmp_path: Path, forget: str):
    remember_wrongly(sources, tmp_path / "memory", folder / "a.txt")
    if forget == "one":
        sources.forget(str(folder / "a.txt"))
    else:
        sources.forget_all()
    assert sources.digest(str(folder / "a.txt")) == SHA_OF_ABC


def test_forgetting_what_was_never_known_is_no_error(sources: SourceDigests, folder: Path):
    sources.forget(str(folder))
    sources.forget_all()


@pytest.mark.parametrize("line", ["first", "second"])
@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "3", "\0\0", '["a.txt"]', '[["a.txt"], [], []]', '{"a.txt": [3, 0, 0, 0]}', "[[3], [3], [3]]"],
)
def test_a_torn_record_is_ignored_and_written_again(
    sources: SourceDigests, folder: Path, tmp_path: Path, text: str, line: str
):
    sources.digest(str(folder))
    [record] = (tmp_path / "memory").iterdir()
    whole = record.read_text()
    _, files = whole.splitlines()
    record.write_text(f"{text}\n{files}\n" if line == "first" else f'["another look", "digest"]\n{text}')
    assert sources.digest(str(folder)) == SHA_OF_FOLDER
    assert record.read_text() == whole


def test_a_record_of_an_older_version_is_no_proof_and_is_left_to_it(
    sources: SourceDigests, folder: Path, tmp_path: Path
):
    sources.digest(str(folder / "a.txt"))
    [record] = (tmp_path / "memory").iterdir()
    status = (folder / "a.txt").stat()
    older = record.rename(record.with_suffix(".json"))
    write_json(older, {".": [status.st_size, status.st_mtime_ns, status.st_ino, status.st_ctime_ns, "0" * 64]})
    assert sources.digest(str(folder / "a.txt")) == SHA_OF_ABC
    assert older.exists()
    sources.forget_all()
    assert not list((tmp_path / "memory").iterdir())


def test_of_a_folder_that_is_unchanged_only_one_line_of_what_is_remembered_is_needed(
    sources: SourceDigests, folder: Path, tmp_path: Path
):
    sources.digest(str(folder))
    [record] = (tmp_path / "memory").iterdir()
    record.write_text(record.read_text().splitlines()[0])
    with opened_files() as opened:
        assert sources.digest(str(folder)) == SHA_OF_FOLDER
    assert not [path for path in opened if path.startswith(str(folder))]


def test_a_name_that_is_no_text_can_be_remembered(sources: SourceDigests, folder: Path):
    odd = folder.parent / os.fsdecode(b"caf\xe9.bin")
    odd.write_bytes(b"abc")
    assert sources.digest(str(odd)) == SHA_OF_ABC


def test_hidden_files_and_folders_do_not_count(sources: SourceDigests, folder: Path):
    (folder / ".DS_Store").write_bytes(b"desktop")
    (folder / ".thumbnails").mkdir()
    (folder / ".thumbnails" / "a.png").write_bytes(b"picture")
    assert sources.digest(str(folder)) == SHA_OF_FOLDER


def test_links_are_followed(sources: SourceDigests, folder: Path, tmp_path: Path):
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "a.txt").symlink_to(folder / "a.txt")
    (linked / "sub").symlink_to(folder / "sub")
    assert sources.digest(str(linked)) == SHA_OF_FOLDER


def test_a_place_where_nothing_lies_is_named(sources: SourceDigests, tmp_path: Path):
    with pytest.raises(NotInStoreError, match=r"nowhere does not exist: check the path in the settings"):
        sources.digest(str(tmp_path / "nowhere"))


def test_a_link_to_nothing_is_named(sources: SourceDigests, folder: Path):
    (folder / "gone.jpg").symlink_to(folder / "nothing.jpg")
    with pytest.raises(NotInStoreError, match=r"gone\.jpg is a link to nothing: repair or remove it"):
        sources.digest(str(folder))


def test_while_looking_once_a_place_is_looked_at_once_and_afterwards_again(sources: SourceDigests, folder: Path):
    with sources.looking_once():
        with sources.looking_once():
            before = sources.digest(str(folder))
        edit(folder / "a.txt", b"abd")
        assert sources.digest(str(folder)) == before
    assert sources.digest(str(folder)) != before


@pytest.mark.parametrize("forget", ["one", "all"])
def test_what_was_forgotten_is_looked_at_again_also_while_looking_once(
    sources: SourceDigests, folder: Path, forget: str
):
    with sources.looking_once():
        before = sources.digest(str(folder))
        edit(folder / "a.txt", b"abd")
        if forget == "one":
            sources.forget(str(folder))
        else:
            sources.forget_all()
        assert sources.digest(str(folder)) != before


def test_another_process_sees_what_changed_while_this_one_looks_once(
    tmp_path: Path, sources: SourceDigests, folder: Path
):
    with sources.looking_once():
        before = sources.digest(str(folder))
        edit(folder / "a.txt", b"abd")
        assert SourceDigests(tmp_path / "memory").digest(str(folder)) != before
