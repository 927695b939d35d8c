"""What a plan says of each step before anything runs: have, resume, build, or stale because of which field."""

import shutil
from pathlib import Path

import pytest
from PIL import Image

from taskdistill.configs.data import IngestConfig
from taskdistill.configs.errors import SettingsError
from taskdistill.configs.experiment import Experiment
from taskdistill.configs.generation import GeneratorModel, SelectSettings
from taskdistill.configs.problem_options import ProbeInput
from taskdistill.configs.stages import ProbeSettings
from taskdistill.configs.training import DistillSettings
from taskdistill.configs.tuning import TuningSettings
from taskdistill.flows.pipeline.planning import PlannedStep, make_plan
from taskdistill.flows.pipeline.running import run_plan
from taskdistill.storage.files import read_json, write_json
from taskdistill.storage.manifest import ArtifactRef, records_of
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.upkeep import discard
from taskdistill.tasks.catalog import EXTRACT, PRECOMPUTE_IMAGES
from taskdistill.tasks.data.candidates import DatasetError
from taskdistill.tasks.stage import execute
from tests.conftest import PROBE_SETTINGS, RUNTIME, Bench
from tests.fakes import write_shapes
from tests.flows.conftest import quietly
from tests.flows.pipeline.test_chain import PROBED

AFTER_THE_BENCH = [
    "evaluate-teacher", "precompute-student", "evaluate-student-probed", "finetune-seed0", "distill-seed0",
    "evaluate-finetuned-seed0", "evaluate-distilled-seed0",
]  # fmt: skip


def said(experiment: Experiment, store: ArtifactStore) -> dict[str, tuple[str, str]]:
    return {step.name: (step.action, step.because) for step in make_plan(experiment, store).steps}


def test_in_an_empty_store_everything_is_to_be_built(experiment: Experiment, store: ArtifactStore) -> None:
    assert said(experiment, store) == dict.fromkeys(PROBED, ("build", ""))


def test_heads_that_only_their_problem_has_can_be_planned(experiment: Experiment, store: ArtifactStore) -> None:
    probe = PROBE_SETTINGS.model_copy(update={"head": "fcn"})
    dense = {"problem": "segmentation", "teacher_cache": "logits", "probe": probe, "student_probe": probe}
    probes = [step for step in make_plan(experiment.model_copy(update=dense), store).steps if step.ref.kind == "probe"]
    assert [step.num_steps for step in probes] == [PROBE_SETTINGS.steps] * 2


def test_planning_makes_no_artifact_and_no_draft(experiment: Experiment, store: ArtifactStore) -> None:
    make_plan(experiment, store)
    assert [path.name for path in store.root.iterdir()] == ["sources"]


def test_what_is_in_the_store_is_had_and_the_rest_built(experiment: Experiment, bench: Bench) -> None:
    actions = {name: action for name, (action, _) in said(experiment, bench.store).items()}
    assert actions == dict.fromkeys(PROBED, "have") | dict.fromkeys(AFTER_THE_BENCH, "build")


def test_a_run_makes_exactly_the_artifacts_that_the_plan_named(experiment: Experiment, bench: Bench) -> None:
    planned = make_plan(experiment, bench.store)
    run_plan(experiment, bench.store, quietly(experiment, bench.store))
    assert {step.ref for step in planned.steps} == set(bench.store.references())
    assert make_plan(experiment, bench.store).is_complete
    assert not planned.is_complete


def test_a_changed_setting_makes_its_step_stale_with_both_values_and_what_follows_stale_with_it(
    experiment: Experiment, finished: ArtifactStore
) -> None:
    changed = experiment.model_copy(update={"probe": experiment.probe.model_copy(update={"steps": 70})})
    assert said(changed, finished) == dict.fromkeys(PROBED, ("have", "")) | {
        "probe-teacher": ("stale", "probe.steps changed from 60 to 70"),
        "precompute": ("stale", "its input probe changed"),
        "evaluate-teacher": ("stale", "its input logits changed"),
        "evaluate-student-probed": ("stale", "its input teacher changed"),
        "distill-seed0": ("stale", "its input logits changed"),
        "evaluate-finetuned-seed0": ("stale", "its input teacher changed"),
        "evaluate-distilled-seed0": ("stale", "its input model, teacher changed"),
    }


def test_another_seed_is_another_student_and_not_a_stale_one(experiment: Experiment, finished: ArtifactStore) -> None:
    plan = said(experiment.model_copy(update={"seeds": (0, 1)}), finished)
    assert {name: plan[name] for name in plan if name not in PROBED} == dict.fromkeys(
        ["finetune-seed1", "distill-seed1", "evaluate-finetuned-seed1", "evaluate-distilled-seed1"], ("build", "")
    )


