"""Dataset form "table": CSV or Parquet with path, label and perhaps split."""

import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from taskdistill.configs.data import IngestConfig
from taskdistill.tasks.data.candidates import DatasetError
from taskdistill.tasks.data.table import list_images


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A dataset's folder with the files a.png and b/c.png."""
    (tmp_path / "data/b").mkdir(parents=True)
    for file in ("a.png", "b/c.png"):
        (tmp_path / "data" / file).touch()
    (tmp_path / "secret.png").touch()
    return tmp_path / "data"


def listed(folder: Path, *lines: str, table: str = "t.csv") -> list[tuple[str, str, str]]:
    (folder / table).write_text("\n".join(lines) + "\n")
    config = IngestConfig(path=str(folder), form="table", table=table)
    return [(found.id, found.label, found.split) for found in list_images(config).candidates]


def test_rows_become_candidates_in_their_order(folder: Path) -> None:
    assert listed(folder, "path,label,split", "b/c.png,dog,validation", "a.png,cat,Train") == [
        ("b/c.png", "dog", "val"),
        ("a.png", "cat", "train"),
    ]


def test_the_split_may_be_missing(folder: Path) -> None:
    assert listed(folder, "label,path", "cat,a.png") == [("a.png", "cat", "")]


def test_labels_that_are_numbers_are_names_all_the_same(folder: Path) -> None:
    assert [label for _, label, _ in listed(folder, "path,label", "a.png,007", "b/c.png,1.0")] == ["007", "1.0"]


def test_labels_that_look_like_nothing_or_like_truth_are_names_too(folder: Path) -> None:
    assert [label for _, label, _ in listed(folder, "path,label", "a.png,NA", "b/c.png,true")] == ["NA", "true"]


def test_other_columns_do_not_disturb(folder: Path) -> None:
    assert listed(folder, "photographer,path,label", '"Doe, J.",a.png,cat') == [("a.png", "cat", "")]


