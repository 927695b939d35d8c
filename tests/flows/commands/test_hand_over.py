"""The commands that hand a model over and time it; what each target does is in tests/tasks/export and openmmlab."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from taskdistill.configs.choices import EXPORT_PACKAGES, EXPORT_TARGETS, load
from taskdistill.flows.cli import app
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.tasks.export import latency
from taskdistill.tasks.export.packages import PACKAGES as EXPORT
from taskdistill.tasks.openmmlab.packages import PACKAGES
from tests.flows.conftest import call


def told(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["export", *arguments])
    assert done.exit_code == 1, done.output
    return done.stderr


def test_a_target_that_is_not_known_is_answered_with_those_that_are() -> None:
    assert "cannot be exported to 'onyx'; did you mean 'onnx'? (known: hub-folder, mmseg, onnx, timm, torch)" in told(
        "model@3f9c12ab", "new", "--to", "onyx"
    )


def test_missing_packages_are_named_with_the_command_before_anything_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PACKAGES, "no_such_module", "no-such-package")
    said = told("model@3f9c12ab", "new", "--to", "mmseg")
    assert "no-such-package" in said
    assert '-e ".[segmentation]"' in said


def test_the_packages_of_onnx_are_named_with_their_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(EXPORT, "no_such_module", "no-such-package")
    said = told("model@3f9c12ab", "new", "--to", "onnx")
    assert "no-such-package" in said
    assert '-e ".[export]"' in said


def test_a_precision_that_a_target_does_not_have_is_refused() -> None:
    assert "--to torch cannot compute in 'int8' (known: fp32)" in told(
        "m", "new", "--to", "torch", "--precision", "int8"
    )
    said = told("m", "new", "--to", "onnx", "--precision", "int4")
    assert "'int4'; did you mean 'int8'? (known: fp16, fp32, int8)" in said


def test_a_student_is_exported_with_its_card(run_store: ArtifactStore, student: ArtifactRef, tmp_path: Path) -> None:
    done = call(run_store, "export", str(student), str(tmp_path / "new"), "--to", "hub-folder", "--json")
    assert done.code == 0, done.stderr
    assert done.json["files"] == sorted(path.name for path in (tmp_path / "new").iterdir())
    assert done.json["difference"] <= 1e-4
    card = (tmp_path / "new/README.md").read_text()
    assert card.startswith("---\nlicense: apache-2.0\n")
    assert "## Licences" in card
    assert str(run_store.root) not in card


def test_only_models_are_exported_and_a_label_of_something_else_is_said_to_be_that(
    run_store: ArtifactStore, tmp_path: Path
) -> None:
    [probe, *_] = run_store.references("probe")
    done = call(run_store, "export", str(probe), str(tmp_path / "new"), "--to", "timm")
    assert "is a probe, but a model is needed here" in done.stderr


def test_latency_is_measured_of_every_batch_and_number_of_threads(
    run_store: ArtifactStore, student: ArtifactRef, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latency, "THOROUGH", latency.THOROUGH._replace(seconds=0.0))
    monkeypatch.setattr(latency, "num_cores", lambda: 2)
    done = call(run_store, "latency", str(student), "--json")
    assert done.code == 0, done.stderr
    found = json.loads(done.stdout)["latencies"]
    assert [(one["threads"], one["batch"]) for one in found if one["device"] == "cpu"] == [
        (1, 1),
        (1, 32),
        (2, 1),
        (2, 32),
    ]
    assert all(0 < one["p50_ms"] <= one["p95_ms"] for one in found)
    assert found[0]["p50_ms"] < found[1]["p50_ms"]
    table = call(run_store, "latency", str(student)).stdout
    assert "p50 ms  p95 ms" in table
    assert "From uint8 images of 32 x 32 pixels" in table


def test_latency_of_a_folder_that_other_programs_run_is_refused(
    run_store: ArtifactStore, student: ArtifactRef, tmp_path: Path
) -> None:
    call(run_store, "export", str(student), str(tmp_path / "new"), "--to", "timm")
    done = call(run_store, "latency", str(student), str(tmp_path / "new"))
    assert "was exported to timm" in done.stderr
    (tmp_path / "new/config.json").unlink()
    done = call(run_store, "latency", str(student), str(tmp_path / "new"))
    assert "lacks config.json" in done.stderr


def test_every_target_leads_to_code() -> None:
    assert all(callable(load(EXPORT_PACKAGES, name)) for name in EXPORT_PACKAGES)
    assert EXPORT_PACKAGES.keys() <= EXPORT_TARGETS.keys()
