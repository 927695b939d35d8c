"""Stage "combine": what several teachers say of the same views, as the logits of one."""

import itertools
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from scipy.special import log_softmax, softmax

from taskdistill.configs.models import Backbone
from taskdistill.configs.stages import CombineConfig, ExtractConfig, PrecomputeConfig, ProbeConfig
from taskdistill.storage.errors import CacheMismatchError
from taskdistill.storage.fingerprint import fingerprint
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.summaries import LogitsSummary
from taskdistill.storage.view_outputs import GROUP, ViewOutputs
from taskdistill.storage.view_writer import Layout, ViewOutputsWriter
from taskdistill.tasks.artifact_files import OUTPUTS
from taskdistill.tasks.catalog import COMBINE, EXTRACT, PRECOMPUTE, PROBE
from tests.conftest import PROBE_SETTINGS, VIEWS, Bench
from tests.storage.artifacts import write_format_1

OTHER = Backbone(name="test_resnet", weights="random", input_px=32, seed=3)
GEOMETRIC, ARITHMETIC = CombineConfig(), CombineConfig(mean_of="probabilities")

_number = itertools.count()


def logits_of(bench: Bench, backbone: Backbone) -> ArtifactRef:
    features = bench.run(EXTRACT, ExtractConfig(backbone=backbone, views=VIEWS), images=bench.images)
    probe = bench.run(PROBE, ProbeConfig(probe=PROBE_SETTINGS), images=bench.images, features=features)
    return bench.run(PRECOMPUTE, PrecomputeConfig(), features=features, probe=probe)


@pytest.fixture
def other(workshop: Bench) -> ArtifactRef:
    """What a second teacher says, at another size, of the same views."""
    return logits_of(workshop, OTHER)


def altered(
    bench: Bench, *, shape: tuple[int, ...] = (3,), attributes: Any = None, clean: float = 0, augmented: float = 0,
    grey: int = 0,
) -> ArtifactRef:  # fmt: skip
    """Commit logits of a teacher like that of the bench, with other outputs, boxes of its views, or brighter views."""
    source = ViewOutputs(bench.path(bench.logits))
    recipe = {"stage": "precompute", "config": {"number": next(_number)}, "inputs": {}}
    ref = ArtifactRef("logits", fingerprint(recipe))
    with bench.store.lock(ref):
        draft = bench.store.draft(ref, recipe)
        said = {**source.attributes, "encoder": "another", **(attributes or {})}
        writer = ViewOutputsWriter(draft, ids=source.ids, parts=source.parts, layout=lambda: Layout(shape, said))
        for chunk in writer.chunks():
            span = (chunk.start, chunk.stop, chunk.view)
            fields = source.view_fields(*span) + np.float32(augmented if chunk.view else clean)
            thumbnails = (source.thumbnails(*span).astype(int) + grey).clip(0, 255).astype(np.uint8)
            writer.write(chunk, np.zeros((chunk.stop - chunk.start, *shape), np.float16), fields, thumbnails)
        writer.gather()
        bench.store.commit(ref, recipe=recipe, inputs={}, summary={}, contents=OUTPUTS)
    return ref


def combined(bench: Bench, *refs: ArtifactRef, config: CombineConfig = GEOMETRIC, **more: Any) -> ArtifactRef:
    roles = ["logits", *(f"logits{number}" for number in range(2, len(refs) + 1))]
    return bench.run(COMBINE, config, **dict(zip(roles, refs, strict=True)), **more)


def outputs_of(bench: Bench, ref: ArtifactRef, view: int) -> np.ndarray:
    return ViewOutputs(bench.path(ref)).view(view).astype(np.float64)


def test_it_is_the_mean_of_log_probabilities_as_scipy_has_it(workshop: Bench, other: ArtifactRef) -> None:
    ref = combined(workshop, workshop.logits, other)
    for view in range(3):
        logs = [log_softmax(outputs_of(workshop, one, view), axis=1) for one in (workshop.logits, other)]
        expected_NK = log_softmax((logs[0] + logs[1]) / 2, axis=1)
        np.testing.assert_allclose(outputs_of(workshop, ref, view), expected_NK, rtol=1e-3, atol=1e-7)