@pytest.fixture
def copied(experiment: Experiment, finished: ArtifactStore, shapes_folder: Path, tmp_path: Path) -> Experiment:
    """The experiment on a copy of its dataset, in another place."""
    shutil.copytree(shapes_folder, tmp_path / "elsewhere")
    return on_folder(experiment, tmp_path / "elsewhere")


def on_folder(experiment: Experiment, folder: Path) -> Experiment:
    return experiment.model_copy(update={"data": experiment.data.model_copy(update={"path": str(folder)})})


def test_a_moved_dataset_changes_nothing(copied: Experiment, finished: ArtifactStore) -> None:
    assert make_plan(copied, finished).is_complete


def test_an_edited_image_makes_the_image_set_stale_and_all_that_was_made_from_it(
    copied: Experiment, finished: ArtifactStore, tmp_path: Path
) -> None:
    settings = copied.data.model_copy(update={"val_share": 0.2})  # an image-set of its own, from this folder
    here = copied.model_copy(update={"data": settings})
    for number in (0, 1):  # ingest, then the features
        quietly(here, finished)(make_plan(here, finished).steps[number])
    Image.new("RGB", (40, 40)).save(tmp_path / "elsewhere" / "train" / "disc" / "000.png")
    plan = said(here, finished)
    assert plan["ingest"] == ("stale", "the content of path changed")
    assert plan["extract-teacher"] == ("stale", "its input images changed")


def test_another_dataset_in_the_same_store_is_no_newer_form_of_the_first(
    copied: Experiment, finished: ArtifactStore, tmp_path: Path
) -> None:
    Image.new("RGB", (40, 40)).save(tmp_path / "elsewhere" / "train" / "disc" / "000.png")
    assert said(copied, finished) == dict.fromkeys(PROBED, ("build", ""))


def test_a_seed_that_never_was_is_new_also_where_what_it_starts_from_has_changed(
    experiment: Experiment, finished: ArtifactStore
) -> None:
    probe = experiment.probe.model_copy(update={"steps": 70})
    plan = said(experiment.model_copy(update={"probe": probe, "seeds": (0, 1)}), finished)
    assert plan["distill-seed0"] == ("stale", "its input logits changed")
    assert plan["distill-seed1"] == ("build", "")
    assert plan["evaluate-distilled-seed1"] == ("build", "")


def test_what_blends_need_is_new_where_only_photographs_were_used(
    experiment: Experiment, finished: ArtifactStore
) -> None:
    generator = GeneratorModel(folder=str(Path(__file__).parents[3] / "tasks/miniature/weights/mixer"))
    blends = experiment.model_copy(update={"synthetic_images": "blends", "generator": generator})
    plan = {name: what for name, what in said(blends, finished).items() if name not in PROBED}
    assert {"extract-teacher-synthetic", "precompute-synthetic", "distill-synthetic-seed0"} < plan.keys()
    assert set(plan.values()) == {("build", "")}


def test_a_student_of_the_teachers_architecture_is_no_newer_form_of_the_teacher(
    experiment: Experiment, finished: ArtifactStore
) -> None:
    smaller = experiment.teacher.model_copy(update={"input_px": 32})
    plan = said(experiment.model_copy(update={"student": smaller}), finished)
    assert plan["extract-teacher"] == ("have", "")
    assert plan["extract-student"] == ("build", "")


def test_features_that_hold_more_than_a_head_is_to_see_are_taken_and_others_not(
    experiment: Experiment, store: ArtifactStore
) -> None:
    def wanting(*inputs: ProbeInput) -> Experiment:
        return experiment.model_copy(update={"probe": PROBE_SETTINGS.model_copy(update={"inputs": inputs})})

    def extract(wanted: Experiment) -> PlannedStep:
        return next(step for step in make_plan(wanted, store).steps if step.name == "extract-teacher")

    def has(held: Experiment, wanted: Experiment) -> bool:
        """Whether features as one run makes them, with nothing else in the store, are all that another wants."""
        ingest = make_plan(held, store).steps[0]
        images = execute(ingest.stage, ingest.config, {}, store=store, runtime=RUNTIME)
        made = execute(EXTRACT, extract(held).config, {"images": images}, store=store, runtime=RUNTIME)
        found = extract(wanted)
        discard(store, made)
        return (found.ref, found.action) == (made, "have")

    assert has(wanting("last", "last+mean"), wanted=wanting("last"))
    assert has(wanting("last+mean", "last4"), wanted=wanting("last4"))
    assert not has(wanting("last"), wanted=wanting("last+mean"))
    assert not has(wanting("last+mean"), wanted=wanting("last+mean", "last4"))


