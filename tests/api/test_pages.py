"""The pages: complete, escaped, accessible, and sufficient unto themselves."""

import base64
import hashlib
import html
import json
import re
import subprocess
from html.parser import HTMLParser

import httpx2
import pytest

from gesso.api.pages import curl
from gesso.catalogue.catalogue import load_catalogue
from tests.api.house import DOCUMENTED, House, documented

PAGES = ["/", "/docs"]


class Elements(HTMLParser):
    """Every element of a page with its attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


def elements(house: House, path: str) -> Elements:
    return Elements(house.client.get(path).text)


@pytest.mark.parametrize("path", PAGES)
def test_a_page_asks_nobody_for_anything(house: House, path: str) -> None:
    found = elements(house, path)
    assert not found.named("script")
    assert not found.named("img")
    assert all(str(link["href"]).startswith("data:") for link in found.named("link"))
    assert all(str(anchor["href"]).startswith(("/", "#")) for anchor in found.named("a"))


@pytest.mark.parametrize("path", PAGES)
def test_the_content_security_policy_allows_the_page_its_own_style_and_nothing_else(house: House, path: str) -> None:
    reply = house.client.get(path)
    policy = reply.headers["content-security-policy"]
    (style,) = re.findall(r"<style>(.*?)</style>", reply.text, re.DOTALL)
    fingerprint = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert "default-src 'none'" in policy
    assert f"style-src 'sha256-{fingerprint}'" in policy
    assert "unsafe" not in policy
    assert not any("style" in attributes for _, attributes in Elements(reply.text).found)


@pytest.mark.parametrize("path", PAGES)
def test_a_page_can_be_read_by_everyone(house: House, path: str) -> None:
    found = elements(house, path)
    assert found.named("html")[0]["lang"] == "en"
    assert len(found.named("h1")) == len(found.named("main")) == len(found.named("title")) == 1
    assert all("scope" in header for header in found.named("th"))
    assert len(found.named("caption")) == len(found.named("table"))
    ids = [attributes["id"] for _, attributes in found.found if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = {str(one["href"])[1:] for one in found.named("a") if str(one["href"]).startswith("#")}
    assert targets <= set(ids)


def test_the_front_page_says_where_everything_is(house: House) -> None:
    text = house.client.get("/").text
    for slug in DOCUMENTED:
        assert f"{house.url}/v1/{slug}" in text
    for path in ("/docs", "/openapi.json"):
        assert f'href="{path}"' in text


def test_the_documentation_has_every_parameter_with_its_default_and_range(house: House) -> None:
    text = house.client.get("/docs").text
    for slug in DOCUMENTED:
        assert f'id="{slug}"' in text
        for name in documented(slug):
            assert f"<code>{name}</code>" in text
    for fact in ("512 to 2048, multiples of 8", "DPM++ 2M SDE Heun Karras", "film noir", "-1 to 999999999999999"):
        assert fact in text
    list_of = "at most 8 objects, each with name, text of 1 to 200 characters; weight, a number from -4 to 4"
    assert list_of in text


def arguments(command: str, key: str) -> list[str]:
    """What a shell hands to curl for this command, with the key where the command says it is."""
    listing = f"curl() {{ printf '%s\\0' \"$@\"; }}; GESSO_KEY={key}; {command}"
    said = subprocess.run(["sh", "-c", listing], capture_output=True, check=True)
    return said.stdout.decode().split("\0")[:-1]


def asked(command: str, key: str) -> httpx2.Response:
    """What curl would get."""
    url, *options = arguments(command, key)
    pairs = list(zip(options[::2], options[1::2], strict=True))
    headers = dict(value.split(": ", 1) for option, value in pairs if option == "-H")
    return httpx2.post(url, headers=headers, content=dict(pairs)["-d"].encode(), timeout=20)


def test_the_command_for_a_first_picture_gets_one(house: House) -> None:
    (command,) = re.findall(r"<pre[^>]*><code>(.*?)</code></pre>", house.client.get("/").text, re.DOTALL)
    assert asked(html.unescape(command), house.key).content.startswith(b"\x89PNG")


@pytest.mark.parametrize("slug", DOCUMENTED)
def test_the_command_to_copy_sends_the_documented_example(slug: str) -> None:
    words = arguments(curl(load_catalogue().endpoint(slug), "http://127.0.0.1:9"), "k")
    assert words[0] == f"http://127.0.0.1:9/v1/{slug}"
    assert "x-api-key: k" in words
    assert json.loads(words[words.index("-d") + 1]) == documented(slug)


def test_a_host_that_a_client_made_up_cannot_write_into_the_page(house: House) -> None:
    text = house.client.get("/", headers={"Host": "<script>alert(1)</script>"}).text
    assert "<script" not in text
