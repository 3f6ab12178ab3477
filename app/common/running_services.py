"""Find the services that run on a data folder, so that commands can use one instead of opening the catalogue.

    data/services/PID.json    the address of a service, locked (flock) for as long as its process lives

The kernel frees the lock when the process ends, however it ends, so a file whose lock is free is out of date. A file of
another machine or container is not used: the same address may be another program here.
"""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from hashlib import sha256
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

from app.common import private_modes
from app.common.hosts import parse_address

FOLDER = "services"
_MAX_BYTES = 10_000


@dataclass(frozen=True)
class RunningService:
    """A running service.

    Attributes:
        url: its address on this machine.
        pid: its process.
        catalogue: identifies its database, without the password.
        network: identifies the machine and container in which the address is valid.
    """

    url: str
    pid: int
    catalogue: str
    network: str


def local_url(host: str, port: int) -> str:
    """Return the address at which local programs reach a service that listens on a host and port."""
    address = parse_address(host)
    if address is not None and address.is_unspecified:
        host = "::1" if isinstance(address, IPv6Address) else "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextmanager
def announced(data_dir: Path, url: str, database_url: str | None) -> Iterator[None]:
    """Announce this process's service for the length of the block, and remove the files of services that ended.

    Args:
        data_dir: the service's data folder.
        url: the service's address on this machine.
        database_url: its database; None for the embedded one.
    """
    folder = data_dir / FOLDER
    private_modes.make_folder(folder)
    _remove_ended(folder)
    path = folder / f"{os.getpid()}.json"
    # Locked and complete before it has the name that others look for.
    unfinished = path.with_suffix(".new")
    unfinished.unlink(missing_ok=True)
    service = RunningService(url, os.getpid(), _catalogue_id(database_url), _network_id())
    with os.fdopen(private_modes.create_file(unfinished), "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(json.dumps(asdict(service)))
        file.flush()
        unfinished.replace(path)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def find_services(data_dir: Path, database_url: str | None) -> list[RunningService]:
    """Return the services that run on a catalogue and can be reached from here, the latest first."""
    files = [(path, _modified(path)) for path in (data_dir / FOLDER).glob("*.json")]
    found = [_read(path) for path, _ in sorted(files, key=lambda pair: pair[1], reverse=True)]
    here = (_catalogue_id(database_url), _network_id())
    return [service for service in found if service is not None and (service.catalogue, service.network) == here]


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _read(path: Path) -> RunningService | None:
    """Read the file of a running service of this user; None if it is not one."""
    try:
        with path.open("rb") as file:
            # The API key is sent to this address, so another user must not choose it.
            if os.fstat(file.fileno()).st_uid not in (0, os.geteuid()) or _is_free(file.fileno()):
                return None
            content = json.loads(file.read(_MAX_BYTES))
    except (OSError, ValueError, RecursionError):
        return None
    return _parse(content)


def _parse(content: Any) -> RunningService | None:
    types: Mapping[str, type] = {"url": str, "pid": int, "catalogue": str, "network": str}
    if not isinstance(content, dict) or not all(isinstance(content.get(name), kind) for name, kind in types.items()):
        return None
    return RunningService(**{name: content[name] for name in types})


def _remove_ended(folder: Path) -> None:
    for path in folder.glob("*.json"):
        with suppress(OSError), path.open("rb") as file:
            if _is_free(file.fileno()):
                path.unlink()


def _is_free(descriptor: int) -> bool:
    """Whether no process holds a file's lock."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _catalogue_id(database_url: str | None) -> str:
    return "embedded" if database_url is None else sha256(database_url.encode()).hexdigest()


def _network_id() -> str:
    """Identify this machine's current boot and this process's network namespace."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        namespace = Path("/proc/self/ns/net").stat()
    except OSError:
        return os.uname().nodename
    return f"{boot}:{namespace.st_dev}:{namespace.st_ino}"
