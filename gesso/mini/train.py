"""`python -m gesso.mini.train STAGE`: the embedded family from nothing, stage by stage.

    text     the two encoders learn to read captions
    unet     the base learns to paint them               (needs text)
    outlines the decoder's lower half learns outlines    (needs nothing)
    vae      the whole decoder learns crisp pixels       (needs outlines)
    refiner  the base, learning the last of the noise    (needs text, unet)
    looks    six fine-tunes of the base                  (needs unet)
    judge    a sheet to look at and a score to note      (needs text, unet, vae)
    export   the files that ship                         (needs all)

Every stage keeps its state in the folder, saves it every few minutes and goes on where it was stopped.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor, nn

from gesso.mini import models
from gesso.mini.autoencoder import wired_autoencoder
from gesso.mini.conditioning import Tokens
from gesso.mini.export import Family, export
from gesso.mini.looks import LOOKS, PLAIN, Look
from gesso.mini.noise import late_timesteps
from gesso.mini.runs import Pace, Run
from gesso.mini.sampling import Studio
from gesso.mini.sheets import ASPECTS, examine, sheet
from gesso.mini.train_text import TextTraining, loss_and_accuracy, sample
from gesso.mini.train_unet import LAST, Diet, Painter, diet_at, refiner_view, velocity_loss
from gesso.mini.train_vae import coarse_lesson, coarse_loss, lesson, painting_loss

PACES = {
    "text": Pace(steps=1200, rate=1.5e-3),
    "unet": Pace(steps=4000, rate=1.2e-3, decay=0.5, average=0.998, matrix_rate=0.015),
    "outlines": Pace(steps=2000, rate=6e-4, warmup=30, decay=0.9, average=0.99, weight_decay=0.0, matrix_rate=0.005),
    "vae": Pace(steps=700, rate=2e-4, warmup=30, decay=0.9, average=0.99, weight_decay=0.0, matrix_rate=0.002),
    "refiner": Pace(steps=400, rate=6e-4, warmup=10, decay=0.8, average=0.98, matrix_rate=0.006),
    "looks": Pace(steps=60, rate=4e-4, warmup=5, decay=0.7, average=0.9, matrix_rate=0.004),
}
SEED = 57
REPORT_STEPS = 50
JUDGED_SIZES = ((512, 512), (896, 1152), (1024, 1024))
QUESTIONS = 64
SAVE_SECONDS = 150.0


@dataclass(frozen=True)
class Workshop:
    """Where the states lie: one file a stage, `look-NAME` for each look."""

    folder: Path

    def state(self, name: str) -> Path:
        return self.folder / f"{name}.pt"

    def averaged(self, name: str, model: nn.Module) -> nn.Module:
        """The model with the averaged weights that a stage has reached."""
        model.load_state_dict(torch.load(self.state(name), weights_only=False)["average"])
        return model.eval().requires_grad_(False)

    def text(self) -> TextTraining:
        training = TextTraining()
        self.averaged("text", training)
        return training

    def painter(self, look: Look = PLAIN) -> Painter:
        text = self.text()
        return Painter(Tokens(), (text.encoder, text.encoder_2), look)

    def unet(self, name: str) -> UNet2DConditionModel:
        unet = models.refiner_unet() if name == "refiner" else models.base_unet()
        self.averaged(name, unet)
        return unet

    def vae(self) -> AutoencoderKL:
        vae = models.autoencoder()
        self.averaged("vae", vae)
        return vae


def follow(run: Run, state: Path, lesson_loss: Callable[[], Tensor]) -> None:
    """Learn until the pace's last step, from the saved state if there is one; say how it goes."""
    if state.exists():
        run.load(state)
    started, saved, smooth = time.monotonic(), time.monotonic(), 0.0
    first = run.step
    while run.step < run.pace.steps:
        loss = lesson_loss()
        run.learn(loss)
        smooth = loss.item() if run.step == first + 1 else 0.98 * smooth + 0.02 * loss.item()
        if run.step % REPORT_STEPS == 0:
            seconds = (time.monotonic() - started) / (run.step - first)
            print(
                f"{state.stem}: step {run.step} of {run.pace.steps}, loss {smooth:.4f}, {seconds:.2f} s a step",
                flush=True,
            )
        if time.monotonic() - saved > SAVE_SECONDS:
            run.save(state)
            saved = time.monotonic()
    run.save(state)


