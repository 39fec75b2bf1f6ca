"""A Redis of the tests' own, on a free port, that keeps nothing on the disk."""

import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Self

import pytest
from redis import Redis
from redis.exceptions import RedisError

PATIENCE = 20


class RedisServer:
    """Runs from `with` to its end, but for what a test does to it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = _free_port()
        self.url = f"redis://127.0.0.1:{self._port}/0"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Returns when it answers; it has forgotten everything."""
        program = shutil.which("redis-server")
        if program is None:
            pytest.skip("redis-server is not installed")
        where = ["--bind", "127.0.0.1", "--port", str(self._port), "--dir", str(self._folder)]
        command = [program, *where, "--save", "", "--appendonly", "no"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        give_up = time.monotonic() + PATIENCE
        while not self._answers():
            assert self._process.poll() is None, "redis-server ended"
            assert time.monotonic() < give_up, "redis-server does not answer"
            time.sleep(0.02)

    def stop(self) -> None:
        """Returns when it is gone."""
        self._process.send_signal(signal.SIGCONT)
        self._process.terminate()
        self._process.wait(PATIENCE)

    def freeze(self) -> None:
        """Let it go on taking connections, and answer nothing until it is stopped or thawed."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it answer again."""
        self._process.send_signal(signal.SIGCONT)

    def forget(self) -> None:
        """Empty it."""
        with Redis.from_url(self.url) as client:
            client.flushall()

    def _answers(self) -> bool:
        try:
            with Redis.from_url(self.url) as client:
                return bool(client.ping())
        except RedisError:
            return False


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
