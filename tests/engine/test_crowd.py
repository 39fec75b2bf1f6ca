"""Whatever the traffic: each picture of a crowd has the bytes that it has alone; and every measure for that is needed.

Sums are split between two threads here, whatever the machine has: that is where company shows most.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from gesso.diffusion.names import SERVED
from gesso.engine import agreement
from gesso.engine.models import Models
from tests.engine import crowd
from tests.engine.measures import THREADS, WITHOUT, Traffic, changed, nothing

CPU = torch.device("cpu")


@pytest.fixture(scope="module", autouse=True)
def _two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return crowd.write_checkpoints(tmp_path_factory.mktemp("checkpoints"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def test_two_hundred_mixed_requests_among_cancelled_and_failing_ones_paint_what_each_paints_alone(
    dtype: torch.dtype, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agreement, "TRUSTED", 1)  # so that most calls are trusted, after one comparison
    requests = crowd.requests(folder, 200, seed=1)
    assert {request.scheduler for request in requests} == set(SERVED)
    lone = crowd.alone(Models(CPU, dtype), requests)
    assert len(set(lone.values())) == len(lone), "pictures that are all alike would show nothing"
    assert not crowd.unequal(lone, crowd.together(Models(CPU, dtype), requests, seed=2, trouble=True))


# Which measures a machine needs hangs on its kernels, so it is looked at where it was found: with AVX-512, in float32.
needs_known_kernels = pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() != "AVX512", reason="this machine's kernels are not those looked at"
)


@needs_known_kernels
def test_with_every_measure_no_picture_changes(folder: Path) -> None:
    assert changed(folder, torch.float32, nothing)[0] == 0


@needs_known_kernels
@pytest.mark.parametrize("without", WITHOUT.values(), ids=[without.__name__ for without in WITHOUT.values()])
def test_without_a_measure_pictures_change(
    without: Callable[[pytest.MonkeyPatch], Traffic], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert changed(folder, torch.float32, without(monkeypatch))[0] > 0
