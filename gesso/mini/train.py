"""`python -m gesso.mini.train STAGE`: the embedded family from nothing, stage by stage.

    text      the two encoders learn to read captions
    unet      the base learns to paint them              (needs text)
    polish    and then what is hard about them           (needs text, unet)
    guided    and to be right under guidance             (needs text, polish)
    outlines  the decoder's lower half learns outlines   (needs nothing)
    vae       the whole decoder learns crisp pixels      (needs outlines)
    refiner   the base, learning the last of the noise   (needs text, guided)
    looks     six fine-tunes of the base                 (needs text, guided)
    all       these, one after the other
    world     a sheet of what there is to learn          (needs nothing)
    export    the files that ship                        (needs all)

Every stage keeps its state in the folder, saves it every few minutes (with a sheet, where there are pictures), goes on
where it was stopped, and notes in `journal.json` what it took.
"""

import argparse
import os
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor, nn

from gesso.mini import models
from gesso.mini.autoencoder import wired_autoencoder
from gesso.mini.export import Family, export
from gesso.mini.training import journal
from gesso.mini.training.noise import late_timesteps
from gesso.mini.training.runs import Pace, Run
from gesso.mini.training.sheets import decoded_sheet, drawn_sheet, painted_sheet
from gesso.mini.training.speech import speech
from gesso.mini.training.team import Team, together
from gesso.mini.training.text import TextTraining, level, loss_and_accuracy, sample
from gesso.mini.training.unet import HARD, LAST, Diet, Painter, diet_at, guided_loss, refiner_view, velocity_loss
from gesso.mini.training.vae import COARSE_CROPS, COARSE_STEP, FINE_CROPS, Crop, coarse_loss, lesson, painting_loss
from gesso.mini.world.looks import LOOKS, PLAIN, Look

PACES = {
    "text": Pace(steps=1600, rate=2e-3),
    "unet": Pace(steps=11000, rate=4e-4, decay=0.5, average=0.998, matrix_rate=0.005),
    "polish": Pace(steps=5000, rate=4e-4, decay=0.7, average=0.998, matrix_rate=0.005),
    "guided": Pace(steps=1500, rate=4e-4, decay=0.7, average=0.998, matrix_rate=0.005),
    "outlines": Pace(steps=2000, rate=6e-4, warmup=30, decay=0.9, average=0.99, weight_decay=0.0, matrix_rate=0.005),
    "vae": Pace(steps=650, rate=2e-4, warmup=30, decay=0.9, average=0.99, weight_decay=0.0, matrix_rate=0.002),
    "refiner": Pace(steps=250, rate=6e-4, warmup=10, decay=0.8, average=0.98, matrix_rate=0.006),
    "looks": Pace(steps=250, rate=6e-4, warmup=10, decay=0.7, average=0.98, matrix_rate=0.006),
}
SEED = 57
CAPTIONS = 192
REPORT_STEPS = 50
SAVE_STEPS = 1000