@pytest.mark.parametrize("columns", [("path", "label", "split"), ("path", "label")])
def test_a_parquet_table_reads_the_same(folder: Path, columns: Sequence[str]) -> None:
    everything = {"path": ["a.png"], "label": ["cat"], "split": ["test"]}
    pq.write_table(pa.table({name: everything[name] for name in columns}), folder / "t.parquet")
    (found,) = list_images(IngestConfig(path=str(folder), form="table", table="t.parquet")).candidates
    assert (found.id, found.label, found.split) == ("a.png", "cat", "test" if "split" in columns else "")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["file,label", "a.png,cat"], r"lacks the columns \['path'\]; it has \['file', 'label'\]"),
        (["name", "a.png"], r"lacks the columns \['label', 'path'\]"),
        (["path,label", "../secret.png,cat"], r"row 1: '../secret.png' leads out of the dataset's folder"),
        (["path,label", "b/../../secret.png,cat"], "leads out of the dataset's folder"),
        (["path,label", "a.png,cat", "/etc/passwd,cat"], "row 2: '/etc/passwd' leads out of the dataset's folder"),
        (["path,label", "a.png,cat", "a.png,dog"], "names 'a.png' more than once"),
        (["path,label", "a.png,cat", "./a.png,dog"], r"names 'a.png' more than once, with different words \(rows 1, 2"),
        (["path,label,split", "b//c.png,cat,val", "b/c.png,cat,test"], "names 'b/c.png' more than once"),
        (["path,label,split", "a.png,cat,fold 1"], "row 1: unknown split 'fold 1'; known: train, training, val"),
        (["path,label", "gone.png,cat"], "row 1: there is no file .*gone.png"),
        (["path,label", "b,cat"], "row 1: there is no file .*/b: paths are relative"),
        (["path,label", "a.png,"], "row 1: path and label must not be empty"),
        (["path,label", ",cat"], "row 1: path and label must not be empty"),
        (["path,label", "a.png,cat,dog,cow"], "cannot be read as .csv"),
        (["path,label,Label ", "a.png,cat,dog"], r"several columns called label: \['label', 'Label '\]"),
        (
            ["path,label", "x.png,cat", "a.png,", "y.png,dog"],
            "row 2: path and .*; row 1: .* and 1 more such rows",
        ),
        (["path,label", "c.png,cat"], "no file .*c.png: did you mean 'b/c.png'"),
        (["path,label", "b/c,cat"], "no file .*b/c: did you mean 'b/c.png'"),
        (["path,label", "A.PNG,cat"], "no file .*A.PNG: did you mean 'a.png'"),
        (["path,label", r"C:\photos\a.png,cat"], "leads out of the dataset's folder"),
    ],
)
def test_a_table_that_cannot_be_right_is_refused_with_the_row(folder: Path, lines: list[str], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        listed(folder, *lines)


@pytest.mark.parametrize("table", ["../t.csv", "/t.csv"])
def test_the_table_itself_must_lie_in_the_folder(folder: Path, table: str) -> None:
    with pytest.raises(DatasetError, match=f"data.table: '{table}' leads out of the dataset's folder"):
        list_images(IngestConfig(path=str(folder), form="table", table=table))


def test_a_table_that_is_not_there_is_named(folder: Path) -> None:
    with pytest.raises(DatasetError, match=r"data.table: there is no file .*/labels.csv"):
        list_images(IngestConfig(path=str(folder), form="table", table="labels.csv"))


def test_a_parquet_file_that_is_none_is_refused(folder: Path) -> None:
    with pytest.raises(DatasetError, match=r"t.parquet cannot be read as .parquet"):
        listed(folder, "path,label", "a.png,cat", table="t.parquet")


def test_a_link_in_the_folder_may_point_anywhere_as_its_owner_made_it(folder: Path) -> None:
    (folder / "link.png").symlink_to(folder.parent / "secret.png")
    assert listed(folder, "path,label", "link.png,cat") == [("link.png", "cat", "")]


# --- tables as spreadsheets of all countries write them --------------------------------------------------------------


def said_of(folder: Path, data: bytes, table: str = "t.csv") -> tuple[list[tuple[str, str]], str]:
    """Write a table of these bytes; return its images as (id, label), and what was said of it."""
    (folder / table).write_bytes(data)
    listing = list_images(IngestConfig(path=str(folder), form="table", table=table))
    return [(found.id, found.label) for found in listing.candidates], "; ".join(listing.said)


BOTH = [("a.png", "cat"), ("b/c.png", "dog")]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("path,label\na.png,cat\nb/c.png,dog\n".encode("utf-8-sig"), ""),
        ("path,label\na.png,cat\nb/c.png,dog\n".encode("utf-16"), "t.csv is read as UTF-16"),
        (b"path;label\na.png;cat\nb/c.png;dog\n", "the columns of t.csv are separated by semicolons"),
        (b"sep=;\r\npath;label\r\na.png;cat\r\nb/c.png;dog\r\n", "the columns of t.csv are separated by semicolons"),
        (b"path\tlabel\na.png\tcat\nb/c.png\tdog\n", "the columns of t.csv are separated by tabs"),
        (b" Path ,LABEL\na.png,cat\nb/c.png,dog\n", ""),
        (b"path,label\na.png , cat\nb/c.png,dog  \n", ""),
        (b"path,label\r\na.png,cat\r\nb/c.png,dog", ""),
        (b"path,label\na.png,cat\n\n,\nb/c.png,dog\n", "1 row of t.csv left out: nothing is written there"),
        (b"path,label\na.png,cat\nb\\c.png,dog\n", "1 paths of t.csv are written with backslashes and read as folders"),
        (b"path,label\na.png,cat\na.png,cat\nb/c.png,dog\n", "1 row of t.csv left out: said already by another one"),
    ],
    ids=[
        "byte order mark", "UTF-16", "semicolons", "sep= line", "tabs", "capitals", "blanks", "CRLF", "empty rows",
        "backslashes", "a row twice",
    ],
)  # fmt: skip
def test_what_can_only_be_meant_one_way_is_read_and_said(folder: Path, data: bytes, said: str) -> None:
    assert said_of(folder, data) == (BOTH, said)


