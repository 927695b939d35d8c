"""Stages "embed" and "generate": blends of pairs of training images, each decided by its row of the table alone."""

import io
import multiprocessing
import shutil
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from taskdistill.configs.generation import BlendSettings, EmbedConfig, GenerateConfig, GeneratorModel
from taskdistill.storage.errors import CacheMismatchError, CorruptArtifactError
from taskdistill.storage.image_set import ImageSet, shard_path
from taskdistill.storage.manifest import ArtifactRef
from taskdistill.storage.store import ArtifactStore
from taskdistill.storage.tables import BLENDS, PAIRS, read_arrow, read_table, write_table
from taskdistill.storage.upkeep import discard
from taskdistill.storage.view_outputs import ViewOutputs
from taskdistill.tasks.catalog import EMBED, GENERATE
from taskdistill.tasks.data.decode import decode_rgb
from taskdistill.tasks.generators.image_mixer import ImageMixerPipeline
from taskdistill.tasks.partitions import make_partitions
from taskdistill.tasks.prechecks.mixer_folder import GeneratorFolderError
from taskdistill.tasks.stage import content_digests_of, execute
from taskdistill.tasks.stages import generate as generate_module
from tests.conftest import RUNTIME, Bench
from tests.storage.artifacts import tear

BLENDS_SETTINGS = BlendSettings(per_image=2, side_px=16, num_steps=2, encoding="png")
NUM_BLENDS = 48
"""Two for each of 24 training images, in a shard of 32 and one of 16."""


class Studio:
    """The bench with its images embedded by the tiny mixer."""

    def __init__(self, bench: Bench, model: GeneratorModel, embeddings: ArtifactRef) -> None:
        self.bench, self.model, self.embeddings = bench, model, embeddings

    def copied(self, root: Path) -> "Studio":
        return Studio(self.bench.copied(root), self.model, self.embeddings)

    def config(self, **changes: Any) -> GenerateConfig:
        return GenerateConfig(model=self.model, blends=BLENDS_SETTINGS.model_copy(update=changes))

    def generate(self, config: GenerateConfig | None = None, on_progress: Any = None, **runtime: Any) -> ArtifactRef:
        more = {"on_progress": on_progress} if on_progress else {}
        inputs = {"images": self.bench.images, "embeddings": self.embeddings}
        return self.bench.run(GENERATE, config or self.config(), runtime=runtime, **inputs, **more)

    def open(self, ref: ArtifactRef) -> ImageSet:
        return ImageSet.open(self.bench.path(ref))

    @property
    def parents(self) -> ImageSet:
        return self.open(self.bench.images)


