"""What a prompt means over a run: which weighted text holds until which step, and its chunks."""

from dataclasses import dataclass

from gesso.prompt.chunks import Chunk


@dataclass(frozen=True, slots=True)
class Stretch:
    """Steps of a run with one meaning: those after the stretch before, up to and with `until_step`, from 1."""

    until_step: int
    parts: tuple[tuple[str, float], ...]
    chunks: tuple[Chunk, ...]


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt as written, and its schedule: at least one stretch, the last until the last step."""

    text: str
    schedule: tuple[Stretch, ...]


def understand(text: str, steps: int, *, parameter: str = "prompt", limit: int = 20_000) -> Prompt:
    """Read a prompt for a run of `steps` steps.

    Raises BadRequest, naming `parameter`, beyond `limit` characters or at a weight that is not finite.
    """
    raise NotImplementedError


def describe(prompt: Prompt) -> dict[str, object]:
    """The prompt for a listing: its schedule of weighted parts, the most tokens and chunks that a step of it has."""
    raise NotImplementedError
