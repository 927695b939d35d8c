"""A run with two slots makes the bytes of a run with one, and says what it does as that one does."""

import re
import shutil
from pathlib import Path

import pytest

from taskdistill.storage.store import ArtifactStore
from tests.conftest import Bench
from tests.flows.conftest import Done, call


@pytest.fixture(scope="module")
def second_run(finished_bench: Bench, preset: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Done]:
    """As `first_run`, with two slots."""
    root = tmp_path_factory.mktemp("two") / "store"
    shutil.copytree(finished_bench.store.root, root)
    return root, call(ArtifactStore(root), "run", preset, "--json", "--set", "runtime.slots=2")


@pytest.mark.slow
def test_two_slots_make_the_bytes_of_one(first_run: tuple[Path, Done], second_run: tuple[Path, Done]) -> None:
    one, two = ArtifactStore(first_run[0]), ArtifactStore(second_run[0])
    assert second_run[1].code == 0, second_run[1].stderr
    assert two.references() == one.references()
    assert [two.manifest(ref).files for ref in two.references()] == [
        one.manifest(ref).files for ref in one.references()
    ]
    assert second_run[1].json["scores"] == first_run[1].json["scores"]


@pytest.mark.slow
def test_every_step_begins_and_ends_with_the_lines_of_one_slot(
    first_run: tuple[Path, Done], second_run: tuple[Path, Done]
) -> None:
    def lines(done: Done) -> list[str]:
        said = [re.sub(r" in \d+ (s|min)$", "", line) for line in done.stderr.splitlines()]
        return sorted(line for line in said if not re.search(r": \d+ of \d+ ", line))  # how far, where it takes long

    assert lines(second_run[1]) == lines(first_run[1])
    assert [stage["name"] for stage in second_run[1].json["stages"]] == [
        stage["name"] for stage in first_run[1].json["stages"]
    ]
