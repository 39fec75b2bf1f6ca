"""Downloads over a network that fails: broken off, resumed, lied to."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from gesso.errors import ServiceUnavailable
from gesso.storage import download as downloading
from gesso.storage.download import Remote, download
from tests.hub import Hub, running_hub

DATA = bytes(range(256)) * 4096
DIGEST = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setattr(downloading, "PAUSE", 0.01)
    (tmp_path / "file").write_bytes(DATA)
    with running_hub(tmp_path) as hub:
        yield hub


def silent(done: int, due: int) -> None:
    assert 0 < done <= due == len(DATA)


async def test_a_file_comes_whole_and_its_progress_is_told(hub: Hub, tmp_path: Path) -> None:
    heard: list[tuple[int, int]] = []
    target = tmp_path / "new" / "mine"
    digest = await download(Remote(f"{hub.url}/file"), target, lambda done, due: heard.append((done, due)))
    assert target.read_bytes() == DATA
    assert digest == DIGEST
    assert heard[-1] == (len(DATA), len(DATA))
    assert [path.name for path in target.parent.iterdir()] == ["mine"], "nothing else stays"


async def test_what_broke_off_goes_on_where_it_was(hub: Hub, tmp_path: Path) -> None:
    hub.breaks = 2
    assert await download(Remote(f"{hub.url}/file", DIGEST), tmp_path / "mine", silent) == DIGEST
    half, more = len(DATA) // 2, len(DATA) // 2 + len(DATA) // 4
    assert [wanted for _, wanted in hub.asked] == [None, f"bytes={half}-", f"bytes={more}-"]
    assert (tmp_path / "mine").read_bytes() == DATA


async def test_a_later_run_goes_on_too(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(downloading, "ATTEMPTS", 1)
        hub.breaks = 1
        with pytest.raises(ServiceUnavailable, match=r"cannot be had: .*; try again later"):
            await download(Remote(f"{hub.url}/file"), tmp_path / "mine", silent)
    assert not (tmp_path / "mine").exists()
    await download(Remote(f"{hub.url}/file"), tmp_path / "mine", silent)
    assert hub.asked[-1][1] == f"bytes={len(DATA) // 2}-"
    assert (tmp_path / "mine").read_bytes() == DATA


async def test_a_file_that_has_changed_meanwhile_begins_anew(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloading, "ATTEMPTS", 1)
    hub.breaks = 1
    with pytest.raises(ServiceUnavailable):
        await download(Remote(f"{hub.url}/file"), tmp_path / "mine", silent)
    changed = bytes(reversed(DATA))
    (tmp_path / "file").write_bytes(changed)
    await download(Remote(f"{hub.url}/file"), tmp_path / "mine", silent)
    assert (tmp_path / "mine").read_bytes() == changed


async def test_without_a_version_nothing_is_pieced_together(hub: Hub, tmp_path: Path) -> None:
    hub.tags, hub.breaks = False, 1
    await download(Remote(f"{hub.url}/file"), tmp_path / "mine", silent)
    assert [wanted for _, wanted in hub.asked] == [None, None]
    assert (tmp_path / "mine").read_bytes() == DATA


async def test_one_wrong_transfer_is_thrown_away_and_fetched_again(hub: Hub, tmp_path: Path) -> None:
    hub.lies = 1
    assert await download(Remote(f"{hub.url}/file", DIGEST), tmp_path / "mine", silent) == DIGEST
    assert (tmp_path / "mine").read_bytes() == DATA


async def test_another_file_than_it_should_be_is_refused_with_both_hashes(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(ServiceUnavailable, match=f"has the sha256 {DIGEST}, and should have {'0' * 64}"):
        await download(Remote(f"{hub.url}/file", "0" * 64), tmp_path / "mine", silent)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]


async def test_a_wrong_size_is_noticed_before_anything_is_fetched(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(ServiceUnavailable, match=f"has {len(DATA)} bytes, and should have 7"):
        await download(Remote(f"{hub.url}/file", size=7), tmp_path / "mine", silent)


async def test_a_busy_server_is_asked_again_and_a_closed_one_is_not(hub: Hub, tmp_path: Path) -> None:
    hub.refusals = 2
    await download(Remote(f"{hub.url}/file"), tmp_path / "mine", silent)
    hub.status = 403
    with pytest.raises(ServiceUnavailable, match="not for everybody"):
        await download(Remote(f"{hub.url}/file"), tmp_path / "other", silent)
    hub.status = 200
    with pytest.raises(ServiceUnavailable, match="answered 404"):
        await download(Remote(f"{hub.url}/nothing"), tmp_path / "other", silent)
    assert len(hub.asked) == 5


async def test_too_little_room_is_told_beforehand(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloading.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10})())
    with pytest.raises(ServiceUnavailable, match=r"not enough room: 0\.0 GB are missing"):
        await download(Remote(f"{hub.url}/file"), tmp_path / "mine", silent)


async def test_a_key_goes_to_its_own_host_and_nowhere_else(hub: Hub, tmp_path: Path) -> None:
    with running_hub(tmp_path) as elsewhere:
        hub.redirect = elsewhere.url
        remote = Remote(f"{hub.url}/file", DIGEST, headers={"Authorization": "Bearer secret"})
        await download(remote, tmp_path / "mine", silent)
        assert (hub.authorised, elsewhere.authorised) == ([True], [False])