@dataclass(frozen=True)
class Workshop:
    """Where the states lie, one file a stage, `look-NAME` for each look; and who trains."""

    folder: Path
    team: Team

    def state(self, name: str) -> Path:
        return self.folder / f"{name}.pt"

    def averaged(self, name: str, model: nn.Module) -> nn.Module:
        """The model with the averaged weights that a stage has reached."""
        model.load_state_dict(torch.load(self.state(name), weights_only=False)["average"])
        return model.eval().requires_grad_(False)

    def text(self) -> TextTraining:
        """The encoders, at the size that what reads them expects; the state keeps what was learnt."""
        training = TextTraining()
        self.averaged("text", training)
        level(training, sample(random.Random(SEED), CAPTIONS, speech()))
        return training

    def painter(self, look: Look = PLAIN) -> Painter:
        text = self.text()
        return Painter(speech(), (text.encoder, text.encoder_2), look)

    def unet(self, name: str) -> UNet2DConditionModel:
        unet = models.refiner_unet() if name == "refiner" else models.base_unet()
        self.averaged(name, unet)
        return unet

    def vae(self) -> AutoencoderKL:
        vae = models.autoencoder()
        self.averaged("vae", vae)
        return vae

    def follow(self, run: Run, name: str, lesson_loss: Callable[[], Tensor], show: Callable[[], None]) -> None:
        """Learn until the pace's last step, from the saved state if there is one; say and show how it goes."""
        state = self.state(name)
        if state.exists():
            run.load(state)
        started, smooth = time.monotonic(), 0.0
        first = run.step
        while run.step < run.pace.steps:
            loss = lesson_loss()
            run.learn(loss)
            smooth = loss.item() if run.step == first + 1 else 0.98 * smooth + 0.02 * loss.item()
            if run.step % REPORT_STEPS == 0 and self.team.leads:
                _report(name, run, smooth, (time.monotonic() - started) / (run.step - first))
            if run.step % SAVE_STEPS == 0 or run.step == run.pace.steps:
                self._keep(run, state, show)
        if run.step > first and self.team.leads:
            seconds = time.monotonic() - started
            journal.note(self.folder / "journal.json", name, SEED, (first, run.step), seconds, smooth)

    def _keep(self, run: Run, state: Path, show: Callable[[], None]) -> None:
        run.save(state)
        if self.team.leads:
            show()