def train_text(workshop: Workshop, pace: Pace) -> None:
    tokens, training = Tokens(), TextTraining()
    run = Run(training, pace, SEED)
    follow(
        run,
        workshop.state("text"),
        lambda: loss_and_accuracy(training, sample(run.rng, 160, tokens.idle_words), tokens)[0],
    )


def train_unet(workshop: Workshop, pace: Pace) -> None:
    painter = workshop.painter()
    _paint_along(models.base_unet(), painter, pace, workshop.state("unet"), diet_at)


def train_looks(workshop: Workshop, pace: Pace) -> None:
    for name, look in LOOKS.items():
        unet = workshop.unet("unet").train().requires_grad_(True)
        _paint_along(unet, workshop.painter(look), pace, workshop.state(f"look-{name}"), lambda progress: LAST)


def _paint_along(
    unet: UNet2DConditionModel, painter: Painter, pace: Pace, state: Path, diet: Callable[[float], Diet]
) -> None:
    run = Run(_teachable(unet), pace, SEED)
    follow(run, state, lambda: velocity_loss(unet, painter.batch(diet(run.progress), run.rng)))


def _teachable(unet: UNet2DConditionModel) -> UNet2DConditionModel:
    """With attention written out: on CPUs the fused kernel's backward pass takes a fifth of the whole step."""
    unet.set_attn_processor(AttnProcessor())
    return unet


def train_refiner(workshop: Workshop, pace: Pace) -> None:
    painter, base = workshop.painter(), workshop.unet("unet")
    unet = _teachable(models.refiner_from(base).train().requires_grad_(True))
    run = Run(unet, pace, SEED)

    def loss() -> Tensor:
        batch = refiner_view(painter.batch(LAST, run.rng), run.rng)
        return velocity_loss(unet, batch, late_timesteps)

    follow(run, workshop.state("refiner"), loss)


def train_outlines(workshop: Workshop, pace: Pace) -> None:
    vae = wired_autoencoder()
    run = Run(vae, pace, SEED)
    follow(run, workshop.state("outlines"), lambda: coarse_loss(vae, coarse_lesson(run.rng)))


def train_vae(workshop: Workshop, pace: Pace) -> None:
    vae = wired_autoencoder()
    workshop.averaged("outlines", vae)
    vae.decoder.train().requires_grad_(True).mid_block.attentions.requires_grad_(False)
    run = Run(vae.to(memory_format=torch.channels_last), pace, SEED)
    follow(run, workshop.state("vae"), lambda: painting_loss(vae, lesson(run.rng)))


STAGES: dict[str, Callable[[Workshop, Pace], None]] = {
    "text": train_text,
    "unet": train_unet,
    "outlines": train_outlines,
    "vae": train_vae,
    "refiner": train_refiner,
    "looks": train_looks,
}


def judge(workshop: Workshop) -> None:
    """Save a sheet of the standing prompts and print how many questions of an examination are painted right."""
    text = workshop.text()
    studio = Studio(Tokens(), (text.encoder, text.encoder_2), workshop.unet("unet"), workshop.vae())
    for width, height in JUDGED_SIZES:
        sheet(studio, (width, height), SEED).save(workshop.folder / f"sheet-{width}x{height}.png")
        score = examine(studio, (width, height), QUESTIONS, SEED)
        print(f"{width}x{height}, of {QUESTIONS}: " + ", ".join(f"{name} {score[name]}" for name in (*ASPECTS, "all")))


def export_family(workshop: Workshop, folder: Path) -> None:
    text = workshop.text()
    names = {"base": "unet", "refiner": "refiner"} | {name: f"look-{name}" for name in LOOKS}
    unets = {name: workshop.unet(stage) for name, stage in names.items() if workshop.state(stage).exists()}
    export(Family(text.encoder, text.encoder_2, workshop.vae(), unets), folder)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m gesso.mini.train", description="Train the embedded family.")
    parser.add_argument("stage", choices=[*STAGES, "judge", "export"])
    parser.add_argument("--folder", type=Path, required=True, help="where the states of the stages are kept")
    parser.add_argument("--steps", type=int, help="train to this many steps instead of the stage's own")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--weights", type=Path, default=Path(__file__).parent / "weights", help="export writes here")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    workshop = Workshop(asked.folder)
    asked.folder.mkdir(parents=True, exist_ok=True)
    if asked.stage == "export":
        export_family(workshop, asked.weights)
    elif asked.stage == "judge":
        judge(workshop)
    else:
        pace = PACES[asked.stage]
        STAGES[asked.stage](workshop, replace(pace, steps=asked.steps or pace.steps))


if __name__ == "__main__":
    main()
