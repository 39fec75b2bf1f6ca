import random

import torch
import torch.nn.functional as F  # noqa: N812

from gesso.mini.autoencoder import wired_autoencoder
from gesso.mini.latents import CELL, cells_of, latents_of
from gesso.mini.rendering import compose, render, whole
from gesso.mini.scenes import sample_scene


def pictures(count: int, side: int) -> torch.Tensor:
    rng = random.Random(4)
    composed = [compose(sample_scene(rng, 0.5), side, side, rng) for _ in range(count)]
    return torch.stack([render(picture, whole(picture)) for picture in composed])


def test_latents_and_cells_are_each_others_inverse() -> None:
    torch.manual_seed(0)
    cells = torch.rand(2, 3, 8, 6)
    assert torch.allclose(cells_of(latents_of(cells)), cells, atol=1e-6)


def test_latents_of_scenes_are_about_white() -> None:
    latents = latents_of(F.avg_pool2d(pictures(40, 512), CELL))
    assert latents.mean((0, 2, 3)).abs().max() < 0.5
    assert latents.std((0, 2, 3)).min() > 0.4
    assert latents.std((0, 2, 3)).max() < 2.5


def test_the_wired_encoder_is_the_analytic_latent() -> None:
    shown = pictures(2, 256)
    with torch.no_grad():
        encoded = wired_autoencoder().encode(shown * 2 - 1).latent_dist
    assert torch.allclose(encoded.mean, latents_of(F.avg_pool2d(shown, CELL)), atol=1e-2)
    assert encoded.std.max() < 1e-3


def test_the_wired_decoder_paints_mean_colours_before_it_has_learnt_anything() -> None:
    rng = random.Random(4)
    composed = [compose(sample_scene(rng, 1.0), 512, 512, rng) for _ in range(2)]
    shown = torch.stack([render(picture, whole(picture)) for picture in composed])
    with torch.no_grad():
        painted = wired_autoencoder().decode(latents_of(F.avg_pool2d(shown, CELL))).sample
    away_from_the_border = (painted - (shown * 2 - 1))[..., 64:-64, 64:-64]
    assert away_from_the_border.abs().mean() < 0.15
    assert away_from_the_border.mean((2, 3)).abs().max() < 0.1
