import random
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import nn

from gesso.mini.autoencoder import wired_autoencoder
from gesso.mini.models import LATENT_CHANNELS, WIDTHS, base_unet, refiner_unet, text_encoder, text_encoder_2
from gesso.mini.training.conditioning import Conditioning, chunks_of, encode, without_text
from gesso.mini.training.noise import SIGNAL, late_timesteps, noised, timesteps
from gesso.mini.training.runs import Pace, Run
from gesso.mini.training.sampling import paint
from gesso.mini.training.speech import Speech, speech
from gesso.mini.training.team import Team, together
from gesso.mini.training.text import TextTraining, level, loss_and_accuracy, sample
from gesso.mini.training.unet import (
    FIRST,
    TAUGHT_GUIDANCE,
    Batch,
    Diet,
    Painter,
    guided_loss,
    refiner_view,
    velocity_loss,
)
from gesso.mini.training.vae import COARSE_STEP, Crop, coarse_loss, lesson, painting_loss
from gesso.mini.world.scenes import Mixture
from gesso.sdxl.text import TextEncoders, end_to_end

TINY = Diet(Mixture(plain=1.0), small=1.0, medium=0.0, large=0.0, huge=0.0)


@pytest.fixture(scope="module")
def words() -> Speech:
    return speech()


@pytest.fixture(scope="module")
def painter(words: Speech) -> Painter:
    torch.manual_seed(0)
    return Painter(words, (text_encoder().eval(), text_encoder_2().eval()))


@pytest.mark.parametrize("text", ["a (red:1.3) circle", "a cat, " + "red circle " * 60])
def test_captions_are_encoded_as_the_server_encodes_prompts(painter: Painter, text: str) -> None:
    encoders = TextEncoders(*painter.encoders)
    with torch.no_grad():
        served = end_to_end([encoders.encode(chunk, "base") for chunk in chunks_of(text)])
    trained = encode([text, "a star"], painter.encoders)
    assert torch.allclose(trained.hidden[0], served.context, atol=1e-4)
    assert torch.allclose(trained.pooled[0], served.pooled, atol=1e-4)
    assert trained.hidden.shape[2] == sum(WIDTHS)


def test_idle_words_are_single_tokens_that_mean_nothing_in_the_world(words: Speech) -> None:
    assert len(words.idle) > 10_000
    assert not {"red", "circle", "background", "left", "cats", "watercolor"} & set(words.idle)


def test_blanked_captions_are_zero_in_both_parts(painter: Painter) -> None:
    told = encode(["a red circle"], painter.encoders)
    blank = without_text(told, 1.0, random.Random(0))
    assert not blank.hidden.any()
    assert not blank.pooled.any()


def test_velocity_and_noisy_latents_give_back_the_clean_ones() -> None:
    torch.manual_seed(1)
    latents = torch.randn(5, 24, 4, 4)
    mixed = noised(latents, torch.tensor([0, 250, 500, 750, 999]))
    signal = SIGNAL[mixed.timestep].view(-1, 1, 1, 1)
    assert torch.allclose(signal.sqrt() * mixed.noisy - (1 - signal).sqrt() * mixed.velocity, latents, atol=1e-5)


def test_larger_pictures_are_learnt_at_more_noise() -> None:
    torch.manual_seed(0)
    small, large = (timesteps(torch.zeros(4000, 1, side, side)).float().mean() for side in (16, 64))
    assert large > small + 100


def test_a_few_steps_of_text_training_lower_the_loss(words: Speech) -> None:
    training = TextTraining()
    run = Run(training, Pace(steps=12, rate=2e-3, warmup=1), seed=3)
    losses = []
    for _ in range(12):
        loss, _ = loss_and_accuracy(training, sample(run.rng, 24, words))
        losses.append(loss.item())
        run.learn(loss)
    assert sum(losses[-3:]) < sum(losses[:3])


def test_levelled_encoders_speak_at_unit_size_and_say_the_same(words: Speech) -> None:
    torch.manual_seed(0)
    training = TextTraining().eval()
    batch = sample(random.Random(1), 16, words)
    for name, weight in training.named_parameters():
        if "embedding" in name:
            weight.data.mul_(30)  # as loud as training makes them, so that normalisation knows nothing else
    before = encode([caption.text for _, caption in batch], (training.encoder, training.encoder_2))
    level(training, batch)
    after = encode([caption.text for _, caption in batch], (training.encoder, training.encoder_2))
    assert after.hidden.std().item() == pytest.approx(1, abs=0.1)
    assert torch.allclose(after.pooled, before.pooled, atol=1e-2)


