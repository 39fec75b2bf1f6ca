"""JSON as it crosses the wire: what a body says, and a reply that can say anything."""

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any, NoReturn

from starlette.responses import Response

from gesso.errors import BadRequest


def read_object(body: bytes) -> dict[str, Any]:
    """The JSON object in a body, whatever its `Content-Type` said.

    Raises:
        BadRequest: it is no JSON, not an object, says a field twice, or holds what JSON has no word for.
    """
    try:
        parsed = json.loads(body, object_pairs_hook=_once, parse_constant=_no_constant)
    except RecursionError:
        raise BadRequest("The body is nested too deeply.") from None
    except UnicodeDecodeError:
        raise BadRequest("The body is not valid JSON: it is not UTF-8.") from None
    except json.JSONDecodeError as error:
        raise BadRequest(_place(error) if body.strip() else "The body is empty; a JSON object is expected.") from None
    except ValueError:  # from int(), which reads no more digits than is safe
        raise BadRequest("The body has a number with too many digits.") from None
    if not isinstance(parsed, dict):
        raise BadRequest(f"The body is {_KINDS.get(type(parsed), 'a number')}; a JSON object is expected.")
    return parsed


class JsonReply(Response):
    """A reply in ASCII-only JSON, so that no text a client sent can make it unwritable."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode()


_KINDS = {list: "a list", str: "a string", bool: "true or false", type(None): "null"}


def _place(error: json.JSONDecodeError) -> str:
    return f"The body is not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}."


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        (twice, _), *_ = Counter(name for name, _ in pairs).most_common(1)
        raise BadRequest(f"The body says {twice[:80]!r} more than once.")
    return fields


def _no_constant(name: str) -> NoReturn:
    raise BadRequest(f"The body holds {name}, which is not a JSON number.")
