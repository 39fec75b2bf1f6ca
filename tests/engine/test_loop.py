"""The running batch itself: who steps together, what is given back, and that one request's trouble is its own."""

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from gesso.engine import agreement
from gesso.engine.loop import ROWS_AT_ONCE
from gesso.engine.messages import CheckpointFiles, Paint, Refinement
from gesso.engine.models import Models
from gesso.sdxl.architecture import Architecture
from gesso.sdxl.checkpoint import load_vae
from gesso.sdxl.network import UnetNetwork
from gesso.sdxl.unet import Told, Unet
from gesso.sdxl.vae import Vae
from gesso.sdxl.writing import write_weights
from tests.engine.recording import RecordingLoop, small_request
from tests.tiny import architecture, build_parts, write_tiny_folder


@pytest.fixture
def loop() -> Iterator[RecordingLoop]:
    loop = RecordingLoop(Models(torch.device("cpu"), torch.float32))
    yield loop
    assert loop.images == 0
    assert all(slab.is_empty for slab in loop._slabs.values())
    assert loop.idle
    in_use = {key: one.users for key, one in loop._models._networks._residents.items() if one.users}
    assert not in_use, "everything held is let go"
    assert loop._models._networks._claimed == 0


def turn_until(loop: RecordingLoop, reached: Callable[[], bool]) -> None:
    while not reached():
        assert not loop.idle
        loop.turn()


def refined(request: Paint, folder: Path) -> Paint:
    files = CheckpointFiles("refiner", str(folder / "refiner.safetensors"))
    return replace(request, refinement=Refinement(files, 0.5, 0.2))


