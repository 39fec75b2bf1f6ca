"""Whether an engine's process still works, by what was heard of it. Knows no process and no clock.

Two things are wrong with an engine: it is silent, or it says again and again that it is at the same piece of work. Both
are counted in beats and not by a clock, because a pause of this side (a stopped server, a laptop that slept) makes
clocks run on while nobody listens: however long it was, it counts as one beat, and what was said meanwhile is heard
before the next.
"""

from gesso.engine.messages import BEAT, Event, Heartbeat

START = 120.0
"""Seconds until the first word: importing torch from a cold disk, on a busy machine, takes a while."""

SILENCE = 10.0
"""Seconds without a word after which an engine counts as hanging."""

STUCK = 120.0
"""Seconds at one piece of work, as one UNet call, after which an engine counts as hanging: on a GPU they take one."""

SLOWNESS = 10
"""How many times longer a piece of work may take where that is no sign of harm: on a CPU a call for many large images
takes minutes, and from a slow disk a checkpoint does."""


class Pulse:
    """Of one process, from its start. Lengths of time in seconds."""

    def __init__(self, silence: float = SILENCE, stuck: float = STUCK) -> None:
        self._silence = silence
        self._stuck = stuck
        self._silent_for = 0.0
        self._same_for = 0.0
        self._last: Heartbeat | None = None

    @property
    def has_begun(self) -> bool:
        """Whether there was ever a heartbeat: before it, the process is starting."""
        return self._last is not None

    def hear(self, message: Event | Heartbeat) -> None:
        """The process said this."""
        self._silent_for = 0.0
        if isinstance(message, Heartbeat):
            same = self._last is not None and message.stages == self._last.stages and _works(message)
            self._same_for = self._same_for + BEAT if same else 0.0
            self._last = message

    def miss(self) -> None:
        """This side was awake for the length of a beat."""
        self._silent_for += BEAT

    @property
    def complaint(self) -> str | None:
        """What is wrong with the engine, if something is."""
        silence = self._silence if self.has_begun else START
        if self._silent_for > silence:
            return f"not a word for {silence:g} s"
        if self._last is not None and self._same_for > _patience(self._stuck, self._last):
            return f"at the same piece of work ({self._last.stage}) for {self._same_for:g} s"
        return None


def _works(beat: Heartbeat) -> bool:
    return beat.images > 0 or beat.stage != "idle"


def _patience(stuck: float, beat: Heartbeat) -> float:
    slow = beat.device == "cpu" or beat.stage == "preparing"
    return stuck * SLOWNESS if slow else stuck