def test_a_table_in_an_old_encoding_is_refused_with_the_line(folder: Path) -> None:
    with pytest.raises(DatasetError, match=r"line 2 is not UTF-8. Save the table as CSV in UTF-8"):
        said_of(folder, "path,label\na.png,kočka\n".encode("cp1250"))


def test_a_spreadsheets_own_file_is_refused_with_what_to_save(folder: Path) -> None:
    with pytest.raises(DatasetError, match=r"t.xlsx cannot be read as .xlsx: .* CSV"):
        said_of(folder, b"PK\x03\x04\x14\0\x06\0\x08\0\xff\xfe", "t.xlsx")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "it is empty; its first line is path,label"),
        (b"PK\x03\x04rest", "a spreadsheet's own file, or an archive: save the table as CSV"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS: run 'git lfs pull'"),
        (b"<!DOCTYPE html><html></html>", "a web page: download the table again"),
        (b"[]", r"it begins with '\[\]': save the table as CSV"),
        (b"# mine\npath,label\na.png,cat\n", "line 2 has 2 cells, the first line 1: 'path,label'. Give each line"),
        (b"path,label\na.png,cat\nb/c.png,dog,1\n", "line 3 has 3 cells, the first line 2"),
        (b"path,label\n", "has no rows below its columns"),
        (b'path,label\na.png,"cat\nb/c.png,dog\n', r"row 1: the column 'label' holds a line break, .*not closed"),
        (b"path,label\nhttps://a.org/a.png,cat\n", "row 1: 'https://a.org/a.png' is an address: download the files"),
    ],
)  # fmt: skip
def test_what_is_no_table_is_refused_in_words_of_ours(folder: Path, data: bytes, reason: str) -> None:
    (folder / "t.csv").write_bytes(data)
    with pytest.raises(DatasetError, match=reason) as error:
        list_images(IngestConfig(path=str(folder), form="table", table="t.csv"))
    assert "CSV parse error" not in str(error.value)


def test_a_csv_is_read_without_threads_that_could_outlive_the_program(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = pyarrow.csv.read_csv
    asked = []
    monkeypatch.setattr(pyarrow.csv, "read_csv", lambda *data, **how: asked.append(how) or read(*data, **how))
    listed(folder, "path,label", "a.png,cat")
    assert [how["read_options"].use_threads for how in asked] == [False]


def test_a_file_whose_name_has_a_backslash_is_found_by_it(folder: Path) -> None:
    (folder / "b\\c.png").touch()
    assert said_of(folder, b"path,label\na.png,cat\nb\\c.png,dog\n") == ([("a.png", "cat"), ("b\\c.png", "dog")], "")


def test_a_path_may_be_written_in_another_unicode_form_than_on_disk(folder: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, "bär.png") for form in ("NFC", "NFD"))
    (folder / decomposed).touch()
    found, _ = said_of(folder, f"path,label\n{composed},bär\na.png,cat\n".encode())
    assert found == [(decomposed, "bär"), ("a.png", "cat")]


def test_a_path_that_fits_two_files_but_for_their_unicode_form_is_refused(folder: Path) -> None:
    for form in ("NFC", "NFD"):
        (folder / f" {unicodedata.normalize(form, 'bär.png')}").touch()
    with pytest.raises(DatasetError, match=r"row 1: 'bär.png' could be any of .*rename one of them"):
        said_of(folder, "path,label\nbär.png,bär\na.png,cat\n".encode())


def test_words_for_splits_are_understood_as_in_folders(folder: Path) -> None:
    assert [split for _, _, split in listed(folder, "path,label,split", "a.png,cat,Training ", "b/c.png,cat,eval")] == [
        "train", "test",
    ]  # fmt: skip


def test_pictures_that_no_row_names_are_left_out_and_the_table_is_not_counted(folder: Path) -> None:
    (folder / "b/more.png").touch()
    (folder / "b/notes.txt").touch()
    (folder / "t.csv").write_text("path,label\na.png,cat\nb/notes.txt,dog\n")
    listing = list_images(IngestConfig(path=str(folder), form="table", table="t.csv"))
    assert [(one.path, one.reason) for one in listing.left_out] == [
        ("b/c.png", "not in the table"), ("b/more.png", "not in the table"),
    ]  # fmt: skip


