"""What holds for the whole suite."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # as the engine's process has it; read when torch is first imported

from collections.abc import Generator

import pytest

from gesso.logs import log_to_standard_error

# As every process of ours does; structlog's own default spends a minute on a traceback with tensors in it.
log_to_standard_error()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Under GESSO_REQUIRE_ALL=1 a skipped test has failed, unless it says that it needs a GPU."""
    report = yield
    if report.skipped and os.environ.get("GESSO_REQUIRE_ALL") == "1" and "gpu" not in item.keywords:
        report.outcome = "failed"
        report.longrepr = f"skipped, but everything is required: {report.longrepr}"
    return report
