"""Asking a server for pictures, several at once, as its users do: over HTTP, with a key."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx2
from torch import Tensor

from gesso.mini.judging.examination import Asked, Paint, as_picture

AT_ONCE = 8
PATIENCE = 300


@contextmanager
def painting(url: str, key: str, **everywhere: object) -> Iterator[Paint]:
    """What paints at a server. `everywhere`: parameters of every request that does not say otherwise."""
    headers = {"x-api-key": key, "accept": "image/png"}
    with httpx2.Client(base_url=url, headers=headers, timeout=PATIENCE) as client, ThreadPoolExecutor(AT_ONCE) as pool:

        def one(asked: Asked) -> Tensor:
            reply = client.post(f"/v1/{asked.slug}", json={**everywhere, **asked.body})
            assert reply.is_success, reply.text
            return as_picture(reply.content)

        def paint(requests: Sequence[Asked]) -> Iterator[Tensor]:
            return pool.map(one, requests)

        yield paint
