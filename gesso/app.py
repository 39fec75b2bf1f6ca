"""Where the parts meet: builds each from the settings, in order, and takes them down again.

Knows everyone; nobody below knows it.
"""

import asyncio
import contextlib
import os
import secrets
import signal
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import structlog
import uvicorn

from gesso.accounts.keys import Keys
from gesso.accounts.rate_limits import open_rates
from gesso.api.application import create_api
from gesso.api.metrics import Metrics
from gesso.api.parts import Parts
from gesso.catalogue import registry as registries
from gesso.catalogue.catalogue import Catalogue, load_catalogue
from gesso.catalogue.forms import RegistryForm
from gesso.catalogue.live import LiveCatalogue
from gesso.catalogue.registry import registry_in
from gesso.catalogue.validation import read_request
from gesso.engine.messages import Admitted, Paint, Painted, Pixels, Preview, Progress
from gesso.engine.pulse import START
from gesso.engine.running import running_engine, wait_until_ready
from gesso.errors import BadRequest, GessoError, Problem, SettingsError
from gesso.imaging.address import Guard
from gesso.imaging.decode import Decoder
from gesso.imaging.fetch import Fetcher
from gesso.imaging.png import encode_png
from gesso.jobs.infotext import infotext
from gesso.jobs.order import resolve
from gesso.jobs.ports import Engine
from gesso.jobs.queue import Queue
from gesso.jobs.resuming import order_again
from gesso.jobs.service import Retention, Service
from gesso.jobs.warm_up import warm_up
from gesso.settings import Settings
from gesso.storage.database import Database, open_database
from gesso.storage.objects import PictureFolder
from gesso.storage.presence import Presence

log = structlog.get_logger()

GRACE = 30
"""Seconds that running requests have to finish after the server was told to stop."""
ANSWERING = 15
"""Seconds, after that, to tell those who still wait."""


def read_catalogue(settings: Settings) -> Catalogue:
    """What can be asked of this server, as of now."""
    return catalogue_with(settings, registry_in(settings.models))


def catalogue_with(settings: Settings, registry: RegistryForm) -> Catalogue:
    """What could be asked if this were noted in the folder of models."""
    return load_catalogue(settings.catalogue_file, settings.styles_file, settings.prompt_limit, registry)


@asynccontextmanager
async def opened_database(settings: Settings) -> AsyncIterator[Database]:
    """The database until the end of the block, all that some commands need.

    Pictures reach the disk before what the database says of them, by whomever it is flushed (`storage/flusher.py` says
    when not).
    """
    database = await open_database(settings.database, PictureFolder(settings.pictures_dir).flush)
    try:
        yield database
    finally:
        await database.close()


@asynccontextmanager
async def running_parts(settings: Settings, engine: Engine) -> AsyncIterator[tuple[Parts, str | None]]:
    """Everything a server is made of around its engine, and the owner's first key if this is the first start."""
    catalogue = LiveCatalogue(lambda: read_catalogue(settings), settings.models / registries.NAME)
    async with contextlib.AsyncExitStack() as stack:
        rates = open_rates(settings.rate, settings.redis_url)
        stack.push_async_callback(rates.close)
        database = await stack.enter_async_context(opened_database(settings))
        keys = Keys(database)
        first_key = await keys.bootstrap(settings.bootstrap_key)
        decoder = Decoder()
        await decoder.start()
        stack.push_async_callback(decoder.stop)
        pictures = PictureFolder(settings.pictures_dir)
        queue = Queue(settings.queue_per_account, settings.queue_total)
        metrics = Metrics(lambda: engine.state, queue)
        presence = Presence(settings.data_dir / "servers")
        retention = Retention(*map(_days, (settings.keep_pictures, settings.keep_jobs)))
        again = partial(order_again, catalogue, settings.models)
        longest = settings.request_timeout
        service = Service(database, pictures, engine, queue, presence, again, metrics.delivered, retention, longest)
        await service.start()
        stack.push_async_callback(service.stop)
        yield (
            Parts(
                settings=settings,
                live=catalogue,
                keys=keys,
                rates=rates,
                service=service,
                pictures=pictures,
                decoder=decoder,
                fetcher=Fetcher(Guard.opening(settings.fetch_allow)),
                metrics=metrics,
                engine_state=lambda: engine.state,
            ),
            first_key,
        )


def _days(number: float | None) -> timedelta | None:
    return None if number is None else timedelta(days=number)


async def serve(settings: Settings, engine: Engine) -> None:
    """Serve with a running engine until told to stop.

    Raises:
        SettingsError: the address cannot be listened on, or the engine refuses its settings.
    """
    paints = _to_warm_up(settings)
    with _listening(settings) as listener:
        async with (
            running_parts(settings, engine) as (parts, first_key),
            _meanwhile(_warm_up(settings, engine, paints)),
        ):
            config = uvicorn.Config(
                create_api(parts),
                log_config=None,
                access_log=False,
                timeout_graceful_shutdown=GRACE + ANSWERING,
                lifespan="off",
            )
            _announce(settings, listener.getsockname()[1], first_key)
            await _Server(config, engine, parts.service).serve(sockets=[listener])
        if engine.state.refusal is not None:
            raise SettingsError(engine.state.refusal)


