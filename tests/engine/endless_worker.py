"""An engine's process that, once, never comes back from the first step of an image.

Once: as long as there is the file that `ENDLESS` in the environment names, which it removes first.
"""

import os
from pathlib import Path

from gesso.engine import worker
from gesso.engine.messages import Event, Heartbeat, Progress


class EndlessLine(worker.Line):
    """Its loop's events are sent as they should be, but for the first of an evaluation that is done."""

    def send(self, message: Event | Heartbeat) -> None:
        if isinstance(message, Progress) and message.done:
            trap = Path(os.environ["ENDLESS"])
            if trap.exists():
                trap.unlink()
                while True:
                    pass
        super().send(message)


if __name__ == "__main__":
    worker.Line = EndlessLine  # type: ignore[misc]
    worker.main()
