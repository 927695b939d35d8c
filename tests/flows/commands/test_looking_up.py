"""The small commands: what there is to set, what comes with the program, and a preset of one's own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from taskdistill.configs.described import described_settings
from taskdistill.configs.experiment import Experiment
from taskdistill.configs.fields import Kind, dotted_names
from taskdistill.configs.loading import load_experiment, preset_names
from taskdistill.flows import completing
from taskdistill.storage.store import ArtifactStore
from tests.flows.conftest import call
from tests.flows.scored import commit


def test_the_version_is_told(store: ArtifactStore) -> None:
    done = call(store, "--version")
    assert (done.code, done.stderr) == (0, "")
    assert done.stdout.startswith("taskdistill ")


@pytest.mark.parametrize("command", [(), ("run",), ("predict",), ("miniature", "pretrain")])
def test_help_has_a_short_form_everywhere(store: ArtifactStore, command: tuple[str, ...]) -> None:
    short, long = call(store, *command, "-h"), call(store, *command, "--help")
    assert short.code == 0
    assert short.stdout == long.stdout
    assert "Usage" in short.stdout


def test_every_setting_is_listed_with_what_it_takes_its_default_and_what_it_does(store: ArtifactStore) -> None:
    rows = {row["name"]: row for row in call(store, "settings", "--json").json["settings"]}
    assert rows.keys() == set(dotted_names(Kind(Experiment))) - {"schema"}
    row = rows["distill.alpha"]
    assert (row["takes"], row["default"]) == ("a number from 0 to 1", str(Experiment().distill.alpha))
    assert all(one.description for one in described_settings() if one.name not in WITHOUT_WORDS)


WITHOUT_WORDS: set[str] = set()


def test_settings_are_found_by_a_word_of_their_name_or_description(store: ArtifactStore) -> None:
    said = call(store, "settings", "cutmix").stdout
    assert "training.cutmix = " in said
    assert "runtime.device" not in said
    done = call(store, "settings", "flux-capacitor")
    assert (done.code, "no setting has 'flux-capacitor'" in done.stderr) == (1, True)


def test_presets_are_listed_with_what_they_are_for(store: ArtifactStore) -> None:
    rows = call(store, "presets", "--json").json["presets"]
    assert {row["name"] for row in rows} >= set(preset_names())
    assert all(len(row["about"]) > 40 for row in rows)
    assert "small-cpu" in call(store, "presets").stdout


@pytest.mark.parametrize("preset", preset_names())
def test_a_new_preset_means_what_the_one_it_was_made_from_does(
    store: ArtifactStore, tmp_path: Path, preset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REAL_DATA_DIR", "/data")
    done = call(store, "new", str(tmp_path / "mine.yaml"), "--from", preset)
    assert done.code == 0, done.stderr
    made, before = load_experiment(str(tmp_path / "mine.yaml")), load_experiment(preset)
    assert made.name == "mine"
    same = ("teacher", "student", "training", "distill", "views", "probe", "tuning", "seeds", "problem")
    assert {name: getattr(made, name) for name in same} == {name: getattr(before, name) for name in same}
    assert "# training.learning_rate = " in (tmp_path / "mine.yaml").read_text()


def test_a_file_that_is_there_is_not_written_over(store: ArtifactStore, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("mine")
    assert "name a new file" in call(store, "new", str(tmp_path / "mine.yaml")).stderr
    assert (tmp_path / "mine.yaml").read_text() == "mine"
    assert "let its name end in .yaml" in call(store, "new", str(tmp_path / "mine.txt")).stderr


def test_the_shell_is_offered_presets_stages_labels_references_and_settings(
    store: ArtifactStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TASKDISTILL_STORE", str(store.root))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text("")
    model = commit(store, "model", {})
    store.label("small-birds", model)
    assert completing.presets("small") == ["small-cpu", "small.yaml"]
    assert completing.stages("dis") == ["distill"]
    assert completing.kinds("log") == ["logits"]
    assert completing.references("small") == ["small-birds"]
    assert completing.references("model@") == [model.short]
    assert completing.settings("distill.al") == ["distill.alpha"]


def test_a_shell_that_asks_is_answered(tmp_path: Path) -> None:
    """As bash asks through what --install-completion writes into its settings."""
    words = {"COMP_WORDS": "taskdistill run small", "COMP_CWORD": "2", "_TASKDISTILL_COMPLETE": "complete_bash"}
    code = "import sys; sys.argv = ['taskdistill']; from taskdistill.flows.entry import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | words, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["small-cpu"]
