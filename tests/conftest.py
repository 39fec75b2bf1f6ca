"""What holds for the whole suite."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # as the engine's process has it; read when torch is first imported

import torch

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # our kernels run in Triton's interpreter then; read when it is first imported

from collections.abc import Generator, Iterator

import pytest
import structlog

from tests.redis_server import RedisServer

# As our processes log, but where a test captures it. (structlog's default spends a minute on tensors in a traceback.)
structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
    ]
)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Under GESSO_REQUIRE_ALL=1 a skipped test has failed, unless it says that it needs a GPU, or to be root."""
    report = yield
    if report.skipped and os.environ.get("GESSO_REQUIRE_ALL") == "1" and not {"gpu", "root"} & set(item.keywords):
        report.outcome = "failed"
        report.longrepr = f"skipped, but everything is required: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def running_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """For tests that leave it running."""
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def redis_server(running_redis: RedisServer) -> RedisServer:
    """The same, emptied."""
    running_redis.forget()
    return running_redis
