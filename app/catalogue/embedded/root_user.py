"""Choose the account that runs the embedded PostgreSQL, which refuses to run as root.

An ordinary user runs it under their own account. Root (in a container, for example) runs it as the owner of the
cluster; for a new cluster as the account `lookalike`, which is created if it is missing.

That account often cannot traverse the folders above the data or the programs, such as `/root`. Changing their modes
would open them to all users, so PostgreSQL instead gets the one capability that lets it traverse them, and none if all
folders are open.
"""

import os
import pwd
import shutil
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path

from app.errors import UnavailableError

NAME = "lookalike"
_ALTERNATIVES = "run the service as an ordinary user, or set LOOKALIKE_DATABASE_URL to an external server"


@dataclass(frozen=True)
class Account:
    """The owner of the cluster, and the command prefix that runs a program as that user."""

    uid: int
    gid: int
    prefix: tuple[str, ...] = ()

    def take_ownership(self, tree: Path) -> None:
        """Change the owner of a folder and its contents to this account, if it differs."""
        if tree.stat().st_uid == self.uid:
            return
        # The folder itself comes last, so that the next start repeats an interrupted change.
        for path in (*tree.rglob("*"), tree):
            os.chown(path, self.uid, self.gid, follow_symlinks=False)


def account_for(cluster: Path, programs: Path) -> Account:
    """Return the account that runs PostgreSQL on this cluster, which need not exist yet."""
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid())
    uid, gid = _owner(cluster)
    return Account(uid, gid, _prefix(uid, gid, (cluster, programs / "postgres")))


def _owner(cluster: Path) -> tuple[int, int]:
    if cluster.exists() and cluster.stat().st_uid != 0:
        return cluster.stat().st_uid, cluster.stat().st_gid
    try:
        entry = pwd.getpwnam(NAME)
    except KeyError:
        entry = _create_account()
    return entry.pw_uid, entry.pw_gid


def _create_account() -> pwd.struct_passwd:
    options = ("--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin")
    command = (_tool("useradd"), *options, NAME)
    created = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603 – no shell, constant arguments
    if created.returncode != 0:
        raise UnavailableError(
            f"PostgreSQL refuses to run as root, and creating the account {NAME} for it failed "
            f"({created.stderr.strip()}). Create that account, {_ALTERNATIVES}."
        )
    return pwd.getpwnam(NAME)


def _prefix(uid: int, gid: int, paths: tuple[Path, ...]) -> tuple[str, ...]:
    command = (_tool("setpriv"), f"--reuid={uid}", f"--regid={gid}", "--clear-groups")
    closed = _closed_folder(paths)
    if closed is None:
        return (*command, "--")
    capability = _traversal_capability(closed)
    return (*command, f"--inh-caps=-all,+{capability}", f"--ambient-caps=-all,+{capability}", "--")


def _closed_folder(paths: tuple[Path, ...]) -> Path | None:
    """Return the first folder above these paths that other users cannot traverse; None if there is none."""
    folders = (folder for path in paths for folder in path.resolve().parents)
    return next((folder for folder in folders if not folder.stat().st_mode & stat.S_IXOTH), None)


def _traversal_capability(closed: Path) -> str:
    """Return the smallest available capability for traversing closed folders; containers often have only the larger."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapEff"))
    held = int(line.split()[1], 16)
    for bit, capability in ((2, "dac_read_search"), (1, "dac_override")):
        if held & 1 << bit:
            return capability
    raise UnavailableError(
        f"PostgreSQL refuses to run as root, and no other account can enter {closed}. "
        f"Set LOOKALIKE_DATA_DIR to a folder that other users may enter, {_ALTERNATIVES}."
    )


def _tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise UnavailableError(
            f"PostgreSQL refuses to run as root, and the program {name} is missing. Install it, {_ALTERNATIVES}."
        )
    return found
