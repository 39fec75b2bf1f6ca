"""A server of one's own, as its users start it."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

KEY = "SG_0123456789abcdefghijklmnopqrstuv"


@contextmanager
def serving(folder: str, **settings: object) -> Iterator[str]:
    """The address of a server with that data folder and these settings, whose owner has KEY."""
    own = {f"GESSO_{name.upper()}": str(value) for name, value in settings.items()}
    environment = {**os.environ, "GESSO_DATA_DIR": folder, "GESSO_BOOTSTRAP_KEY": KEY, **own}
    command = [sys.executable, "-m", "gesso", "serve", "--port", "0"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            found = re.search(r"http://\S+", server.stdout.readline())
            assert found
            yield found[0]
        finally:
            server.terminate()
