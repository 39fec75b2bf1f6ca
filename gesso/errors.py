"""Everything that can go wrong and that Gesso has a sentence for.

    GessoError
    ├── BadRequest            the request cannot be understood or is out of range; carries every problem found
    ├── Unauthorized          no key, or one that does not count
    ├── Forbidden             the key is good, but not for this
    ├── NotFound              no such endpoint, or not yours
    ├── InsufficientCredits   the account cannot pay for it
    ├── Conflict              it contradicts what is already there
    ├── TooLarge              more bytes than the server takes
    ├── QueueFull             too much is waiting already
    ├── RateLimited           more requests than a key or an account may send
    ├── ServiceUnavailable    the engine, a checkpoint, the database or a disk cannot be used, or the server is stopping
    ├── PaintingFailed        the engine tried and could not finish this image
    ├── Cancelled             the caller took it back
    ├── DeadlineExceeded      it took longer than the server allows
    └── SettingsError         the server was started with a setting that cannot be right

What an error means on the wire (status, body) is known to `gesso.api.problems` alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass


class GessoError(Exception):
    """One sentence for whoever asked. Never carries a secret or a stack trace."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with one parameter: its name, the value as sent, and what would have been right."""

    parameter: str
    value: object
    problem: str


class BadRequest(GessoError):
    """The request cannot be understood or is out of range."""

    def __init__(self, sentence: str, problems: Sequence[Problem] = ()) -> None:
        super().__init__(sentence)
        self.problems = tuple(problems)

    @classmethod
    def of(cls, problems: Sequence[Problem]) -> "BadRequest":
        """All problems of a request in one error."""
        return cls("; ".join(f"{p.parameter}: {p.problem}" for p in problems), problems)


class Unauthorized(GessoError):
    """No key, or one that does not count."""


class Forbidden(GessoError):
    """The key is good, but not for this."""


class NotFound(GessoError):
    """No such endpoint, or an id that is not the caller's."""


class InsufficientCredits(GessoError):
    """The account cannot pay for the request."""


class Conflict(GessoError):
    """The request contradicts what is already there."""


class TooLarge(GessoError):
    """More bytes than the server takes."""


class QueueFull(GessoError):
    """Too much is waiting already; worth another try after `retry_after` seconds."""

    def __init__(self, sentence: str, retry_after: int) -> None:
        super().__init__(sentence)
        self.retry_after = retry_after


class RateLimited(GessoError):
    """More requests than a key or an account may send; the next is taken after `retry_after` seconds."""

    def __init__(self, sentence: str, retry_after: int) -> None:
        super().__init__(sentence)
        self.retry_after = retry_after


class ServiceUnavailable(GessoError):
    """Something that is needed cannot be used; `retry_after` seconds where waiting helps."""

    def __init__(self, sentence: str, retry_after: int | None = None) -> None:
        super().__init__(sentence)
        self.retry_after = retry_after


class PaintingFailed(GessoError):
    """The engine tried and could not finish this image; the sentence names the cause."""


class Cancelled(GessoError):
    """The caller took the request back, or went away."""


class DeadlineExceeded(GessoError):
    """The request outlived the time that the server allows."""


class SettingsError(GessoError):
    """A setting that cannot be right: its name, its value, and what would be."""
