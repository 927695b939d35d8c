"""Features of images along two components, of networks that a small run trained."""

import re

import numpy as np
import pytest
import torch

from taskdistill.flows.reports.page.feature_space import feature_space
from taskdistill.flows.reports.page.subject import Subject
from taskdistill.storage.image_set import ImageSet
from taskdistill.tasks.data.batches import decoded_row
from taskdistill.tasks.deploy.deployable import Deployable
from taskdistill.tasks.deploy.encoded import encoded


def colours(svg: str) -> list[tuple[str, str]]:
    """The colour of each mark that has one, and its class."""
    return re.findall(r'fill="(hsl[^"]+)"[^>]*><title>(?:class: )?(.*?)</title>', svg)


def test_teacher_control_and_chosen_student_are_drawn_with_synthetic_images_grey(subject: Subject) -> None:
    section = feature_space(subject)
    assert section
    words, *charts, legend = section.blocks
    assert words.text.startswith("Features of 12 images of test")
    assert legend.caption == "Colours of 3 classes."
    assert len(set(colours(legend.svg))) == 3
    assert set(colours(legend.svg)) == set(colours(charts[0].svg))
    assert subject.chosen
    models = list(dict.fromkeys(["teacher probed", "student finetuned", subject.chosen.model]))
    assert [chart.caption.partition(":")[0] for chart in charts] == models
    for chart in charts:
        tips = re.findall(r"<title>(?:class: )?(.*?)</title>", chart.svg)
        counts = {name: tips.count(name) for name in tips}
        assert counts.pop("synthetic") == 24
        assert list(counts.values()) == [4, 4, 4]


def test_networks_are_shown_the_images_once(subject: Subject) -> None:
    feature_space(subject)
    kept = sorted((subject.store.root / "reports" / "features").iterdir())
    times = [path.stat().st_mtime_ns for path in kept]
    assert kept
    feature_space(subject)
    assert [path.stat().st_mtime_ns for path in kept] == times


def test_the_vectors_are_what_the_head_turns_into_the_outputs(subject: Subject) -> None:
    assert subject.chosen
    assert subject.images
    folder = subject.store.path(subject.chosen.artifact)
    images = ImageSet.open(subject.store.path(subject.images))
    deployable = Deployable.load(folder, torch.device("cpu"))
    shown = np.stack([deployable.shown(decoded_row(images, row)) for row in range(3)])
    vectors = encoded(deployable, shown, "last")
    with torch.inference_mode():
        outputs = deployable.model.head(torch.from_numpy(vectors)).numpy()
    assert outputs == pytest.approx(deployable.outputs(shown).numpy(), abs=1e-5)
