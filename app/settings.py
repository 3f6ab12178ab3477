"""Settings of the service, read from LOOKALIKE_* variables or a `.env` file.

They are read once at an entry point (server, command line, migrations) and passed down as a parameter.
"""

import json
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from limits import parse
from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from app.catalogue.storage.protocol import bucket_and_prefix
from app.common.hosts import parse_allowed_host, parse_cors_origin, parse_trusted_proxy
from app.common.root_path import parse_root_path
from app.common.setting_names import PREFIX, reject_renamed_variables

MEGABYTE = 1_000_000
# Parsed by our own validator, for clearer error messages.
Names = Annotated[tuple[str, ...], NoDecode]


class Settings(BaseSettings):
    """All settings. Each is read from the variable LOOKALIKE_ plus its name in capitals.

    Raises:
        LookalikeError: a variable has a setting's name of an earlier version.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_file=".env", extra="ignore", frozen=True)

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on.")
    workers: int = Field(1, ge=1, le=64, description="Server processes. They share one catalogue.")
    startup_step_timeout_seconds: float = Field(
        300.0,
        gt=0,
        description="Timeout of each step of the start, except migrations. When it expires, the process logs the "
        "stacks of all threads and exits with 1.",
    )
    log_format: Literal["auto", "text", "json"] = Field(
        "auto", description="`text`, or `json`: one object per line. `auto`: text on a terminal, JSON elsewhere."
    )

    data_dir: Path = Field(Path("data"), description="Folder for the embedded database, vectors, and image files.")
    storage_url: str | None = Field(
        None,
        description="Bucket for originals and thumbnails, such as `s3://bucket/prefix`; needs "
        "`pip install 'lookalike[s3]'`. Default: the data folder.",
    )
    min_free_disk_bytes: int | None = Field(
        None,
        ge=0,
        description="Free space on the data folder's disk below which writes are refused. Default: a twentieth of the "
        "disk, between 64 MB and 1 GB.",
    )
    trash_days: float = Field(
        1.0,
        ge=0,
        le=3650,
        description="Days for which deleted images can be restored; their files stay on the disk so long. `0` deletes "
        "them at once.",
    )
    demo: Literal["auto", "off"] = Field("auto", description="`auto` fills an empty catalogue with demo images.")

    database_url: str | None = Field(
        None,
        description="PostgreSQL to use, such as `postgresql+psycopg://user:password@host/name`. Default: the service "
        "runs its own.",
    )
    max_database_connections: int | None = Field(
        None,
        gt=0,
        description="Maximum number of database connections of all workers together. Default: what PostgreSQL accepts.",
    )
    statement_timeout_seconds: float = Field(
        30.0, gt=0, description="Timeout of each SQL statement of a request. When it expires, the response is 503."
    )

    model: str | None = Field(
        None,
        description="Name of a shipped checkpoint, or path of another. Default: the catalogue's own, `general-small` "
        "for a new catalogue.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="Device that the model runs on.")
    inference_precision: Literal["f32", "bf16"] = Field(
        "f32",
        description="`f32` gives the same codes on every machine. `bf16` gives slightly different ones, so all "
        "replicas must use it or none; `lookalike quantise` makes faster models with a fingerprint of their own.",
    )
    model_cache_dir: Path | None = Field(
        None,
        description="Cache folder for models converted for this machine, which takes seconds. It may be shared and "
        "deleted. Default: `networks` in the data folder.",
    )
    training_dir: Path | None = Field(None, description="Folder of training runs. Default: `runs` in the data folder.")
    decode_workers: int | None = Field(
        None, gt=0, description="Processes that decode images, of all workers together. Default: one per core."
    )

    adapt: Literal["auto", "off"] = Field(
        "auto",
        description="`auto` fits codes to the catalogue once it has 500 images, and again when it has grown fourfold. "
        "`off`: only `lookalike adapt` does.",
    )
    search_pool: int | None = Field(
        None,
        gt=0,
        description="Number of candidates of a search without `pool`. Default: the model's own. `lookalike report` "
        "recommends a value for your catalogue.",
    )
    filter_cache_bytes: int = Field(
        256 * MEGABYTE, gt=0, description="Memory of each worker for cached results of search filters."
    )
    index_backend: Literal["local", "milvus"] = Field(
        "local",
        description="Index backend of new catalogues and of `lookalike reindex`: `local` keeps codes and F7 in memory "
        "and local files, `milvus` in Milvus.",
    )
    vector_dtype: Literal["f32", "f16"] = Field(
        "f32",
        description="Data type of stored F7 in new catalogues and after `lookalike reindex`. `f16` takes half the disk "
        "space.",
    )
    milvus_uri: str | None = Field(
        None,
        validate_default=True,
        description="Address of Milvus, such as `http://host:19530`; or, for a single process, the path of a "
        "milvus-lite file.",
    )

    auth: Literal["auto", "off"] = Field(
        "auto",
        description="`auto` requires an API key as soon as one exists. `off` leaves authentication to a reverse proxy.",
    )
    rate_limit: str | None = Field(None, description="Rate limit of each API key, such as `600/minute`.")
    allowed_hosts: Names = Field(
        (),
        description='Host names that requests may use, besides IP addresses: `["search.example", "localhost"]`. '
        "Default: any.",
    )
    cors_origins: Names = Field(
        (), description='Other sites whose pages may call the API (CORS): `["https://shop.example"]`.'
    )

    root_path: str = Field("", description="Path below which a reverse proxy serves the service, such as `/lookalike`.")
    trusted_proxies: Names = Field(
        (),
        description='Addresses or networks of reverse proxies: `["10.0.0.0/8"]`. `X-Forwarded-For`, '
        "`X-Forwarded-Proto` and `X-Forwarded-Prefix` are read only from them. By default, the first two are read from "
        "this machine, and the third is ignored.",
    )

    max_image_bytes: int = Field(20 * MEGABYTE, gt=0, description="Maximum size of an image in bytes.")
    max_image_pixels: int = Field(50 * MEGABYTE, gt=0, description="Maximum size of an image in pixels.")
    max_decode_cpu_seconds: float = Field(
        10.0, gt=0, description="Maximum CPU time for decoding an image. Time spent waiting for a core does not count."
    )
    max_images_per_request: int = Field(500, gt=0, description="Maximum number of images in a request.")
    max_request_bytes: int = Field(200 * MEGABYTE, gt=0, description="Maximum size of a request in bytes.")
    max_form_fields: int = Field(20, gt=0, description="Maximum number of form fields without a file in a request.")
    max_form_field_bytes: int = Field(
        1024 * 1024,
        gt=0,
        description="Maximum size of a form field without a file, and of a request body that is not a form, in bytes.",
    )
    max_concurrent_requests: int = Field(
        64, gt=0, description="Maximum number of requests that a process handles at once. Above it the response is 503."
    )
    max_buffered_bytes: int | None = Field(
        None,
        gt=0,
        description="Memory of a process for request and response bodies. Default: an eighth of the memory of the "
        "machine or container, divided by the number of workers.",
    )
    max_connections: int = Field(
        1000,
        gt=0,
        description="Maximum number of open connections of a process. Above it the one that is idle longest is closed.",
    )
    request_read_timeout_seconds: float = Field(
        60.0,
        gt=0,
        description="Timeout for reading a whole request. For archives of `POST /jobs`: the maximum pause.",
    )
    min_transfer_rate: int = Field(
        1000,
        gt=0,
        description="Minimum transfer rate in bytes per second. Slower uploads get a 408, slower downloads are cut "
        "off.",
    )
    transfer_grace_seconds: float = Field(
        10.0, gt=0, description="How long a transfer may stay below that rate before it is cut off."
    )

    max_archive_bytes: int = Field(
        10_000 * MEGABYTE, gt=0, description="Maximum size of an archive of `POST /jobs` in bytes."
    )
    max_archive_entries: int = Field(
        500_000, gt=0, description="Maximum number of files in such an archive, and of rows in its metadata table."
    )
    archive_upload_timeout_seconds: float = Field(
        3600.0, gt=0, description="Timeout for reading a whole archive of `POST /jobs`."
    )

    url: str | None = Field(
        None,
        description="Address of a running service for `lookalike index`, `search` and `delete`. "
        "Default: the data folder.",
    )
    api_key: str | None = Field(None, description="API key that these commands send to a service.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - part of the overridden signature
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Reject names of earlier versions in the environment and in `.env`."""
        reject_renamed_variables(
            name for source in (env_settings, dotenv_settings) for name in cast("EnvSettingsSource", source).env_vars
        )
        return (init_settings, env_settings, dotenv_settings, file_secret_settings)

    @field_validator("milvus_uri")
    @classmethod
    def _validate_milvus_uri(cls, uri: str | None, others: ValidationInfo) -> str | None:
        if uri is None and others.data.get("index_backend") == "milvus":
            raise ValueError("is required for Milvus. Set it to its address, such as http://host:19530")
        if uri is None or "://" in uri:
            return uri
        if not uri.endswith(".db"):
            raise ValueError("is neither an address (http://host:19530) nor a milvus-lite file (milvus.db)")
        if others.data.get("workers", 1) > 1:
            raise ValueError("is a file, which only one process can use. Use a Milvus server for several workers")
        return uri

    @field_validator("rate_limit")
    @classmethod
    def _validate_rate_limit(cls, rate: str | None) -> str | None:
        if rate:
            parse(rate)
        return rate

    @field_validator("allowed_hosts", "cors_origins", "trusted_proxies", mode="before")
    @classmethod
    def _parse_names(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if not value.strip().startswith("["):
            return tuple(name.strip() for name in value.split(",") if name.strip())
        try:
            return tuple(json.loads(value))
        except ValueError as error:
            raise ValueError(f'is not a list such as ["search.example", "localhost"]: {error}') from error

    @field_validator("allowed_hosts")
    @classmethod
    def _validate_hosts(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(map(parse_allowed_host, hosts)))

    @field_validator("cors_origins")
    @classmethod
    def _validate_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(map(parse_cors_origin, origins)))

    @field_validator("trusted_proxies")
    @classmethod
    def _validate_proxies(cls, proxies: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(map(parse_trusted_proxy, proxies)))

    @field_validator("root_path")
    @classmethod
    def _validate_root_path(cls, path: str) -> str:
        return parse_root_path(path)

    @field_validator("storage_url")
    @classmethod
    def _validate_storage_url(cls, url: str | None) -> str | None:
        if url:
            bucket_and_prefix(url)
        return url or None


def variables() -> list[str]:
    """Return the names of all variables in the environment and in `.env`, in capitals."""
    sources = (EnvSettingsSource(Settings), DotEnvSettingsSource(Settings))
    return [name.upper() for source in sources for name in source.env_vars]