def test_a_few_steps_of_unet_training_lower_the_loss(painter: Painter) -> None:
    unet = base_unet()
    run = Run(unet, Pace(steps=8, rate=2e-3, warmup=1), seed=3)
    batch = painter.batch(TINY, run.rng, random.Random(1), cells=2 * 256)
    losses = []
    for _ in range(8):
        torch.manual_seed(0)
        loss = velocity_loss(unet, batch)
        losses.append(loss.item())
        run.learn(loss)
    assert losses[-1] < losses[0]


class Guessing(nn.Module):
    """Predicts `told` of rows that are told something, and `blank` of the others."""

    def __init__(self, told: torch.Tensor, blank: torch.Tensor) -> None:
        super().__init__()
        self.told, self.blank = nn.Parameter(told), blank

    def forward(self, noisy: torch.Tensor, timestep: torch.Tensor, hidden: torch.Tensor, **_: object) -> Any:
        says_something = hidden.abs().sum((1, 2)).view(-1, 1, 1, 1) > 0
        return SimpleNamespace(sample=torch.where(says_something, self.told, self.blank))


def test_what_is_right_under_the_taught_guidance_is_no_error_and_what_is_untold_counts_as_it_is() -> None:
    torch.manual_seed(0)
    latents, timestep = torch.randn(2, 24, 4, 4), torch.tensor([600, 600])
    hidden = torch.cat([torch.ones(1, 77, 80), torch.zeros(1, 77, 80)])
    batch = Batch(latents, Conditioning(hidden, hidden[:, 0, :64]), torch.zeros(2, 6))
    torch.manual_seed(1)
    truth = noised(latents, timestep).velocity
    alone = truth + 0.3
    weakened = alone + (truth - alone) / TAUGHT_GUIDANCE

    def loss(told: torch.Tensor, blank: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(1)
        both = Guessing(told, blank)
        return guided_loss(cast(Any, both), cast(Any, both), batch, lambda _: timestep)

    assert loss(weakened, truth).item() > 0.01, (
        "the untold row is right now, and the told one is weakened from elsewhere"
    )
    assert loss(weakened, alone).item() == pytest.approx(0.3**2 / 2, rel=1e-4), "only the untold row is wrong"
    assert loss(truth, alone).item() > loss(weakened, alone).item(), "a network that says all of it overshoots"


def test_the_refiner_learns_from_the_second_encoder_and_an_aesthetic_score(painter: Painter) -> None:
    batch = refiner_view(painter.batch(FIRST, random.Random(1), random.Random(1), cells=2 * 256), random.Random(1))
    assert batch.conditioning.hidden.shape[-1] == WIDTHS[1]
    assert batch.sizes[0, 4] in (6.0, 2.5)
    assert velocity_loss(refiner_unet(), batch, late_timesteps).isfinite()


def test_painting_rounds_an_odd_size_up_to_whole_cells(painter: Painter) -> None:
    told = encode(["a red circle"], painter.encoders)
    latents = paint(base_unet().eval(), told, (500, 515), seed=1, steps=2)
    assert latents.shape == (1, LATENT_CHANNELS, 17, 16)
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


def _learn_together(folder: Path, team: Team) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(team.rank)  # begin apart, to see that they are brought together
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2), nn.Linear(2, 4))
    run = Run(model, Pace(steps=10, rate=1e-2, warmup=1, matrix_rate=0.1), seed=5, team=team)
    _learn(run, 3)
    run.save(folder / "run.pt")
    torch.save(model.state_dict(), folder / f"{team.rank}.pt")


def test_a_team_takes_the_same_steps_from_pictures_of_their_own(tmp_path: Path) -> None:
    together(2, partial(_learn_together, tmp_path))
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    assert all(torch.allclose(first[name], second[name], atol=1e-6) for name in first)
    chances = torch.load(tmp_path / "run.pt", weights_only=False)["chances"]
    assert len(chances) == 2
    assert chances[0] != chances[1]


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
    coarse, fine = lesson(rng, Crop(4, 1), COARSE_STEP), lesson(rng, Crop(4, 1))
    assert coarse.pixels.shape[-1] * COARSE_STEP == fine.pixels.shape[-1] == 128
    loss = coarse_loss(vae, coarse) + painting_loss(vae, fine)
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.isfinite()
    assert all(weight.grad is None for weight in vae.encoder.parameters())
    assert vae.decoder.conv_in.weight.grad.any()
