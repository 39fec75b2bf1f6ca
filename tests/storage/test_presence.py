import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gesso.errors import SettingsError
from gesso.storage.presence import Presence

SERVER = """
import sys, time
from pathlib import Path
from gesso.storage.presence import Presence
presence = Presence(Path(sys.argv[1]))
presence.enter()
print(presence.name, flush=True)
time.sleep(60)
"""


def test_a_server_that_is_there_is_not_gone(tmp_path: Path) -> None:
    here, other = Presence(tmp_path), Presence(tmp_path)
    here.enter()
    other.enter()
    assert here.gone() == other.gone() == []
    here.leave()
    other.leave()


def test_a_server_that_left_is_not_missed(tmp_path: Path) -> None:
    here, other = Presence(tmp_path), Presence(tmp_path)
    here.enter()
    other.enter()
    other.leave()
    assert here.gone() == []
    here.leave()


def test_a_killed_server_is_gone_until_it_is_forgotten(tmp_path: Path) -> None:
    here = Presence(tmp_path)
    here.enter()
    with subprocess.Popen([sys.executable, "-c", SERVER, str(tmp_path)], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        name = server.stdout.readline().strip()
        assert here.gone() == []
        server.send_signal(signal.SIGKILL)
        server.wait()
    assert here.gone() == [name]
    here.forget(name)
    assert here.gone() == []
    here.leave()


def test_a_folder_that_cannot_be_written_to_is_a_wrong_setting(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match="data_dir"):
        Presence(tmp_path / "file" / "servers").enter()
