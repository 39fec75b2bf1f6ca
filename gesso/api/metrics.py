"""/metrics: what this server does, for Prometheus. Only owners' keys may read it: it shows everybody's traffic."""

from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Final, get_args

from fastapi import APIRouter, Request, Response
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gesso.api.auth import caller_of
from gesso.engine.messages import EngineState, Status
from gesso.errors import Forbidden
from gesso.jobs.delivery import Delivery
from gesso.jobs.order import Order
from gesso.jobs.queue import Queue

METRICS_PATH: Final = "/metrics"
PHASE_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250)
"""Upper ends, in seconds: from a cached prompt's encoding to a queue as long as the longest request may take."""


class Metrics:
    """What was counted since this server started, and how it is now: the engine and the queue are asked when read."""

    def __init__(self, engine_state: Callable[[], EngineState], queue: Queue) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Present(engine_state, queue))
        self._requests = Counter(
            "gesso_requests", "Answered requests for pictures.", ["slug", "status"], registry=self._registry
        )
        self._images = Counter("gesso_images", "Delivered images.", ["slug", "checkpoint"], registry=self._registry)
        self._phases = Histogram(
            "gesso_phase_seconds",
            "Seconds that a delivered request spent in a phase.",
            ["phase"],
            registry=self._registry,
            buckets=PHASE_BUCKETS,
        )

    def answered(self, slug: str, status: int) -> None:
        """A request for pictures got its answer."""
        self._requests.labels(slug, str(status)).inc()

    def delivered(self, order: Order, delivery: Delivery) -> None:
        """An order was painted, stored and charged."""
        self._images.labels(order.slug, order.paint.checkpoint.id).inc(len(delivery.pictures))
        for phase, seconds in asdict(delivery.course.phases).items():
            self._phases.labels(phase).observe(seconds)

    def text(self) -> bytes:
        """All of it in Prometheus' text format, version 0.0.4."""
        return generate_latest(self._registry)


class CountingAnswers:
    """Counts the answers to requests that name an endpoint there is; else strangers would decide what is counted."""

    def __init__(self, app: ASGIApp, metrics: Metrics, slugs: frozenset[str]) -> None:
        self._app = app
        self._metrics = metrics
        self._slug_of = {f"/v1/{slug}": slug for slug in slugs}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        slug = self._slug_of.get(scope.get("path", "")) if scope["type"] == "http" else None

        async def counted(message: Message) -> None:
            if slug is not None and message["type"] == "http.response.start":
                self._metrics.answered(slug, message["status"])
            await send(message)

        await self._app(scope, receive, counted)


def routes(metrics: Metrics) -> APIRouter:
    """/metrics."""

    async def read(request: Request) -> Response:
        if caller_of(request).role != "owner":
            raise Forbidden("Only a key of an account whose role is owner may read this.")
        return Response(metrics.text(), media_type=CONTENT_TYPE_PLAIN_0_0_4)

    router = APIRouter()
    router.add_route(METRICS_PATH, read)
    return router


class _Present(Collector):
    """What is asked of the engine and the queue at the moment of reading."""

    def __init__(self, engine_state: Callable[[], EngineState], queue: Queue) -> None:
        self._engine_state = engine_state
        self._queue = queue

    def collect(self) -> Iterator[Metric]:
        state = self._engine_state()
        yield GaugeMetricFamily("gesso_queue_requests", "Requests waiting for the engine.", self._queue.waiting)
        yield GaugeMetricFamily("gesso_engine_waiting_images", "Images waiting within the engine.", state.waiting)
        yield CounterMetricFamily("gesso_engine_ticks", "UNet calls of this engine process.", state.ticks)
        yield CounterMetricFamily("gesso_engine_rows", "Rows in the UNet calls of this engine process.", state.rows)
        loads = "Networks that this engine process has brought from the disk."
        yield CounterMetricFamily("gesso_engine_loads", loads, state.loads)
        yield _in_flight(state)
        yield from _memory(state)
        yield from _loading(state)
        yield _status(state)


def _in_flight(state: EngineState) -> Metric:
    gauge = GaugeMetricFamily("gesso_engine_images", "Images in flight.", labels=["checkpoint", "size"])
    for batch in state.batches:
        gauge.add_metric([batch.checkpoint, f"{batch.width}x{batch.height}"], batch.images)
    return gauge


def _memory(state: EngineState) -> Iterator[Metric]:
    taken = GaugeMetricFamily("gesso_engine_memory_bytes", "Bytes that weights and requests take.", labels=["place"])
    budget = GaugeMetricFamily("gesso_engine_memory_budget_bytes", "Bytes that they may take.", labels=["place"])
    for memory in state.memory:
        taken.add_metric([memory.place], memory.taken)
        budget.add_metric([memory.place], memory.budget)
    return iter((taken, budget))


def _loading(state: EngineState) -> Iterator[Metric]:
    yield GaugeMetricFamily("gesso_engine_loading", "Networks that come from the disk.", len(state.loading))
    left = sum(one.due - one.done for one in state.loading)
    yield GaugeMetricFamily("gesso_engine_loading_bytes", "Bytes of them that are not there yet.", left)


def _status(state: EngineState) -> Metric:
    gauge = GaugeMetricFamily("gesso_engine_status", "1 for the status that the engine has.", labels=["status"])
    for status in get_args(Status):
        gauge.add_metric([status], float(status == state.status))
    return gauge
