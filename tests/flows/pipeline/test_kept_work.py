"""Where an unfinished step goes on is where it really does, and not where it was when it was killed."""

from pathlib import Path

import pytest

from taskdistill.configs.stages import FinetuneConfig
from taskdistill.configs.training import TrainingSettings
from taskdistill.flows.pipeline.kept_work import kept_work
from taskdistill.storage.files import write_passing_json
from taskdistill.storage.fingerprint import fingerprint
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import PROGRESS
from taskdistill.storage.summaries import PaceSummary
from taskdistill.tasks.catalog import FINETUNE
from tests.conftest import STUDENT, VIEWS, Bench
from tests.storage.artifacts import tear

CONFIG = FinetuneConfig(
    backbone=STUDENT, views=VIEWS, training=TrainingSettings(epochs=2, batch_size=8, learning_rate=1e-3)
)
"""24 training images: six steps."""


def killed_at_step_4(bench: Bench, checkpoint_seconds: float) -> ArtifactRef:
    """Return the model whose training died; its progress says 4 steps."""

    def die(unit: str, done: int, total: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    inputs = {"images": bench.images, "probe": bench.student_probe}
    with pytest.raises(KeyboardInterrupt):
        bench.run(FINETUNE, CONFIG, on_progress=die, runtime={"checkpoint_seconds": checkpoint_seconds}, **inputs)
    (draft,) = (bench.store.root / "drafts").glob("**/.progress.json")
    return ArtifactRef("model", draft.parent.name)


@pytest.fixture
def begun(bench: Bench) -> ArtifactRef:
    return killed_at_step_4(bench, checkpoint_seconds=1e-9)


def test_a_training_goes_on_at_its_checkpoint(bench: Bench, begun: ArtifactRef) -> None:
    assert str(kept_work(bench.store, begun)) == "at 3 of 6 steps"


def test_a_training_that_was_killed_before_its_first_checkpoint_begins_anew(bench: Bench) -> None:
    begun = killed_at_step_4(bench, checkpoint_seconds=3600.0)
    assert str(kept_work(bench.store, begun)) == "from the beginning"


def test_where_a_power_cut_tore_the_checkpoint_it_begins_anew(bench: Bench, begun: ArtifactRef) -> None:
    checkpoint: Path = bench.store.draft_path(begun) / "checkpoint.safetensors"
    tear(checkpoint, "empty")
    assert str(kept_work(bench.store, begun)) == "from the beginning"


def test_an_evaluation_keeps_nothing_and_is_said_to_begin_anew(bench: Bench) -> None:
    ref = ArtifactRef("evaluation", fingerprint({}))
    with bench.store.lock(ref):
        draft = bench.store.draft(ref, {})
    write_passing_json(draft / PROGRESS, {"unit": "images", "done": 49_000, "total": 50_000})
    assert str(kept_work(bench.store, ref)) == "from the beginning"


def test_the_seconds_of_a_training_that_was_killed_are_those_of_both_attempts(bench: Bench, begun: ArtifactRef) -> None:
    progress = bench.store.progress(begun)
    write_passing_json(bench.store.draft_path(begun) / PROGRESS, progress | {"seconds": 3600.0})
    ref = bench.run(FINETUNE, CONFIG, images=bench.images, probe=bench.student_probe)
    assert ref == begun
    assert 3600 <= PaceSummary.of(bench.store.manifest(ref)).seconds < 3900


def test_an_attempt_says_how_long_it_has_been_at_work(bench: Bench, begun: ArtifactRef) -> None:
    assert bench.store.progress(begun)["seconds"] >= 0
