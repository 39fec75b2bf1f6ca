"""The engine's process: commands in, events out, the loop between them.

Started by `gesso.engine.local` as `python -m gesso.engine.worker`, with the number of an inherited socket and its
options. It ends when the socket does, so it never outlives its server.
"""

import argparse
import os
import queue
import signal
import threading
from multiprocessing.connection import Connection

import torch

from gesso.engine.loop import PATIENCE, Loop
from gesso.engine.memory import choose_budget
from gesso.engine.messages import BEAT, Cancel, Command, Event, Heartbeat, Refusal
from gesso.engine.models import Models, choose_device, choose_precision
from gesso.errors import SettingsError
from gesso.logs import log_to_standard_error


class Line:
    """The worker's end of the socket, shared by the loop and the heart."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self.commands: queue.SimpleQueue[Command] = queue.SimpleQueue()

    def send(self, message: Event | Heartbeat | Refusal) -> None:
        """Tell the server; when there is no server any more, there is nothing to live for."""
        try:
            with self._lock:
                self._connection.send(message)
        except OSError:
            os._exit(0)

    def listen(self) -> None:
        """Queue commands as they come, in a thread of its own."""
        while True:
            try:
                self.commands.put(self._connection.recv())
            except (EOFError, OSError):
                os._exit(0)


def main() -> None:
    """Read the options, build the loop, run it until the server goes away."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--socket", type=int, required=True)
    parser.add_argument("--device", required=True)
    parser.add_argument("--precision", required=True)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--gpu-memory", type=int)
    parser.add_argument("--host-memory", type=int)
    parser.add_argument("--patience", type=float, default=PATIENCE)
    options = parser.parse_args()
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    log_to_standard_error()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the server, which ends this process in its own time
    line = Line(Connection(options.socket))
    threading.Thread(target=line.listen, daemon=True).start()
    try:
        device = choose_device(options.device)
        budget = choose_budget(device, options.gpu_memory, options.host_memory)
        precision = choose_precision(options.precision, device)
    except SettingsError as error:
        line.send(Refusal(error.sentence))
        return
    run(line, Loop(Models(device, precision, budget), line.send, options.patience), device)


def run(line: Line, loop: Loop, device: torch.device) -> None:
    """The loop, for ever."""
    threading.Thread(target=_beat, args=(line, loop, str(device)), daemon=True).start()
    while True:
        _take_commands(line, loop)
        loop.turn()


def _take_commands(line: Line, loop: Loop) -> None:
    """Everything that has arrived; waits for something when there is nothing to do."""
    wait = loop.idle
    while wait or not line.commands.empty():
        command = line.commands.get()
        wait = False
        if isinstance(command, Cancel):
            loop.cancel(command.id)
        else:
            loop.submit(command)


def _beat(line: Line, loop: Loop, device: str) -> None:
    pause = threading.Event()
    while True:
        work = (loop.ticks, loop.rows, loop.images, loop.waiting, loop.batches, loop.loads, loop.loading, loop.memory)
        line.send(Heartbeat(*work, loop.stage, loop.stages, device))
        pause.wait(BEAT)


if __name__ == "__main__":
    main()
