"""The program as its users run it: processes, sockets and files, with nothing replaced."""

import base64
import contextlib
import io
import json
import os
import re
import signal
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import httpx2
import psutil
import pytest
from PIL import Image

from benchmarks.full_size import SMALL as SHALLOW
from benchmarks.full_size import write_full_size
from gesso.catalogue.catalogue import load_catalogue
from gesso.imaging.png import read_infotext
from tests.serving import PATIENCE, Installation, Server, install, install_tiny

ENDPOINTS = load_catalogue().endpoints
SMALL = {"prompt": "a red boat", "seed": 7, "img_width": 512, "img_height": 512, "num_inference_steps": 20}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    return install_tiny(tmp_path_factory.mktemp("installation"))


@pytest.fixture(scope="module")
def first_start(tiny: Installation) -> Iterator[Server]:
    with tiny.serving() as server:
        yield server


@pytest.fixture(scope="module")
def client(first_start: Server) -> Iterator[httpx2.Client]:
    with first_start.client(first_start.key) as client:
        yield client


def documented(slug: str) -> dict[str, object]:
    """The documented request; the start image's host may not be reachable, so it comes as a data URI."""
    body = dict(ENDPOINTS[slug].example)
    if "image" in body:
        buffer = io.BytesIO()
        Image.effect_mandelbrot((640, 512), (-2, -1, 1, 1), 50).save(buffer, "PNG")
        body["image"] = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return body


def png(client: httpx2.Client, slug: str, body: dict[str, object]) -> bytes:
    """The stored picture of a request."""
    reply = client.post(f"/v1/{slug}", json=body, headers={"accept": "application/json"})
    assert reply.status_code == 200, reply.text
    return httpx2.get(reply.json()["images"][0]["url"]).content


@pytest.mark.parametrize("slug", ENDPOINTS)
def test_the_documented_requests_paint(slug: str, client: httpx2.Client) -> None:
    body = documented(slug)
    reply = client.post(f"/v1/{slug}", json=body)
    assert reply.status_code == 200, reply.text
    if ENDPOINTS[slug].returns == "image":
        assert reply.headers["content-type"] == "image/jpeg"
        picture = Image.open(io.BytesIO(reply.content))
        assert picture.size == (640, 512)
    else:
        said = reply.json()
        picture = Image.open(io.BytesIO(httpx2.get(said["image"]).content))
        assert picture.size == (body["img_width"], body["img_height"])
        assert said["seed"] == body["seed"]


def test_equal_requests_are_equal_bytes(client: httpx2.Client) -> None:
    first = png(client, "sdxl1.0-txt2img", SMALL)
    assert png(client, "sdxl1.0-txt2img", SMALL) == first
    assert png(client, "sdxl1.0-txt2img", {**SMALL, "seed": 8}) != first


def test_sample_i_is_the_picture_of_seed_plus_i(client: httpx2.Client) -> None:
    both = client.post("/v1/sdxl1.0-realvis", json={**SMALL, "samples": 2}).json()
    assert [one["seed"] for one in both["images"]] == [7, 8]
    second = httpx2.get(both["images"][1]["url"]).content
    assert png(client, "sdxl1.0-realvis", {**SMALL, "seed": 8}) == second


def test_every_scheduler_that_is_listed_is_painted_with(client: httpx2.Client) -> None:
    for slug in ("sdxl1.0-timeless", "sdxl-img2img"):
        body = {**documented(slug), "num_inference_steps": 20, "img_width": 512, "img_height": 512}
        for scheduler in ENDPOINTS[slug].parameters["scheduler"].choices:
            reply = client.post(f"/v1/{slug}", json={**body, "scheduler": scheduler, "strength": 0.3})
            assert reply.status_code == 200, (slug, scheduler)