@pytest.mark.parametrize("room", [2, 3])
def test_requests_whose_images_have_no_room_wait_and_are_all_painted(
    room: int, loop: RecordingLoop, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gesso.engine.loop.IMAGES", room)
    for number in range(8):
        loop.submit(replace(small_request(folder, number, steps=12), seeds=(number, number + 100)))
    most = 0
    while not loop.idle:
        loop.turn()
        most = max(most, loop.images)
    assert 2 <= most <= room
    assert len(loop.pictures()) == 16


def test_a_request_of_more_images_than_have_room_is_painted_by_itself(
    loop: RecordingLoop, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gesso.engine.loop.IMAGES", 3)
    loop.paint(replace(small_request(folder, 1), seeds=tuple(range(5))), small_request(folder, 2))
    assert len(loop.pictures()) == 6


def test_a_call_takes_no_more_rows_than_allowed(loop: RecordingLoop, folder: Path) -> None:
    loop.paint(*(small_request(folder, number, steps=12) for number in range(12)))
    assert loop.rows == 2 * 12 * 12
    assert loop.ticks >= loop.rows / ROWS_AT_ONCE


def test_images_join_and_leave_at_any_step(loop: RecordingLoop, folder: Path) -> None:
    loop.submit(small_request(folder, 1, steps=60))
    turn_until(loop, lambda: loop.ticks == 5)
    loop.paint(small_request(folder, 2, steps=4))
    assert loop.ticks < 60 + 4, "the short one rode along"
    alone = RecordingLoop(Models(torch.device("cpu"), torch.float32))
    alone.paint(small_request(folder, 2, steps=4))
    assert torch.equal(loop.latents["2"], alone.latents["2"])


def test_what_is_cancelled_leaves_at_once_and_is_heard_of_no_more(loop: RecordingLoop, folder: Path) -> None:
    loop.submit(refined(small_request(folder, 1, steps=20), folder))
    loop.submit(small_request(folder, 2, steps=20))
    loop.submit(small_request(folder, 3, steps=20))
    turn_until(loop, lambda: loop.images == 3)
    for number in ("1", "3", "unknown"):
        loop.cancel(number)
    assert loop.images == 1
    heard = len(loop.events)
    while not loop.idle:
        loop.turn()
    assert {event.id for event in loop.events[heard:]} == {"2"}


def test_a_wrong_file_fails_its_own_request_by_name(loop: RecordingLoop, folder: Path) -> None:
    missing = replace(small_request(folder, 1), checkpoint=CheckpointFiles("x", str(folder / "nowhere.safetensors")))
    as_base = replace(small_request(folder, 2), checkpoint=CheckpointFiles("x", str(folder / "refiner.safetensors")))
    base = small_request(folder, 3).checkpoint
    as_refiner = replace(small_request(folder, 4), refinement=Refinement(base, 0.5, 0.2))
    loop.paint(missing, as_base, as_refiner, small_request(folder, 5))
    said = {failure.id: failure for failure in loop.failures()}
    assert {failure.reason for failure in said.values()} == {"unavailable"}
    assert "nowhere" in said["1"].sentence
    assert "is a refiner, and a base is needed" in said["2"].sentence
    assert "is a base, and a refiner is needed" in said["4"].sentence
    assert set(loop.pictures()) == {("5", 0)}


def test_what_nobody_foresaw_fails_the_request_and_is_not_shown(
    loop: RecordingLoop, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("a secret")

    with monkeypatch.context() as patch:
        patch.setattr(Vae, "decode", fail)
        loop.paint(replace(small_request(folder, 1), seeds=(1, 2)))
    loop.paint(small_request(folder, 2))
    (failure,) = loop.failures()
    assert failure.sentence == "the engine could not paint this: RuntimeError"
    assert set(loop.pictures()) == {("2", 0)}


def test_calls_that_memory_does_not_suffice_for_are_halved_and_nobody_fails(
    loop: RecordingLoop, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward, sizes = UnetNetwork.forward, []

    def forward_within(self: UnetNetwork, latents: torch.Tensor, *told: torch.Tensor) -> torch.Tensor:
        sizes.append(len(latents))
        if len(latents) > 4:
            raise torch.OutOfMemoryError
        return forward(self, latents, *told)

    requests = [small_request(folder, number, steps=12) for number in range(6)]
    alone = RecordingLoop(Models(torch.device("cpu"), torch.float32))
    for request in requests:
        alone.paint(request)
    monkeypatch.setattr(UnetNetwork, "forward", forward_within)
    monkeypatch.setattr(agreement, "TRUSTED", 1)
    loop.paint(*requests)
    assert not loop.failures()
    assert loop.pictures() == alone.pictures()
    first = sizes.index(next(size for size in sizes if size > 4))
    assert max(sizes[first + 1 :]) <= 4, "what failed once is not tried again"


def test_what_memory_never_suffices_for_fails_and_says_so(
    loop: RecordingLoop, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(*_: Any) -> None:
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried to allocate 1 bytes.")

    with monkeypatch.context() as patch:
        patch.setattr(UnetNetwork, "forward", exhausted)
        loop.paint(small_request(folder, 1))
    loop.paint(small_request(folder, 2))
    (failure,) = loop.failures()
    assert (failure.id, failure.reason) == ("1", "failed")
    assert "not enough memory" in failure.sentence
    assert set(loop.pictures()) == {("2", 0)}


def test_a_decoding_that_memory_did_not_suffice_for_is_tried_once_more(
    loop: RecordingLoop, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode, tried = Vae.decode, []

    def decode_later(self: Vae, *latent: Any) -> bytes:
        tried.append(latent)
        if len(tried) == 1:
            raise torch.OutOfMemoryError
        return decode(self, *latent)

    monkeypatch.setattr(Vae, "decode", decode_later)
    loop.paint(small_request(folder, 1))
    assert len(tried) == 2
    assert set(loop.pictures()) == {("1", 0)}


def test_an_image_that_raises_fails_alone_and_its_company_is_painted(
    loop: RecordingLoop, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict = Unet.predict
    for number in range(3):
        loop.submit(small_request(folder, number, steps=12))
    turn_until(loop, lambda: loop.images == 3)
    cursed = next(image for image in loop._flight if image.request.id == "1").leg.conditional[8].shifts

    def predict_or_raise(self: Unet, rows: torch.Tensor, told: Sequence[Told]) -> torch.Tensor:
        if any(one.shifts.data_ptr() == cursed.data_ptr() for one in told):
            raise ValueError("cursed")
        return predict(self, rows, told)

    monkeypatch.setattr(Unet, "predict", predict_or_raise)
    while not loop.idle:
        loop.turn()
    assert [failure.id for failure in loop.failures()] == ["1"]
    assert set(loop.pictures()) == {("0", 0), ("2", 0)}


def test_an_image_of_no_numbers_fails_with_its_cause(loop: RecordingLoop, folder: Path) -> None:
    loop.submit(small_request(folder, 1, steps=12))
    loop.submit(small_request(folder, 2, steps=12))
    turn_until(loop, lambda: loop.images == 2)
    poisoned = next(image for image in loop._flight if image.request.id == "1")
    with torch.inference_mode():
        poisoned.slab.latents[poisoned.slot] = torch.nan
    while not loop.idle:
        loop.turn()
    (failure,) = loop.failures()
    assert (failure.id, failure.reason) == ("1", "failed")
    assert "NaN" in failure.sentence
    assert set(loop.pictures()) == {("2", 0)}


def test_a_vae_that_overflows_is_tried_in_float32_and_never_paints_black(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vae = load_vae(small_request(folder).checkpoint.unet, torch.device("cpu"), torch.bfloat16)
    latent = torch.randn(vae.latent_shape(64, 64), generator=torch.Generator().manual_seed(0))
    broken, exact = copy.deepcopy(vae.network), copy.deepcopy(vae.network).float()
    for weight in broken.parameters():
        weight.fill_(torch.nan)
    overflowing = Vae(broken)
    with monkeypatch.context() as patch:
        patch.setattr("gesso.sdxl.vae.copy.deepcopy", lambda _: exact)
        assert overflowing.decode(latent, 64, 64) == Vae(exact).decode(latent, 64, 64)
    with monkeypatch.context() as patch:
        patch.setattr("gesso.sdxl.vae.copy.deepcopy", lambda _: broken)
        with pytest.raises(Exception, match="the VAE made numbers that are no numbers"):
            overflowing.decode(latent, 64, 64)


def test_a_unet_alone_is_lent_encoders_and_vae(loop: RecordingLoop, folder: Path) -> None:
    whole = architecture()
    bare = Architecture(
        whole.kind, whole.prediction_type, whole.force_zeros_for_empty_prompt, whole.unet, None, None, None
    )
    write_weights(folder / "unet.safetensors", bare, unet=build_parts(whole)["unet"], dtype=torch.float32)
    lender = str(folder / "base.safetensors")
    lent = CheckpointFiles("lent", str(folder / "unet.safetensors"), text_encoders=lender, vae=lender)
    loop.paint(small_request(folder, 1))
    loop.paint(replace(small_request(folder, 1), id="lent", checkpoint=lent))
    assert not loop.failures()
    assert loop.pictures()["lent", 0] == loop.pictures()["1", 0]


def test_a_folder_paints_what_the_single_file_of_the_same_weights_paints(loop: RecordingLoop, folder: Path) -> None:
    whole = CheckpointFiles("folder", str(write_tiny_folder(folder / "folder")))
    vae = replace(small_request(folder).checkpoint, vae=str(folder / "folder" / "vae"))
    loop.paint(small_request(folder, 1))
    loop.paint(replace(small_request(folder, 1), id="folder", checkpoint=whole))
    loop.paint(replace(small_request(folder, 1), id="its vae", checkpoint=vae))
    assert not loop.failures()
    assert loop.pictures()["folder", 0] == loop.pictures()["its vae", 0] == loop.pictures()["1", 0]


def test_an_empty_negative_prompt_takes_no_memory_per_step(loop: RecordingLoop, folder: Path) -> None:
    loop.submit(small_request(folder, 1, steps=20))
    turn_until(loop, lambda: loop.images == 1)
    (image,) = loop._flight
    assert len({told.context.data_ptr() for told in image.leg.unconditional}) == 1
    loop.cancel("1")