def test_another_block_costs_an_encoder_pass_and_the_plan_says_why(
    experiment: Experiment, store: ArtifactStore
) -> None:
    ingest = make_plan(experiment, store).steps[0]
    images = execute(ingest.stage, ingest.config, {}, store=store, runtime=RUNTIME)
    extract = next(step for step in make_plan(experiment, store).steps if step.name == "extract-teacher")
    execute(EXTRACT, extract.config, {"images": images}, store=store, runtime=RUNTIME)
    more = experiment.model_copy(update={"probe": PROBE_SETTINGS.model_copy(update={"inputs": ("last", "last+mean")})})
    assert said(more, store)["extract-teacher"] == ("stale", "blocks changed from [last] to [last, mean]")


def test_a_step_that_was_interrupted_is_resumed_where_it_says_it_stopped(experiment: Experiment, bench: Bench) -> None:
    more_views = experiment.model_copy(update={"views": experiment.views.model_copy(update={"num_views": 3})})
    extract = next(step for step in make_plan(more_views, bench.store).steps if step.name == "extract-teacher")
    # The bench keeps every block that there is, as earlier versions did.
    assert extract.because == "blocks changed from nothing to [last]; views.num_views changed from 2 to 3"

    def power_cut(unit: str, done: int, total: int) -> None:
        if done > 16:
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        execute(
            extract.stage, extract.config, {"images": bench.images}, store=bench.store, runtime=RUNTIME,
            on_progress=power_cut,
        )  # fmt: skip
    # 24 training images in 3 views, 24 others in one; the first batch of 16 was shown.
    assert said(more_views, bench.store)["extract-teacher"] == ("resume", "at 16 of 96 views")


def test_a_draft_that_never_said_how_far_it_was_is_resumed_from_the_beginning(
    experiment: Experiment, store: ArtifactStore
) -> None:
    ingest = make_plan(experiment, store).steps[0]
    with store.lock(ingest.ref):
        store.draft(ingest.ref, {"stage": "ingest"})
    assert said(experiment, store)["ingest"] == ("resume", "from the beginning")


def test_sizes_are_those_of_the_files_where_they_exist_and_estimates_where_not(
    experiment: Experiment, store: ArtifactStore, bench: Bench, shapes_folder: Path
) -> None:
    empty = {step.name: step.num_bytes for step in make_plan(experiment, store).steps}
    assert empty["ingest"] == sum(path.stat().st_size for path in shapes_folder.rglob("*.png"))
    # 24 training images in 2 views, 24 others in one, 3 classes in 2 bytes, and 100 bytes for the view itself.
    assert empty["precompute"] == (24 * 2 + 24) * (3 * 2 + 100)

    there = {step.name: step.num_bytes for step in make_plan(experiment, bench.store).steps}
    folder = bench.path(bench.logits)
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "manifest.json"]
    assert there["precompute"] == sum(path.stat().st_size for path in files)


def test_the_size_of_logits_goes_by_the_views_of_features_that_are_there_already(
    experiment: Experiment, bench: Bench
) -> None:
    discard(bench.store, bench.logits, with_dependents=True)
    sizes = {step.name: step.num_bytes for step in make_plan(experiment, bench.store).steps}
    assert sizes["precompute"] == (24 * 2 + 24) * (3 * 2 + 100)


def test_a_probe_on_clean_views_has_the_features_of_them_made_and_no_others_without_need(
    experiment: Experiment, store: ArtifactStore
) -> None:
    """The teacher's features teach students too, who see augmented views; the student's only its own probe."""
    clean = ProbeSettings.model_validate(experiment.probe.model_dump() | {"train_on": "clean"})
    plan = make_plan(experiment.model_copy(update={"probe": clean, "student_probe": clean}), store)
    views = {step.name: step.config.train_views for step in plan.steps if step.stage is EXTRACT}
    assert views == {"extract-teacher": "both", "extract-student": "clean"}


def test_the_dataset_is_counted_before_it_is_read_and_after(
    experiment: Experiment, store: ArtifactStore, bench: Bench
) -> None:
    (before,), (after,) = (make_plan(experiment, place).datasets for place in (store, bench.store))
    assert before.counts == {name: {"train": 8, "val": 4, "test": 4} for name in ("disc", "frame", "wedge")}
    assert {name: after.as_json()[name] for name in before.as_json()} == before.as_json()


