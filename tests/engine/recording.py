"""A loop in the test's own process that keeps what it says, and its final latents."""

from pathlib import Path

from torch import Tensor

from gesso.engine.flight import InFlight
from gesso.engine.loop import Loop
from gesso.engine.messages import CheckpointFiles, Event, Failed, Paint, Painted, Pixels
from gesso.engine.models import Models
from gesso.prompt.understanding import understand


class RecordingLoop(Loop):
    """`paint` runs requests to their end; `latents` by request."""

    def __init__(self, models: Models) -> None:
        self.events: list[Event] = []
        self.latents: dict[str, Tensor] = {}
        super().__init__(models, self.events.append)

    def _pixels(self, image: InFlight) -> Pixels:
        self.latents[image.request.id] = image.latent.clone()
        return super()._pixels(image)

    def paint(self, *requests: Paint) -> None:
        """Until all of them are over."""
        for request in requests:
            self.submit(request)
        while not self.idle:
            self.turn()

    def failures(self) -> list[Failed]:
        """What went wrong, in order."""
        return [event for event in self.events if isinstance(event, Failed)]

    def pictures(self) -> dict[tuple[str, int], Pixels]:
        """By request and image."""
        return {(event.id, event.image): event.pixels for event in self.events if isinstance(event, Painted)}


def small_request(folder: Path, number: int = 0, prompt: str = "a red boat", steps: int = 4) -> Paint:
    """A request for one image of 64x64 pixels, with a seed and id of its own."""
    return Paint(
        id=str(number),
        checkpoint=CheckpointFiles("base", str(folder / "base.safetensors")),
        prompt=understand(prompt, steps).schedule,
        negative_prompt=understand("", steps).schedule,
        scheduler="UniPC",
        steps=steps,
        guidance_scale=5.0,
        width=64,
        height=64,
        seeds=(number,),
    )
