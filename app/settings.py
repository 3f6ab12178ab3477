"""Every setting of the service, read from LOOKALIKE_* variables or a `.env` file.

Read once at a root (the server, the command line, migrations) and passed down; nothing below reads it again.
"""

import json
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

from limits import parse
from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from app.catalogue.picture_store import bucket_and_prefix
from app.hosts import parse_host, parse_origin

MEGABYTE = 1_000_000
# Read by a validator of our own, whose errors say what is wrong.
Names = Annotated[tuple[str, ...], NoDecode]


class Settings(BaseSettings):
    """The settings; each one's variable is its name in capitals after LOOKALIKE_."""

    model_config = SettingsConfigDict(env_prefix="LOOKALIKE_", env_file=".env", extra="ignore", frozen=True)

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on.")
    workers: int = Field(1, ge=1, le=64, description="Server processes over the one catalogue.")
    data_dir: Path = Field(Path("data"), description="Where pictures, vectors and the embedded database live.")
    min_free_bytes: int | None = Field(
        None,
        ge=0,
        description="Bytes that stay free on the data folder's disk: below that writes are refused; without it, a "
        "twentieth of the disk, at least 64 MB and at most 1 GB.",
    )
    database_url: str | None = Field(
        None, description="A PostgreSQL to use (postgresql+psycopg://…); without it the service runs its own."
    )
    pictures: str | None = Field(
        None, description="A bucket for originals and thumbnails (s3://…); without it they are in the data folder."
    )
    model: str | None = Field(
        None, description="A checkpoint that ships, by name, or the path of one; without it, the catalogue's own."
    )
    pool: int | None = Field(
        None,
        gt=0,
        description="Candidates of a search that does not say how many; without it, as many as suit the network. "
        "`lookalike report` says which suit the catalogue.",
    )
    demo: Literal["auto", "off"] = Field("auto", description="Whether an empty catalogue is filled with drawings.")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="Where networks run.")
    model_cache_dir: Path | None = Field(
        None,
        description="Where networks are kept as converted for this machine, which takes seconds; it may be shared and "
        "deleted. Without it, a folder of the data folder.",
    )
    precision: Literal["f32", "bf16"] = Field(
        "f32", description="f32 gives the same codes on every machine; bf16 is faster where the CPU has it."
    )
    vectors: Literal["f32", "f16"] = Field(
        "f32",
        description="How new catalogues, and those that `lookalike reencode` moves, keep F7; f16 takes half the disk.",
    )
    log: Literal["auto", "text", "json"] = Field(
        "auto", description="Sentences or JSON, one object a line; auto is sentences on a terminal, else JSON."
    )
    index: Literal["local", "milvus"] = Field(
        "local",
        description="Where new catalogues, and those that `lookalike reencode` moves, keep codes and F7: in this "
        "machine's files and memory, or in Milvus.",
    )
    milvus_uri: str | None = Field(
        None,
        validate_default=True,
        description="Where Milvus is: http://host:19530, or for one process alone the path of a file.",
    )
    auth: Literal["auto", "off"] = Field(
        "auto",
        description="auto asks for API keys as soon as there is one; off leaves that to a proxy that authenticates.",
    )
    rate: str | None = Field(None, description="How often one key may ask, such as 600/minute.")
    allowed_hosts: Names = Field(
        (),
        description='Host names that requests may use, beside IP addresses: ["search.example"]. Without any, all are.',
    )
    cors_origins: Names = Field(
        (), description='Other sites whose pages may use the service: ["https://shop.example"].'
    )
    max_picture_bytes: int = Field(20 * MEGABYTE, gt=0, description="The largest picture taken, in bytes.")
    max_picture_pixels: int = Field(50 * MEGABYTE, gt=0, description="The largest picture taken, in pixels.")
    max_start_seconds: float = Field(
        300.0,
        gt=0,
        description="The longest that one step of a start may take, migrations apart; past it the process logs where "
        "it stands and ends.",
    )
    max_decode_seconds: float = Field(
        10.0,
        gt=0,
        description="The most processor time that decoding a picture may take, in seconds; time in which the machine "
        "is busy with something else does not count.",
    )
    max_request_bytes: int = Field(200 * MEGABYTE, gt=0, description="The largest request taken, in bytes.")
    max_request_seconds: float = Field(
        60.0, gt=0, description="The longest that a request may take to arrive, and an archive may pause on its way."
    )
    min_transfer_rate: int = Field(
        1000, gt=0, description="Bytes a second: slower requests are answered 408, slower readers are disconnected."
    )
    transfer_grace_seconds: float = Field(
        10.0, gt=0, description="How long a client may pause, or fall behind that rate, before it is cut off."
    )
    max_requests: int = Field(
        64, gt=0, description="Requests that a process works on at the same time; more are answered 503 at once."
    )
    max_connections: int = Field(
        1000, gt=0, description="Open connections of a process; past them the one that is idle longest is closed."
    )
    max_buffered_bytes: int | None = Field(
        None,
        gt=0,
        description="Bytes of requests and responses that a process holds at the same time; without it, an eighth of "
        "the memory of the machine or container, shared by all workers.",
    )
    max_images_per_request: int = Field(500, gt=0, description="The most pictures in one request.")
    max_fields_per_request: int = Field(20, gt=0, description="The most other fields in one request.")
    max_field_bytes: int = Field(1024 * 1024, gt=0, description="The largest field that is no picture, in bytes.")
    max_statement_seconds: float = Field(
        30.0, gt=0, description="The longest that the database may work on one statement of a request."
    )
    max_database_connections: int | None = Field(
        None,
        gt=0,
        description="The most connections to the database, of all workers together; without it, what PostgreSQL "
        "accepts.",
    )
    max_filter_bytes: int = Field(
        256 * MEGABYTE, gt=0, description="Memory for which pictures pass the filters used last, in each worker."
    )
    decoders: int | None = Field(
        None, gt=0, description="Pictures decoded at a time, by all workers together; without it, one for each core."
    )

    max_job_bytes: int = Field(10_000 * MEGABYTE, gt=0, description="The largest archive of `POST /jobs`, in bytes.")
    max_job_seconds: float = Field(3600.0, gt=0, description="The longest that such an archive may take to arrive.")
    max_job_entries: int = Field(500_000, gt=0, description="The most files in such an archive, and rows of its table.")
    url: str | None = Field(
        None, description="A running service that `lookalike index` fills; without it, it fills the data folder."
    )
    api_key: str | None = Field(None, description="The API key that `lookalike index` shows that service.")

    @field_validator("milvus_uri")
    @classmethod
    def _milvus_can_be_used(cls, uri: str | None, others: ValidationInfo) -> str | None:
        if uri is None and others.data.get("index") == "milvus":
            raise ValueError("has to say where Milvus is: http://host:19530")
        if uri is None or "://" in uri:
            return uri
        if not uri.endswith(".db"):
            raise ValueError("is neither an address (http://host:19530) nor a file for milvus-lite (milvus.db)")
        if others.data.get("workers", 1) > 1:
            raise ValueError("is a file, which only one process can use; for LOOKALIKE_WORKERS, name a Milvus server")
        return uri

    @field_validator("rate")
    @classmethod
    def _rate_can_be_read(cls, rate: str | None) -> str | None:
        if rate:
            parse(rate)
        return rate

    @field_validator("allowed_hosts", "cors_origins", mode="before")
    @classmethod
    def _names_can_be_read(cls, given: Any) -> Any:
        if not isinstance(given, str):
            return given
        if not given.strip().startswith("["):
            return tuple(name.strip() for name in given.split(",") if name.strip())
        try:
            return tuple(json.loads(given))
        except ValueError as error:
            raise ValueError(f'is not a list such as ["search.example", "localhost"]: {error}') from error

    @field_validator("allowed_hosts")
    @classmethod
    def _hosts_are_names(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(map(_host_name, hosts)))

    @field_validator("cors_origins")
    @classmethod
    def _origins_are_sites(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(map(_site, origins)))

    @field_validator("pictures")
    @classmethod
    def _pictures_are_in_a_bucket(cls, pictures: str | None) -> str | None:
        if pictures:
            bucket_and_prefix(pictures)
        return pictures or None


