"""The account that runs the embedded PostgreSQL, which refuses to run as root.

An ordinary user runs it as themselves. Root, in a container say, hands it to the account that owns the
cluster, or for a new cluster to the account `lookalike`, which is made if it is missing.

That account often cannot pass the folders above the data or above the programs: `/root` is closed to it.
Opening them would open them to everybody, so PostgreSQL gets instead the one capability of root's that lets
it pass. Where all folders are open it gets none.

It knows nothing of PostgreSQL's files or options.
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
INSTEAD = "run the service as an ordinary user, or set LOOKALIKE_DATABASE_URL to a server of your own"


@dataclass(frozen=True)
class Account:
    """Who owns the cluster, and the words that turn a command of ours into one of theirs."""

    uid: int
    gid: int
    prefix: tuple[str, ...] = ()

    def own(self, tree: Path) -> None:
        """Give a folder and all in it to this account, unless it is theirs."""
        if tree.stat().st_uid == self.uid:
            return
        # The top comes last: until then the next start sees that there is still something to give.
        for path in (*tree.rglob("*"), tree):
            os.chown(path, self.uid, self.gid, follow_symlinks=False)


def account_for(cluster: Path, programs: Path) -> Account:
    """The account that runs the programs on this cluster, which need not exist yet."""
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
        entry = _made_account()
    return entry.pw_uid, entry.pw_gid


def _made_account() -> pwd.struct_passwd:
    options = ("--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin")
    command = (_tool("useradd"), *options, NAME)
    made = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603 – fixed words
    if made.returncode != 0:
        raise UnavailableError(
            f"PostgreSQL refuses to run as root, and no account {NAME} could be made for it "
            f"({made.stderr.strip()}): make that account, {INSTEAD}."
        )
    return pwd.getpwnam(NAME)


def _prefix(uid: int, gid: int, paths: tuple[Path, ...]) -> tuple[str, ...]:
    words = (_tool("setpriv"), f"--reuid={uid}", f"--regid={gid}", "--clear-groups")
    closed = _closed_folder(paths)
    if closed is None:
        return (*words, "--")
    capability = _passing_capability(closed)
    return (*words, f"--inh-caps=-all,+{capability}", f"--ambient-caps=-all,+{capability}", "--")


def _closed_folder(paths: tuple[Path, ...]) -> Path | None:
    """The first folder above these paths that not everybody may pass."""
    folders = (folder for path in paths for folder in path.resolve().parents)
    return next((folder for folder in folders if not folder.stat().st_mode & stat.S_IXOTH), None)


def _passing_capability(closed: Path) -> str:
    """The smallest capability we have that passes closed folders; containers often keep only the larger."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapEff"))
    held = int(line.split()[1], 16)
    for bit, capability in ((2, "dac_read_search"), (1, "dac_override")):
        if held & 1 << bit:
            return capability
    raise UnavailableError(
        f"PostgreSQL refuses to run as root, and no other account can enter {closed}: "
        f"set LOOKALIKE_DATA_DIR to a folder that others may enter, {INSTEAD}."
    )


def _tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise UnavailableError(f"PostgreSQL refuses to run as root, and {name} is missing: {INSTEAD}.")
    return found
