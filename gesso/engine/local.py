"""The engine in a process of its own beside the server: its requests, and another process when one dies or hangs."""

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass, field, replace

import structlog

from gesso.engine.messages import (
    BEAT,
    Cancel,
    Command,
    EngineState,
    Event,
    Failed,
    Finished,
    Heartbeat,
    Paint,
    Painted,
    Refusal,
)
from gesso.engine.process import EngineProcess
from gesso.engine.pulse import SILENCE, STUCK, Pulse
from gesso.errors import BadRequest, GessoError, PaintingFailed, ServiceUnavailable

ATTEMPTS = 2
"""How often a request is tried when the engine dies under it."""

STARTS = 3
"""After so many engines in a row that died before they were ready, requests are refused until one lives."""

STOPPING = "the server is stopping"
HOPELESS = "the engine does not start; the server's log says why"

LONGEST_PAUSE = 30.0
"""Seconds before a new start when one engine after another dies."""

log = structlog.get_logger()


@dataclass(slots=True, eq=False)
class _Running:
    """A request, given at one time to this engine, and taken by the last process that is ready at another."""

    request: Paint
    given_at: float
    taken_at: float
    events: asyncio.Queue[Event] = field(default_factory=asyncio.Queue)
    attempts: int = 0
    painted: set[int] = field(default_factory=set)

    def fail(self, sentence: str) -> None:
        self.events.put_nowait(Failed(self.request.id, "unavailable", sentence))

    def timed(self, end: Finished) -> Finished:
        """With the time before a process took the request, which no process knows of."""
        queue = end.timings.queue + self.taken_at - self.given_at
        return replace(end, timings=replace(end.timings, queue=queue))


