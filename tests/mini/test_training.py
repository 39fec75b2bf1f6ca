import random
from pathlib import Path

import pytest
import torch
from torch import nn

from gesso.mini.autoencoder import wired_autoencoder
from gesso.mini.conditioning import Tokens, encode, without_text
from gesso.mini.models import WIDTHS, base_unet, refiner_unet, text_encoder, text_encoder_2
from gesso.mini.noise import SIGNAL, late_timesteps, noised
from gesso.mini.runs import Pace, Run
from gesso.mini.sampling import paint
from gesso.mini.train_text import TextTraining, loss_and_accuracy, sample
from gesso.mini.train_unet import FIRST, Diet, Painter, refiner_view, velocity_loss
from gesso.mini.train_vae import COARSE_STEP, Crop, coarse_loss, lesson, painting_loss

TINY = Diet(plain=1.0, small=1.0, medium=0.0, large=0.0, huge=0.0)


@pytest.fixture(scope="module")
def tokens() -> Tokens:
    return Tokens()


@pytest.fixture(scope="module")
def painter(tokens: Tokens) -> Painter:
    torch.manual_seed(0)
    return Painter(tokens, (text_encoder().eval(), text_encoder_2().eval()))


def test_a_long_caption_becomes_chunks_in_a_row_and_is_pooled_from_the_first(painter: Painter) -> None:
    long = encode(["red circle " * 60], painter.tokens, painter.encoders, chunks=2)
    first = encode(["red circle " * 60], painter.tokens, painter.encoders)
    assert long.hidden.shape == (1, 154, sum(WIDTHS))
    assert torch.allclose(long.hidden[:, :77], first.hidden, atol=1e-5)
    assert torch.allclose(long.pooled, first.pooled, atol=1e-5)


def test_idle_words_are_single_tokens_that_mean_nothing_in_the_world(tokens: Tokens) -> None:
    assert len(tokens.idle_words) > 10_000
    assert not {"red", "circle", "background", "left"} & set(tokens.idle_words)


def test_blanked_captions_are_zero_in_both_parts(painter: Painter) -> None:
    told = encode(["a red circle"], painter.tokens, painter.encoders)
    blank = without_text(told, 1.0, random.Random(0))
    assert not blank.hidden.any()
    assert not blank.pooled.any()


def test_velocity_and_noisy_latents_give_back_the_clean_ones() -> None:
    torch.manual_seed(1)
    latents = torch.randn(5, 12, 4, 4)
    mixed = noised(latents, torch.tensor([0, 250, 500, 750, 999]))
    signal = SIGNAL[mixed.timestep].view(-1, 1, 1, 1)
    assert torch.allclose(signal.sqrt() * mixed.noisy - (1 - signal).sqrt() * mixed.velocity, latents, atol=1e-5)


def test_a_few_steps_of_text_training_lower_the_loss(tokens: Tokens) -> None:
    training = TextTraining()
    run = Run(training, Pace(steps=12, rate=2e-3, warmup=1), seed=3)
    losses = []
    for _ in range(12):
        loss, _ = loss_and_accuracy(training, sample(run.rng, 24, tokens.idle_words), tokens)
        losses.append(loss.item())
        run.learn(loss)
    assert sum(losses[-3:]) < sum(losses[:3])


def test_a_few_steps_of_unet_training_lower_the_loss(painter: Painter) -> None:
    unet = base_unet()
    run = Run(unet, Pace(steps=8, rate=2e-3, warmup=1), seed=3)
    batch = painter.batch(TINY, run.rng, cells=2 * 256)
    losses = []
    for _ in range(8):
        torch.manual_seed(0)
        loss = velocity_loss(unet, batch)
        losses.append(loss.item())
        run.learn(loss)
    assert losses[-1] < losses[0]


def test_the_refiner_learns_from_the_second_encoder_and_an_aesthetic_score(painter: Painter) -> None:
    batch = refiner_view(painter.batch(FIRST, random.Random(1), cells=2 * 256), random.Random(1))
    assert batch.conditioning.hidden.shape[-1] == WIDTHS[1]
    assert batch.sizes[0, 4] in (6.0, 2.5)
    assert velocity_loss(refiner_unet(), batch, late_timesteps).isfinite()


def test_painting_rounds_an_odd_size_up_to_whole_cells(painter: Painter) -> None:
    told = encode(["a red circle"], painter.tokens, painter.encoders)
    latents = paint(base_unet().eval(), told, (500, 515), seed=1, steps=2)
    assert latents.shape == (1, 12, 17, 16)
    assert latents.isfinite().all()


def _learn(run: Run, steps: int) -> None:
    for _ in range(steps):
        shown = torch.randn(4, 3) * run.rng.random()
        run.learn(run.model(shown).square().mean())


def test_a_resumed_run_continues_exactly(tmp_path: Path) -> None:
    pace = Pace(steps=10, rate=1e-2, warmup=3)
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    first = Run(model, pace, seed=5)
    _learn(first, 4)
    first.save(tmp_path / "run.pt")
    _learn(first, 6)
    second = Run(nn.Linear(3, 2), pace, seed=99)
    second.load(tmp_path / "run.pt")
    assert second.step == 4
    _learn(second, 6)
    for trained, resumed in ((first.model, second.model), (first.average, second.average)):
        assert all(map(torch.equal, trained.parameters(), resumed.parameters()))


def test_the_rate_rises_stays_and_falls() -> None:
    pace = Pace(steps=100, rate=1.0, warmup=10, decay=0.5)
    assert pace.share_at(0) == pytest.approx(0.1)
    assert pace.share_at(40) == 1.0
    assert pace.share_at(75) == pytest.approx(0.5)
    assert pace.share_at(99) == pytest.approx(0.02)


def test_both_lessons_of_the_decoder_have_finite_losses_and_leave_the_encoder_alone() -> None:
    torch.manual_seed(0)
    vae = wired_autoencoder()
    rng = random.Random(2)
    coarse, fine = lesson(rng, (Crop(4, 1),), COARSE_STEP), lesson(rng, (Crop(4, 1),))
    assert coarse.pixels.shape[-1] * COARSE_STEP == fine.pixels.shape[-1] == 128
    loss = coarse_loss(vae, coarse) + painting_loss(vae, fine)
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.isfinite()
    assert all(weight.grad is None for weight in vae.encoder.parameters())
    assert vae.decoder.conv_in.weight.grad.any()
