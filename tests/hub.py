"""A model hub on this machine: the two addresses that matter, and the ways in which networks fail."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


@dataclass
class Hub:
    """Serves `owner/name/FILE` below `folder`. What fails is used up: so many breaks, lies and refusals."""

    folder: Path
    url: str = ""
    breaks: int = 0
    """How often a connection ends after half of what was asked for."""
    lies: int = 0
    """How often a byte is another."""
    refusals: int = 0
    """How often the answer is 503."""
    redirect: str = ""
    """Where else files lie: the address of another hub."""
    tags: bool = True
    status: int = 200
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    """Paths, and the ranges that were asked for."""
    authorised: list[bool] = field(default_factory=list)
    """Whether each came with a key."""

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        self.asked.append((handler.path, handler.headers.get("Range")))
        self.authorised.append("Authorization" in handler.headers)
        if handler.path.startswith("/api/models/"):
            _send(handler, 200, json.dumps(self._card(handler.path.removeprefix("/api/models/"))).encode(), {})
            return
        path = self.folder / handler.path.lstrip("/").replace("/resolve/main", "")
        if self.refusals:
            self.refusals -= 1
            _send(handler, 503, b"", {})
        elif self.redirect:
            _send(handler, 302, b"", {"Location": self.redirect + handler.path})
        elif self.status != 200 or not path.is_file():
            _send(handler, self.status if self.status != 200 else 404, b"", {})
        else:
            self._send_file(handler, path)

    def _card(self, repository: str) -> dict[str, Any]:
        files = sorted(path for path in (self.folder / repository).rglob("*") if path.is_file())
        names = [{"rfilename": str(path.relative_to(self.folder / repository))} for path in files]
        return {"id": repository, "siblings": names, "cardData": {"license": "cc0-1.0"}, "tags": []}

    def _send_file(self, handler: BaseHTTPRequestHandler, path: Path) -> None:
        data = path.read_bytes()
        headers = {"ETag": f'"{len(data)}-{hash(data)}"'} if self.tags else {}
        start, status = 0, 200
        if (wanted := handler.headers.get("Range")) and handler.headers.get("If-Range") == headers.get("ETag"):
            start, status = int(wanted.removeprefix("bytes=").removesuffix("-")), 206
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        rest = bytearray(data[start:])
        if self.lies:
            self.lies -= 1
            rest[-1] ^= 1
        if self.breaks:
            self.breaks -= 1
            _send(handler, status, bytes(rest[: len(rest) // 2]), headers | {"Content-Length": str(len(rest))})
            handler.close_connection = True
        else:
            _send(handler, status, bytes(rest), headers)


def _send(handler: BaseHTTPRequestHandler, status: int, body: bytes, headers: dict[str, str]) -> None:
    handler.send_response(status)
    for name, value in ({"Content-Length": str(len(body))} | headers).items():
        handler.send_header(name, value)
    handler.end_headers()
    if handler.command == "GET":
        handler.wfile.write(body)


@contextmanager
def running_hub(folder: Path) -> Iterator[Hub]:
    """A hub on a free port."""
    hub = Hub(folder)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            hub.answer(self)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
