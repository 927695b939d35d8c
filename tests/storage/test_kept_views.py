"""Views kept on the disk: found as they were written or not at all, within the room there is, and never in the way."""

import logging
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from taskdistill.storage.kept_views import DAY_SECONDS, KEY_BYTES, Bytes, KeptViews, TablePlace, delete_unused_views
from tests.other_user import as_another_user

VIEW_BYTES = 3 * 40 * 40


def place(root: Path, name: str = "small", images: str = "a" * 64, **other: int) -> TablePlace:
    return TablePlace(root / images / f"{name}.table", **{"wanted_views": 50, "budget_mb": 64} | other)


def opened(where: TablePlace, view_bytes: int = VIEW_BYTES) -> KeptViews:
    table = KeptViews.open(where, view_bytes)
    assert table is not None
    return table


def key(number: int) -> bytes:
    return np.random.default_rng(number).bytes(KEY_BYTES)


def view(number: int, num_bytes: int = VIEW_BYTES) -> Bytes:
    return np.random.default_rng(number).integers(0, 256, num_bytes, np.uint8)


def kept(table: KeptViews, numbers: range) -> list[int]:
    """Those of the views that are found as they were written; what is found otherwise is an error."""
    found = {number: table.read(key(number)) for number in numbers}
    for number, pixels in found.items():
        assert pixels is None or np.array_equal(pixels, view(number, len(pixels)))
    return [number for number, pixels in found.items() if pixels is not None]


def test_what_one_process_keeps_another_finds(tmp_path: Path):
    table = opened(place(tmp_path))
    assert kept(table, range(50)) == []
    for number in range(50):
        table.write(key(number), view(number).reshape(40, 40, 3))
    assert kept(opened(place(tmp_path)), range(60)) == list(range(50))


def test_a_view_with_another_bit_is_not_found_until_it_is_kept_again(tmp_path: Path):
    table = opened(place(tmp_path, wanted_views=1))
    table.write(key(1), view(1))
    path = place(tmp_path).path
    damaged = bytearray(path.read_bytes())
    damaged[damaged.index(view(1).tobytes()) + 7] ^= 4
    path.write_bytes(damaged)
    table = opened(place(tmp_path))
    assert table.read(key(1)) is None
    table.write(key(1), view(1))
    assert kept(table, range(2)) == [1]