def _host_name(text: str) -> str:
    """Returns a name as requests are compared with it.

    Raises:
        ValueError: it is not a host name.
    """
    host = parse_host(text)
    if host is None:
        raise ValueError(f"{text!r} is not a host name. Give names without scheme, path or wildcard: search.example")
    if host.port is not None:
        raise ValueError(f"{text!r} has a port. Leave it out: names are compared without their ports")
    return host.name


def _site(text: str) -> str:
    """Returns an origin as browsers send it.

    Raises:
        ValueError: it is not an origin.
    """
    origin = parse_origin(text.removesuffix("/"))
    if origin is None:
        raise ValueError(f"{text!r} is not an origin. Give scheme and host, without a path: https://shop.example")
    return str(origin)


def misspelt(variables: Iterable[str]) -> list[str]:
    """Returns a sentence for each of these variables that begins as a setting's does and is none."""
    settings = [f"LOOKALIKE_{name.upper()}" for name in Settings.model_fields]
    sentences = []
    for variable in sorted(variables):
        if variable.startswith("LOOKALIKE_") and variable not in settings:
            near = get_close_matches(variable, settings, n=1)
            advice = f" Did you mean {near[0]}?" if near else ""
            sentences.append(f"{variable} is not a setting and changes nothing.{advice}")
    return sentences