def test_the_mean_does_not_say_that_it_was_divided_by_the_temperature_of_one_teacher(bench: Bench) -> None:
    ref = combined(bench, altered(bench, attributes={"temperature": 3.0}), bench.logits)
    assert "temperature" not in ViewOutputs(bench.path(ref)).attributes


def test_it_is_the_mean_of_probabilities_where_that_is_asked_for(workshop: Bench, other: ArtifactRef) -> None:
    ref = combined(workshop, workshop.logits, other, config=ARITHMETIC)
    for view in range(3):
        first, second = (softmax(outputs_of(workshop, one, view), axis=1) for one in (workshop.logits, other))
        np.testing.assert_allclose(outputs_of(workshop, ref, view), np.log((first + second) / 2), rtol=1e-3, atol=1e-7)


def test_it_is_kept_in_one_byte_a_number_where_that_is_asked_for(workshop: Bench, other: ArtifactRef) -> None:
    exact, kept = (
        outputs_of(workshop, combined(workshop, workshop.logits, other, config=CombineConfig(logits=stored)), 1)
        for stored in ("fp16", "int8")
    )
    assert 0 < np.abs(kept - exact).max() <= np.ptp(exact, axis=1).max() / 255 / 2 + np.abs(exact).max() * 2**-11


def test_how_many_views_are_averaged_at_a_time_changes_no_byte(bench: Bench) -> None:
    other = logits_of(bench, OTHER)
    ref = combined(bench, bench.logits, other)
    files = bench.store.manifest(ref).files
    bench.store.remove(ref)
    assert combined(bench, bench.logits, other, runtime={"inference_batch_size": 5}) == ref
    assert bench.store.manifest(ref).files == files


def test_views_and_thumbnails_are_those_of_the_first_and_the_proof_is_of_both(
    workshop: Bench, other: ArtifactRef
) -> None:
    first, found = (
        ViewOutputs(workshop.path(ref)) for ref in (workshop.logits, combined(workshop, workshop.logits, other))
    )
    for view in range(3):
        assert found.ids_of(view) == first.ids_of(view)
        assert np.array_equal(found.view_fields(0, 24, view), first.view_fields(0, 24, view))
        assert np.array_equal(found.thumbnails(0, 24, view), first.thumbnails(0, 24, view))
    same = {name: value for name, value in found.attributes.items() if value == first.attributes[name]}
    assert first.attributes.keys() - same.keys() == {"encoder"}
    encoders = [ViewOutputs(workshop.path(ref)).attributes["encoder"] for ref in (workshop.logits, other)]
    assert found.attributes["encoder"] == fingerprint({"mean_of": "log-probabilities", "encoders": encoders})


def test_its_summary_says_that_no_encoder_ran(workshop: Bench, other: ArtifactRef) -> None:
    summary = LogitsSummary.of(workshop.store.manifest(combined(workshop, workshop.logits, other)))
    assert summary == LogitsSummary(images=48, views=3, outputs=[3], encoder_forwards=0)


def test_killed_between_chunks_it_makes_those_that_are_missing(bench: Bench) -> None:
    other = logits_of(bench, OTHER)
    ref = combined(bench, bench.logits, other)
    files = bench.store.manifest(ref).files
    bench.store.remove(ref)

    def die(unit: str, done: int, total: int) -> None:
        assert (unit, total) == ("views", 72)
        if done == 48:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        combined(bench, bench.logits, other, on_progress=die)
    made = {path: path.stat().st_mtime_ns for path in _chunks(bench.store.draft_path(ref))}
    assert len(made) == 2
    done: list[int] = []
    assert combined(bench, bench.logits, other, on_progress=lambda unit, number, total: done.append(number)) == ref
    assert done == [48, 72]
    assert bench.store.manifest(ref).files == files
    chunks = {
        bench.store.draft_path(ref) / path.relative_to(bench.path(ref)): path for path in _chunks(bench.path(ref))
    }
    assert {path: chunks[path].stat().st_mtime_ns for path in made} == made


def _chunks(folder: Path) -> list[Path]:
    return [path for path in folder.glob("outputs.zarr/*/outputs/c/**/*") if path.is_file()]


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({"images": "f" * 64}, "images: these are of ffff"),
        ({"views": VIEWS.identity() | {"seed": 9}}, "views: these are of"),
        ({"classes": ["cat", "disc", "dog"]}, r"classes: these are of \['cat'"),
        ({"problem": "ordinal"}, "problem: these are of ordinal, classification was asked for"),
    ],
)
def test_logits_of_other_images_views_classes_or_of_another_problem_are_refused(
    workshop: Bench, attributes: dict[str, Any], said: str
) -> None:
    with pytest.raises(CacheMismatchError, match=said):
        combined(workshop, workshop.logits, altered(workshop, attributes=attributes))


