"""The engine in a process of its own beside the server: starts it, speaks to it, and starts it again when it dies."""

import asyncio
import os
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection

import structlog

from gesso.engine.messages import (
    Cancel,
    Command,
    EngineState,
    Event,
    Failed,
    Finished,
    Heartbeat,
    Paint,
    Painted,
)
from gesso.errors import BadRequest, GessoError, PaintingFailed, ServiceUnavailable

ATTEMPTS = 2
"""How often a request is tried when the engine dies under it."""

STARTS = 3
"""After so many engines in a row that died before they were ready, requests are refused until one lives."""

STOPPING = "the server is stopping"
HOPELESS = "the engine does not start; the server's log says why"

LONGEST_PAUSE = 30.0
"""Seconds before a new start when one engine after another dies."""

# Threads that spin at OpenMP's barriers wait for whoever else computes on their core: beside one busy process a picture
# took 57 s instead of 2 on two cores. Threads that sleep there cost next to nothing. And as many threads as were asked
# for, always: how a sum is split between threads shows in its last bits.
ENVIRONMENT = {"OMP_WAIT_POLICY": "passive", "OMP_DYNAMIC": "false", "MKL_DYNAMIC": "false"}

log = structlog.get_logger()


@dataclass(slots=True, eq=False)
class _Running:
    request: Paint
    events: asyncio.Queue[Event] = field(default_factory=asyncio.Queue)
    attempts: int = 0
    painted: set[int] = field(default_factory=set)

    def fail(self, sentence: str) -> None:
        self.events.put_nowait(Failed(self.request.id, "unavailable", sentence))


class LocalEngine:
    """One engine process and the requests that it works on."""

    def __init__(self, device: str = "auto", precision: str = "auto", threads: int | None = None) -> None:
        self._options = ["--device", device, "--precision", precision]
        if threads is not None:
            self._options += ["--threads", str(threads)]
        self._running: dict[str, _Running] = {}
        self._state = EngineState("starting")
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._sender = ThreadPoolExecutor(1, "engine-sender")  # a full socket must not stop the server's event loop
        self._deaths = 0
        self._stopping = False
        self._restart: asyncio.Task[None] | None = None

    @property
    def state(self) -> EngineState:
        """As of the last heartbeat."""
        return self._state

    async def start(self) -> None:
        """Start the process; requests given before it is ready wait for it."""
        ours, theirs = socket.socketpair()
        with ours, theirs:
            command = [sys.executable, "-m", "gesso.engine.worker", "--socket", str(theirs.fileno()), *self._options]
            self._process = subprocess.Popen(
                command,
                pass_fds=[theirs.fileno()],
                env=ENVIRONMENT | os.environ,
                start_new_session=True,  # so that Ctrl-C reaches the server alone
            )
            self._connection = Connection(ours.detach())
        self._state = replace(self._state, status="starting")
        listener = threading.Thread(
            target=self._listen,
            args=(self._connection, asyncio.get_running_loop()),
            daemon=True,
            name="engine-listener",
        )
        listener.start()

    async def stop(self) -> None:
        """End the process; requests still running fail."""
        self._stopping = True
        if self._restart is not None:
            self._restart.cancel()
        if self._process is not None:
            self._process.kill()
            await asyncio.to_thread(self._process.wait)
        self._state = EngineState("down", device=self._state.device)
        for running in self._running.values():
            running.fail(STOPPING)
        self._sender.shutdown(wait=False)

    async def paint(self, request: Paint) -> AsyncIterator[Event]:
        """See `gesso.jobs.ports.Engine`. After a death of the engine the request begins anew, once; images that were
        delivered are not delivered again."""
        self._refuse_if_hopeless()
        running = _Running(request)
        self._running[request.id] = running
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
        if self._deaths >= STARTS:
            raise ServiceUnavailable(HOPELESS, retry_after=int(LONGEST_PAUSE))

    def _send(self, command: Command) -> None:
        if not self._stopping and self._connection is not None:
            self._sender.submit(self._send_now, self._connection, command)

    def _send_now(self, connection: Connection, command: Command) -> None:
        try:
            connection.send(command)
        except OSError:
            log.info("the engine is gone; the command will be given to the next", command=type(command).__name__)

    def _listen(self, connection: Connection, event_loop: asyncio.AbstractEventLoop) -> None:
        """Pass on what the engine says, in a thread of its own, until it says no more."""
        try:
            while True:
                event_loop.call_soon_threadsafe(self._hear, connection.recv())
        except (EOFError, OSError):
            connection.close()
        except RuntimeError:  # the event loop is closed: the server is gone
            return
        if not event_loop.is_closed():
            event_loop.call_soon_threadsafe(self._mourn)

    def _hear(self, message: Event | Heartbeat) -> None:
        if isinstance(message, Heartbeat):
            self._deaths = 0
            self._state = _state_of(message)
            return
        running = self._running.get(message.id)
        if running is None or (isinstance(message, Painted) and message.image in running.painted):
            return
        if isinstance(message, Painted):
            running.painted.add(message.image)
        running.events.put_nowait(message)

    def _mourn(self) -> None:
        """The process is gone: start another, give it what can be tried again, and fail the rest."""
        if self._stopping:
            return
        self._connection = None
        was_ready = self._state.status == "ready"
        self._deaths += 1
        self._state = EngineState("down", device=self._state.device)
        for running in self._running.values():
            running.attempts += was_ready
            if running.attempts >= ATTEMPTS:
                running.fail(f"the engine died under this request {ATTEMPTS} times")
            elif self._deaths >= STARTS:
                running.fail(HOPELESS)
        self._restart = asyncio.get_running_loop().create_task(self._start_again())

    async def _start_again(self) -> None:
        await self._bury()
        while True:
            await asyncio.sleep(min(2.0 ** min(self._deaths - 1, 10) - 1, LONGEST_PAUSE))
            try:
                await self.start()
                break
            except OSError as error:
                self._deaths += 1
                log.error("the engine cannot be started", problem=error.strerror)
        for running in self._running.values():
            if running.attempts < ATTEMPTS:
                self._send(running.request)

    async def _bury(self) -> None:
        """Until the old process is really gone it may hold memory that the new one needs."""
        assert self._process is not None
        self._process.kill()
        status = await asyncio.to_thread(self._process.wait)
        log.error("the engine died", exit_status=status, requests=len(self._running), deaths=self._deaths)


def _state_of(beat: Heartbeat) -> EngineState:
    work = (beat.ticks, beat.rows, beat.images, beat.waiting, beat.batches)
    return EngineState("ready", *work, beat.device)


def _error(event: Failed) -> GessoError:
    match event.reason:
        case "unavailable":
            return ServiceUnavailable(event.sentence)
        case "refused":
            return BadRequest(event.sentence)
        case "failed":
            return PaintingFailed(event.sentence)