def test_requests_of_every_kind_at_once_are_all_painted(client: httpx2.Client) -> None:
    statuses: list[int] = []

    def ask(slug: str) -> None:
        body = {**documented(slug), "num_inference_steps": 20, "samples": 2}
        statuses.append(client.post(f"/v1/{slug}", json=body).status_code)

    threads = [threading.Thread(target=ask, args=(slug,)) for slug in list(ENDPOINTS) * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert statuses == [200] * 10


def test_a_checkpoint_that_takes_too_long_is_told_of_and_found_later(tmp_path: Path) -> None:
    installation = install_tiny(tmp_path)
    environment = {**installation.environment, "GESSO_LOADING_PATIENCE": "0.000001"}
    slug, plain, base = "sdxl1.0-txt2img", {**SMALL, "refiner": False}, tmp_path / "models" / "base.safetensors"
    with replace(installation, environment=environment).serving() as server, server.client(server.key) as client:
        paint_at_last(client, slug, plain)  # what else takes its time at first is over
        write_full_size(tmp_path / "large", SHALLOW)
        (tmp_path / "large").replace(base)
        reply = client.post(f"/v1/{slug}", json=plain)
        assert (reply.status_code, reply.json().get("code")) == (502, "service_unavailable")
        assert "tiny-base is being loaded" in reply.json()["error"]
        assert int(reply.headers["retry-after"]) >= 1
        paint_at_last(client, slug, plain)


def paint_at_last(client: httpx2.Client, slug: str, body: dict[str, object]) -> None:
    """Ask until nothing is being loaded any more."""
    until = time.monotonic() + PATIENCE
    while client.post(f"/v1/{slug}", json=body).status_code != 200:
        assert time.monotonic() < until
        while client.get("/readyz").json()["loading"]:
            time.sleep(0.1)


def test_the_picture_says_how_it_was_made(client: httpx2.Client) -> None:
    said = read_infotext(png(client, "sdxl1.0-txt2img", SMALL))
    assert said is not None
    assert said.startswith("a red boat\n")
    assert "Seed: 7" in said
    assert "Size: 512x512" in said


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["dies", "hangs"])
def test_the_engine_goes_and_the_request_is_painted_all_the_same_and_charged_once(
    how: signal.Signals, tiny: Installation, first_start: Server, client: httpx2.Client
) -> None:
    name = f"patient-{how.name}"
    tiny.run("accounts", "create", name, "--credits", "0.1")
    key = tiny.run("keys", "create", name).stdout.splitlines()[-1]
    body = {**SMALL, "num_inference_steps": 100, "samples": 4}
    expected = png(client, "sdxl1.0-realvis", body)
    replies: list[bytes] = []
    with first_start.client(key) as patient:
        asking = threading.Thread(target=lambda: replies.append(png(patient, "sdxl1.0-realvis", body)))
        asking.start()
        engine = _engine_of(first_start)
        _wait_until_busy(engine)
        assert asking.is_alive()
        os.kill(engine, how)
        assert client.get("/livez").status_code == 200
        asking.join(PATIENCE)
    assert replies == [expected]
    assert _engine_of(first_start) != engine
    assert json.loads(tiny.run("credits", "show", name, "--json").stdout)[0]["credits"] == 0.068


def test_keys_and_credits_changed_outside_hold_at_once(
    tiny: Installation, first_start: Server, client: httpx2.Client
) -> None:
    tiny.run("accounts", "create", "bob", "--credits", "0.002")
    key = tiny.run("keys", "create", "bob", "--replies", "image").stdout.splitlines()[-1]
    with first_start.client(key) as bob:
        reply = bob.post("/v1/sdxl1.0-realvis", json=SMALL)
        assert (reply.status_code, reply.headers["content-type"]) == (200, "image/jpeg")
        assert reply.headers["x-remaining-credits"] == "0.0004"
        assert bob.post("/v1/sdxl1.0-realvis", json=SMALL).status_code == 406
        tiny.run("credits", "add", "bob", "1")
        assert bob.post("/v1/sdxl1.0-realvis", json=SMALL).status_code == 200
        assert json.loads(tiny.run("credits", "show", "bob", "--json").stdout)[0]["credits"] == 0.9988
        tiny.run("keys", "revoke", key[:10])
        assert bob.post("/v1/sdxl1.0-realvis", json=SMALL).status_code == 401


def test_a_key_is_shown_once_and_kept_nowhere(tiny: Installation, first_start: Server) -> None:
    assert first_start.said.startswith("API key: SG_")
    for path in tiny.folder.rglob("*"):
        if path.is_file():
            assert first_start.key.encode() not in path.read_bytes(), path