def test_contradicting_labels_are_refused_before_anything_runs(
    experiment: Experiment, store: ArtifactStore, shapes_folder: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(shapes_folder, tmp_path / "copy")
    shutil.copy(folder / "train/disc/000.png", folder / "train/wedge/disc.png")
    wrong = experiment.model_copy(update={"data": IngestConfig(path=str(folder))})
    with pytest.raises(DatasetError, match=r"2 images, in groups of identical files, carry contradicting labels"):
        make_plan(wrong, store)
    dropped = experiment.model_copy(update={"data": IngestConfig(path=str(folder), contradictions="drop")})
    assert make_plan(dropped, store).datasets[0].splits == {"train": 23, "val": 12, "test": 12}


def test_more_folds_than_training_images_are_refused_before_anything_runs(
    experiment: Experiment, store: ArtifactStore, tmp_path: Path
) -> None:
    few = IngestConfig(path=str(write_shapes(tmp_path / "few", {"train": 3, "val": 2, "test": 1})))
    tuning = TuningSettings(search="halving", folds=10)
    with pytest.raises(DatasetError, match=r"is 10, and there are 9 training images: .* tuning\.folds to fewer"):
        make_plan(experiment.model_copy(update={"data": few, "tuning": tuning}), store)


@pytest.mark.parametrize("name", ["data.path", "student.file"])
def test_a_place_that_does_not_exist_is_told_by_the_setting_that_names_it(
    experiment: Experiment, store: ArtifactStore, name: str
) -> None:
    section, field = name.split(".")
    weights = {"weights": "file"} if field == "file" else {}
    update = {field: "/nowhere/at/all", **weights}
    changed = getattr(experiment, section).model_copy(update=update)
    with pytest.raises(SettingsError, match=f"{name} is '/nowhere/at/all', which does not exist"):
        make_plan(experiment.model_copy(update={section: changed}), store)


def as_an_older_version_made_it(store: ArtifactStore, ref: ArtifactRef, classes: list[str]) -> None:
    """Take out of an image-set what older versions did not write, and give it classes as they read them."""
    folder, manifest = store.path(ref), store.manifest(ref)
    summary = {name: value for name, value in manifest.summary.items() if name not in ("counts", "brightness")}
    write_json(folder / "image-set.json", read_json(folder / "image-set.json") | {"classes": classes})
    files = manifest.files | records_of(folder, [folder / "image-set.json"])
    manifest.model_copy(update={"summary": summary, "files": files}).write(folder)


def test_an_image_set_that_an_older_version_read_otherwise_is_told(
    experiment: Experiment, bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    as_an_older_version_made_it(bench.store, bench.images, ["disc", "frame", "wedge"])
    make_plan(experiment, bench.store)
    assert caplog.messages == []
    as_an_older_version_made_it(bench.store, bench.images, ["eval", "train"])
    make_plan(experiment, bench.store)
    (said,) = caplog.messages
    assert "with 2 classes, 'eval', 'train'; today its folder would be read as 3 classes, 'disc'" in said
    assert f"taskdistill discard {bench.images.short} --with-dependents" in said


def test_of_several_older_artifacts_the_nearest_says_what_changed(experiment: Experiment, bench: Bench) -> None:
    def with_probe(**settings: object) -> Experiment:
        probe = ProbeSettings.model_validate({**experiment.probe.model_dump(), **settings})
        return experiment.model_copy(update={"probe": probe})

    other = with_probe(batch_size=8, seed=4)
    step = next(step for step in make_plan(other, bench.store).steps if step.name == "probe-teacher")
    quietly(other, bench.store)(step)
    plan = said(with_probe(batch_size=8, seed=4, steps=5), bench.store)
    assert plan["probe-teacher"] == ("stale", "probe.steps changed from 60 to 5")


def test_images_that_were_given_are_judged_by_what_the_settings_ask_of_them(
    experiment: Experiment, bench: Bench
) -> None:
    """Any image-set will do as one that was not made by generate."""
    given = bench.images
    assert make_plan(experiment, bench.store, synthetic=given).steps
    picky = experiment.model_copy(update={"select": SelectSettings(drop=("parent-copy",))})
    with pytest.raises(SettingsError, match=f"select.drop names parent-copy, but {given.short} was not made by"):
        make_plan(picky, bench.store, synthetic=given)
    unused = experiment.model_copy(update={"distill": DistillSettings(synthetic_ratio=0)})
    with pytest.raises(SettingsError, match="synthetic_ratio 0 gives no synthetic image to a batch"):
        make_plan(unused, bench.store, synthetic=given)


@pytest.mark.parametrize(
    ("teacher_training", "step"), [("probed", "extract-teacher-synthetic"), ("finetuned", "precompute-synthetic")]
)
def test_of_images_that_were_given_the_teacher_is_shown_the_clean_view_too(
    experiment: Experiment, bench: Bench, teacher_training: str, step: str
) -> None:
    """select judges by it, and images that were given need not be training images alone."""
    asked = experiment.model_copy(update={"teacher_training": teacher_training})
    views = {
        found.name: found.config.train_views
        for found in make_plan(asked, bench.store, synthetic=bench.images).steps
        if found.stage in (EXTRACT, PRECOMPUTE_IMAGES)
    }
    assert views.pop(step) == "both"
    assert set(views.values()) == {"augmented"}