def _to_warm_up(settings: Settings) -> list[Paint]:
    """What is painted for nobody. Raises SettingsError for an endpoint that cannot."""
    catalogue = read_catalogue(settings)
    slugs = [*catalogue.endpoints][:1] if settings.warm_up is None else settings.warm_up
    try:
        requests = [read_request(catalogue.endpoint(slug), {"prompt": "warm-up", "seed": 0}) for slug in slugs]
    except GessoError as error:
        raise SettingsError(f"setting warm_up = {', '.join(slugs)!r}: {error.sentence}") from None
    return [resolve(one, secrets.token_hex(8), catalogue, models_dir=settings.models).paint for one in requests]


async def _warm_up(settings: Settings, engine: Engine, paints: Sequence[Paint]) -> None:
    """On a CPU only where the settings say so: nothing is compiled there, and networks are small."""
    if not await wait_until_ready(engine, START):
        log.warning("nothing is warmed up: the engine was not ready in time", seconds=START)
    elif settings.warm_up or engine.state.device not in ("cpu", "fake"):
        await warm_up(engine, paints)


@asynccontextmanager
async def _meanwhile(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Done beside the block, and no longer than that."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


class _Server(uvicorn.Server):
    """Stops serving on SIGINT and SIGTERM, and when the engine refuses its settings. Uvicorn's own would raise the
    signal again, which would end the process before its parts are taken down."""

    def __init__(self, config: uvicorn.Config, engine: Engine, service: Service) -> None:
        super().__init__(config)
        self._engine = engine
        self._service = service

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no more requests, and let those that run finish, or have the service tell them that they cannot."""
        async with _meanwhile(self._stop_service()):
            await super().shutdown(sockets)

    async def _stop_service(self) -> None:
        await asyncio.sleep(GRACE)
        await self._service.stop()

    async def on_tick(self, counter: int) -> bool:
        """Whether to stop, asked ten times a second."""
        return await super().on_tick(counter) or self._engine.state.refusal is not None

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Until the end of the block."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)


def _listening(settings: Settings) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        listener = socket.create_server((settings.host, settings.port), family=family, backlog=1024)
    except OSError as error:
        raise SettingsError(
            f"setting host = {settings.host!r}, port = {settings.port}: cannot listen there "
            f"({os.strerror(error.errno or 0)}); choose another with --port, or 0 for any free one"
        ) from None
    # Without it a reply's last packet waits 40 ms for the client's acknowledgement; connections inherit it.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _announce(settings: Settings, port: int, first_key: str | None) -> None:
    url = settings.public_url or f"http://{f'[{settings.host}]' if ':' in settings.host else settings.host}:{port}"
    print(f"Gesso is at {url}  (its API: {url}/docs)", flush=True)
    if first_key is not None:
        print(f"API key: {first_key}", flush=True)
        print("Keep it: it is not shown again.", flush=True)
    else:
        print("A new key: gesso keys create owner", flush=True)


async def generate(
    settings: Settings,
    slug: str,
    body: Mapping[str, object],
    start_image: bytes | None,
    on_progress: Callable[[int, int], None],
    on_preview: Callable[[int, int, bytes], None] | None = None,
) -> tuple[bytes, ...]:
    """Paint one request without a server or an account: the pictures as PNG, in seed order.

    `on_progress` hears how many model evaluations are done, and how many are due in all. `on_preview` is shown
    unfinished pictures: which (from 0), of how many, and a small PNG.

    Raises BadRequest also for a parameter that the endpoint does not know; else as a server's reply would say.
    """
    catalogue = read_catalogue(settings)
    valid = read_request(catalogue.endpoint(slug), body)
    if valid.ignored:
        unknown = [Problem(name, body[name], f"{slug} has no such parameter") for name in valid.ignored]
        raise BadRequest.of(unknown)
    pixels = None if start_image is None else await _decode(start_image)
    order = resolve(valid, secrets.token_hex(8), catalogue, models_dir=settings.models, start_image=pixels)
    paint = replace(order.paint, previews=on_preview is not None)
    pictures: dict[int, Pixels] = {}
    done: dict[int, int] = {}
    async with running_engine(settings) as engine:
        async for event in engine.paint(paint):
            match event:
                case Admitted():
                    on_progress(0, 1)
                case Progress():
                    done[event.image] = event.done
                    on_progress(sum(done.values()), event.due * len(paint.seeds))
                case Preview() if on_preview is not None:
                    on_preview(event.image, len(paint.seeds), encode_png(event.pixels, ""))
                case Painted():
                    pictures[event.image] = event.pixels
    return tuple(encode_png(pictures[image], infotext(order, seed)) for image, seed in enumerate(paint.seeds))


async def _decode(data: bytes) -> Pixels:
    decoder = Decoder()
    try:
        return await decoder.decode(data)
    finally:
        await decoder.stop()
