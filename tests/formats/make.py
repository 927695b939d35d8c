"""Makes a folder of tests/formats: a store with a tiny artifact of every kind, and one draft that was broken off.

    python -m tests.formats.make NUMBER

Run it whenever a kind gets a new format (`storage.formats`), with the number after the last, and commit what it
makes. Folders that are there are never made anew: they are what people have on their disks.
"""

import argparse
import shutil
import tempfile
from pathlib import Path
from typing import Any

from taskdistill.configs.base import StageConfig
from taskdistill.configs.data import IngestConfig, ViewSettings
from taskdistill.configs.generation import BlendSettings, EmbedConfig, GenerateConfig, GeneratorModel, SelectConfig
from taskdistill.configs.models import Backbone
from taskdistill.configs.stages import (
    DistillConfig,
    EvaluateConfig,
    ExtractConfig,
    PrecomputeConfig,
    ProbeConfig,
    ProbeSettings,
)
from taskdistill.configs.training import TrainingSettings
from taskdistill.configs.tuning import TuneDistillConfig, TuningSettings
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.notes import NOTES
from taskdistill.storage.store import ArtifactStore
from taskdistill.tasks.catalog import (
    DISTILL,
    EMBED,
    EVALUATE,
    EVALUATE_TEACHER,
    EXTRACT,
    GENERATE,
    INGEST,
    PRECOMPUTE,
    PROBE,
    SELECT,
    TUNE_DISTILL,
)
from taskdistill.tasks.stage import Stage, execute
from tests.conftest import RUNTIME
from tests.fakes import write_shapes
from tests.tiny_mixer import write_tiny_mixer

FOLDER = Path(__file__).parent
VIEWS = ViewSettings(num_views=2)
TEACHER = Backbone(
    name="test_vit", weights="random", input_px=32, arguments={"embed_dim": 8, "depth": 4, "num_heads": 2}
)
STUDENT = Backbone(
    name="test_resnet", weights="random", input_px=32, arguments={"channels": [8, 8, 8, 8], "stem_width": 8}
)
UNFINISHED = ExtractConfig(backbone=STUDENT, views=ViewSettings(num_views=2, seed=1))
"""The draft holds the first of its three chunks."""
PROBE_CONFIG = ProbeConfig(probe=ProbeSettings(inputs=("last",), learning_rates=(1e-2,), steps=20, batch_size=9))
TRAINING = TrainingSettings(epochs=1, batch_size=3)
LONGER = TrainingSettings(epochs=8, batch_size=3)


class BrokenOffError(Exception):
    """What ends the stage that leaves a draft."""


def make(root: Path, scratch: Path) -> None:
    """Fill an empty store with everything."""
    store = ArtifactStore(root)

    def run(stage: Stage[Any], config: StageConfig, **inputs: ArtifactRef) -> ArtifactRef:
        return execute(stage, config, inputs, store=store, runtime=RUNTIME)

    def say_what_it_sees(backbone: Backbone, images: ArtifactRef) -> ArtifactRef:
        return run(EXTRACT, ExtractConfig(backbone=backbone, views=VIEWS), images=images)

    shapes = write_shapes(scratch / "shapes", {"train": 3, "val": 1, "test": 1}, side=32)
    images = run(INGEST, IngestConfig(path=str(shapes)))
    features, student_features = (say_what_it_sees(backbone, images) for backbone in (TEACHER, STUDENT))
    probe, student_probe = (
        run(PROBE, PROBE_CONFIG, images=images, features=one) for one in (features, student_features)
    )
    logits = run(PRECOMPUTE, PrecomputeConfig(), features=features, probe=probe)
    int8 = run(PRECOMPUTE, PrecomputeConfig(logits="int8"), features=features, probe=probe)
    mixer = GeneratorModel(folder=str(write_tiny_mixer(scratch / "mixer")))
    embeddings = run(EMBED, EmbedConfig(model=mixer), images=images)
    blends = GenerateConfig(model=mixer, blends=BlendSettings(per_image=0.25, side_px=16, num_steps=1))
    synthetic = run(GENERATE, blends, images=images, embeddings=embeddings)
    of_blends = run(PRECOMPUTE, PrecomputeConfig(), features=say_what_it_sees(TEACHER, synthetic), probe=probe)
    selection = run(SELECT, SelectConfig(), synthetic=synthetic, logits=of_blends)
    taught = {"synthetic": synthetic, "synthetic_logits": of_blends, "selection": selection}
    trials = TuningSettings(learning_rates=(1e-2,), alphas=(0.75,), temperatures=(2.0,))
    choosing = TuneDistillConfig(backbone=STUDENT, views=VIEWS, training=LONGER, tuning=trials)
    run(TUNE_DISTILL, choosing, images=images, probe=student_probe, logits=logits)
    learning = DistillConfig(backbone=STUDENT, views=VIEWS, training=TRAINING)
    model = run(DISTILL, learning, images=images, probe=student_probe, logits=logits, **taught)
    run(EVALUATE_TEACHER, EvaluateConfig(splits=("test",)), images=images, logits=logits)
    run(EVALUATE, EvaluateConfig(splits=("test",)), images=images, model=model, teacher=logits)
    for name, ref in {"images": images, "blends": synthetic, "student": model, "int8": int8}.items():
        store.label(name, ref)
    break_off(store, images)


def break_off(store: ArtifactStore, images: ArtifactRef) -> None:
    """Leave a draft whose first chunk is there."""

    def on_progress(unit: str, done: int, total: int) -> None:
        if done > total // 3:
            raise BrokenOffError

    try:
        execute(EXTRACT, UNFINISHED, {"images": images}, store=store, runtime=RUNTIME, on_progress=on_progress)
    except BrokenOffError:
        return
    raise RuntimeError("the stage said nothing of its progress, and so was not broken off")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("number", type=int)
    folder = FOLDER / str(parser.parse_args().number)
    if folder.exists():
        raise SystemExit(f"{folder} is there, and what is there stays as it is: give the number after the last")
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) / "store"
        make(root, Path(scratch))
        shutil.copytree(root, folder, ignore=shutil.ignore_patterns("locks", "sources", "roots", NOTES))


if __name__ == "__main__":
    main()