def test_maps_of_another_size_are_refused(workshop: Bench) -> None:
    dense = [altered(workshop, shape=shape) for shape in ((3, 4, 4), (3, 6, 6))]
    with pytest.raises(CacheMismatchError, match=re.escape("outputs of (3, 6, 6) and (3, 4, 4) numbers for a view")):
        combined(workshop, *dense)


def test_the_same_logits_twice_are_refused(workshop: Bench, other: ArtifactRef) -> None:
    with pytest.raises(CacheMismatchError, match="the same logits were given twice"):
        combined(workshop, workshop.logits, other, workshop.logits)


def test_augmented_views_that_were_cut_otherwise_are_refused(workshop: Bench) -> None:
    with pytest.raises(CacheMismatchError, match=r"the teachers were shown different views of it"):
        combined(workshop, workshop.logits, altered(workshop, augmented=1))


def test_views_that_were_decoded_otherwise_are_refused(workshop: Bench) -> None:
    with pytest.raises(CacheMismatchError, match=r"differs from the other's by 20 grey levels"):
        combined(workshop, workshop.logits, altered(workshop, grey=20))


def test_each_network_may_have_a_clean_view_of_its_own_but_not_of_maps(workshop: Bench) -> None:
    combined(workshop, workshop.logits, altered(workshop, clean=1))
    dense = altered(workshop, shape=(3, 4, 4)), altered(workshop, shape=(3, 4, 4), clean=1)
    with pytest.raises(CacheMismatchError, match=r"the teachers were shown different clean views of it"):
        combined(workshop, *dense)


def test_logits_of_format_1_are_joined_with_those_of_today_by_the_views_that_both_hold(workshop: Bench) -> None:
    """As an earlier version left them, of all views of all images, in another order."""
    today = ViewOutputs(workshop.path(workshop.logits))
    ids, rng = [*today.ids[5:], *today.ids[:5]], np.random.default_rng(0)
    outputs = rng.normal(size=(48, 3, 3)).astype(np.float16)
    views, thumbnails = np.zeros((48, 3, 9), np.float32), np.zeros((48, 3, 64), np.uint8)
    for view in range(3):
        places = [ids.index(image) for image in today.ids_of(view)]
        views[places, view], thumbnails[places, view] = today.view_fields(0, 24, view), today.thumbnails(0, 24, view)
    recipe = {"stage": "precompute", "config": {"number": next(_number)}, "inputs": {}}
    old = ArtifactRef("logits", fingerprint(recipe))
    with workshop.store.lock(old):
        draft = workshop.store.draft(old, recipe)
        write_format_1(draft, ids, outputs, views, thumbnails, chunk_rows=16)
        zarr.open_group(draft / GROUP, mode="a").attrs.update(today.attributes)
        workshop.store.commit(old, recipe=recipe, inputs={}, summary={}, contents=OUTPUTS)
    for order in ((old, workshop.logits), (workshop.logits, old)):
        found = ViewOutputs(workshop.path(combined(workshop, *order)))
        assert [part.name for part in found.parts] == ["clean", "augmented"]
        for image, said_K in zip(found.ids_of(2), found.view(2), strict=True):
            by_old_K = outputs[ids.index(image), 2].astype(np.float64)
            by_new_K = today.view(2)[today.ids_of(2).index(image)].astype(np.float64)
            expected_K = log_softmax((log_softmax(by_old_K) + log_softmax(by_new_K)) / 2)
            np.testing.assert_allclose(said_K, expected_K, rtol=1e-3, atol=1e-6)


def test_maps_are_averaged_at_each_place(workshop: Bench) -> None:
    ref = combined(workshop, altered(workshop, shape=(3, 4, 4)), altered(workshop, shape=(3, 4, 4)))
    np.testing.assert_allclose(outputs_of(workshop, ref, 1), np.full((24, 3, 4, 4), np.log(1 / 3)), rtol=1e-3)
