"""Seeds: all their bits count, the same one paints the same picture in any process, and sample i has seed + i."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest
import torch

from gesso.engine.messages import Pixels
from gesso.engine.models import Models
from tests.engine.recording import RecordingLoop, small_request
from tests.serving import install_tiny
from tests.tiny import write_tiny

HIGHEST = 999_999_999_999_999
SMALL = {"prompt": "a red boat", "img_width": 512, "img_height": 512, "num_inference_steps": 20, "scheduler": "Euler a"}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    with install_tiny(tmp_path_factory.mktemp("installation")).serving() as server, server.client(server.key) as client:
        yield client


def pictures(client: httpx2.Client, **asked: object) -> dict[int, bytes]:
    """The stored pictures of a request, by the seeds that its reply reports."""
    reply = client.post("/v1/sdxl1.0-realvis", json={**SMALL, **asked})
    assert reply.status_code == 200, reply.text
    return {image["seed"]: httpx2.get(image["url"]).content for image in reply.json()["images"]}


def test_seeds_that_differ_above_bit_32_only_paint_their_own_pictures_after_a_restart_too(tmp_path: Path) -> None:
    tiny = install_tiny(tmp_path)
    seeds = [7, 7 + 2**32, 7 + 2**40]
    with tiny.serving() as server, server.client(server.key) as before:
        key = server.key
        painted = [pictures(before, seed=seed)[seed] for seed in seeds]
    assert len(set(painted)) == len(seeds)
    with tiny.serving() as server, server.client(key) as after:
        assert [pictures(after, seed=seed)[seed] for seed in seeds] == painted


def test_four_samples_are_four_requests_byte_for_byte(client: httpx2.Client) -> None:
    together = pictures(client, seed=41, samples=4)
    apart = [pictures(client, seed=seed) for seed in (41, 42, 43, 44)]
    assert [{seed: picture} for seed, picture in together.items()] == apart
    assert len(set(together.values())) == 4


def test_samples_of_the_highest_seed_go_on_beyond_it(client: httpx2.Client) -> None:
    together = pictures(client, seed=HIGHEST, samples=4)
    assert list(together) == [HIGHEST + number for number in range(4)]
    assert len(set(together.values())) == 4
    assert pictures(client, seed=HIGHEST) == {HIGHEST: together[HIGHEST]}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints")
    write_tiny(folder / "base.safetensors", "base", seed=0)
    return folder


@pytest.mark.parametrize("scheduler", ["UniPC", "Euler a", "DPM++ SDE"])
@pytest.mark.parametrize("seed", [2**32 - 2, HIGHEST])
def test_each_sample_is_its_own_seeds_request_wherever_the_seeds_lie(seed: int, scheduler: str, folder: Path) -> None:
    seeds = tuple(range(seed, seed + 4))
    together = painted(folder, scheduler, seeds)
    assert together == [picture for seed in seeds for picture in painted(folder, scheduler, (seed,))]
    assert len({picture.rgb for picture in together}) == 4


def painted(folder: Path, scheduler: str, seeds: tuple[int, ...]) -> list[Pixels]:
    loop = RecordingLoop(Models(torch.device("cpu"), torch.float32))
    loop.paint(replace(small_request(folder), scheduler=scheduler, seeds=seeds))
    assert not loop.failures()
    pictures = loop.pictures()
    return [pictures[place] for place in sorted(pictures)]
