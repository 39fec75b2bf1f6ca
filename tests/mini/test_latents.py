import random

import torch
import torch.nn.functional as F  # noqa: N812

from gesso.mini.autoencoder import wired_autoencoder
from gesso.mini.latents import CELL, GAIN, MEAN, cells_of, latents_of
from gesso.mini.world.composition import compose, whole
from gesso.mini.world.rendering import render
from gesso.mini.world.scenes import Mixture, sample_scene


def pictures(count: int, side: int, plain: float = 0.5) -> torch.Tensor:
    rng = random.Random(4)
    composed = [compose(sample_scene(rng, Mixture(plain)), side, side, rng) for _ in range(count)]
    return torch.stack([render(picture, whole(picture)) for picture in composed])


def test_cells_come_back_from_latents_but_for_the_finest_tones() -> None:
    torch.manual_seed(0)
    cells = torch.rand(2, 3, 8, 12)
    back = cells_of(latents_of(cells))
    assert torch.allclose(back.mean(1), cells.mean(1), atol=1e-5)
    assert torch.allclose(F.avg_pool2d(back, 2), F.avg_pool2d(cells, 2), atol=1e-5)


def test_latents_of_scenes_are_about_half_the_size_of_noise_and_smaller_for_details() -> None:
    latents = latents_of(F.avg_pool2d(pictures(40, 512, plain=0.3), CELL))
    sizes = latents.std((0, 2, 3))
    assert latents.mean((0, 2, 3)).abs().max() < 0.3
    assert 0.3 < sizes[:3].min() <= sizes[:3].max() < 0.8
    assert 0.05 < sizes[3:].min() <= sizes[3:].max() < 0.35


def test_the_wired_encoder_is_the_analytic_latent() -> None:
    shown = pictures(2, 256)
    with torch.no_grad():
        encoded = wired_autoencoder().encode(shown * 2 - 1).latent_dist
    assert torch.allclose(encoded.mean, latents_of(F.avg_pool2d(shown, CELL)), atol=1e-3)
    assert encoded.std.max() < 1e-3


def test_the_wired_decoder_paints_mean_colours_before_it_has_learnt_anything() -> None:
    shown = pictures(2, 512, plain=1.0)
    with torch.no_grad():
        painted = wired_autoencoder().decode(latents_of(F.avg_pool2d(shown, CELL))).sample
    away_from_the_border = (painted - (shown * 2 - 1))[..., 64:-64, 64:-64]
    assert away_from_the_border.abs().mean() < 0.2
    assert away_from_the_border.mean((2, 3)).abs().max() < 0.1


def test_details_are_amplified_more_than_means() -> None:
    assert GAIN[:3].max() < GAIN[3:].min()
    assert not MEAN[3:].any()
