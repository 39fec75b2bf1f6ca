"""The pages for people: the front page, and the documentation written from the catalogue.

Each is one file without a script that asks no other server for anything, and says so in its content security policy.
"""

import base64
import hashlib
import json
import shlex
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from pathlib import Path
from urllib.parse import quote

from fastapi import APIRouter, Request
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.responses import HTMLResponse

from gesso.api.links import links_of
from gesso.api.parts import Parts
from gesso.api.prices import price_text
from gesso.api.problems import ANSWERS
from gesso.catalogue.entries import Endpoint, Parameter
from gesso.catalogue.values import allowed

TEMPLATES = Path(__file__).parent / "templates"
STYLE = (TEMPLATES / "style.css").read_text("utf-8")
ICON = "data:image/svg+xml," + quote((TEMPLATES / "icon.svg").read_text("utf-8").strip())
_STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
_HEADERS = {
    "Content-Security-Policy": (
        f"default-src 'none'; img-src data:; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def routes(parts: Parts) -> APIRouter:
    """/ and /docs."""
    templates = _environment()

    def page(name: str) -> Callable[[Request], Awaitable[HTMLResponse]]:
        async def rendered(request: Request) -> HTMLResponse:
            base = links_of(request, parts.settings).base
            text = templates.get_template(name).render(base=base, catalogue=parts.catalogue, state=parts.engine_state())
            return HTMLResponse(text, headers=_HEADERS)

        return rendered

    router = APIRouter()
    router.add_route("/", page("home.html"))
    router.add_route("/docs", page("docs.html"))
    return router


def curl(endpoint: Endpoint, base: str) -> str:
    """A command for a shell that asks for the endpoint's example, and keeps the reply."""
    body = json.dumps(dict(endpoint.example), indent=2, ensure_ascii=False)
    return (
        f"curl {shlex.quote(f'{base}/v1/{endpoint.slug}')} \\\n"
        '  -H "x-api-key: $GESSO_KEY" \\\n'
        "  -H 'Content-Type: application/json' \\\n"
        f"  -o {'picture.jpg' if endpoint.returns == 'image' else 'reply.json'} \\\n"
        f"  -d {shlex.quote(body)}"
    )


def first_picture(base: str, slug: str) -> str:
    """The shortest command that puts a picture into a file."""
    return (
        f"curl {shlex.quote(f'{base}/v1/{slug}')} -H \"x-api-key: $GESSO_KEY\" -H 'Accept: image/png' \\\n"
        """  -d '{"prompt": "a red house by the sea"}' -o picture.png"""
    )


def permitted(parameter: Parameter) -> str:
    """The range of a number, the length of a text, what a list holds; nothing where the type says it all."""
    if parameter.type == "list":
        fields = "; ".join(f"{field.name}, {allowed(field)}" for field in parameter.fields.values())
        return f"at most {parameter.longest} objects, each with {fields}"
    if parameter.minimum is not None:
        step = f", multiples of {parameter.multiple_of}" if parameter.multiple_of else ""
        return f"{parameter.minimum} to {parameter.maximum}{step}"
    return f"at most {parameter.longest} characters" if parameter.longest else ""


def _environment() -> Environment:
    templates = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined)
    templates.filters |= {"price": price_text, "permitted": permitted, "json": json.dumps}
    templates.globals |= {"style": Markup(STYLE), "icon": ICON, "version": version("gesso"), "answers": _answers()}
    templates.globals |= {"curl": curl, "first_picture": first_picture}
    return templates


def _answers() -> list[tuple[int, str, str]]:
    kinds = sorted(ANSWERS.items(), key=lambda item: item[1].status)
    return [(answer.status, answer.code, (kind.__doc__ or "").partition("\n")[0]) for kind, answer in kinds]
