"""What a compared model is called: by what was scored, in whatever way, and by less where that has left the store."""

import pytest

from taskdistill.flows.pipeline.comparable import judged
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from tests.flows.scored import commit, evaluated

BACKBONE = {"backbone": {"name": "resnet18"}}


def called(store: ArtifactStore, settings: dict[str, object] | None = None, **inputs: ArtifactRef) -> str:
    """Return what a model is called of which these were scored."""
    evaluation = evaluated(store, "it", 0, [1, 0], inputs=inputs, settings=settings).evaluation
    return judged(store, [evaluation.short])[0].what


@pytest.fixture
def images(store: ArtifactStore) -> ArtifactRef:
    return commit(store, "image-set", {})


def test_a_probe_that_was_shown_the_images_is_called_by_its_network(store: ArtifactStore, images: ArtifactRef) -> None:
    assert called(store, BACKBONE, images=images, probe=commit(store, "probe", {})) == "resnet18 probed"


def test_a_probe_is_called_by_its_network_where_its_logits_were_scored(
    store: ArtifactStore, images: ArtifactRef
) -> None:
    probe = commit(store, "probe", {})
    features = commit(store, "features", {}, stage="extract", config=BACKBONE)
    from_features = commit(store, "logits", {}, stage="precompute", features=features, probe=probe)
    from_images = commit(store, "logits", {}, stage="precompute-probed", config=BACKBONE, images=images, probe=probe)
    assert called(store, images=images, logits=from_features) == "resnet18 probed"
    assert called(store, images=images, logits=from_images) == "resnet18 probed"


def test_a_finetuned_teacher_is_called_as_its_model_is(store: ArtifactStore, images: ArtifactRef) -> None:
    model = commit(store, "model", {}, stage="finetune")
    logits = commit(store, "logits", {}, stage="precompute-images", images=images, model=model)
    assert called(store, images=images, logits=logits) == called(store, images=images, model=model)


def test_teachers_that_are_no_model_of_the_store_are_called_what_they_are(
    store: ArtifactStore, images: ArtifactRef
) -> None:
    foreign = commit(store, "logits", {}, stage="precompute-foreign", images=images)
    both = commit(store, "logits", {}, stage="combine", logits=foreign, logits2=foreign)
    assert called(store, images=images, logits=foreign) == "a teacher trained elsewhere"
    assert called(store, images=images, logits=both) == "the mean of teachers"


def test_what_has_left_the_store_or_cannot_be_read_costs_the_name_alone(
    store: ArtifactStore, images: ArtifactRef
) -> None:
    probe, features = commit(store, "probe", {}), commit(store, "features", {}, stage="extract", config=BACKBONE)
    logits = commit(store, "logits", {}, stage="precompute", features=features, probe=probe)
    (store.path(features) / "manifest.json").write_text("{")
    assert called(store, images=images, logits=logits) == "probed"
    store.remove(logits)
    assert called(store, images=images, logits=logits) == ""
