"""Fewer labels than there are: which images keep theirs, and what becomes of the others."""

from collections import Counter
from pathlib import Path

from taskdistill.configs.data import IngestConfig
from taskdistill.storage.image_set import ImageSet
from taskdistill.storage.store import ArtifactStore
from taskdistill.tasks.catalog import INGEST
from taskdistill.tasks.data.candidates import Candidate
from taskdistill.tasks.data.dataset import Dataset, open_dataset
from taskdistill.tasks.data.few_labels import with_few_labels, with_fewer_images
from tests.conftest import Bench, Run
from tests.fakes import write_shapes


def dataset(**images: int) -> Dataset:
    """So many training images of each class, and two of validation."""
    named = [(label, f"train/{label}/{number}.png") for label, count in images.items() for number in range(count)]
    train = [Candidate(name, Path("data"), label, "train") for label, name in named]
    val = [Candidate(f"val/{label}.png", Path("data"), label, "val") for label in images]
    return Dataset([*train, *val], list(images), [], [], [])


def labelled(found: Dataset) -> dict[str, list[str]]:
    """The training images of each class."""
    return {
        label: [one.id for one in found.candidates if (one.split, one.label) == ("train", label)]
        for label in found.classes
    }


def few(number: int, seed: int = 0) -> IngestConfig:
    return IngestConfig(labels_per_class=number, labels_seed=seed)


def test_each_class_keeps_so_many_labels_and_the_other_images_have_none() -> None:
    found = with_few_labels(dataset(cat=9, dog=5), few(2))
    assert {label: len(ids) for label, ids in labelled(found).items()} == {"cat": 2, "dog": 2}
    assert sum((one.split, one.label) == ("unlabelled", None) for one in found.candidates) == 10
    assert [one.id for one in found.candidates if one.split == "val"] == ["val/cat.png", "val/dog.png"]
    assert found.said == ["4 of 14 training images keep their label (data.labels_per_class is 2)"]


def test_the_few_are_among_the_more() -> None:
    one, two, four = (labelled(with_few_labels(dataset(cat=30), few(number)))["cat"] for number in (1, 2, 4))
    assert set(one) < set(two) < set(four)


def test_another_seed_draws_others() -> None:
    drawn = {tuple(labelled(with_few_labels(dataset(cat=30), few(3, seed)))["cat"]) for seed in range(5)}
    assert len(drawn) == 5


def test_a_class_with_fewer_images_keeps_all_of_them_and_it_is_said() -> None:
    found = with_few_labels(dataset(cat=9, dog=3), few(4))
    assert {label: len(ids) for label, ids in labelled(found).items()} == {"cat": 4, "dog": 3}
    assert found.said[0].endswith("(data.labels_per_class is 4); 1 of 2 classes have fewer")


def test_where_all_labels_are_asked_for_nothing_changes() -> None:
    whole = dataset(cat=3, dog=3)
    assert with_few_labels(whole, few(0)) is whole


def test_of_fewer_images_each_class_of_a_split_has_its_share_and_as_many_as_it_must_have() -> None:
    # 40 of the 80 for training: half of each class, and both of the two that a class must have. All 3 of validation.
    found = with_fewer_images(dataset(cat=52, dog=26, owl=2), IngestConfig(max_images=40))
    assert {label: len(ids) for label, ids in labelled(found).items()} == {"cat": 26, "dog": 13, "owl": 2}
    assert sum(one.split == "val" for one in found.candidates) == 3
    assert found.said == [
        "44 of 83 images are taken: of each split 40 (data.max_images), and more where each class must have some"
    ]


def test_a_split_with_fewer_images_keeps_all_and_one_with_more_is_bounded_too() -> None:
    many = dataset(cat=4, dog=4)
    judged = [Candidate(f"test/{number}.png", Path("data"), "cat", "test") for number in range(1000)]
    found = with_fewer_images(many._replace(candidates=[*many.candidates, *judged]), IngestConfig(max_images=8))
    assert Counter(one.split for one in found.candidates) == {"train": 8, "val": 2, "test": 8}


def test_fewer_images_are_among_more_and_depend_on_the_seed() -> None:
    def ids(number: int, seed: int = 0) -> set[str]:
        found = with_fewer_images(dataset(cat=90, dog=90), IngestConfig(max_images=number, labels_seed=seed))
        return {one.id for one in found.candidates}

    assert ids(20) < ids(60) < ids(200)
    assert ids(20) != ids(20, seed=1)


def test_as_many_images_as_there_are_change_nothing() -> None:
    whole = dataset(cat=3, dog=3)
    assert with_fewer_images(whole, IngestConfig(max_images=6)) is whole
    assert with_fewer_images(whole, IngestConfig()) is whole


def test_one_label_a_class_makes_an_image_set_with_the_same_test_images(
    run: Run, store: ArtifactStore, shapes_folder: Path, finished_bench: Bench
) -> None:
    made = store.path(run(INGEST, IngestConfig(path=str(shapes_folder), labels_per_class=1)))
    few, whole = ImageSet(made), ImageSet(finished_bench.path(finished_bench.images))
    assert len(few.rows_of("train")) == 3
    assert len(few.rows_of("unlabelled")) == 21
    assert [few.ids[row] for row in few.rows_of("test")] == [whole.ids[row] for row in whole.rows_of("test")]


def test_of_fewer_images_a_class_may_lose_one_that_is_broken(run: Run, store: ArtifactStore, tmp_path: Path) -> None:
    folder = tmp_path / "shapes"
    write_shapes(folder, {"train": 8, "val": 2, "test": 2}, side=16)
    config = IngestConfig(path=str(folder), max_images=6, max_quarantined_share=0.5)
    drawn = with_fewer_images(open_dataset(config), config).candidates
    next(one.path for one in drawn if one.split == "train").write_bytes(b"no picture")
    images = ImageSet(store.path(run(INGEST, config)))
    assert Counter(images.labels[images.rows_of("train")].tolist()) == {0: 1, 1: 2, 2: 2}
