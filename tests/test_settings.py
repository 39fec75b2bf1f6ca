"""Settings: flags over the environment over gesso.toml over defaults, and a wrong one stops the start by name."""

from pathlib import Path

import pytest

from gesso.errors import SettingsError
from gesso.settings import Settings, read_settings


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in Settings.model_fields:
        monkeypatch.delenv(f"GESSO_{name.upper()}", raising=False)


def test_flags_outrank_the_environment_which_outranks_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_settings().port == 8000
    Path("gesso.toml").write_text("port = 1\nhost = '0.0.0.0'\n")
    assert read_settings().port == 1
    monkeypatch.setenv("GESSO_PORT", "2")
    assert read_settings().port == 2
    assert read_settings(port=3).port == 3
    assert read_settings(port=None).host == "0.0.0.0"


def test_everything_lies_in_the_data_folder_unless_told_otherwise(tmp_path: Path) -> None:
    settings = read_settings(data_dir=tmp_path)
    assert settings.database == f"sqlite:///{tmp_path / 'gesso.db'}"
    assert settings.pictures_dir == tmp_path / "pictures"
    assert settings.models == tmp_path / "models"
    assert read_settings(models_dir=Path("/weights")).models == Path("/weights")


def test_memory_is_given_in_bytes_or_with_a_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_settings().gpu_memory is None
    monkeypatch.setenv("GESSO_GPU_MEMORY", "20GB")
    assert read_settings().gpu_memory == 20_000_000_000
    Path("gesso.toml").write_text("host_memory = 5")
    assert read_settings().host_memory == 5


def test_hosts_and_networks_are_a_list_with_commas_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GESSO_FETCH_ALLOW", "images.internal, 10.0.0.0/8")
    assert read_settings().fetch_allow == ("images.internal", "10.0.0.0/8")
    monkeypatch.delenv("GESSO_FETCH_ALLOW")
    Path("gesso.toml").write_text('fetch_allow = ["images.internal"]')
    assert read_settings().fetch_allow == ("images.internal",)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("port", "70000", "port = '70000'"),
        ("replies", "pictures", "'documented', 'image' or 'json'"),
        ("request_timeout", "0", "greater than 0"),
        ("public_url", "example.org", "must be an absolute http or https URL"),
        ("fetch_allow", "10.0.0.0/99", "'10.0.0.0/99'"),
        ("engine", "steam", "'local' or 'fake'"),
        ("device", "banana", "device = 'banana'"),
        ("precision", "fp4", "'auto', 'float32', 'bfloat16' or 'fp8'"),
        ("gpu_memory", "much", "gpu_memory = 'much'"),
        ("loading_patience", "0", "greater than 0"),
        ("storage_url", "s3://bucket", "must be a folder"),
    ],
)
def test_a_wrong_setting_is_named_with_its_value_and_what_would_be_right(
    name: str, value: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"GESSO_{name.upper()}", value)
    with pytest.raises(SettingsError) as error:
        read_settings()
    assert f"setting {name}" in error.value.sentence
    assert said in error.value.sentence


def test_products_in_8_bits_are_asked_for_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_settings().precision == "auto"
    monkeypatch.setenv("GESSO_PRECISION", "fp8")
    assert read_settings().precision == "fp8"


def test_an_unknown_setting_in_the_file_is_an_error() -> None:
    Path("gesso.toml").write_text("prot = 8000\n")
    with pytest.raises(SettingsError, match="prot"):
        read_settings()


def test_a_wrong_bootstrap_key_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GESSO_BOOTSTRAP_KEY", "hunter2!")
    with pytest.raises(SettingsError) as error:
        read_settings()
    assert "bootstrap_key" in error.value.sentence
    assert "hunter2" not in error.value.sentence
    monkeypatch.setenv("GESSO_BOOTSTRAP_KEY", "SG_0123456789ab")
    assert "SG_0123456789ab" not in repr(read_settings())


@pytest.mark.parametrize("content", [b"port = = 1", b"\xff\xfe"])
def test_a_file_that_is_not_toml_is_an_error(content: bytes) -> None:
    Path("gesso.toml").write_bytes(content)
    with pytest.raises(SettingsError, match=r"gesso\.toml is not TOML"):
        read_settings()
