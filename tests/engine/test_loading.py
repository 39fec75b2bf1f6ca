"""Checkpoints come while others paint: once however many wait, in a bounded memory, and whoever waits is told."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from gesso.engine.loader import Load, Loader, Note
from gesso.engine.loop import Loop
from gesso.engine.memory import Budget, choose_budget, host_memory
from gesso.engine.messages import Failed, Paint
from gesso.engine.models import Held, Models
from gesso.engine.plan import Needs, abandon, plan, wanted
from gesso.engine.residency import Residency
from gesso.prompt.understanding import understand
from gesso.sdxl import checkpoint, strips
from gesso.sdxl.checkpoint import Loaded, copied, load_text_encoders, load_unet, load_vae
from gesso.sdxl.text import TextEncoders
from gesso.sdxl.weights import open_weights
from tests.engine.recording import RecordingLoop, small_request
from tests.tiny import write_tiny

CPU = torch.device("cpu")


class Gate:
    """Holds loads of UNets up until it is opened; counts them by path."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.opened = threading.Event()
        self.paths: list[str] = []

        def load(path: str, *others: object) -> object:
            self.paths.append(path)
            assert self.opened.wait(30)
            return load_unet(path, *others)  # type: ignore[arg-type]

        monkeypatch.setattr("gesso.engine.models.load_unet", load)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    gate = Gate(monkeypatch)
    yield gate
    gate.opened.set()


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints")
    for number in range(4):
        write_tiny(folder / f"{number}.safetensors", seed=number)
    return folder


def request_of(folder: Path, number: int, checkpoint: int) -> Paint:
    """Of one of the four checkpoints."""
    request = small_request(folder, number)
    files = replace(request.checkpoint, id=f"number-{checkpoint}", unet=str(folder / f"{checkpoint}.safetensors"))
    return replace(request, checkpoint=files)


def size_of_one(folder: Path) -> int:
    return sum(open_weights(str(folder / "0.safetensors")).sizes(torch.float32).values())


def test_others_paint_while_a_checkpoint_comes_and_it_comes_once(checkpoints: Path, gate: Gate) -> None:
    models = Models(CPU, torch.float32)
    gate.opened.set()
    RecordingLoop(models).paint(request_of(checkpoints, 0, 0))
    gate.opened.clear()
    loop = RecordingLoop(models)
    for number in (1, 2, 3):
        loop.submit(request_of(checkpoints, number, 1))
    loop.submit(request_of(checkpoints, 4, 0))
    while ("4", 0) not in loop.pictures():
        loop.turn()
    assert list(loop.pictures()) == [("4", 0)]
    assert next(load.what for load in models.loading) == "number-1: UNet"
    assert loop.waiting == 3
    gate.opened.set()
    while not loop.idle:
        loop.turn()
    assert len(loop.pictures()) == 4
    assert len(gate.paths) == 2
    assert not models.loading


def test_who_waited_long_enough_is_told_how_far_it_is_and_finds_it_later(checkpoints: Path, gate: Gate) -> None:
    events: list[object] = []
    models = Models(CPU, torch.float32)
    loop = Loop(models, events.append, patience=0.2)
    loop.submit(request_of(checkpoints, 0, 0))
    while not loop.idle:
        loop.turn()
    (failure,) = events
    assert isinstance(failure, Failed)
    assert failure.reason == "unavailable"
    assert failure.sentence == "number-0 is being loaded: 0 of 1 MB are there"
    assert failure.retry_after is not None
    assert 1 <= failure.retry_after <= 300
    gate.opened.set()
    later = RecordingLoop(models)
    later.paint(request_of(checkpoints, 1, 0))
    assert list(later.pictures()) == [("1", 0)]
    assert len(gate.paths) == 1


def test_cancelled_while_it_waits_a_request_lets_go_and_the_checkpoint_comes_all_the_same(
    checkpoints: Path, gate: Gate
) -> None:
    loop = RecordingLoop(Models(CPU, torch.float32))
    loop.submit(request_of(checkpoints, 0, 0))
    loop.turn()
    loop.cancel("0")
    assert loop.idle
    gate.opened.set()
    loop.paint(request_of(checkpoints, 1, 0))
    assert len(gate.paths) == 1
    assert not any(one.users for one in loop._models._networks._residents.values())


