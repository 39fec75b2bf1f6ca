"""/metrics, which Prometheus reads with a key of the owner's."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from gesso.engine.fake import FakeEngine
from gesso.engine.messages import Batch, EngineState, Loading, Memory
from tests.api.house import SMALL, TXT2IMG, House

BUSY = EngineState(
    "ready",
    ticks=40,
    rows=160,
    images=3,
    waiting=5,
    batches=(Batch("one", 512, 768, 2), Batch("two", 1024, 1024, 1)),
    loads=6,
    loading=(Loading("one: UNet", 20, 50), Loading("one: VAE", 0, 5)),
    memory=(Memory("cuda", 70, 100), Memory("host", 9, 200)),
    device="cuda:0",
)


class StagedEngine(FakeEngine):
    """Says of itself what it is told to say."""

    said: EngineState = BUSY

    @property
    def state(self) -> EngineState:
        return self.said


@pytest.fixture
def own(tmp_path: Path) -> Iterator[House]:
    with House(tmp_path, StagedEngine(), queue_per_account=1) as house:
        yield house


def read(house: House) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Name and labels of every sample -> its value."""
    reply = house.client.get("/metrics")
    assert reply.status_code == 200
    assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = text_string_to_metric_families(reply.text)
    return {(one.name, frozenset(one.labels.items())): one.value for family in families for one in family.samples}


def named(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return name, frozenset(labels.items())


def test_only_the_owners_keys_may_read_them(own: House) -> None:
    assert httpx2.get(f"{own.url}/metrics").status_code == 401
    reply = own.client.get("/metrics", headers={"x-api-key": own.new_key("guest")})
    assert (reply.status_code, reply.json()["code"]) == (403, "forbidden")
    bearer = {"Authorization": f"Bearer {own.key}"}
    assert httpx2.get(f"{own.url}/metrics", headers=bearer).status_code == 200
    assert own.client.get("/metrics", headers={"Accept": "text/plain; version=nonsense"}).status_code == 200


def test_requests_are_counted_by_endpoint_and_status(own: House) -> None:
    assert own.paint().status_code == 200
    assert own.paint().status_code == 200
    assert own.paint(body={"samples": 9}).status_code == 400
    assert own.paint(**{"x-api-key": "SG_000000000000"}).status_code == 401
    assert own.paint("no-such-slug").status_code == 404
    samples = read(own)
    counted = {labels: value for (name, labels), value in samples.items() if name == "gesso_requests_total"}
    assert counted == {
        frozenset({("slug", TXT2IMG), ("status", status)}): value
        for status, value in [("200", 2), ("400", 1), ("401", 1)]
    }


def test_delivered_images_are_counted_and_the_seconds_of_every_phase(own: House) -> None:
    own.paint(body=SMALL | {"samples": 3})
    own.paint()
    samples = read(own)
    images = {labels: value for (name, labels), value in samples.items() if name == "gesso_images_total"}
    ((labels, value),) = images.items()
    assert (dict(labels)["slug"], value) == (TXT2IMG, 4)
    assert dict(labels)["checkpoint"]
    for phase in ("queue", "encode", "denoise", "decode", "write"):
        assert samples[named("gesso_phase_seconds_count", phase=phase)] == 2
        assert samples[named("gesso_phase_seconds_bucket", phase=phase, le="+Inf")] == 2
    assert samples[named("gesso_phase_seconds_sum", phase="write")] > 0


def test_they_tell_how_the_engine_and_the_queue_are(own: House) -> None:
    samples = read(own)
    assert samples[named("gesso_queue_requests")] == 0
    assert samples[named("gesso_engine_waiting_images")] == 5
    assert samples[named("gesso_engine_ticks_total")] == 40
    assert samples[named("gesso_engine_rows_total")] == 160
    assert samples[named("gesso_engine_images", checkpoint="one", size="512x768")] == 2
    assert samples[named("gesso_engine_images", checkpoint="two", size="1024x1024")] == 1
    assert samples[named("gesso_engine_memory_bytes", place="cuda")] == 70
    assert samples[named("gesso_engine_memory_budget_bytes", place="host")] == 200
    assert samples[named("gesso_engine_loads_total")] == 6
    assert samples[named("gesso_engine_loading")] == 2
    assert samples[named("gesso_engine_loading_bytes")] == 35
    statuses = {labels: value for (name, labels), value in samples.items() if name == "gesso_engine_status"}
    assert statuses == {
        frozenset({("status", status)}): float(status == "ready") for status in ("starting", "ready", "down")
    }


def test_what_has_left_the_engine_is_not_in_flight_any_more(own: House) -> None:
    read(own)
    assert isinstance(own.engine, StagedEngine)
    own.engine.said = replace(BUSY, status="down", images=0, batches=())
    samples = read(own)
    assert not [name for name, _ in samples if name == "gesso_engine_images"]
    assert samples[named("gesso_engine_status", status="down")] == 1