def _report(name: str, run: Run, loss: float, pace: float) -> None:
    done, steps = run.step, run.pace.steps
    bar = "#" * (20 * done // steps)
    left = (steps - done) * pace / 60
    print(
        f"{name} [{bar:<20}] {done} of {steps}, loss {loss:.4f}, {pace:.2f} s a step, {left:.0f} min left", flush=True
    )


def _nothing() -> None:
    """There is nothing to see of it."""


def train_text(workshop: Workshop, pace: Pace) -> None:
    training, words = TextTraining(), speech()
    run = Run(training, pace, SEED, workshop.team)
    workshop.follow(run, "text", lambda: loss_and_accuracy(training, sample(run.rng, CAPTIONS, words))[0], _nothing)


def train_unet(workshop: Workshop, pace: Pace) -> None:
    _paint_along(workshop, models.base_unet(), workshop.painter(), pace, "unet", diet_at)


def train_polish(workshop: Workshop, pace: Pace) -> None:
    unet = workshop.unet("unet").train().requires_grad_(True)
    _paint_along(workshop, unet, workshop.painter(), pace, "polish", lambda progress: HARD)


def train_guided(workshop: Workshop, pace: Pace) -> None:
    unet = workshop.unet("polish").train().requires_grad_(True)
    _paint_along(workshop, unet, workshop.painter(), pace, "guided", lambda progress: HARD, guided=True)


def train_looks(workshop: Workshop, pace: Pace) -> None:
    for name, look in LOOKS.items():
        unet = workshop.unet("guided").train().requires_grad_(True)
        painter = workshop.painter(look)
        _paint_along(workshop, unet, painter, pace, f"look-{name}", lambda progress: LAST, guided=True)


def _paint_along(
    workshop: Workshop,
    unet: UNet2DConditionModel,
    painter: Painter,
    pace: Pace,
    name: str,
    diet: Callable[[float], Diet],
    *,
    guided: bool = False,
) -> None:
    run = Run(_teachable(unet), pace, SEED, workshop.team)
    assert isinstance(run.average, UNet2DConditionModel)
    average, picture = run.average, workshop.folder / f"{name}.png"

    def loss() -> Tensor:
        batch = painter.batch(diet(run.progress), run.rng, random.Random(run.step))
        return guided_loss(unet, average, batch) if guided else velocity_loss(unet, batch)

    workshop.follow(run, name, loss, lambda: painted_sheet(average, painter.encoders, SEED).save(picture))


def _teachable(unet: UNet2DConditionModel) -> UNet2DConditionModel:
    """With attention written out: on CPUs the fused kernel's backward pass takes longer."""
    unet.set_attn_processor(AttnProcessor())
    return unet


def train_refiner(workshop: Workshop, pace: Pace) -> None:
    painter, base = workshop.painter(), workshop.unet("guided")
    unet = _teachable(models.refiner_from(base).train().requires_grad_(True))
    run = Run(unet, pace, SEED, workshop.team)
    average = run.average
    assert isinstance(average, UNet2DConditionModel)

    def loss() -> Tensor:
        batch = refiner_view(painter.batch(LAST, run.rng, random.Random(run.step)), run.rng)
        return guided_loss(unet, average, batch, late_timesteps)

    workshop.follow(run, "refiner", loss, _nothing)


def train_outlines(workshop: Workshop, pace: Pace) -> None:
    vae = wired_autoencoder()
    run = Run(vae, pace, SEED, workshop.team)
    workshop.follow(
        run, "outlines", lambda: coarse_loss(vae, lesson(run.rng, _crop(run, COARSE_CROPS), COARSE_STEP)), _nothing
    )


def train_vae(workshop: Workshop, pace: Pace) -> None:
    vae = wired_autoencoder()
    workshop.averaged("outlines", vae)
    vae.decoder.train().requires_grad_(True).mid_block.attentions.requires_grad_(False)
    run = Run(vae.to(memory_format=torch.channels_last), pace, SEED, workshop.team)
    average = run.average
    assert isinstance(average, AutoencoderKL)
    workshop.follow(
        run,
        "vae",
        lambda: painting_loss(vae, lesson(run.rng, _crop(run, FINE_CROPS))),
        lambda: decoded_sheet(average, SEED).save(workshop.folder / "vae.png"),
    )


def _crop(run: Run, crops: tuple[Crop, ...]) -> Crop:
    """One that all of a team have at this step, so that they have equally much to do."""
    return random.Random(run.step).choice(crops)


STAGES: dict[str, Callable[[Workshop, Pace], None]] = {
    "text": train_text,
    "unet": train_unet,
    "polish": train_polish,
    "guided": train_guided,
    "outlines": train_outlines,
    "vae": train_vae,
    "refiner": train_refiner,
    "looks": train_looks,
}


def export_family(workshop: Workshop, folder: Path) -> None:
    text = workshop.text()
    names = {"base": "guided", "refiner": "refiner"} | {name: f"look-{name}" for name in LOOKS}
    unets = {name: workshop.unet(stage) for name, stage in names.items() if workshop.state(stage).exists()}
    export(Family(text.encoder, text.encoder_2, workshop.vae(), unets), folder)


def learn(stages: Sequence[str], asked: argparse.Namespace, team: Team) -> None:
    """What one process of the team does."""
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // asked.processes))
    for stage in stages:
        torch.manual_seed(SEED)
        pace = PACES[stage]
        STAGES[stage](Workshop(asked.folder, team), replace(pace, steps=asked.steps or pace.steps))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m gesso.mini.train", description="Train the embedded family.")
    parser.add_argument("stage", choices=[*STAGES, "all", "world", "export"])
    parser.add_argument("--folder", type=Path, required=True, help="where the states of the stages are kept")
    parser.add_argument("--steps", type=int, help="train to this many steps instead of the stage's own")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="that learn together, one a core")
    parser.add_argument("--weights", type=Path, default=Path(__file__).parent / "weights", help="export writes here")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    if asked.stage == "export":
        export_family(Workshop(asked.folder, Team()), asked.weights)
    elif asked.stage == "world":
        drawn_sheet(SEED).save(asked.folder / "world.png")
    else:
        together(asked.processes, partial(learn, tuple(STAGES) if asked.stage == "all" else (asked.stage,), asked))


if __name__ == "__main__":
    main()
