"""Who waits for a job: it goes on as long as somebody does."""

import asyncio
from dataclasses import dataclass

from gesso.errors import Cancelled
from gesso.jobs.delivery import Delivery


@dataclass(slots=True)
class Audience:
    """Of one job, which runs in a task of its own."""

    job: asyncio.Task[Delivery]
    _listeners: int = 0

    async def listen(self) -> Delivery:
        """What the job delivers, or raises. When the last one who waits is cancelled, so is the job.

        Raises Cancelled where it was cancelled, but not by whoever waits here.
        """
        self._listeners += 1
        try:
            return await asyncio.shield(self.job)
        except asyncio.CancelledError:
            if self.job.cancelled() and not _is_being_cancelled():
                raise Cancelled("The job was taken back.") from None
            if self._listeners == 1:
                self.stop()
                await asyncio.wait([self.job])
            raise
        finally:
            self._listeners -= 1

    def stop(self) -> None:
        """Cancel the job; a second cancellation would disturb what the first one has set going."""
        if not self.job.cancelling():
            self.job.cancel()


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
