"""Which GPUs this process may use: what CUDA_VISIBLE_DEVICES leaves of those that are there."""

from pathlib import Path

import pytest

from taskdistill.tasks import visible_gpus
from taskdistill.tasks.visible_gpus import num_gpus


@pytest.fixture
def devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder /dev of a machine with 4 GPUs, and other things of their driver."""
    for name in ("nvidia0", "nvidia1", "nvidia2", "nvidia3", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    monkeypatch.setattr(visible_gpus, "_DEVICES", tmp_path)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return tmp_path


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ("0", 1),
        ("3,1", 2),
        ("0, 1", 2),
        ("", 0),
        ("-1", 0),
        ("0,-1,1", 1),  # the first that is none ends the list
        ("0,,1", 1),
        ("0,7,1", 1),
        ("none", 0),
        ("1,1", 0),  # one that is named twice makes CUDA find none
        ("GPU-8932f937,GPU-1f22e5c4", 2),
        ("MIG-31dab2b9", 1),
    ],
)
@pytest.mark.usefixtures("devices")
def test_gpus_are_counted_as_cuda_reads_the_list_of_them(
    named: str, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    assert num_gpus() == expected


@pytest.mark.usefixtures("devices")
def test_where_nobody_says_which_all_that_are_there_count() -> None:
    assert num_gpus() == 4


def test_a_list_makes_no_gpus_where_there_are_none(devices: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for device in devices.glob("nvidia[0-9]"):
        device.unlink()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    assert num_gpus() == 0