def test_a_file_that_is_no_checkpoint_ends_its_own_requests_only(checkpoints: Path, tmp_path: Path) -> None:
    whole = (checkpoints / "1.safetensors").read_bytes()
    (tmp_path / "1.safetensors").write_bytes(whole[: len(whole) // 2])
    loop = RecordingLoop(Models(CPU, torch.float32))
    loop.paint(request_of(checkpoints, 0, 0), request_of(tmp_path, 1, 1), request_of(tmp_path, 2, 2))
    assert {(failure.id, failure.reason) for failure in loop.failures()} == {("1", "unavailable"), ("2", "unavailable")}
    assert "is not a whole safetensors file" in loop.failures()[0].sentence
    assert list(loop.pictures()) == [("0", 0)]


def test_what_goes_wrong_while_it_comes_ends_those_who_wait_and_is_tried_anew(
    checkpoints: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = RecordingLoop(Models(CPU, torch.float32))
    with monkeypatch.context() as patch:
        patch.setattr("gesso.engine.models.load_unet", lambda *_: (_ for _ in ()).throw(MemoryError()))
        loop.paint(request_of(checkpoints, 0, 0), request_of(checkpoints, 1, 0))
    assert {failure.id for failure in loop.failures()} == {"0", "1"}
    loop.paint(request_of(checkpoints, 2, 0))
    assert list(loop.pictures()) == [("2", 0)]


def test_in_room_for_one_checkpoint_all_are_painted_in_turn_with_the_same_bytes(checkpoints: Path) -> None:
    requests = [request_of(checkpoints, number, number % 4) for number in range(12)]
    roomy = RecordingLoop(Models(CPU, torch.float32))
    roomy.paint(*requests)
    room = int(1.5 * size_of_one(checkpoints))
    models = Models(CPU, torch.float32, Budget(room, room))
    narrow, most = RecordingLoop(models), 0
    for request in requests:
        narrow.submit(request)
    while not narrow.idle:
        narrow.turn()
        most = max(most, sum(resident.size for resident in models._networks._residents.values()))
    assert narrow.pictures() == roomy.pictures()
    assert most <= room


def test_a_picture_too_large_for_what_the_budget_leaves_is_decoded_in_strips(
    checkpoints: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[int] = []
    real = strips.decode
    monkeypatch.setattr(strips, "decode", lambda *arguments: decoded.append(1) or real(*arguments))
    pictures = {}
    for computing in (None, 10**9, 1):
        loop = RecordingLoop(Models(CPU, torch.float32, Budget(10**9, 10**9, computing)))
        loop.paint(request_of(checkpoints, 0, 0))
        pictures[computing] = loop.pictures()[("0", 0)].rgb
        assert len(decoded) == (computing == 1)
    assert pictures[None] == pictures[10**9]
    assert max(abs(one - other) for one, other in zip(pictures[None], pictures[1], strict=True)) <= 1


def test_a_steady_stream_for_one_checkpoint_does_not_keep_another_out(checkpoints: Path) -> None:
    sizes = open_weights(str(checkpoints / "0.safetensors")).sizes(torch.float32)
    room = int(1.5 * (sizes["unet"] + sizes["vae"]))
    loop = RecordingLoop(Models(CPU, torch.float32, Budget(room, room)))
    loop.submit(request_of(checkpoints, 0, 0))
    loop.submit(request_of(checkpoints, 1, 1))
    for number in range(2, 12):
        loop.submit(request_of(checkpoints, number, 0))
        loop.turn()
    while not loop.idle:
        loop.turn()
    assert [name for name, _ in loop.pictures()].index("1") == 1


def test_a_file_that_was_replaced_paints_as_it_is_now(checkpoints: Path, tmp_path: Path) -> None:
    models = Models(CPU, torch.float32)
    path = tmp_path / "0.safetensors"
    pictures = []
    for source in (0, 1):
        unfinished = tmp_path / "unfinished"
        unfinished.write_bytes((checkpoints / f"{source}.safetensors").read_bytes())
        unfinished.replace(path)
        loop = RecordingLoop(models)
        loop.paint(request_of(tmp_path, 0, 0))
        pictures.append(loop.pictures())
    fresh = RecordingLoop(Models(CPU, torch.float32))
    fresh.paint(request_of(tmp_path, 0, 0))
    assert pictures[0] != pictures[1]
    assert pictures[1] == fresh.pictures()


def test_encoders_are_not_needed_for_words_that_are_remembered(checkpoints: Path) -> None:
    models = Models(CPU, torch.float32)
    RecordingLoop(models).paint(request_of(checkpoints, 0, 0))
    for number, prompt, parts in (
        (1, "a red boat", [{"unet", "vae"}]),
        (2, "a blue boat", [{"text"}, {"unet", "vae"}]),
    ):
        request = replace(request_of(checkpoints, number, 0), prompt=understand(prompt, 4).schedule)
        needed = needs_of(request, models)
        assert [{name.part for name in needs} for needs in needed] == parts


def needs_of(request: Paint, models: Models) -> list[Needs]:
    """What the plan of a request asks for, one after the other; all of it is there."""
    names = wanted(request, models)
    planning, needed = plan(request, names, models), []
    held: Held | None = None
    while True:
        try:
            needs = planning.send(held)
        except StopIteration as complete:
            abandon(complete.value, models)
            return needed
        held = None
        if needs is not None:
            needed.append(needs)
            held = models.hold(needs, names)
            assert held is not None
            while not held.is_here:
                models.wait(1)
                models.settle()


def test_what_is_queued_comes_before_its_turn(checkpoints: Path, gate: Gate) -> None:
    """Painting has not even begun, and the second checkpoint is on its way."""
    loop = RecordingLoop(Models(CPU, torch.float32))
    for number in range(2):
        loop.submit(request_of(checkpoints, number, number))
    assert {load.what.split(":")[0] for load in loop.loading} == {"number-0", "number-1"}
    gate.opened.set()
    while not loop.idle:
        loop.turn()
    assert len(loop.pictures()) == 2
    assert len(gate.paths) == 2


def test_what_is_queued_drives_out_nothing_that_is_wanted_before_it(checkpoints: Path) -> None:
    sizes = open_weights(str(checkpoints / "0.safetensors")).sizes(torch.float32)
    room = sum(sizes.values()) + sizes["vae"]
    models = Models(CPU, torch.float32, Budget(room, room))
    loop = RecordingLoop(models)
    for number in range(3):
        loop.submit(request_of(checkpoints, number, number))
    assert {load.what.split(":")[0] for load in loop.loading} == {"number-0"}
    while not loop.idle:
        loop.turn()
    assert len(loop.pictures()) == 3


def test_encoders_leave_a_device_that_has_no_room_for_them_and_what_paints(checkpoints: Path) -> None:
    sizes = open_weights(str(checkpoints / "0.safetensors")).sizes(torch.float32)
    room = sizes["text_encoder"] + sizes["text_encoder_2"] + sizes["vae"]
    assert sizes["unet"] > sizes["vae"]
    narrow = RecordingLoop(Models(CPU, torch.float32, Budget(room, room)))
    narrow.submit(request_of(checkpoints, 0, 0))
    most = 0
    while not narrow.idle:
        narrow.turn()
        most = max(most, sum(one.size for one in narrow._models._networks._residents.values()))
    assert most <= room
    roomy = RecordingLoop(Models(CPU, torch.float32))
    roomy.paint(request_of(checkpoints, 0, 0))
    assert narrow.pictures() == roomy.pictures()


def apart(budget: int, host: int = 2**30) -> Models:
    """As on a GPU: what is on the device is a copy of what is in the host's memory."""
    models = Models(CPU, torch.float32, Budget(budget, host))
    models._aside = Residency(host)
    return models


def test_what_left_a_device_comes_back_from_the_hosts_memory_while_that_has_room(checkpoints: Path) -> None:
    requests = [request_of(checkpoints, number, number % 2) for number in range(6)]
    plain = RecordingLoop(Models(CPU, torch.float32))
    plain.paint(*requests)
    sizes = open_weights(str(checkpoints / "0.safetensors")).sizes(torch.float32)
    for host in (2**30, 0):
        models = apart(int(1.5 * (sizes["unet"] + sizes["vae"])), host)
        pictures = {}
        for request in requests:
            loop = RecordingLoop(models)
            loop.paint(request)
            pictures |= loop.pictures()
        assert pictures == plain.pictures()
        assert models.loads == 6 if host else models.loads >= 2 * 6


def test_what_is_too_large_for_a_device_is_streamed_and_paints_the_same(checkpoints: Path) -> None:
    sizes = open_weights(str(checkpoints / "0.safetensors")).sizes(torch.float32)
    requests = [request_of(checkpoints, number, number % 2) for number in range(4)]
    models = apart(sizes["unet"])
    assert all(ensemble.unet.streamed for ensemble in wanted(requests[0], models).ensembles)
    narrow, plain = RecordingLoop(models), RecordingLoop(Models(CPU, torch.float32))
    narrow.paint(*requests)
    plain.paint(*requests)
    assert narrow.pictures() == plain.pictures()
    assert not any(one.users for one in models._networks._residents.values())


def test_a_network_copied_elsewhere_is_the_same_and_shares_no_weight(checkpoints: Path) -> None:
    path = str(checkpoints / "0.safetensors")
    for load in (load_unet, load_text_encoders, load_vae):
        here = load(path, CPU, torch.float32)
        there, elsewhere = copied(here, CPU), copied(here, torch.device("meta"))
        assert type(there) is type(elsewhere) is type(here)
        for one, other, far in zip(*map(modules_of, (here, there, elsewhere)), strict=True):
            assert all(weight.is_meta for weight in far.parameters())
            for (name, left), (same, right) in zip(one.named_parameters(), other.named_parameters(), strict=True):
                assert name == same
                assert torch.equal(left, right)
                assert not right.requires_grad


def modules_of(loaded: Loaded) -> list[nn.Module]:
    if isinstance(loaded, TextEncoders):
        return [module for module in (loaded.first, loaded.second) if module is not None]
    return [loaded.network]


def test_a_copied_network_paints_the_same(checkpoints: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, through_copies = (RecordingLoop(Models(CPU, torch.float32)) for _ in range(2))
    plain.paint(request_of(checkpoints, 0, 0))
    for name in ("load_unet", "load_vae", "load_text_encoders"):
        load = getattr(checkpoint, name)
        monkeypatch.setattr(f"gesso.engine.models.{name}", lambda *given, load=load: copied(load(*given), CPU))
    through_copies.paint(request_of(checkpoints, 0, 0))
    assert through_copies.pictures() == plain.pictures()


class TestLoader:
    def test_loads_come_in_order_and_each_once(self) -> None:
        loader: Loader[str, str] = Loader()
        brought: list[str] = []

        def bring(note: Note, name: str) -> str:
            brought.append(name)
            note(1)
            return name

        for name in ("a", "b", "a", "c"):
            loader.begin(Load(name, name, 1, lambda note, name=name: bring(note, name)))  # type: ignore[misc]
        over: list[Load[str, str]] = []
        while len(over) < 3:
            loader.wait(10)
            over += loader.finished()
        assert [load.part for load in over] == brought == ["a", "b", "c"]
        assert not loader.under_way

    def test_an_error_is_kept_for_whoever_asks(self) -> None:
        loader: Loader[str, str] = Loader()

        def fail(note: Note) -> str:
            raise OSError("gone")

        loader.begin(Load("a", "a", 1, fail))
        over: list[Load[str, str]] = []
        while not over:
            loader.wait(10)
            over = loader.finished()
        assert isinstance(over[0].error, OSError)
        assert over[0].part is None

    def test_what_is_no_exception_ends_its_own_load_only(self) -> None:
        loader: Loader[str, str] = Loader()

        def panic(note: Note) -> str:
            raise KeyboardInterrupt("a panic")

        loader.begin(Load("a", "a", 1, panic))
        loader.begin(Load("b", "b", 1, lambda note: "b"))
        over: list[Load[str, str]] = []
        while len(over) < 2:
            loader.wait(10)
            over += loader.finished()
        assert "a panic" in str(over[0].error)
        assert over[1].part == "b"

    def test_how_long_it_takes_is_told_by_its_pace(self) -> None:
        load: Load[str, str] = Load("a", "a", 100, lambda note: "a")
        assert load.seconds_left is None
        load.run()
        assert load.seconds_left is None
        load._note(50)
        left = load.seconds_left
        assert left is not None
        assert 0 < left < 5


def test_the_budget_is_what_was_asked_for_or_half_of_what_this_process_may_have(tmp_path: Path) -> None:
    assert choose_budget(CPU, host=5) == Budget(5, 5)
    assert choose_budget(CPU).device == host_memory() // 2
    limit = tmp_path / "memory.max"
    limit.write_text("max\n")
    machine = host_memory(tmp_path / "none")
    assert host_memory(limit) == machine
    limit.write_text("1000\n")
    assert host_memory(limit) == 1000