class LocalEngine:
    """One engine process and the requests that it works on. See `gesso.engine.pulse` for `silence` and `stuck`,
    `gesso.engine.memory` for what memory it takes (bytes), `gesso.engine.loop` for its `patience` with loading."""

    def __init__(
        self,
        device: str = "auto",
        precision: str = "auto",
        threads: int | None = None,
        *,
        gpu_memory: int | None = None,
        host_memory: int | None = None,
        patience: float | None = None,
        silence: float = SILENCE,
        stuck: float = STUCK,
    ) -> None:
        self._options = ["--device", device, "--precision", precision]
        optional = {
            "--threads": threads,
            "--gpu-memory": gpu_memory,
            "--host-memory": host_memory,
            "--patience": patience,
        }
        self._options += [text for name, value in optional.items() if value is not None for text in (name, str(value))]
        self._limits = (silence, stuck)
        self._running: dict[str, _Running] = {}
        self._state = EngineState("starting")
        self._process: EngineProcess | None = None
        self._pulse = Pulse(*self._limits)
        self._deaths = 0
        self._stopping = False
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def state(self) -> EngineState:
        """As of the last heartbeat."""
        return self._state

    async def start(self) -> None:
        """Start the process; requests given before it is ready wait for it."""
        self._start_process()

    async def stop(self) -> None:
        """End the process; requests still running fail."""
        self._stopping = True
        for task in self._tasks:
            task.cancel()
        if self._process is not None:
            self._process.kill()
            await self._process.gone()
        self._state = EngineState("down", device=self._state.device)
        for running in self._running.values():
            running.fail(STOPPING)

    async def paint(self, request: Paint) -> AsyncIterator[Event]:
        """See `gesso.jobs.ports.Engine`. After a death of the engine the request begins anew, once; images that were
        delivered are not delivered again."""
        self._refuse_if_hopeless()
        now = time.monotonic()
        running = self._running[request.id] = _Running(request, now, now)
        self._send(request)
        over = False
        try:
            while not over:
                event = await running.events.get()
                over = isinstance(event, Failed | Finished)
                if isinstance(event, Failed):
                    raise _error(event)
                yield event
        finally:
            del self._running[request.id]
            if not over:
                self._send(Cancel(request.id))

    def _refuse_if_hopeless(self) -> None:
        if self._stopping:
            raise ServiceUnavailable(STOPPING)
        if self._state.refusal is not None:
            raise ServiceUnavailable(self._state.refusal)
        if self._deaths >= STARTS:
            raise ServiceUnavailable(HOPELESS, retry_after=int(LONGEST_PAUSE))

    def _send(self, command: Command) -> None:
        if not self._stopping and self._process is not None:
            self._process.tell(command)

    def _start_process(self) -> None:
        self._pulse = Pulse(*self._limits)
        self._process = EngineProcess(self._options, self._hear, self._mourn)
        self._state = replace(self._state, status="starting")
        self._do(self._watch(self._process, self._pulse))

    def _hear(self, message: Event | Heartbeat | Refusal) -> None:
        if isinstance(message, Refusal):
            self._give_up(message.sentence)
            return
        if isinstance(message, Heartbeat):
            self._feel(message)
        elif (running := self._running.get(message.id)) is not None:
            self._pass_on(message, running)
        self._pulse.hear(message)

    def _give_up(self, sentence: str) -> None:
        """Another process would refuse as this one did."""
        log.error("the engine refuses its settings", why=sentence)
        self._state = EngineState("down", refusal=sentence)
        for running in self._running.values():
            running.fail(sentence)

    def _feel(self, beat: Heartbeat) -> None:
        if not self._pulse.has_begun:
            for running in self._running.values():
                running.taken_at = time.monotonic()
        self._deaths = 0
        self._state = _state_of(beat)

    def _pass_on(self, event: Event, running: _Running) -> None:
        if isinstance(event, Painted):
            if event.image in running.painted:
                return
            running.painted.add(event.image)
        running.events.put_nowait(running.timed(event) if isinstance(event, Finished) else event)

    async def _watch(self, process: EngineProcess, pulse: Pulse) -> None:
        """Kill a process that hangs; that it is gone is then heard as of any other."""
        while self._process is process:
            await asyncio.sleep(BEAT)
            pulse.miss()
            if (complaint := pulse.complaint) is not None:
                log.error("the engine hangs and is killed", sign=complaint)
                self._state = EngineState("down", device=self._state.device)
                process.kill()
                return

    def _mourn(self, exit_status: int) -> None:
        """The process is gone: start another, give it what can be tried again, and fail the rest."""
        if self._stopping:
            return
        self._process = None
        if self._state.refusal is not None:
            return
        self._deaths += 1
        log.error("the engine died", exit_status=exit_status, requests=len(self._running), deaths=self._deaths)
        self._state = EngineState("down", device=self._state.device)
        for running in self._running.values():
            running.attempts += self._pulse.has_begun
            if running.attempts >= ATTEMPTS:
                running.fail(f"the engine died under this request {ATTEMPTS} times")
            elif self._deaths >= STARTS:
                running.fail(HOPELESS)
        self._do(self._start_again())

    async def _start_again(self) -> None:
        while self._process is None:
            await asyncio.sleep(min(2.0 ** min(self._deaths - 1, 10) - 1, LONGEST_PAUSE))
            try:
                self._start_process()
            except OSError as error:
                self._deaths += 1
                log.error("the engine cannot be started", problem=error.strerror)
        for running in self._running.values():
            if running.attempts < ATTEMPTS:
                self._send(running.request)

    def _do(self, work: Coroutine[None, None, None]) -> None:
        """Beside everything else, until it is done or the engine is stopped."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _state_of(beat: Heartbeat) -> EngineState:
    work = (beat.ticks, beat.rows, beat.images, beat.waiting, beat.batches, beat.loads, beat.loading, beat.memory)
    return EngineState("ready", *work, beat.device)


def _error(event: Failed) -> GessoError:
    match event.reason:
        case "unavailable":
            return ServiceUnavailable(event.sentence, event.retry_after)
        case "refused":
            return BadRequest(event.sentence)
        case "failed":
            return PaintingFailed(event.sentence)
