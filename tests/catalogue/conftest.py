from collections.abc import Callable

import pytest

from gesso.catalogue.catalogue import Catalogue, load_catalogue
from gesso.catalogue.validation import ValidRequest, read_request

Ask = Callable[..., ValidRequest]

SMALLEST = {"prompt": "a red circle", "image": "https://pictures.example/circle.png"}


@pytest.fixture(scope="session")
def catalogue() -> Catalogue:
    return load_catalogue()


@pytest.fixture(scope="session")
def ask(catalogue: Catalogue) -> Ask:
    """Reads the smallest body that an endpoint takes, with fields laid over it."""

    def ask(slug: str = "sdxl1.0-txt2img", **fields: object) -> ValidRequest:
        endpoint = catalogue.endpoint(slug)
        smallest = {name: value for name, value in SMALLEST.items() if name in endpoint.parameters}
        return read_request(endpoint, smallest | fields)

    return ask
