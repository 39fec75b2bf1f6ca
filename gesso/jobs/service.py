"""What happens to a request: price -> reserve -> enqueue -> await -> store -> capture or release."""

from dataclasses import dataclass

from gesso.accounts.keys import Caller
from gesso.jobs.order import Order
from gesso.jobs.ports import Engine
from gesso.jobs.queue import Queue
from gesso.storage.database import Database
from gesso.storage.objects import PictureFolder


@dataclass(frozen=True, slots=True)
class Picture:
    """One delivered picture: `png` is what is stored under `token`, byte for byte."""

    token: str
    seed: int
    width: int
    height: int
    png: bytes


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a request got and what it cost. `pictures` in seed order; times in seconds."""

    request_id: str
    pictures: tuple[Picture, ...]
    cost_micro: int
    remaining_micro: int
    infer_seconds: float
    queue_seconds: float


class Service:
    """Jobs of this server, each in the database from before its work until after its end."""

    def __init__(self, database: Database, pictures: PictureFolder, engine: Engine, queue: Queue) -> None:
        raise NotImplementedError

    async def start(self) -> None:
        """Fail and release what a server that is gone left behind; keep this one's jobs known as alive."""
        raise NotImplementedError

    async def stop(self) -> None:
        """Cancel what still runs, release it, and return when that is written."""
        raise NotImplementedError

    async def paint(self, caller: Caller, order: Order, deadline: float) -> Delivery:
        """Paint, store and charge. `deadline` is a time of the event loop's clock. Cancelling this call cancels the job, which is not charged.

        Raises:
            QueueFull, InsufficientCredits: at once.
            DeadlineExceeded: the deadline passed; the work was stopped.
            BadRequest, ServiceUnavailable, PaintingFailed: as the engine says.
        """
        raise NotImplementedError
