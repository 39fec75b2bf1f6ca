"""`gesso doctor`: whether everything that a server needs is there."""

import asyncio
import platform
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING

from gesso import app as house
from gesso.accounts.accounts import Accounts
from gesso.cli.bench import bench as measure
from gesso.cli.listing import show
from gesso.engine.fit import Need, fit
from gesso.engine.messages import Memory
from gesso.engine.running import running_engine, wait_until_ready
from gesso.errors import GessoError
from gesso.jobs.ports import Engine
from gesso.settings import Settings, read_settings

if TYPE_CHECKING:
    from gesso.sdxl.folder import Part
    from gesso.sdxl.weights import Weights

PATIENCE = 120.0
LIBRARIES = ("torch", "diffusers", "transformers")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at."""

    what: str
    good: bool
    found: str


def doctor(*, json: bool = False, bench: bool = False) -> None:
    """Look at everything a server needs; exit status 1 if something is wrong.

    Args:
        json: Print JSON.
        bench: Measure as well how fast it paints, with nothing else running; takes seconds to a minute.
    """
    findings = asyncio.run(_look(read_settings(), bench))
    show([{"what": one.what, "good": one.good, "found": one.found} for one in findings], json)
    if not all(finding.good for finding in findings):
        sys.exit(1)


async def _look(settings: Settings, bench: bool) -> list[Finding]:
    findings = [
        Finding("python", True, platform.python_version()),
        *(Finding(library, True, version(library)) for library in LIBRARIES),
    ]
    async for finding in _rooms(settings, bench):
        findings.append(finding)
    return findings


async def _rooms(settings: Settings, bench: bool) -> AsyncIterator[Finding]:
    yield _data_folder(settings)
    yield await _database(settings)
    yield _checkpoints(settings)
    async for finding in _engine(settings, bench):
        yield finding


def _data_folder(settings: Settings) -> Finding:
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=settings.data_dir):
            return Finding("data_dir", True, str(settings.data_dir))
    except OSError as error:
        return Finding("data_dir", False, f"{settings.data_dir} cannot be written to: {error.strerror}")


async def _database(settings: Settings) -> Finding:
    try:
        async with house.opened_database(settings) as database:
            number = len(await Accounts(database).all())
            return Finding("database", True, f"{database.name}, {number} account(s)")
    except GessoError as error:
        return Finding("database", False, error.sentence)


def _checkpoints(settings: Settings) -> Finding:
    try:
        catalogue = house.read_catalogue(settings)
    except GessoError as error:
        return Finding("checkpoints", False, error.sentence)
    bound = {id for endpoint in catalogue.endpoints.values() for id in endpoint.checkpoints.values()}
    missing = sorted(id for id in bound if not catalogue.checkpoints[id].path(settings.models).exists())
    if missing:
        return Finding("checkpoints", False, f"no file for {', '.join(missing)}")
    return Finding("checkpoints", True, f"{len(bound)} bound, every file there")


async def _engine(settings: Settings, bench: bool) -> AsyncIterator[Finding]:
    began = time.monotonic()
    async with running_engine(settings) as engine:
        ready = await wait_until_ready(engine, PATIENCE)
        seconds = time.monotonic() - began
        if not ready:
            yield Finding("engine", False, engine.state.refusal or f"not ready after {seconds:.0f} s")
            return
        yield Finding("engine", True, f"ready on {engine.state.device} after {seconds:.1f} s")
        if engine.state.memory:
            yield _memory(settings, engine.state.memory[0])
        if bench:
            async for finding in _speed(settings, engine):
                yield finding


async def _speed(settings: Settings, engine: Engine) -> AsyncIterator[Finding]:
    try:
        async for measured in measure(settings, engine):
            yield Finding(measured.what, True, measured.found)
    except GessoError as error:
        yield Finding("speed", False, error.sentence)


def _memory(settings: Settings, memory: Memory) -> Finding:
    """What the engine will do with the memory that it may take."""
    try:
        found = fit(memory.budget, _needs(settings), memory.place != "cpu", memory.computing)
    except GessoError as error:
        return Finding("memory", False, error.sentence)
    return Finding("memory", found.works, found.sentence)


def _needs(settings: Settings) -> list[Need]:
    """Of each endpoint's base models, those with a refiner together with it."""
    from gesso.engine.models import choose_device, choose_precision
    from gesso.sdxl.strips import bytes_of_a_pixel
    from gesso.sdxl.weights import open_weights

    precision = choose_precision(settings.precision, choose_device(settings.device))
    catalogue = house.read_catalogue(settings)

    @cache
    def opened(id: str) -> "Weights":
        return open_weights(str(catalogue.checkpoints[id].path(settings.models)))

    @cache
    def sizes(id: str | None, *parts: "Part") -> dict[str, int]:
        """By `id: part`, of a checkpoint's parts."""
        if id is None:
            return {}
        held = opened(id).sizes(precision)
        return {f"{id}: {part}": held[part] for part in parts if part in held}

    needs = []
    for endpoint in catalogue.endpoints.values():
        for role, id in endpoint.checkpoints.items():
            base = catalogue.checkpoints[id]
            if role == "refiner" or not base.path(settings.models).exists():
                continue
            encoders = sizes(base.text_encoders or id, "text_encoder", "text_encoder_2")
            painters = sizes(id, "unet") | sizes(endpoint.refiner, "unet") | sizes(base.vae or id, "vae")
            vae = opened(base.vae or id).architecture.vae
            a_pixel = bytes_of_a_pixel(vae["block_out_channels"], precision.dtype) if vae else 0
            needs.append(Need(encoders, painters, a_pixel))
    return needs
