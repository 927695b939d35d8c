"""Small tables inside artifacts."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from taskdistill.storage.errors import CorruptArtifactError
from taskdistill.storage.tables import DUPLICATES, HISTORY, has_column, read_table, write_columns, write_table
from tests.storage.artifacts import flip_a_bit


def test_rows_come_back_and_what_they_leave_out_is_null(tmp_path: Path):
    write_table(tmp_path / "history.parquet", HISTORY, [{"step": 1, "loss": 0.5}, {"step": 2, "val_score": 0.75}])
    nothing = dict.fromkeys(HISTORY.names)
    assert read_table(tmp_path / "history.parquet") == [
        nothing | {"step": 1, "loss": 0.5},
        nothing | {"step": 2, "val_score": 0.75},
    ]


def test_a_table_without_rows_still_has_its_columns(tmp_path: Path):
    write_table(tmp_path / "duplicates.parquet", DUPLICATES, [])
    assert pq.read_schema(tmp_path / "duplicates.parquet").names == ["sha256", "ids", "splits", "labels"]
    assert read_table(tmp_path / "duplicates.parquet") == []


@pytest.mark.parametrize("num_rows", [1, 1023, 1024, 1025, 5000])
def test_rows_that_come_one_by_one_are_all_there_in_their_order(tmp_path: Path, num_rows: int):
    write_table(tmp_path / "history.parquet", HISTORY, ({"step": step} for step in range(num_rows)))
    assert [row["step"] for row in read_table(tmp_path / "history.parquet")] == [*range(num_rows)]


def test_of_rows_that_end_in_an_error_nothing_is_left(tmp_path: Path):
    def rows() -> Iterator[dict[str, int]]:
        yield from ({"step": step} for step in range(3000))
        raise TimeoutError

    with pytest.raises(TimeoutError):
        write_table(tmp_path / "history.parquet", HISTORY, rows())
    assert list(tmp_path.iterdir()) == []


def test_a_value_of_another_type_than_the_schema_says_is_refused_and_nothing_is_written(tmp_path: Path):
    with pytest.raises(pa.ArrowInvalid, match="Could not convert 'first'"):
        write_table(tmp_path / "history.parquet", HISTORY, [{"step": "first"}])
    assert list(tmp_path.iterdir()) == []


def test_columns_that_a_problem_names_come_back(tmp_path: Path):
    write_columns(tmp_path / "p.parquet", {"id": ["a", "b"], "predicted": np.array([3, 4]), "top": [[1, 2], [3]]})
    assert read_table(tmp_path / "p.parquet") == [
        {"id": "a", "predicted": 3, "top": [1, 2]},
        {"id": "b", "predicted": 4, "top": [3]},
    ]


def test_a_flipped_bit_in_a_value_is_found_on_reading(tmp_path: Path):
    path = tmp_path / "p.parquet"
    write_columns(path, {"score": np.random.default_rng(0).random(100)})
    flip_a_bit(path, position=300)  # one of the 800 bytes of scores, as likely before as after
    with pytest.raises(CorruptArtifactError, match=r"p\.parquet is damaged"):
        read_table(path)


def test_who_only_reads_a_table_waits_for_no_pandas(tmp_path: Path):
    write_columns(tmp_path / "p.parquet", {"score": [1.0]})
    code = (
        "import sys; from pathlib import Path; from taskdistill.storage.tables import read_table; "
        "read_table(Path(sys.argv[1])); print(sorted({'pandas', 'pyarrow.dataset'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "p.parquet")], check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == "[]"


def test_whether_a_table_has_a_column_is_known_without_reading_it(tmp_path: Path):
    write_columns(tmp_path / "p.parquet", {"score": [1.0]})
    assert has_column(tmp_path / "p.parquet", "score")
    assert not has_column(tmp_path / "p.parquet", "confidence")


def test_a_table_that_is_cut_short_or_gone_is_damaged_rather_than_without_the_column(tmp_path: Path):
    path = tmp_path / "p.parquet"
    write_columns(path, {"score": [1.0]})
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(CorruptArtifactError, match=r"p\.parquet is damaged"):
        has_column(path, "score")
    path.unlink()
    with pytest.raises(CorruptArtifactError, match=r"p\.parquet is damaged"):
        has_column(path, "score")