@pytest.mark.parametrize("written", [10, KEY_BYTES, KEY_BYTES + 4, KEY_BYTES + 4 + VIEW_BYTES // 2])
def test_a_view_of_which_a_power_cut_left_a_part_is_not_found_and_in_nobodys_way(tmp_path: Path, written: int):
    table = opened(place(tmp_path, wanted_views=20))
    table.write(key(1), view(1))
    path = place(tmp_path).path
    torn = bytearray(path.read_bytes())
    start = torn.index(key(1))
    torn[start + written : start + KEY_BYTES + 4 + VIEW_BYTES] = bytes(KEY_BYTES + 4 + VIEW_BYTES - written)
    path.write_bytes(torn)
    table = opened(place(tmp_path))
    assert table.read(key(1)) is None
    for number in range(20):
        table.write(key(number), view(number))
    assert kept(table, range(20)) == list(range(20))


def test_a_table_that_was_cut_short_is_used_as_far_as_it_goes(tmp_path: Path):
    table = opened(place(tmp_path))
    for number in range(50):
        table.write(key(number), view(number))
    os.truncate(place(tmp_path).path, 90 * VIEW_BYTES)
    assert 0 < len(kept(table, range(50))) < 50
    table = opened(place(tmp_path))  # with another number of slots, so that most views are looked for elsewhere
    for number in range(50):
        table.write(key(number), view(number))
    assert len(kept(table, range(50))) > 35


def test_pixels_of_one_view_are_not_those_of_another_under_whose_key_they_came_to_lie(tmp_path: Path):
    table = opened(place(tmp_path))
    table.write(key(1), view(1))
    table.write(key(2), view(2))
    path = place(tmp_path).path
    mixed = bytearray(path.read_bytes())
    start = mixed.index(key(2))
    mixed[start : start + KEY_BYTES] = key(3)
    path.write_bytes(mixed)
    assert opened(place(tmp_path)).read(key(3)) is None
    start = mixed.index(key(1))
    mixed[start + KEY_BYTES : start + KEY_BYTES + 4 + VIEW_BYTES] = mixed[mixed.index(key(3)) + KEY_BYTES :][
        : 4 + VIEW_BYTES
    ]
    path.write_bytes(mixed)
    assert opened(place(tmp_path)).read(key(1)) is None


def test_in_a_full_table_what_is_there_stays_and_the_rest_is_not_kept(tmp_path: Path):
    table = opened(place(tmp_path, wanted_views=2))
    for number in range(30):
        table.write(key(number), view(number))
    first = kept(table, range(30))
    assert first == [0, 1, 2, 3]  # two slots a view
    for number in range(30):
        table.write(key(number), view(number))
    assert kept(table, range(30)) == first


def test_threads_that_write_and_read_at_the_same_time_find_views_whole_or_not_at_all(tmp_path: Path):
    tables = [opened(place(tmp_path)) for _ in range(4)]
    found: list[list[int]] = []

    def work(table: KeptViews) -> None:
        for number in range(50):
            table.write(key(number), view(number))
            kept(table, range(max(0, number - 5), number + 5))
        found.append(kept(table, range(50)))

    threads = [threading.Thread(target=work, args=[table]) for table in tables]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    for table in tables:
        for number in range(50):
            table.write(key(number), view(number))
    assert kept(tables[0], range(50)) == list(range(50))


# --- the room it takes
# -----------------------------------------------------------------------------------------------


def test_a_table_takes_half_of_what_is_left_of_the_budget_and_disk_only_for_what_it_holds(tmp_path: Path):
    opened(place(tmp_path, wanted_views=10**6, budget_mb=8))
    found = place(tmp_path).path.stat()
    assert 0.99 * 2**22 < found.st_size <= 2**22
    assert found.st_blocks == 0


def test_a_table_takes_at_most_a_tenth_of_what_is_free_on_the_disk(tiny_disk: Path):
    opened(place(tiny_disk, wanted_views=10**6), view_bytes=300)
    assert 0 < place(tiny_disk).path.stat().st_size <= 65536 // 10


def test_where_there_is_no_room_for_one_view_there_is_no_table(tiny_disk: Path):
    assert KeptViews.open(place(tiny_disk), 7000) is None
    assert not place(tiny_disk).path.exists()


def test_on_a_disk_that_fills_up_no_more_views_are_kept_and_that_is_said_once(
    tiny_disk: Path, caplog: pytest.LogCaptureFixture
):
    table = opened(place(tiny_disk), view_bytes=300)
    with pytest.raises(OSError, match="No space"):
        (tiny_disk / "other").write_bytes(bytes(2**20))
    for number in range(20):
        table.write(key(number), view(number, 300))
    assert kept(table, range(20)) == []
    said = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert said == [
        f"no more views are kept in {place(tiny_disk).path}, and each is cut anew (No space left on device)"
    ]


def test_where_no_folder_can_be_there_is_no_table_and_no_error(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    (tmp_path / "views").write_text("a file")
    with caplog.at_level(logging.INFO):
        assert KeptViews.open(place(tmp_path / "views"), VIEW_BYTES) is None
    assert "each is cut anew (File exists)" in caplog.text


def test_a_store_whose_share_is_gone_is_not_made_again(tmp_path: Path):
    assert KeptViews.open(place(tmp_path / "store" / "views"), VIEW_BYTES) is None
    assert not (tmp_path / "store").exists()


def test_where_the_budget_is_spent_tables_go_that_nobody_has_used_for_a_day_the_oldest_first(tmp_path: Path):
    names = ["last week", "last month", "yesterday", "now"]
    for name in names:
        table = opened(place(tmp_path, name, wanted_views=20, budget_mb=64))
        for number in range(40):
            table.write(key(number), view(number))  # 0.2 MB
    for name, days in zip(names, (7, 30, 1.5, 0), strict=True):
        then = time.time() - days * DAY_SECONDS
        os.utime(place(tmp_path, name).path, (then, then))
    opened(place(tmp_path, "new", images="b" * 64, budget_mb=1))  # half a MB must be free
    left = {path.stem for path in tmp_path.glob("*/*.table")}
    assert left == {"yesterday", "now", "new"}


def test_opening_a_table_that_is_large_enough_deletes_no_other(tmp_path: Path):
    last_week = time.time() - 7 * DAY_SECONDS
    for where in (place(tmp_path, "unused", wanted_views=100), place(tmp_path, "here")):
        opened(where)
        os.utime(where.path, (last_week, last_week))
    opened(place(tmp_path, "here", budget_mb=1))  # nearly all of which the other takes
    assert {path.stem for path in tmp_path.glob("*/*.table")} == {"unused", "here"}


def test_a_table_that_is_used_stays_whatever_the_budget_is(tmp_path: Path):
    for number in range(40):
        opened(place(tmp_path)).write(key(number), view(number))
    assert KeptViews.open(place(tmp_path, "new", budget_mb=0), VIEW_BYTES) is None
    assert len(kept(opened(place(tmp_path, budget_mb=0)), range(40))) == 40


def test_tables_together_may_not_grow_beyond_the_budget_however_empty_they_are(tmp_path: Path):
    for number in range(8):
        KeptViews.open(place(tmp_path, str(number), wanted_views=10**6, budget_mb=8), VIEW_BYTES)
    assert sum(path.stat().st_size for path in tmp_path.glob("*/*.table")) <= 8 << 20


def test_a_table_for_far_more_views_takes_the_place_of_a_small_one_and_none_that_of_a_large_one(tmp_path: Path):
    small = opened(place(tmp_path, wanted_views=5))
    small.write(key(1), view(1))
    large = opened(place(tmp_path, wanted_views=50))
    for number in range(2, 50):
        large.write(key(number), view(number))
    assert kept(small, range(50)) == [1]
    assert kept(opened(place(tmp_path, wanted_views=5)), range(50)) == list(range(2, 50))


def test_a_file_that_a_power_cut_left_empty_becomes_a_table_again(tmp_path: Path):
    opened(place(tmp_path))
    place(tmp_path).path.write_bytes(b"")
    opened(place(tmp_path)).write(key(1), view(1))
    assert kept(opened(place(tmp_path)), range(3)) == [1]


@pytest.mark.parametrize("there", ["nothing", "a small table"])
def test_whoever_comes_at_the_same_time_has_the_same_table(tmp_path: Path, there: str):
    for round_number in range(20):
        where, together = place(tmp_path, str(round_number)), threading.Barrier(6)
        if there == "a small table":
            opened(where._replace(wanted_views=1))

        def come(number: int, where: TablePlace = where, together: threading.Barrier = together) -> KeptViews:
            together.wait()
            table = opened(where)
            table.write(key(number), view(number))
            return table

        with ThreadPoolExecutor(6) as pool:
            tables = list(pool.map(come, range(6)))
        assert all(kept(table, range(7)) == list(range(6)) for table in tables)


def test_a_table_that_takes_the_place_of_an_unused_one_is_not_deleted_with_it(tmp_path: Path):
    where, together = place(tmp_path), threading.Barrier(2)

    def come() -> KeptViews:
        together.wait()
        return opened(where)

    def collect() -> None:
        together.wait()
        delete_unused_views(tmp_path, ["a" * 64])

    with ThreadPoolExecutor(2) as pool:
        for number in range(100):
            opened(where._replace(wanted_views=1))
            os.utime(where.path, (0, 0))
            coming, collecting = pool.submit(come), pool.submit(collect)
            coming.result().write(key(number), view(number))
            collecting.result()
            assert kept(opened(where), range(number, number + 1)) == [number]
            where.path.unlink()


def test_reading_a_table_is_using_it(tmp_path: Path):
    opened(place(tmp_path)).write(key(1), view(1))
    os.utime(place(tmp_path).path, (0, 0))
    opened(place(tmp_path)).read(key(1))
    assert time.time() - place(tmp_path).path.stat().st_mtime < 60


def test_a_table_of_another_user_is_read_where_he_lets_one_and_never_in_anybodys_way(tmp_path: Path):
    tmp_path.chmod(0o755)
    opened(place(tmp_path)).write(key(1), view(1))

    def by_another() -> str:
        table = opened(place(tmp_path))
        table.write(key(2), view(2))
        delete_unused_views(tmp_path, [])
        return str(kept(table, range(4)))

    assert as_another_user(tmp_path, by_another) == "[1]"
    assert kept(opened(place(tmp_path)), range(4)) == [1]


def test_views_of_image_sets_that_are_gone_and_unused_ones_are_deleted_and_whoever_reads_them_goes_on(tmp_path: Path):
    here, unused, gone = place(tmp_path), place(tmp_path, "unused"), place(tmp_path, images="b" * 64)
    tables = [opened(one) for one in (here, unused, gone)]
    for table in tables:
        table.write(key(1), view(1))
    last_week = time.time() - 7 * DAY_SECONDS
    os.utime(unused.path, (last_week, last_week))
    delete_unused_views(tmp_path, ["a" * 64])
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [here.path]
    assert not gone.path.parent.exists()
    assert [kept(table, range(3)) for table in tables] == [[1], [1], [1]]
    delete_unused_views(tmp_path / "nowhere", [])
