"""A whole server on a free port, in a thread of its own: real HTTP, a real database, an engine that paints at once."""

import asyncio
import base64
import io
import json
import socket
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar

import httpx2
import uvicorn
from PIL import Image
from sqlalchemy import Connection, Select

from gesso.accounts import ledger
from gesso.accounts.accounts import ALL, Accounts, Allowance
from gesso.accounts.credit import MICRO_PER_CREDIT
from gesso.accounts.keys import ANYTHING, Keys, Scope
from gesso.accounts.rate_limits import open_rates
from gesso.api.application import create_api
from gesso.api.metrics import Metrics
from gesso.api.parts import Parts
from gesso.catalogue.catalogue import load_catalogue
from gesso.catalogue.live import LiveCatalogue
from gesso.engine.fake import FakeEngine
from gesso.imaging.address import Guard
from gesso.imaging.decode import Decoder
from gesso.imaging.fetch import Fetcher
from gesso.jobs.ports import Engine
from gesso.jobs.queue import Queue
from gesso.jobs.resuming import order_again
from gesso.jobs.service import Service
from gesso.settings import Settings
from gesso.storage.database import Database, open_database
from gesso.storage.objects import PictureFolder
from gesso.storage.presence import Presence

T = TypeVar("T")

DOCUMENTED = {path.stem: path.read_text() for path in sorted((Path(__file__).parent / "documented").glob("*.json"))}
"""Slug -> the request body that the documented service prints as its example, character by character."""

TXT2IMG = "sdxl1.0-txt2img"
TEXT_SLUGS = [slug for slug in DOCUMENTED if slug != "sdxl-img2img"]
SMALL = {"prompt": "a red house", "seed": 7, "img_width": 512, "img_height": 512}


def documented(slug: str) -> dict[str, Any]:
    """The documented example, as an object."""
    body: dict[str, Any] = json.loads(DOCUMENTED[slug])
    return body


def picture_file(width: int, height: int, colour: str = "red", form: str = "PNG") -> bytes:
    """An image file of one colour."""
    target = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(target, form)
    return target.getvalue()


def data_uri(width: int, height: int, colour: str = "red") -> str:
    """The same as a client may send it."""
    return f"data:image/png;base64,{base64.b64encode(picture_file(width, height, colour)).decode()}"


class House:
    """Serves from `with` to its end. `settings` as in `gesso.settings`; its owner's key is `key`."""

    def __init__(self, folder: Path, engine: Engine | None = None, **settings: Any) -> None:
        self.settings = Settings(data_dir=folder, **settings)
        self.engine = engine or FakeEngine()
        self.url = ""
        self.key = ""
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(20), "the server did not start"
        self.client = httpx2.Client(base_url=self.url, headers={"x-api-key": self.key}, timeout=20)
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self._server.should_exit = True
        self._thread.join(20)

    def paint(self, slug: str = TXT2IMG, body: object = None, **headers: str) -> httpx2.Response:
        """POST a body, a small one by default, as JSON."""
        return self.client.post(f"/v1/{slug}", json=SMALL if body is None else body, headers=headers)

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of `work`, done in the server's own loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    def new_key(self, account: str, credits: float = 1000, scope: Scope = ANYTHING, allowance: Allowance = ALL) -> str:
        """The key of a new account with so many credits."""
        self.do(self.accounts.create(account, round(credits * MICRO_PER_CREDIT), allowance=allowance))
        return self.do(self.keys.create(account, scope))

    def balance(self, account: str) -> float:
        """Credits left."""
        return self.do(self._balance(account)) / MICRO_PER_CREDIT

    def give(self, account: str, credits: float) -> None:
        """So many more."""
        found = self.do(self.accounts.find(account))
        work = partial(ledger.grant, account_id=found.id, micro=round(credits * MICRO_PER_CREDIT))
        self.write(work)

    def read(self, work: Callable[[Connection], T]) -> T:
        """What `work` makes of the database."""
        return self.do(self._database.read(work))

    def write(self, work: Callable[[Connection], object]) -> None:
        """Do this to the database."""
        self.do(self._database.write(work))

    def ask(self, query: Select[tuple[T]]) -> T:
        """The one value that the database has for this."""
        return self.read(lambda connection: connection.execute(query).scalar_one())

    async def _balance(self, account: str) -> int:
        found = await self.accounts.find(account)
        return await self._database.read(lambda connection: ledger.balance(connection, found.id))

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        async with self._parts() as parts:
            with socket.create_server(("127.0.0.1", 0)) as listener:
                # Connections inherit it; asyncio sets it itself only on sockets whose protocol is written out.
                listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
                self._server = uvicorn.Server(
                    uvicorn.Config(create_api(parts), log_config=None, access_log=False, lifespan="off", ws="none")
                )
                self._loop.call_soon(self._ready.set)
                await self._server.serve(sockets=[listener])

    @asynccontextmanager
    async def _parts(self) -> AsyncIterator[Parts]:
        async with AsyncExitStack() as stack:
            await self.engine.start()
            stack.push_async_callback(self.engine.stop)
            self._database: Database = await open_database(self.settings.database)
            stack.push_async_callback(self._database.close)
            self.accounts, self.keys = Accounts(self._database), Keys(self._database)
            self.key = await self.keys.bootstrap() or ""
            rates = open_rates(self.settings.rate, self.settings.redis_url)
            stack.push_async_callback(rates.close)
            decoder = Decoder()
            stack.push_async_callback(decoder.stop)
            self.pictures = PictureFolder(self.settings.pictures_dir)
            queue = Queue(self.settings.queue_per_account, self.settings.queue_total)
            presence = Presence(self.settings.data_dir / "servers")
            metrics = Metrics(lambda: self.engine.state, queue)
            live = LiveCatalogue(load_catalogue, self.settings.models / "registry.json")
            again = partial(order_again, live, self.settings.models)
            service = Service(self._database, self.pictures, self.engine, queue, presence, again, metrics.delivered)
            await service.start()
            stack.push_async_callback(service.stop)
            fetcher = Fetcher(Guard.opening(self.settings.fetch_allow))
            yield Parts(
                settings=self.settings,
                live=live,
                keys=self.keys,
                rates=rates,
                service=service,
                pictures=self.pictures,
                decoder=decoder,
                fetcher=fetcher,
                metrics=metrics,
                engine_state=lambda: self.engine.state,
            )
