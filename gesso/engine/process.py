"""An engine's process and the socket to it: started, told, heard, ended. Knows nothing of what is said."""

import asyncio
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from multiprocessing.connection import Connection

import structlog

from gesso.engine.messages import Command, Event, Heartbeat, Refusal

WORKER = "gesso.engine.worker"

# Threads that spin at OpenMP's barriers wait for whoever else computes on their core: beside one busy process a picture
# took 57 s instead of 2 on two cores. Threads that sleep there cost next to nothing. And as many threads as were asked
# for, always: how a sum is split between threads shows in its last bits.
ENVIRONMENT = {"OMP_WAIT_POLICY": "passive", "OMP_DYNAMIC": "false", "MKL_DYNAMIC": "false"}

log = structlog.get_logger()


class EngineProcess:
    """Runs from its making until it dies or is killed. In the running event loop, `hear` gets each message, and `mourn`
    at last its exit status, when it is really gone: until then it may hold memory that the next one needs.

    Raises OSError where it cannot be started.
    """

    def __init__(
        self, options: Sequence[str], hear: Callable[[Event | Heartbeat | Refusal], None], mourn: Callable[[int], None]
    ) -> None:
        self._hear = hear
        self._mourn = mourn
        self._event_loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        with ours, theirs:
            command = [sys.executable, "-m", WORKER, "--socket", str(theirs.fileno()), *options]
            self._process = subprocess.Popen(
                command,
                pass_fds=[theirs.fileno()],
                env=ENVIRONMENT | os.environ,
                start_new_session=True,  # so that Ctrl-C reaches the server alone
            )
            self._connection = Connection(ours.detach())
        self._sender = ThreadPoolExecutor(1, "engine-sender")  # a full socket must not stop the server's event loop
        threading.Thread(target=self._listen, daemon=True, name="engine-listener").start()

    @property
    def pid(self) -> int:
        """As the operating system numbers it."""
        return self._process.pid

    def tell(self, command: Command) -> None:
        """Give a command; without effect on a process that is gone."""
        with suppress(RuntimeError):  # it has just been buried
            self._sender.submit(self._tell_now, command)

    def kill(self) -> None:
        """End it at once, whatever it is doing."""
        self._process.kill()

    async def gone(self) -> None:
        """Returns when it is."""
        await asyncio.to_thread(self._process.wait)

    def _tell_now(self, command: Command) -> None:
        try:
            self._connection.send(command)
        except OSError:
            log.info("the engine is gone; the command will be given to the next", command=type(command).__name__)

    def _listen(self) -> None:
        """Pass on what the process says, in a thread of its own, until it says no more."""
        with suppress(RuntimeError):  # the event loop is closed: the server is gone
            try:
                while True:
                    self._event_loop.call_soon_threadsafe(self._hear, self._connection.recv())
            except (EOFError, OSError):
                self._event_loop.call_soon_threadsafe(self._mourn, self._bury())

    def _bury(self) -> int:
        self._process.kill()
        self._sender.shutdown(cancel_futures=True)
        self._connection.close()
        return self._process.wait()
