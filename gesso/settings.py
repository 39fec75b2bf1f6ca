"""Every setting, read once: flags, then the environment (`GESSO_` prefix), then `gesso.toml`, then these defaults."""

import ipaddress
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from platformdirs import user_data_path
from pydantic import ByteSize, Field, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from gesso.errors import SettingsError

KEY_FORM = re.compile(r"(sg_|SG_)[a-zA-Z0-9]{12,}")

Replies = Literal["documented", "image", "json"]


class Settings(BaseSettings):
    """Frozen; handed to each part by argument. Lengths of time are seconds, sizes bytes."""

    model_config = SettingsConfigDict(env_prefix="GESSO_", toml_file="gesso.toml", frozen=True, extra="forbid")

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    public_url: str | None = Field(None, description="The server's address as its callers see it, for picture URLs.")
    data_dir: Path = Field(default_factory=lambda: user_data_path("gesso"), description="Where everything is kept.")
    database_url: str | None = Field(
        None, description="SQLite, or postgresql://user:password@host/name; by default SQLite in data_dir.", repr=False
    )
    storage_url: str | None = Field(None, description="Folder for pictures; by default in data_dir.")
    models_dir: Path | None = Field(None, description="Folder of checkpoints; by default in data_dir.")
    catalogue_file: Path | None = Field(None, description="TOML with checkpoints and bindings of your own.")
    styles_file: Path | None = Field(
        None, description='JSON with styles of your own: [{"name","prompt","negative_prompt"}].'
    )
    engine: Literal["local", "fake"] = Field("local", description="`fake` paints placeholders at once, for load tests.")
    device: str = Field("auto", pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$", description="auto, cpu, cuda, cuda:1, ...")
    precision: Literal["auto", "float32", "bfloat16", "fp8"] = Field(
        "auto",
        description="auto: bfloat16 where it is native. fp8: bfloat16, but UNets' Linears multiply in 8 bits, which is "
        "meant for GPUs from Ada on, and slower on a CPU; pictures differ a little.",
    )
    threads: int | None = Field(None, gt=0, description="CPU threads of the engine; by default one a core.")
    gpu_memory: ByteSize | None = Field(
        None, gt=0, description="What weights and requests may take of the GPU, as 20GB; by default four fifths of it."
    )
    host_memory: ByteSize | None = Field(
        None, gt=0, description="What weights may take of the host's memory, as 20GB; by default half of it."
    )
    loading_patience: float = Field(
        60, gt=0, description="A request that waits longer for a checkpoint is told how far it is, and to come again."
    )
    warm_up: Annotated[tuple[str, ...] | None, NoDecode] = Field(
        None,
        description="Endpoints that paint once for nobody at the start, so that nobody waits for kernels to be "
        "compiled and networks to load; by default the first on a GPU, none on a CPU.",
    )
    replies: Replies = Field("documented", description="Form of replies where the caller does not say.")
    fetch_allow: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Hosts or networks that start images may come from although they are private."
    )
    bootstrap_key: str | None = Field(None, description="The owner's first key, instead of a random one.", repr=False)
    request_timeout: float = Field(300, gt=0, description="A request that takes longer is cancelled and not charged.")
    body_limit: int = Field(32 * 2**20, gt=0, description="Largest request body.")
    prompt_limit: int = Field(20_000, gt=0, description="Longest prompt, in characters.")
    rate: str | None = Field(
        None,
        description="What an account without a rate of its own may send, as 60/minute; by default any number.",
    )
    redis_url: str | None = Field(
        None,
        description="Redis in which servers count for rates together, as redis://host:6379/0; by default each alone.",
        repr=False,
    )
    queue_per_account: int = Field(64, gt=0, description="Requests one account may have waiting or running.")
    queue_total: int = Field(1024, gt=0, description="Requests that may be waiting or running in all.")

    keep_pictures: float | None = Field(
        None, gt=0, le=36_500, description="Days after which a delivered picture is deleted; by default none is."
    )
    keep_jobs: float | None = Field(
        None,
        ge=1,
        le=36_500,
        description="Days after which a request is forgotten, with its pictures; what it cost stays in the ledger.",
    )

    @field_validator("fetch_allow", "warm_up", mode="before")
    @classmethod
    def _split_commas(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("fetch_allow")
    @classmethod
    def _networks_parse(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for part in value:
            if "/" in part:
                ipaddress.ip_network(part)
        return value

    @field_validator("bootstrap_key")
    @classmethod
    def _key_has_the_form(cls, value: str | None) -> str | None:
        if value is not None and not KEY_FORM.fullmatch(value):
            raise ValueError("a key is SG_ followed by at least 12 letters and digits")
        return value

    @field_validator("storage_url")
    @classmethod
    def _storage_is_a_folder(cls, value: str | None) -> str | None:
        if value is not None and "://" in value:
            raise ValueError("must be a folder; object stores are not served yet")
        return value

    @field_validator("public_url")
    @classmethod
    def _url_is_absolute(cls, value: str | None) -> str | None:
        if value is not None and (urlsplit(value).scheme not in ("http", "https") or not urlsplit(value).netloc):
            raise ValueError("must be an absolute http or https URL")
        return value.rstrip("/") if value else None

    @property
    def database(self) -> str:
        """SQLAlchemy URL of the database in use."""
        return self.database_url or f"sqlite:///{self.data_dir / 'gesso.db'}"

    @property
    def pictures_dir(self) -> Path:
        """Folder that pictures are kept in."""
        return Path(self.storage_url) if self.storage_url else self.data_dir / "pictures"

    @property
    def models(self) -> Path:
        """Folder that checkpoint files are named relative to."""
        return self.models_dir or self.data_dir / "models"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)


def read_settings(**flags: Any) -> Settings:
    """Settings with `flags` (those that are not None) on top.

    Raises:
        SettingsError: names each wrong setting, its value and what would be right.
    """
    try:
        return Settings(**{name: value for name, value in flags.items() if value is not None})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"gesso.toml is not TOML: {error}") from None
    except ValidationError as error:
        raise SettingsError("; ".join(_sentence(problem) for problem in error.errors())) from None


def _sentence(problem: Any) -> str:
    name = ".".join(str(part) for part in problem["loc"])
    shown = "" if name in ("bootstrap_key", "database_url", "redis_url") else f" = {problem['input']!r}"
    return f"setting {name}{shown}: {problem['msg'].removeprefix('Value error, ')}"
