"""The HTTP interface as one ASGI application, put together from its routes and layers."""

from importlib.metadata import version

from fastapi import FastAPI
from starlette.types import ASGIApp

from gesso.api import health, images, metrics, openapi, pages, problems, segmind
from gesso.api.auth import Authentication
from gesso.api.intake import Intake
from gesso.api.metrics import CountingAnswers
from gesso.api.parts import Parts
from gesso.api.rate_limits import RateLimits
from gesso.api.trace import Trace


def create_api(parts: Parts) -> ASGIApp:
    """The application, for parts that are ready and stay so while it is served."""
    app = FastAPI(
        title="Gesso",
        version=version("gesso"),
        openapi_url=None,
        redirect_slashes=False,
        strict_content_type=False,
    )
    for module in (segmind, images, health, openapi, pages):
        app.include_router(module.routes(parts))
    app.include_router(metrics.routes(parts.metrics))
    problems.install(app)
    known = Authentication(RateLimits(app, parts.rates), parts.keys)
    answering = Intake(problems.Problems(known), parts.settings.body_limit)
    return Trace(CountingAnswers(answering, parts.metrics, frozenset(parts.catalogue.endpoints)))
