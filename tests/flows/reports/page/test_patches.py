"""Patch tokens as colours, of networks that a small run trained, against scikit-learn; and which images are shown."""

import base64
import io
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from sklearn.decomposition import PCA

from taskdistill.flows.pipeline.chain import CONTROL, START, STUDENT, ModelResult
from taskdistill.flows.reports.page.blocks import Pictures, Section, Words
from taskdistill.flows.reports.page.networks import network_of
from taskdistill.flows.reports.page.patches import few_rows, patches
from taskdistill.flows.reports.page.subject import Subject
from taskdistill.flows.reports.page.writing import write_report
from taskdistill.storage.image_set import ImageSet
from taskdistill.storage.store import ArtifactStore
from taskdistill.tasks.data.batches import decoded_row
from tests.conftest import TEACHER, Bench
from tests.flows.reports.page.made_up import TEACHER as TEACHER_NAME
from tests.flows.reports.page.made_up import image_set, made_up
from tests.flows.reports.page.test_page import STRANGE

BLENDED = f"{STUDENT} +blends"


def pictures(section: Section | None) -> Pictures:
    assert section
    (found,) = [block for block in section.blocks if isinstance(block, Pictures)]
    return found


def decoded(address: str) -> np.ndarray:
    with Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))) as opened:
        return np.asarray(opened.convert("RGB"))


def cells(address: str, side: int) -> np.ndarray:
    """Read the middle of each cell of a picture that is a grid of squares."""
    pixels = decoded(address)
    middles = (np.arange(side) * 2 + 1) * (len(pixels) // (2 * side))
    return pixels[middles][:, middles]


def test_each_image_stands_beside_what_teacher_and_students_before_and_after_training_make_of_it(
    subject: Subject,
) -> None:
    rows = pictures(patches(subject)).rows
    assert [heading for heading, _ in rows] == ["disc", "disc", "frame", "frame", "wedge", "wedge"]
    for _, row in rows:
        models = [picture.lines[0] for picture in row[1:]]
        assert models[:4] == [TEACHER_NAME, START, CONTROL, STUDENT]
        assert set(models[4:]) <= {BLENDED}


def test_colours_of_the_teacher_follow_the_components_of_scikit_learn(subject: Subject) -> None:
    assert subject.images
    rows = pictures(patches(subject)).rows
    images = ImageSet.open(subject.store.path(subject.images))
    teacher = network_of(subject, subject.by_model[TEACHER_NAME][0].artifact)
    views = np.stack([teacher.shown(decoded_row(images, row)) for row in few_rows(images)])
    with torch.random.fork_rng():
        torch.manual_seed(TEACHER.seed)
        network = timm.create_model(TEACHER.name, num_classes=0, img_size=TEACHER.input_px).eval()
    mean, std = (torch.tensor(network.default_cfg[name]) for name in ("mean", "std"))
    with torch.inference_mode():
        seen = ((torch.from_numpy(views) / 255 - mean) / std).permute(0, 3, 1, 2)
        tokens = network.forward_features(seen)[:, network.num_prefix_tokens :].numpy()
    expected = PCA(3, svd_solver="full").fit_transform(tokens.reshape(-1, tokens.shape[-1]))
    side = round(tokens.shape[1] ** 0.5)
    found = np.stack([cells(row[1].address, side) for _, row in rows]).reshape(-1, 3)
    for colour, component in zip(found.T, expected.T, strict=True):
        assert abs(np.corrcoef(colour, component)[0, 1]) > 0.98  # but for what lies beyond the percentiles


def test_the_text_tells_how_many_cells_each_network_has_and_that_colours_are_turned(subject: Subject) -> None:
    section = patches(subject)
    assert section
    words = section.blocks[0]
    assert isinstance(words, Words)
    assert "orthogonal Procrustes" in words.text
    assert f"{TEACHER_NAME} 3 x 3, {START} 1 x 1" in words.text


def test_a_network_that_is_damaged_costs_its_own_pictures_and_is_named(subject: Subject) -> None:
    teacher = subject.store.path(subject.by_model[TEACHER_NAME][0].artifact)
    (teacher / "head.safetensors").unlink()
    section = patches(subject)
    assert all(picture.lines[0] != TEACHER_NAME for _, row in pictures(section).rows for picture in row)
    assert section
    last = section.blocks[-1]
    assert isinstance(last, Words)
    assert last.text.startswith(f"{TEACHER_NAME} is not drawn: ")


def test_where_no_network_is_there_one_sentence_says_so(store: ArtifactStore) -> None:
    section = patches(made_up(store, ["ant", "bee"], [0, 1] * 4))
    assert section
    (words,) = section.blocks
    assert isinstance(words, Words)
    assert words.text.startswith(f"{TEACHER_NAME} is not drawn: ")


def shown_labels(store: ArtifactStore, labels: Sequence[int], num_classes: int) -> list[int]:
    """Return the classes of the images that are shown."""
    ids = [f"{number:05}.png" for number in range(len(labels))]
    ref = image_set(store, [f"class {number:04}" for number in range(num_classes)], labels, ids)
    images = ImageSet.open(store.path(ref))
    return [int(images.labels[row]) for row in few_rows(images)]


@pytest.mark.parametrize(
    ("labels", "num_classes", "expected"),
    [
        ([*range(1000)] * 2, 1000, [0, 200, 400, 599, 799, 999]),
        ([0, 1] * 20, 2, [0, 0, 0, 1, 1, 1]),
        ([0] * 50 + [2], 3, [0, 0, 0, 0, 0, 2]),
        ([1], 2, [1]),
        ([-1] * 30, 2, [-1] * 6),
        ([-1] * 30 + [0, 1], 2, [0, 1]),
    ],
    ids=["of many classes", "of two", "a class absent, one rare", "one image", "no labels", "few labels"],
)
def test_images_are_spread_over_the_classes_that_test_has(
    store: ArtifactStore, labels: list[int], num_classes: int, expected: list[int]
) -> None:
    assert sorted(shown_labels(store, labels, num_classes)) == expected


def test_names_of_classes_and_files_stand_under_pictures_as_they_are(bench: Bench, tmp_path: Path) -> None:
    """Networks of the bench are shown images of classes with strange names."""
    strange = made_up(bench.store, STRANGE, list(range(6)))
    probes = {TEACHER_NAME: bench.probe, CONTROL: bench.student_probe, STUDENT: bench.student_probe}
    results = [ModelResult(one.model, one.seed, one.evaluation, probes[one.model]) for one in strange.results]
    subject = replace(strange, results=results, steps={"<i>$$</i> 🐦 ציפור": bench.images})
    write_report(tmp_path / "page.html", subject)
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert 'alt="patch tokens of &lt;b&gt;bold&lt;/b&gt;/0.png by teacher probed"' in page
    assert "<h3>$$x^2$$</h3>" in page
    assert f"<h3>\u2068{STRANGE[3]}\u2069</h3>" in page
    assert "<b>bold" not in page
    assert "<i>" not in page
    assert "<title>&lt;i&gt;$$&lt;/i&gt; 🐦 ציפור: image-set@" in page


def test_a_page_of_a_store_that_was_moved_is_the_same(subject: Subject, tmp_path: Path) -> None:
    before = pictures(patches(subject))
    shutil.move(subject.store.root, tmp_path / "moved")
    moved = replace(subject, store=ArtifactStore(tmp_path / "moved"))
    assert pictures(patches(moved)) == before
