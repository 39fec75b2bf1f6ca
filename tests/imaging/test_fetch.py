"""URLs from strangers: what is public is fetched, what is inside is out of reach however it is written."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from hypothesis import given
from hypothesis import strategies as st

from gesso.errors import BadRequest
from gesso.imaging import fetch
from gesso.imaging.address import Guard
from gesso.imaging.fetch import Fetcher
from gesso.imaging.source import embedded_bytes, read_source

PICTURE = b"\x89PNG and so on"
SHUT = Guard.opening([])
OPEN = Guard.opening(["0.0.0.0/0", "::/0"])


class Names(AbstractResolver):
    """Knows the names it is given; each look-up of a name takes its next address."""

    def __init__(self, **addresses: list[str]) -> None:
        self.addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        known = self.addresses[host.partition(".")[0]]
        addresses = [known.pop(0)] if len(known) > 1 and host.startswith("changing") else known
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        """Nothing to give back."""


class Site:
    """A web server on this machine's loopback that counts who comes by."""

    def __init__(self) -> None:
        self.visits: list[str] = []
        self.port = 0

    def url(self, path: str = "/picture.png", host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    async def picture(self, request: web.Request) -> web.Response:
        self.visits.append(request.path)
        return web.Response(body=PICTURE, content_type="image/png")

    async def status(self, request: web.Request) -> web.Response:
        return web.Response(status=int(request.match_info["status"]))

    async def redirect(self, request: web.Request) -> web.Response:
        self.visits.append(request.path)
        return web.Response(status=302, headers={"Location": request.query["to"]})

    async def hops(self, request: web.Request) -> web.Response:
        left = int(request.match_info["left"])
        return web.Response(status=307, headers={"Location": f"/hops/{left - 1}" if left > 1 else "/picture.png"})

    async def endless(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(bytes(2**20))

    async def silent(self, request: web.Request) -> web.Response:
        await asyncio.sleep(60)
        return web.Response()

    async def packed(self, request: web.Request) -> web.Response:
        return web.Response(body=b"\x1f\x8b", headers={"Content-Encoding": "gzip"})


@pytest_asyncio.fixture
async def site() -> AsyncIterator[Site]:
    site, application = Site(), web.Application()
    routes: dict[str, Callable[[web.Request], object]] = {
        "/picture.png": site.picture,
        "/status/{status}": site.status,
        "/redirect": site.redirect,
        "/hops/{left}": site.hops,
        "/endless": site.endless,
        "/silent": site.silent,
        "/packed": site.packed,
    }
    application.add_routes([web.get(path, handler) for path, handler in routes.items()])  # type: ignore[arg-type]
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    listener = socket.create_server(("127.0.0.1", 0))
    site.port = listener.getsockname()[1]
    await web.SockSite(runner, listener).start()
    yield site
    await runner.cleanup()


async def refusal(url: str, fetcher: Fetcher) -> str:
    with pytest.raises(BadRequest) as caught:
        await fetcher.fetch(url)
    assert caught.value.problems[0].parameter == "image"
    return caught.value.problems[0].problem


LOOPBACK = [
    "http://127.0.0.1:{port}/picture.png",
    "http://0x7f000001:{port}/picture.png",
    "http://0x7F.0.0.0x1:{port}/picture.png",
    "http://0x7f.1:{port}/picture.png",
    "http://localhost:{port}/picture.png",
    "http://LOCALHOST:{port}/picture.png",
    "http://0.0.0.0:{port}/picture.png",
    "http://user:password@127.0.0.1:{port}/picture.png",
    "http://example.com@127.0.0.1:{port}/picture.png",
    "HTTP://127.0.0.1:{port}/picture.png",
    "http://①②⑦.⓪.⓪.①:{port}/picture.png",
    "http://127。0。0。1:{port}/picture.png",
]
"""Ways to write this machine's own address, each of which reaches it where nothing stands in the way."""

NUMBERS = [
    "http://127.1:{port}/picture.png",
    "http://127.0.1:{port}/picture.png",
    "http://2130706433:{port}/picture.png",
    "http://0177.0.0.1:{port}/picture.png",
    "http://017700000001:{port}/picture.png",
    "http://0:{port}/picture.png",
    "http://2852039166:{port}/latest/meta-data/",
    "http://0251.0376.0251.0376:{port}/latest/meta-data/",
]
"""Addresses as numbers that other programs connect to and that are no valid host to begin with here."""

INSIDE = [
    "http://127.255.255.254/",
    "http://0.1.2.3/",
    "http://10.0.0.1/",
    "http://10.255.255.255/",
    "http://172.16.0.1/",
    "http://172.31.255.255/",
    "http://192.168.1.1/",
    "http://100.64.0.1/",
    "http://100.100.100.200/latest/meta-data/",
    "http://169.254.169.254/latest/meta-data/",
    "http://[::ffff:169.254.169.254]/latest/meta-data/",
    "http://0xA9FEA9FE/latest/meta-data/",
    "http://168.63.129.16/metadata/instance",
    "http://192.0.0.192/opc/v2/",
    "http://192.0.2.1/",
    "http://192.88.99.1/",
    "http://198.18.0.1/",
    "http://198.51.100.1/",
    "http://203.0.113.1/",
    "http://224.0.0.1/",
    "http://239.255.255.250/",
    "http://240.0.0.1/",
    "http://255.255.255.255/",
    "http://[::]/",
    "http://[::1]/",
    "http://[0:0:0:0:0:0:0:1]/",
    "http://[::127.0.0.1]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:7f00:1]/",
    "http://[::ffff:0:127.0.0.1]/",
    "http://[64:ff9b::127.0.0.1]/",
    "http://[64:ff9b::10.0.0.1]/",
    "http://[64:ff9b:1::1]/",
    "http://[2002:7f00:1::]/",
    "http://[2002:a00:1::1]/",
    "http://[2001:0:4136:e378:8000:63bf:80ff:fffe]/",
    "http://[2001:db8::1]/",
    "http://[2606:4700::5efe:127.0.0.1]/",
    "http://[2606:4700::200:5efe:10.0.0.1]/",
    "http://[3fff::1]/",
    "http://[fc00::1]/",
    "http://[fd00:ec2::254]/latest/meta-data/",
    "http://[fe80::1]/",
    "http://[fec0::1]/",
    "http://[ff02::1]/",
    "http://[100::1]/",
    "http://[5f00::1]/",
]
"""Addresses that only this machine or its network can reach, or that hide one that only they can."""


@pytest.mark.parametrize("trick", LOOPBACK)
async def test_without_the_guard_each_way_to_write_this_machine_gets_through(site: Site, trick: str) -> None:
    assert await Fetcher(OPEN).fetch(trick.format(port=site.port)) == PICTURE
    assert site.visits == ["/picture.png"]


@pytest.mark.parametrize("trick", LOOPBACK)
async def test_with_the_guard_no_way_to_write_this_machine_gets_through(site: Site, trick: str) -> None:
    assert "is not a public address" in await refusal(trick.format(port=site.port), Fetcher(SHUT))
    assert site.visits == []


@pytest.mark.parametrize("trick", NUMBERS)
async def test_a_number_in_place_of_a_host_is_refused_even_where_everything_is_open(site: Site, trick: str) -> None:
    for guard in (SHUT, OPEN):
        assert await refusal(trick.format(port=site.port), Fetcher(guard))
    assert site.visits == []


@pytest.mark.parametrize("url", INSIDE)
async def test_no_inner_address_is_connected_to(url: str) -> None:
    assert "is not a public address" in await refusal(url, Fetcher(SHUT))


@pytest.mark.parametrize("address", ["127.0.0.1", "10.1.2.3", "169.254.169.254", "::1", "::ffff:10.0.0.1", "fd00::1"])
async def test_a_name_that_resolves_inward_is_refused(address: str) -> None:
    fetcher = Fetcher(SHUT, Names(inward=[address]))
    assert await refusal("http://inward.example/", fetcher) == (
        "http://inward.example/ cannot be fetched: inward.example is not a public address"
    )


async def test_a_name_with_one_public_and_one_inner_address_never_leads_inside(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "SECONDS_LIMIT", 0.5)
    names = Names(both=["203.0.113.9", "127.0.0.1"])
    await refusal(site.url(host="both.example"), Fetcher(Guard.opening(["203.0.113.0/24"]), names))
    assert site.visits == []


async def test_a_name_is_looked_up_once_so_that_it_cannot_change_after_the_check(site: Site) -> None:
    opened = Guard.opening(["127.0.0.1"])
    names = Names(changing=["127.0.0.1", "10.0.0.1"])
    assert await Fetcher(opened, names).fetch(site.url(host="changing.example")) == PICTURE
    assert names.addresses["changing"] == ["10.0.0.1"]


@pytest.mark.parametrize(
    "inward",
    ["http://127.0.0.2/", "http://169.254.169.254/", "//10.0.0.1/x", "http://[::1]/", "http://0x7f.2/"],
)
async def test_a_redirect_inward_is_refused_at_the_redirect(site: Site, inward: str) -> None:
    only_the_site = Fetcher(Guard.opening(["127.0.0.1"]))
    assert "is not a public address" in await refusal(site.url(f"/redirect?to={inward}"), only_the_site)
    assert site.visits == ["/redirect"]


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://example.com/x", "gopher://127.0.0.1/", "data:,x"])
async def test_a_redirect_to_anything_but_http_is_refused(site: Site, target: str) -> None:
    problem = await refusal(site.url(f"/redirect?to={target}"), Fetcher(OPEN))
    assert "is not an http or https URL" in problem


@pytest.mark.parametrize("allowed", ["127.0.0.1", "127.0.0.0/8", "LocalHost", "localhost."])
async def test_fetch_allow_opens_hosts_addresses_and_networks(site: Site, allowed: str) -> None:
    guard = Guard.opening([allowed])
    host = "localhost" if "local" in allowed.lower() else "127.0.0.1"
    assert await Fetcher(guard).fetch(site.url(host=host)) == PICTURE


async def test_opening_one_name_does_not_open_its_address_under_another(site: Site) -> None:
    assert await refusal(site.url(host="127.0.0.1"), Fetcher(Guard.opening(["localhost"])))


async def test_three_redirects_are_followed_and_a_fourth_is_not(site: Site) -> None:
    assert await Fetcher(OPEN).fetch(site.url("/hops/3")) == PICTURE
    assert "more than 3 redirects" in await refusal(site.url("/hops/4"), Fetcher(OPEN))


async def test_more_than_20_mb_are_not_taken(site: Site) -> None:
    assert (await refusal(site.url("/endless"), Fetcher(OPEN))).endswith("is larger than 20 MB")


async def test_whoever_does_not_answer_in_time_is_given_up(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "SECONDS_LIMIT", 0.2)
    assert "did not arrive within" in await refusal(site.url("/silent"), Fetcher(OPEN))


@pytest.mark.parametrize("status", [204, 404, 500])
async def test_a_status_other_than_200_is_said(site: Site, status: int) -> None:
    assert (await refusal(site.url(f"/status/{status}"), Fetcher(OPEN))).endswith(f"answered with status {status}")


async def test_a_compressed_reply_is_refused_and_not_unpacked(site: Site) -> None:
    assert "compressed" in await refusal(site.url("/packed"), Fetcher(OPEN))


async def test_a_host_that_is_not_there_is_said() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    assert (await refusal(f"http://127.0.0.1:{port}/", Fetcher(OPEN))).endswith("its host cannot be reached")


async def test_proxies_of_the_environment_are_ignored(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert await Fetcher(OPEN).fetch(site.url()) == PICTURE


@pytest.mark.parametrize(
    "url",
    ["http://", "http:///x", "http://[::1", "http://exa mple.com:x/", "http://a:99999/", "http://%00/", "https:x"],
)
async def test_a_url_that_is_none_is_refused(url: str) -> None:
    assert await refusal(url, Fetcher(SHUT))


class Inward(AbstractResolver):
    """Every name leads to this machine."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        address = ResolveResult(
            hostname=host, host="127.0.0.1", port=port, family=socket.AF_INET, proto=0, flags=socket.AI_NUMERICHOST
        )
        return [address]

    async def close(self) -> None:
        """Nothing to give back."""


@given(st.text(max_size=40) | st.text("0123456789abcdefx.:[]@/%?#\\-_ \t\r\n\0", max_size=40))
def test_any_text_behind_http_is_refused_and_nothing_else_happens(text: str) -> None:
    with pytest.raises(BadRequest):
        asyncio.run(Fetcher(SHUT, Inward()).fetch(f"http://{text}"))


async def test_a_url_of_a_megabyte_is_refused_and_not_repeated_at_length() -> None:
    assert len(await refusal("http://example.com/" + "x" * 2**20, Fetcher(OPEN))) < 400


@pytest.mark.parametrize(
    "value",
    [
        "aGk/aGk+",
        "aGk_aGk-",
        "aGk/\naGk+\r\n",
        "  aGk/aGk+ ",
        "data:image/png;base64,aGk/aGk+",
        "DATA:image/png;BASE64,aGk/aGk+",
        "data:;base64,aGk_aGk-",
        "data:image/png;charset=x;base64,aGk%2FaGk%2B",
        "data:text/plain,hi%3Fhi%3E",
        "data:,hi?hi>",
    ],
)
async def test_each_way_to_write_bytes_is_read(value: str) -> None:
    assert await read_source(value, Fetcher(SHUT)) == b"hi?hi>"


@pytest.mark.parametrize("text", ["aGk", "aGk=", "aGk==", "aG k"])
def test_padding_and_spaces_do_not_matter(text: str) -> None:
    assert embedded_bytes(text) == b"hi"


@pytest.mark.parametrize("value", ["a", "hello!", "ftp://example.com/x.png", "file:///etc/passwd", "ä"])
async def test_what_is_neither_url_nor_data_nor_base64_is_refused(value: str) -> None:
    with pytest.raises(BadRequest, match="is neither an http or https URL, nor a data: URI, nor base64"):
        await read_source(value, Fetcher(SHUT))


async def test_a_url_in_capitals_with_spaces_around_is_a_url(site: Site) -> None:
    assert await read_source(" HTTP" + site.url()[4:] + "\n", Fetcher(OPEN)) == PICTURE
