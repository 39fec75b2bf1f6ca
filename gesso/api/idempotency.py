"""Requests that may come twice: the header `Idempotency-Key`, and what makes two requests the same."""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Final

from starlette.datastructures import Headers

from gesso.errors import BadRequest
from gesso.jobs.retries import Retry

IDEMPOTENCY_HEADER: Final = "Idempotency-Key"
KEY_FORM: Final = re.compile(r"[\x21-\x7e]{1,255}")


def retry_of(headers: Headers, path: str, body: Mapping[str, object]) -> Retry | None:
    """What the request is known by; None where its caller gave it no name. What it accepts does not count, nor how its
    JSON is laid out. Raises BadRequest for what cannot be a name."""
    names = headers.getlist(IDEMPOTENCY_HEADER)
    if not names:
        return None
    if len(names) > 1 or not KEY_FORM.fullmatch(names[0]):
        raise BadRequest("Idempotency-Key: one of 1 to 255 letters, digits and signs is expected, without spaces.")
    said = json.dumps([path, body], sort_keys=True, separators=(",", ":"))
    return Retry(names[0], hashlib.sha256(said.encode()).hexdigest())
