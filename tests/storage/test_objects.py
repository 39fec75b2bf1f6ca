import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gesso.errors import NotFound, ServiceUnavailable
from gesso.storage.objects import PictureFolder, new_token


@contextmanager
def files_no_longer_than(size: int) -> Iterator[None]:
    """The system's own limit, to have a write fail for real."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_a_picture_is_read_by_its_token(tmp_path: Path) -> None:
    folder, token = PictureFolder(tmp_path), new_token()
    await folder.put(token, b"one picture")
    assert await folder.read(token) == b"one picture"
    assert await PictureFolder(tmp_path).read(token) == b"one picture"


def test_a_token_has_at_least_128_random_bits() -> None:
    tokens = {new_token() for _ in range(1000)}
    assert len(tokens) == 1000
    assert all(len(bytes.fromhex(token)) * 8 >= 128 for token in tokens)


async def test_a_deleted_picture_is_gone_and_can_be_deleted_again(tmp_path: Path) -> None:
    folder, token = PictureFolder(tmp_path), new_token()
    await folder.put(token, b"one picture")
    await folder.delete(token)
    await folder.delete(token)
    with pytest.raises(NotFound):
        await folder.read(token)


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "../secret",
        "ab/../../secret",
        "%2e%2e/secret",
        "/etc/passwd",
        "secret\0",
        "a" * 47,
        "A" * 48,
        "a" * 49,
    ],
)
async def test_nothing_but_a_token_is_ever_looked_for(tmp_path: Path, token: str) -> None:
    (tmp_path / "secret").write_text("do not show")
    (tmp_path / "secret.png").write_text("do not show")
    folder = PictureFolder(tmp_path / "pictures")
    with pytest.raises(NotFound):
        await folder.read(token)
    with pytest.raises(NotFound):
        await folder.put(token, b"")
    assert not (tmp_path / "pictures").exists()


async def test_a_picture_that_finds_no_room_leaves_nothing_behind(tmp_path: Path) -> None:
    folder, token = PictureFolder(tmp_path), new_token()
    with files_no_longer_than(1000), pytest.raises(ServiceUnavailable, match="cannot be stored"):
        await folder.put(token, b"." * 5000)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    await folder.put(token, b"." * 5000)
    assert await folder.read(token) == b"." * 5000


async def test_what_a_killed_server_left_half_written_goes_with_the_picture(tmp_path: Path) -> None:
    folder, token = PictureFolder(tmp_path), new_token()
    await folder.put(token, b"one picture")
    (whole,) = (path for path in tmp_path.rglob("*") if path.is_file())
    whole.rename(whole.with_suffix(".abcd.part"))
    await folder.put(token, b"one picture")
    await folder.delete(token)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