def test_a_bit_that_was_flipped_in_a_parquet_table_is_spoken_of_as_damage_wherever_it_is_found(folder: Path) -> None:
    """A user's file has no checksums: what is found at all is found as damage, and never as a missing permission."""
    config = IngestConfig(path=str(folder), form="table", table="t.parquet")
    table = folder / "t.parquet"
    pq.write_table(pa.table({"path": ["a.png", "b/c.png"], "label": ["cat", "dog"]}), table)
    sound, found = table.read_bytes(), 0
    for position in range(0, len(sound), 5):
        damaged = bytearray(sound)
        damaged[position] ^= 0b1000_0000
        table.write_bytes(damaged)
        try:
            list_images(config)
        except DatasetError:
            found += 1
    assert found > 50


def test_a_parquet_table_whose_texts_are_not_utf_8_is_refused(folder: Path) -> None:
    config = IngestConfig(path=str(folder), form="table", table="t.parquet")
    texts = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\3\0\0\0"), pa.py_buffer(b"caf\xe9"[-3:])]
    )
    pq.write_table(pa.table({"path": ["a.png"], "label": texts}), folder / "t.parquet")
    with pytest.raises(DatasetError, match=r"t\.parquet cannot be read as \.parquet: it is damaged"):
        list_images(config)


def test_labels_of_parquet_that_are_no_text_are_refused_and_missing_ones_found(folder: Path) -> None:
    config = IngestConfig(path=str(folder), form="table", table="t.parquet")
    pq.write_table(pa.table({"path": ["a.png"], "label": [b"cat"]}), folder / "t.parquet")
    with pytest.raises(DatasetError, match="the column 'label' holds bytes, such as b'cat'"):
        list_images(config)
    pq.write_table(pa.table({"path": ["a.png", "b/c.png"], "label": [1.0, float("nan")]}), folder / "t.parquet")
    with pytest.raises(DatasetError, match="row 2: path and label must not be empty"):
        list_images(config)


def test_a_pipe_is_no_table_and_no_image(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    with pytest.raises(DatasetError, match=r"there is no file .*pipe"):
        list_images(IngestConfig(path=str(folder), form="table", table="pipe"))
    with pytest.raises(DatasetError, match=r"row 1: there is no file .*pipe"):
        said_of(folder, b"path,label\npipe,cat\n")


def test_how_folders_are_laid_out_cannot_be_stated_of_a_table() -> None:
    with pytest.raises(ValueError, match=r"data.layout says how folders are read, and form 'table' names each image"):
        IngestConfig(path="photos", form="table", table="t.csv", layout="class")


# --- masks ---------------------------------------------------------------------------------------------------------


def test_a_mask_is_the_file_its_row_names(folder: Path) -> None:
    (folder / "t.csv").write_text("path,label,mask\na.png,cat,b/c.png\n")
    (found,) = list_images(IngestConfig(path=str(folder), form="table", table="t.csv")).candidates
    assert found.mask == folder / "b/c.png"


def test_a_row_may_have_no_mask(folder: Path) -> None:
    (folder / "t.csv").write_text("path,label,mask\na.png,cat,\n")
    (found,) = list_images(IngestConfig(path=str(folder), form="table", table="t.csv")).candidates
    assert found.mask is None


@pytest.mark.parametrize(
    ("mask", "reason"), [("nothing.png", "there is no file"), ("../secret.png", "leads out of the dataset's folder")]
)
def test_a_mask_that_is_not_there_or_leads_out_is_refused(folder: Path, mask: str, reason: str) -> None:
    (folder / "t.csv").write_text(f"path,label,mask\na.png,cat,{mask}\n")
    with pytest.raises(DatasetError, match=reason):
        list_images(IngestConfig(path=str(folder), form="table", table="t.csv"))
