"""The miniature's networks fit together, trained or not."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from taskdistill.tasks.generators.image_mixer import ImageMixerPipeline
from taskdistill.tasks.miniature import mixer_pool
from taskdistill.tasks.miniature.mixer import MixerPart, draw_timesteps, load_eyes, slots_of
from taskdistill.tasks.miniature.mixer_pool import Eyes, build_pool, encode, random_crop
from taskdistill.tasks.miniature.networks import STUDENT, TEACHER, new_autoencoder, new_image_encoder
from taskdistill.tasks.miniature.pretraining import PretrainingError
from taskdistill.tasks.miniature.supervised import BackbonePart, ImageEncoderPart, SupervisedPart
from taskdistill.tasks.models.encoder import build_encoder, summarise
from taskdistill.tasks.stage import no_progress


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def num_parameters(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_the_student_has_at_most_a_fifth_of_the_teachers_parameters():
    assert num_parameters(build_encoder(STUDENT)) * 5 <= num_parameters(build_encoder(TEACHER))


@pytest.mark.parametrize("part", [BackbonePart("student", 1), ImageEncoderPart(1)], ids=["student", "encoder"])
def test_every_head_of_a_part_learns(part: SupervisedPart):
    losses = part.losses(4, seeded(1))
    torch.stack(list(losses.values())).sum().backward()
    assert all(parameter.grad is not None for parameter in part.heads.parameters())


def test_saved_weights_are_those_a_backbone_loads_from_its_file(tmp_path: Path):
    part = BackbonePart("student", 1)
    part.save(tmp_path)
    file = str(tmp_path / "student.safetensors")
    loaded = build_encoder(STUDENT.model_copy(update={"weights": "file", "file": file})).eval()
    images = torch.randn(2, 3, 64, 64, generator=seeded(1))
    part.encoder.eval()
    with torch.inference_mode():
        assert torch.equal(summarise(loaded, images), summarise(part.encoder, images))


def test_slots_hold_one_to_three_looks_at_the_same_picture_or_nothing():
    crops = torch.arange(1, 501).float()[:, None, None].expand(500, 3, 3)
    slots = slots_of(crops, seeded(1))
    assert slots.shape == (500, 5, 3)
    own = torch.arange(1, 501).float()[:, None, None]
    assert ((slots == 0) | (slots == own)).all()
    filled = (slots[:, :, 0] != 0).sum(dim=1)
    assert set(filled.tolist()) == {0, 1, 2, 3}
    assert 0.05 < (filled == 0).float().mean() < 0.16
    assert (slots[:, 3:] == 0).all()


def test_a_look_is_a_crop_of_its_own_picture():
    dark_and_light = torch.stack([torch.full((3, 64, 64), -1.0), torch.full((3, 64, 64), 1.0)])
    crops = random_crop(dark_and_light, seeded(1))
    assert torch.allclose(crops, dark_and_light, atol=1e-5)


def test_a_quarter_of_the_looks_is_mirrored():
    light_to_the_right = torch.linspace(-1, 1, 64).expand(1000, 3, 64, 64)
    crops = random_crop(light_to_the_right, seeded(2))
    share = (crops[..., 0].mean(dim=(1, 2)) > crops[..., -1].mean(dim=(1, 2))).float().mean()
    assert share == pytest.approx(0.25, abs=0.05)


def test_high_noise_levels_are_drawn_more_often_than_low_ones():
    timesteps_N = draw_timesteps(10_000, 1000, seeded(3))
    assert timesteps_N.float().mean() == pytest.approx(2000 / 3, abs=10)  # of a density that grows linearly
    assert timesteps_N.max() < 1000


@pytest.fixture(scope="module")
def eyes() -> Eyes:
    return Eyes(new_image_encoder(1).train(False), new_autoencoder(1))


def test_cells_of_the_bird_count_most(eyes: Eyes):
    weights_Nhw = encode(eyes, 64, seeded(1)).weights_Nhw
    assert weights_Nhw.mean() == pytest.approx(1, abs=1e-3)
    assert weights_Nhw[:, 3:5, 3:5].mean() > 2 * weights_Nhw[:, 0].mean()


def test_a_mixer_without_its_eyes_says_what_to_run(tmp_path: Path):
    with pytest.raises(PretrainingError, match="miniature pretrain encoder"):
        load_eyes(tmp_path)


def test_the_pool_is_read_again_rather_than_made_again(tmp_path: Path, eyes: Eyes, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(mixer_pool, "SHARD", 48)  # of the 512, each of which takes 20 ms
    first = build_pool(tmp_path, eyes, num_images=80, seed=1, on_progress=no_progress)
    assert len(list(tmp_path.iterdir())) == 2
    written = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    second = build_pool(tmp_path, eyes, num_images=80, seed=1, on_progress=no_progress)
    assert torch.equal(first.latents_NChw, second.latents_NChw)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == written
    assert (first.latents_NChw.shape, first.embeddings_NVD.shape) == ((80, 24, 8, 8), (80, 3, 96))


def test_a_saved_mixer_blends_two_pictures_of_the_world(tmp_path: Path, eyes: Eyes):
    MixerPart(1, eyes, encode(eyes, 8, seeded(1))).save(tmp_path)
    mixer = ImageMixerPipeline.from_pretrained(tmp_path / "mixer")
    mixer.set_progress_bar_config(disable=True)
    parents = [Image.new("RGB", (64, 64), colour) for colour in ("red", "blue")]
    blends = mixer(mixer.embed(parents)[None], generators=[seeded(1)], height=64, width=64, num_steps=2)
    assert (blends.shape, blends.dtype) == ((1, 64, 64, 3), torch.uint8)
