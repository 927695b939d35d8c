"""The manifests of a demonstration, made before formats had numbers: today's names for its artifacts are the same.

`1-demo` holds its manifests and nothing else. The places of the machine it ran on were taken out of their provenance,
and the digest of each was made anew.
"""

import shutil
from pathlib import Path

import pytest

from taskdistill.configs.stages import ExtractConfig
from taskdistill.flows.commands.demo import world_experiment
from taskdistill.flows.pipeline.chain import chain
from taskdistill.flows.pipeline.held_features import HeldFeatures
from taskdistill.storage.fingerprint import fingerprint
from taskdistill.storage.formats import FIRST
from taskdistill.storage.manifest import ArtifactRef, Manifest
from taskdistill.storage.store import ArtifactStore
from taskdistill.tasks.stage import content_digests_of

FOLDER = Path(__file__).with_name("1-demo")
MANIFESTS = [Manifest.read(path.parent) for path in sorted(FOLDER.glob("*/*/manifest.json"))]


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda manifest: manifest.ref.short)
def test_a_manifest_of_the_demonstration_is_read_and_its_recipe_is_what_it_is_named_by(manifest: Manifest):
    assert (manifest.format, manifest.ref.fingerprint) == (FIRST, fingerprint(manifest.recipe))


def test_a_plan_of_the_demonstration_names_the_very_same_artifacts(tmp_path: Path):
    """Where the store has them: its features hold blocks that no head sees, which are no longer asked for."""
    shutil.copytree(FOLDER, tmp_path / "store" / "artifacts")
    store = ArtifactStore(tmp_path / "store")
    held = HeldFeatures(store)
    # Its pictures are not drawn here: which they were, the manifest says.
    [birds] = [manifest.recipe["external"] for manifest in MANIFESTS if manifest.recipe["stage"] == "ingest"]
    versions = {manifest.recipe["stage"]: manifest.recipe["version"] for manifest in MANIFESTS}
    named: dict[str, ArtifactRef] = {}
    for step in chain(world_experiment(tmp_path, 0)).steps:
        digests = birds if step.stage.name == "ingest" else content_digests_of(step.config, store)
        inputs = {role: named[str(source)] for role, source in step.inputs.items()}
        config = held.wanted(step.config, inputs) if isinstance(step.config, ExtractConfig) else step.config
        # A stage whose version was raised since makes its artifacts anew: all else of the recipe is as it was.
        recipe = step.stage.recipe(config, inputs, digests) | {"version": versions[step.stage.name]}
        named[step.name] = ArtifactRef(step.stage.output, fingerprint(recipe))
    assert len(named) == 20
    assert set(named.values()) == {manifest.ref for manifest in MANIFESTS}
