"""Dataset form "table": CSV or Parquet with path, label and perhaps split."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from configs.data import IngestConfig
from tasks.data.candidates import DatasetError
from tasks.data.table import list_images


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
        (["path,label", "a.png,cat", "./a.png,cat"], "names 'a.png' more than once"),
        (["path,label", "b//c.png,cat", "b/c.png,cat"], "names 'b/c.png' more than once"),
        (["path,label,split", "a.png,cat,holdout"], "row 1: unknown split 'holdout'; known: train, training, val"),
        (["path,label", "gone.png,cat"], "row 1: there is no file .*gone.png"),
        (["path,label", "b,cat"], "row 1: there is no file .*/b$"),
        (["path,label", "a.png,"], "row 1: path and label must not be empty"),
        (["path,label", ",cat"], "row 1: path and label must not be empty"),
        (["path,label", "a.png,cat,dog,cow"], "cannot be read as .csv"),
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