class TestStarts:
    """How servers begin and end."""

    def test_a_restart_paints_the_same_bytes_and_prints_no_key(self, tmp_path: Path) -> None:
        installation = install_tiny(tmp_path)
        with installation.serving() as server, server.client(server.key) as client:
            key, before = server.key, png(client, "sdxl1.0-dreamshaper", SMALL)
        with installation.serving() as server, server.client(key) as client:
            assert "API key" not in server.said
            assert "gesso keys create" in server.said
            assert png(client, "sdxl1.0-dreamshaper", SMALL) == before

    def test_a_bootstrap_key_is_the_owners(self, tmp_path: Path) -> None:
        installation = install(tmp_path, engine="fake", bootstrap_key="SG_abcdefghijkl0123456789")
        with installation.serving() as server, server.client("SG_abcdefghijkl0123456789") as client:
            assert client.post("/v1/sdxl1.0-realvis", json=SMALL).status_code == 200

    def test_what_is_warmed_up_is_painted_before_anybody_asks(self, tmp_path: Path) -> None:
        installation = install_tiny(tmp_path)
        environment = {**installation.environment, "GESSO_WARM_UP": "sdxl1.0-txt2img"}
        with replace(installation, environment=environment).serving() as server, server.client(server.key) as client:
            deadline = time.monotonic() + PATIENCE
            while "gesso_engine_loads_total 0.0" in (said := client.get("/metrics").text) or "_loads_total" not in said:
                assert time.monotonic() < deadline, "nothing is painted"
                time.sleep(0.1)

    @pytest.mark.parametrize(("slug", "why"), [("sdxl9", "no endpoint"), ("sdxl-img2img", "image")])
    def test_what_cannot_be_warmed_up_stops_the_start(self, slug: str, why: str, tmp_path: Path) -> None:
        said = install(tmp_path, engine="fake", warm_up=slug).run("serve", status=1).stderr
        assert re.search(rf"setting warm_up = '{slug}': .*{why}", said)

    def test_a_killed_server_takes_its_engine_along(self, tmp_path: Path) -> None:
        with install_tiny(tmp_path).serving() as server:
            engine = _engine_of(server)
            server.process.kill()
            deadline = time.monotonic() + PATIENCE
            while _is_running(engine):
                assert time.monotonic() < deadline, "the engine outlives its server"
                time.sleep(0.1)

    def test_a_server_that_is_told_to_stop_finishes_what_it_has_begun(self, tmp_path: Path) -> None:
        installation = install_tiny(tmp_path)
        answers: list[httpx2.Response] = []
        with installation.serving() as server, server.client(server.key) as client:
            png(client, "sdxl1.0-realvis", SMALL)
            asking = [threading.Thread(target=_ask_on, args=(server, answers)) for _ in range(6)]
            for thread in asking:
                thread.start()
            while len(answers) < 12:
                time.sleep(0.01)
            server.process.terminate()
            for thread in asking:
                thread.join(PATIENCE)
            assert server.process.wait(PATIENCE) == 0
        assert {answer.status_code for answer in answers} == {200}
        (day,) = _statement(installation)
        assert (day["jobs"], day["held"]) == (len(answers) + 1, "0")
        assert "are what their entries add up to" in installation.run("credits", "reconcile").stdout
        pictures = {path.stem for path in (tmp_path / "pictures").rglob("*") if path.is_file()}
        assert {_token(answer) for answer in answers} < pictures
        assert len(pictures) == len(answers) + 1

    def test_who_is_not_done_when_a_stopping_server_waits_no_longer_is_told(self, tmp_path: Path) -> None:
        installation = install_tiny(tmp_path)
        long = {**SMALL, "num_inference_steps": 100, "samples": 4, "img_width": 2048, "img_height": 2048}
        answers: dict[str, httpx2.Response] = {}

        def ask(client: httpx2.Client, name: str) -> None:
            headers = {"idempotency-key": name} if name else {}
            answers[name] = client.post("/v1/sdxl1.0-realvis", json=long, headers=headers)

        with impatient(installation) as server, server.client(server.key) as client:
            asking = [threading.Thread(target=ask, args=(client, name)) for name in ("", "order-1")]
            for thread in asking:
                thread.start()
            _wait_until_busy(_engine_of(server))
            server.process.terminate()
            for thread in asking:
                thread.join(PATIENCE)
            assert server.process.wait(PATIENCE) == 0
        for answer in answers.values():
            assert (answer.status_code, answer.json()["code"]) == (502, "service_unavailable")
            assert "stopping" in answer.json()["error"]
        assert "Traceback" not in (tmp_path / "server.log").read_text()
        with closing(sqlite3.connect(tmp_path / "gesso.db")) as database:
            assert dict(database.execute("SELECT resumes, status FROM jobs")) == {0: "cancelled", 1: "queued"}

    @pytest.mark.parametrize("slug", ["sdxl1.0-realvis", "sdxl-img2img"])
    def test_what_a_killed_server_had_begun_is_the_same_picture_from_the_next(self, slug: str, tmp_path: Path) -> None:
        installation = install_tiny(tmp_path)
        body = {**documented(slug), "num_inference_steps": 100, "samples": 4, "seed": 7}
        with installation.serving() as server, server.client(server.key) as client:
            key, headers = server.key, {"idempotency-key": "order-1", "accept": "application/json"}
            asking = threading.Thread(target=_ask_in_vain, args=(client, slug, body, headers))
            asking.start()
            _wait_until_busy(_engine_of(server))
            server.process.kill()
            server.process.wait(PATIENCE)
            asking.join(PATIENCE)
        with installation.serving() as server, server.client(key) as client:
            resumed = client.post(f"/v1/{slug}", json=body, headers=headers).json()
            assert client.post(f"/v1/{slug}", json=body, headers=headers).json() == resumed
            (job,) = {(row["jobs"], row["held"]) for row in _statement(installation)}
            assert job == (1, "0")
            pictures = [httpx2.get(one["url"]).content for one in resumed["images"]]
            afresh = client.post(f"/v1/{slug}", json=body, headers={"accept": "application/json"}).json()
            assert pictures == [httpx2.get(one["url"]).content for one in afresh["images"]]

    def test_a_port_in_use_is_a_clear_error(self, tmp_path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = str(taken.getsockname()[1])
            said = install(tmp_path, engine="fake").run("serve", "--port", port, status=1).stderr
        assert said.startswith("gesso: setting host = '127.0.0.1', port = ")
        assert len(said.splitlines()) == 1

    def test_a_wrong_setting_stops_the_start_by_name(self, tmp_path: Path) -> None:
        said = install(tmp_path, request_timeout="soon").run("serve", status=1).stderr
        assert "request_timeout = 'soon'" in said
        assert len(said.splitlines()) == 1


@contextlib.contextmanager
def impatient(installation: Installation) -> Iterator[Server]:
    """A server that gives running requests one second when it is told to stop."""
    program = "from gesso import app; app.GRACE = 1; from gesso.cli.main import main; main()"
    with installation.serving(program=("-c", program)) as server:
        yield server


def _ask_in_vain(client: httpx2.Client, slug: str, body: dict[str, object], headers: dict[str, str]) -> None:
    with pytest.raises(httpx2.TransportError):
        client.post(f"/v1/{slug}", json=body, headers=headers)


def _ask_on(server: Server, answers: list[httpx2.Response]) -> None:
    """Until the server takes no more."""
    with server.client(server.key) as client, contextlib.suppress(httpx2.TransportError):
        while True:
            answers.append(client.post("/v1/sdxl1.0-realvis", json=SMALL))


def _token(answer: httpx2.Response) -> str:
    return str(answer.json()["image"]).rpartition("/")[2].removesuffix(".png")


def _statement(installation: Installation) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = json.loads(
        installation.run("credits", "statement", "owner", "--form", "json").stdout
    )
    return rows


def _engine_of(server: Server) -> int:
    """The process id of a server's engine."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        for child in Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split():
            if b"gesso.engine.worker" in Path(f"/proc/{child}/cmdline").read_bytes():
                return int(child)
        time.sleep(0.05)
    raise AssertionError("the server has no engine")


def _wait_until_busy(process: int) -> None:
    """Until the process has worked for a fifth of a second since now."""
    before = sum(psutil.Process(process).cpu_times()[:2])
    deadline = time.monotonic() + PATIENCE
    while sum(psutil.Process(process).cpu_times()[:2]) < before + 0.2:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _is_running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False
