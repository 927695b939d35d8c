"""What is printed: names as they are, whole lines in a pipe, and something in place of what a terminal cannot show."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from taskdistill.configs.experiment import Experiment
from taskdistill.storage.store import ArtifactStore
from tests.flows.conftest import Command, Done, call, write_preset

PRINTS = """
import sys
from taskdistill.flows.printing import LogOnStderr, errors, output, print_any_character
print_any_character()
output.print(sys.argv[1])
"""
ODD = ["[red]birds[/]", "[/]", ":smile:", "{0}", "%s %d", "$HOME", "x" * 300, "two  blanks", "b\u00e4ume", "\u9ce5"]


def printed(text: str, **environment: str) -> bytes:
    """Print a text in a process of its own, with stdout in a pipe."""
    done = subprocess.run(
        [sys.executable, "-c", PRINTS, text], env=os.environ | environment, capture_output=True, check=True
    )
    return done.stdout


@pytest.mark.parametrize("text", ODD)
def test_a_text_is_printed_as_it_is(text: str) -> None:
    assert printed(text) == f"{text}\n".encode()


def test_a_character_that_the_terminal_lacks_is_replaced_by_one_like_it() -> None:
    assert printed("81.7 \u00b11.9 \u2192 b\u00e4ume", PYTHONIOENCODING="ascii") == b"81.7 +-1.9 -> b?ume\n"


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_a_file_name_that_is_no_text_is_printed_in_its_own_bytes(encoding: str) -> None:
    assert printed(os.fsdecode(b"/caf\xe9.png"), PYTHONIOENCODING=encoding) == b"/caf\xe9.png\n"


def test_a_name_gives_no_commands_to_the_terminal() -> None:
    assert printed("bird\x1b[2J\x07\x9b.png") == b"bird\\x1b[2J\\x07\\x9b.png\n"


@pytest.fixture
def odd_store(first_run: tuple[Path, Done], tmp_path: Path) -> ArtifactStore:
    """The finished store by a name longer than a terminal, with what rich takes for markup in it."""
    folder = tmp_path / ("[red]" + "x" * 100)
    folder.symlink_to(first_run[0])
    return ArtifactStore(folder)


def test_in_a_pipe_references_and_paths_are_whole(
    odd_store: ArtifactStore, experiment: Experiment, tmp_path: Path
) -> None:
    name = "n" * 60
    preset = write_preset(tmp_path / "odd.yaml", experiment.model_copy(update={"name": name}))
    assert call(odd_store, "list").stdout.startswith(f"{odd_store.root}\n")
    assert f"\n{name} in {odd_store.root}\n" in call(odd_store, "plan", preset).stdout
    student = odd_store.references("model")[0]
    assert str(odd_store.path(student)) in call(odd_store, "show", student.short).stdout
    scores = call(odd_store, "run", preset).stdout
    assert name in scores
    assert str(odd_store.path(student).parent) in scores


def test_in_a_pipe_the_cells_of_a_table_are_whole(taskdistill: Command, experiment: Experiment, tmp_path: Path) -> None:
    changed = experiment.probe.model_copy(update={"steps": 70, "batch_size": 8, "learning_rates": (0.125,) * 20})
    preset = write_preset(tmp_path / "changed.yaml", experiment.model_copy(update={"probe": changed}))
    lines = taskdistill("plan", preset).stdout.splitlines()
    (probe,) = [line for line in lines if line.startswith(" probe-teacher")]
    assert ", ".join(["0.125"] * 20) in probe
    assert probe.count("changed from") == 3


def test_a_table_is_printed_in_plain_characters_where_there_are_no_others(first_run: tuple[Path, Done]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "taskdistill.flows.cli", "list"],
        env=os.environ | {"TASKDISTILL_STORE": str(first_run[0]), "PYTHONIOENCODING": "ascii"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.isascii()
    assert ArtifactStore(first_run[0]).references("model")[0].short in done.stdout


def test_what_is_unfinished_is_listed_in_words(store: ArtifactStore) -> None:
    from taskdistill.storage.files import write_json
    from taskdistill.storage.manifest import ArtifactRef

    ref = ArtifactRef("features", "f" * 64)
    draft = store.draft(ref, {"stage": "extract"})
    assert "unfinished: features@ffffffffffff, from the beginning" in call(store, "list").stdout
    write_json(draft / ".progress.json", {"unit": "views", "done": 12, "total": 40})
    assert "unfinished: features@ffffffffffff, at 12 of 40 views" in call(store, "list").stdout


TABLE = """
from rich import box
from rich.table import Table
from taskdistill.flows.printing import output, print_table
table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
for column in ("step", "because", "size"):
    table.add_column(column, no_wrap=column != "because")
table.add_row("distill", "distill.temperature changed from 2.0 to 1.0", "1.1 MB")
table.add_row("ingest", "", "7.4 MB")
print_table("what is to be done", table)
"""


def on_a_terminal_of(columns: int) -> list[str]:
    """The lines of a table on a terminal of so many columns."""
    environment = os.environ | {"COLUMNS": str(columns), "TERM": "xterm", "FORCE_COLOR": "1", "NO_COLOR": "1"}
    done = subprocess.run([sys.executable, "-c", TABLE], env=environment, capture_output=True, text=True, check=True)
    return [re.sub(r"\x1b\[\d*m", "", line).rstrip() for line in done.stdout.splitlines()]


def test_on_a_terminal_that_is_too_narrow_each_row_of_a_table_is_a_paragraph_with_all_that_it_says() -> None:
    assert on_a_terminal_of(38) == [
        "what is to be done",
        "distill",
        "    because: distill.temperature",
        "    changed from 2.0 to 1.0; size: 1.1",
        "    MB",
        "ingest",
        "    size: 7.4 MB",
    ]


def test_where_cells_of_words_can_be_folded_a_table_stays_one() -> None:
    lines = on_a_terminal_of(60)
    assert any("step" in line and "because" in line and "size" in line for line in lines)
    assert all(len(line) <= 60 for line in lines)