@pytest.fixture(scope="module")
def empty(finished_bench: Bench, mixer_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Studio:
    """Nothing is painted yet. Read only."""
    bench = finished_bench.copied(tmp_path_factory.mktemp("empty") / "store")
    model = GeneratorModel(folder=str(mixer_folder))
    return Studio(bench, model, bench.run(EMBED, EmbedConfig(model=model), images=bench.images))


@pytest.fixture(scope="module")
def shared(empty: Studio, tmp_path_factory: pytest.TempPathFactory) -> Studio:
    """One to add to."""
    return empty.copied(tmp_path_factory.mktemp("shared") / "store")


@pytest.fixture
def studio(empty: Studio, tmp_path: Path) -> Studio:
    """One to die in."""
    return empty.copied(tmp_path / "studio")


@pytest.fixture(scope="module")
def died(empty: Studio, tmp_path_factory: pytest.TempPathFactory) -> Studio:
    """Where a run died in its second shard of 32 blends. Read only."""
    studio = empty.copied(tmp_path_factory.mktemp("died") / "store")

    def die(unit: str, done: int, total: int) -> None:
        if done > 32:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        studio.generate(on_progress=die, generation_batch_size=8)
    return studio


@pytest.fixture
def begun(died: Studio, tmp_path: Path) -> Studio:
    """A copy of it, to go on in."""
    return died.copied(tmp_path / "begun")


def files_of(studio: Studio, ref: ArtifactRef) -> dict[str, Any]:
    return dict(studio.bench.store.manifest(ref).files)


# --- embeddings ----------------------------------------------------------------------------------------------------


def test_an_embedding_is_the_one_diffusers_own_preprocessing_leads_to(shared: Studio, mixer_folder: Path) -> None:
    pipeline = ImageMixerPipeline.from_pretrained(mixer_folder)
    outputs, images = ViewOutputs(shared.bench.path(shared.embeddings)), shared.parents
    for row in (0, 30, 47):
        expected = pipeline.embed([Image.fromarray(decode_rgb(images.image(row)))])[0]
        found = torch.from_numpy(outputs.view(0)[row]).float()
        # Half precision, and a crop before the resize where the processor crops after it.
        assert torch.nn.functional.cosine_similarity(found, expected, dim=0) > 0.999


def test_every_image_is_embedded_once(shared: Studio) -> None:
    assert shared.bench.summary(shared.embeddings)["encoder_forwards"] == 48


# --- what is made --------------------------------------------------------------------------------------------------


def test_every_blend_knows_its_parents_and_seed_and_has_no_label(shared: Studio) -> None:
    blends, parents = shared.open(shared.generate()), shared.parents
    train = {parents.ids[row] for row in parents.rows_of("train")}
    assert len(blends) == NUM_BLENDS
    assert (blends.labels == -1).all()
    assert set(blends.splits) == {"train"}
    assert all(len(set(pair)) == 2 and set(pair) <= train for pair in blends.parents if pair)
    assert len({frozenset(pair) for pair in blends.parents if pair}) == NUM_BLENDS  # of 276 possible ones
    assert len(set(blends.seeds)) == NUM_BLENDS
    assert blends.classes == parents.classes


def test_a_blend_is_what_the_pipeline_paints_from_its_parents_and_seed(shared: Studio, mixer_folder: Path) -> None:
    ref = shared.generate(shared.config(strengths=(1.0, 0.5)), generation_batch_size=1)
    blends, row = shared.open(ref), 41
    outputs = ViewOutputs(shared.bench.path(shared.embeddings))
    pair = [outputs.view(0)[outputs.ids.index(parent)] for parent in blends.parents[row] or []]
    pipeline = ImageMixerPipeline.from_pretrained(mixer_folder)
    pipeline.set_progress_bar_config(disable=True)
    painted = pipeline(
        torch.from_numpy(np.stack(pair))[None].float(),
        generators=[torch.Generator().manual_seed(blends.seeds[row] or 0)],
        strengths=(1.0, 0.5), height=16, width=16, num_steps=2,
    )  # fmt: skip
    assert np.array_equal(decode_rgb(blends.image(row)), painted[0].numpy())


def test_jpeg_is_the_default_and_settings_that_decide_nothing_are_no_part_of_the_recipe(shared: Studio) -> None:
    blends = shared.open(shared.generate(shared.config(encoding=BlendSettings().encoding, per_image=0.2)))
    assert Image.open(io.BytesIO(blends.image(3))).format == "JPEG"
    png = shared.config()
    assert png.identity() == shared.config(jpeg_quality=50, neighbours=3).identity()
    assert png.identity() != shared.config(encoding="jpeg").identity()
    assert shared.config(pairs="nearest").identity() != shared.config(pairs="nearest", neighbours=3).identity()


def test_either_parent_may_be_the_earlier_image(shared: Studio) -> None:
    pairs = [pair for pair in shared.open(shared.generate()).parents if pair]
    earlier_first = sum(a < b for a, b in pairs)
    assert 10 < earlier_first < 38  # of 48; chance alone gives 24 +- 3.5


def test_similarities_are_the_cosines_of_embeddings(shared: Studio, mixer_folder: Path) -> None:
    ref = shared.generate()
    blends, scores = shared.open(ref), read_table(shared.bench.path(ref) / "blends.parquet")
    pipeline = ImageMixerPipeline.from_pretrained(mixer_folder)
    outputs = ViewOutputs(shared.bench.path(shared.embeddings))
    row = 17
    own = pipeline.embed([Image.fromarray(decode_rgb(blends.image(row)))])[0]
    parents = [outputs.view(0)[outputs.ids.index(scores[row][name])] for name in ("parent_a", "parent_b")]
    cosines = [float(torch.cosine_similarity(own, torch.from_numpy(one).float(), dim=0)) for one in parents]
    assert [scores[row]["similarity_a"], scores[row]["similarity_b"]] == pytest.approx(cosines, abs=2e-3)
    held_out = shared.parents.rows_of("val", "test")
    nearest = max(held_out, key=lambda r: float(torch.cosine_similarity(own, torch.from_numpy(
        outputs.view(0)[r]).float(), dim=0)))  # fmt: skip
    assert scores[row]["nearest_held_out"] == shared.parents.ids[nearest]


def test_there_is_a_contact_sheet_and_a_page_that_names_every_shown_blend(shared: Studio) -> None:
    folder = shared.bench.path(shared.generate())
    with Image.open(folder / "contact-sheet.png") as sheet:
        assert sheet.size[0] > 3 * 3 * 96
    page = (folder / "blends.html").read_text()
    assert page.count("<figure ") == page.count("</figcaption></figure>") == NUM_BLENDS
    assert page.count("data:image/jpeg;base64,") == 3 * NUM_BLENDS
    assert "blend-0000047" in page


@pytest.mark.parametrize("pairs", ["same-class", "nearest"])
def test_parents_can_be_chosen_within_a_class_or_among_neighbours(shared: Studio, pairs: str) -> None:
    blends, parents = shared.open(shared.generate(shared.config(pairs=pairs, neighbours=3))), shared.parents
    label = dict(zip(parents.ids, parents.labels.tolist(), strict=True))
    outputs = ViewOutputs(shared.bench.path(shared.embeddings))
    train = parents.rows_of("train")
    unit = outputs.view(0)[train].astype(np.float32)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    order = np.argsort(-(unit @ unit.T), axis=1)
    names = [parents.ids[row] for row in train]
    near = {name: {names[other] for other in order[place, :4]} for place, name in enumerate(names)}
    for a, b in (pair for pair in blends.parents if pair):
        assert label[a] == label[b] if pairs == "same-class" else (a in near[b] or b in near[a])


# --- only training images ------------------------------------------------------------------------------------------


def test_a_held_out_image_in_the_table_of_pairs_is_refused_before_anything_is_painted(begun: Studio) -> None:
    held_out = begun.parents.ids[begun.parents.rows_of("test")[0]]
    draft = next(iter(begun.bench.store.drafts().values()))
    rows = read_arrow(draft, "pairs.parquet", PAIRS).to_pylist()
    write_table(draft / "pairs.parquet", PAIRS, [row | {"parent_a": held_out} for row in rows])
    with pytest.raises(
        CorruptArtifactError, match=r"as a parent, which is no training image.*taskdistill discard [0-9a-f]{12}'"
    ):
        begun.generate()


# --- death and division --------------------------------------------------------------------------------------------


def test_an_interrupted_run_paints_only_the_shards_that_are_missing(begun: Studio, shared: Studio) -> None:
    whole = shared.generate()
    assert begun.generate() == whole
    assert begun.bench.summary(whole)["painted"] == NUM_BLENDS - 32  # one shard of 32 was finished
    assert files_of(begun, whole) == files_of(shared, whole)


@pytest.mark.parametrize("how", ["half, then zeros", "gone"])
@pytest.mark.parametrize("name", ["shards/00000.parquet", "scores/00000.parquet", "pairs.parquet"])
def test_what_a_power_cut_tore_is_made_again(begun: Studio, shared: Studio, name: str, how: str) -> None:
    whole = shared.generate()
    torn = begun.bench.store.draft_path(whole) / name
    torn.unlink() if how == "gone" else tear(torn, how)
    assert begun.generate() == whole
    assert begun.bench.summary(whole)["painted"] == NUM_BLENDS - (32 if name == "pairs.parquet" else 0)
    assert files_of(begun, whole) == files_of(shared, whole)


def test_the_order_in_which_shards_are_made_does_not_matter(studio: Studio, shared: Studio) -> None:
    whole = shared.generate()

    def one_after_the_other(numbers: Any, still_missing: Any) -> None:
        for number in reversed(list(numbers)):
            inputs = {"images": studio.bench.images, "embeddings": studio.embeddings}
            make_partitions(
                GENERATE, studio.config(), inputs, [number], wanted=whole, store=studio.bench.store, runtime=RUNTIME
            )

    inputs = {"images": studio.bench.images, "embeddings": studio.embeddings}
    made = execute(
        GENERATE, studio.config(), inputs, store=studio.bench.store, runtime=RUNTIME,
        dispatch=lambda ref: one_after_the_other,
    )  # fmt: skip
    assert files_of(studio, made) == files_of(shared, whole)
    assert studio.bench.summary(made)["painted"] == NUM_BLENDS


def test_a_run_that_died_after_its_workers_were_done_makes_the_same_files(studio: Studio, shared: Studio) -> None:
    whole = shared.generate()
    inputs = {"images": studio.bench.images, "embeddings": studio.embeddings}

    def work_then_die(numbers: Any, still_missing: Any) -> None:
        make_partitions(
            GENERATE, studio.config(), inputs, numbers, wanted=whole, store=studio.bench.store, runtime=RUNTIME
        )
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        execute(
            GENERATE, studio.config(), inputs, store=studio.bench.store, runtime=RUNTIME,
            dispatch=lambda ref: work_then_die,
        )  # fmt: skip
    assert studio.generate() == whole
    assert files_of(studio, whole) == files_of(shared, whole)
    assert studio.bench.summary(whole)["painted"] == NUM_BLENDS


def make_shards(root: Path, config: GenerateConfig, inputs: dict[str, ArtifactRef], numbers: list[int]) -> int:
    """Make some shards in a process of its own, which finds this function by its name."""
    torch.set_num_threads(1)
    store = ArtifactStore(root)
    wanted = GENERATE.reference(config, inputs, content_digests_of(config, store))
    return make_partitions(GENERATE, config, inputs, numbers, wanted=wanted, store=store, runtime=RUNTIME)


@pytest.mark.slow
def test_two_processes_on_disjoint_shards_make_the_set_that_one_makes(studio: Studio, shared: Studio) -> None:
    inputs = {"images": studio.bench.images, "embeddings": studio.embeddings}

    def in_two_processes(numbers: Any, still_missing: Any) -> None:
        fixed = (studio.bench.store.root, studio.config(), inputs)
        with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
            parts = [pool.submit(make_shards, *fixed, part) for part in (numbers[::2], numbers[1::2])]
            assert [part.result() for part in parts] == [1, 1]

    ref = execute(
        GENERATE, studio.config(), inputs, store=studio.bench.store, runtime=RUNTIME,
        dispatch=lambda ref: in_two_processes,
    )  # fmt: skip
    assert files_of(studio, ref) == files_of(shared, shared.generate())


def test_death_between_the_last_shard_and_the_commit_costs_no_painting(
    studio: Studio, shared: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(generate_module, "write_blends_page", die)
    with pytest.raises(KeyboardInterrupt):
        studio.generate()
    monkeypatch.undo()
    ref = studio.generate()
    assert studio.bench.summary(ref)["painted"] == 0
    assert files_of(studio, ref) == files_of(shared, ref)


def test_a_damaged_parent_ends_with_what_to_do(studio: Studio) -> None:
    config = EmbedConfig(model=studio.model)
    discard(studio.bench.store, studio.embeddings)
    shard = shard_path(studio.bench.path(studio.bench.images), 0)
    data = bytearray(shard.read_bytes())
    data[len(data) // 3] ^= 0xFF
    shard.write_bytes(bytes(data))
    with pytest.raises(CorruptArtifactError, match="taskdistill discard image-set@"):
        studio.bench.run(EMBED, config, images=studio.bench.images)


def test_a_full_disk_stops_it_and_what_was_finished_by_then_is_kept(
    studio: Studio, shared: Studio, tiny_disk: Path
) -> None:
    drafts = studio.bench.store.root / "drafts"
    shutil.rmtree(drafts)
    drafts.symlink_to(tiny_disk)
    (tiny_disk / "ballast").write_bytes(bytes(8 * 1024))
    with pytest.raises(OSError, match="No space left"):
        studio.generate()
    (tiny_disk / "ballast").unlink()
    drafts.unlink()
    shutil.copytree(tiny_disk, drafts)  # space is made
    ref = studio.generate()
    assert 0 < studio.bench.summary(ref)["painted"] < NUM_BLENDS
    assert files_of(studio, ref) == files_of(shared, shared.generate())


# --- what does not belong together ---------------------------------------------------------------------------------


def test_embeddings_of_another_mixer_are_refused(shared: Studio, tmp_path: Path) -> None:
    from tests.tiny_mixer import build_tiny_mixer

    build_tiny_mixer(seed=1).save_pretrained(tmp_path / "other")
    config = shared.config().model_copy(update={"model": GeneratorModel(folder=str(tmp_path / "other"))})
    with pytest.raises(CacheMismatchError, match=r"do not fit\. generator: these are of"):
        shared.generate(config)


def test_a_folder_that_is_no_pipeline_is_refused_saying_how_to_make_one(shared: Studio, tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"x")
    with pytest.raises(GeneratorFolderError, match="taskdistill convert-image-mixer"):
        shared.bench.run(EMBED, EmbedConfig(model=GeneratorModel(folder=str(tmp_path))), images=shared.bench.images)


def test_moving_the_mixer_rebuilds_nothing(shared: Studio, mixer_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(mixer_folder, tmp_path / "moved")
    moved = EmbedConfig(model=GeneratorModel(folder=str(tmp_path / "moved")))
    digests = content_digests_of(moved, shared.bench.store)
    assert EMBED.reference(moved, {"images": shared.bench.images}, digests) == shared.embeddings


def test_the_tables_have_the_columns_they_are_read_by(shared: Studio) -> None:
    folder = shared.bench.path(shared.generate())
    assert read_arrow(folder, "pairs.parquet", PAIRS).num_rows == NUM_BLENDS
    assert read_arrow(folder, "blends.parquet", BLENDS).num_rows == NUM_BLENDS
    with pytest.raises(CorruptArtifactError, match="has the columns id, parent_a"):
        read_arrow(folder, "pairs.parquet", BLENDS)
