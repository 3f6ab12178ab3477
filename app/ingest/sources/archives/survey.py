"""First pass over an archive: names, links, the rows of its table, and what is left out."""

import json
import posixpath
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from app.ingest.sources.archives.members import DamagedArchiveError, Member, normalised
from app.ingest.sources.table import SUFFIXES, Row
from models.data.image_files import is_image_name
from models.data.left_out import (
    FOLDER_LINKS,
    IN_HIDDEN_FOLDERS,
    IN_SYSTEM_FOLDERS,
    NOT_IMAGES,
    SYSTEM_FILES_FOUND,
    LeftOut,
    left_out_path,
)

TABLE = "metadata"
OTHER_TABLES = "Tables not used, because an archive has one"
UNKNOWN_ENCODING = "File names that are not UTF-8, perhaps misread"
_MAX_TABLE_DEPTH = 2
# Links to follow until they are taken for a loop, as on Linux.
_MAX_STEPS = 40

# Parses the table of this name.
ParseTable = Callable[[str, bytes], Iterable[Row]]


@dataclass
class Survey:
    """Result of the first pass.

    Attributes:
        names: the number of members of each name, without links.
        links: the path to which each link refers.
        rows: packed rows of the table, by the name of the file or link.
        problems: packed rows that cannot be used, and have no file.
        aliases: names of the links that are entries, by the file that they refer to.
        broken: names of the links that are entries and refer to no file.
        left_out: what is neither an entry nor the table.
        damage: why the archive cannot be read to its end, if so.
    """

    names: Counter[str] = field(default_factory=Counter)
    links: dict[str, str] = field(default_factory=dict)
    rows: dict[str, list[bytes]] = field(default_factory=dict)
    problems: list[bytes] = field(default_factory=list)
    aliases: dict[str, list[str]] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    left_out: LeftOut = field(default_factory=LeftOut)
    damage: str | None = None

    def wants(self, name: str) -> bool:
        """Whether a file or link is an entry: an image that is not left out, or a file of the table."""
        return name in self.rows or (is_image_name(name) and left_out_path(name) is None)

    def missing(self) -> Iterator[Row]:
        """Yield the rows whose file the archive does not have."""
        for name, rows in self.rows.items():
            if name not in self.names and name not in self.links:
                yield from map(unpack_row, rows)

    def count(self) -> int:
        """Number of entries."""
        members = Counter({name: times for name, times in self.names.items() if self.wants(name)})
        members.update(self.broken)
        members.update(name for names in self.aliases.values() for name in names)
        # A repeated member counts once for each of its rows.
        pictures = sum(times * max(len(self.rows.get(name, ())), 1) for name, times in members.items())
        missing = sum(1 for _ in self.missing())
        return pictures + len(self.problems) + missing + (self.damage is not None)


def survey(members: Iterable[Member], read_table: Callable[[Member], bytes], parse_table: ParseTable) -> Survey:
    """Read the names of all members, and the table.

    Args:
        members: the archive's members; reading them may raise DamagedArchiveError, which ends the pass.
        read_table: reads the bytes of a table.
        parse_table: parses them.
    """
    found, table = Survey(), None
    try:
        for member in members:
            if member.link is not None:
                found.links.setdefault(member.name, member.link)
                continue
            found.names[member.name] += 1
            if member.misread:
                found.left_out.add(UNKNOWN_ENCODING, member.name)
            if table_depth(member.name) < (table_depth(table[0]) if table else _MAX_TABLE_DEPTH + 1):
                if table:
                    found.left_out.add(OTHER_TABLES, table[0])
                table = member.name, read_table(member)
            elif table_depth(member.name) <= _MAX_TABLE_DEPTH:
                found.left_out.add(OTHER_TABLES, member.name)
    except DamagedArchiveError as error:
        found.damage = str(error)
    for name in found.names.keys() & found.links.keys():
        del found.links[name]
    if table:
        _match_rows(found, PurePosixPath(table[0]).parent, parse_table(*table))
    _follow_links(found)
    _count_left_out(found)
    return found


def table_depth(name: str) -> int:
    """Depth of a table: 1 at the top level, 2 in a folder; more for any other file."""
    path = PurePosixPath(name)
    is_table = path.stem.casefold() == TABLE and path.suffix.lower() in SUFFIXES and left_out_path(name) is None
    return len(path.parts) if is_table else _MAX_TABLE_DEPTH + 1


def find_target(link: str, links: Mapping[str, str], files: Container[str]) -> str | None:
    """Follow a link to a file of the archive, through other links and linked folders.

    Returns:
        the file's name; None if there is none, or the links form a loop.
    """
    path: str | None = links[link]
    for _ in range(_MAX_STEPS):
        if path is None or path in files:
            return path
        path = links[path] if path in links else _through_folder(path, links)
    return None


def pack_row(row: Row) -> bytes:
    """Return a row as JSON, which takes a third of the memory; without its values if they are nested too deeply."""
    try:
        return json.dumps([row.line, row.file, row.key, row.given, row.problem]).encode()
    except RecursionError:
        return pack_row(Row(row.line, row.file, row.key, problem="Its values are nested too deeply."))


def unpack_row(packed: bytes) -> Row:
    """Return a packed row."""
    return Row(*json.loads(packed))


def _match_rows(found: Survey, folder: PurePosixPath, rows: Iterable[Row]) -> None:
    """Assign rows to files; a file whose row cannot be used is not an entry with another key."""
    for row in rows:
        name = _file_name(row.file if row.file.startswith("/") else f"{folder}/{row.file}", found)
        exists = name in found.names or name in found.links
        if row.file and (row.problem is None or exists):
            found.rows.setdefault(name, []).append(pack_row(row))
        else:
            found.problems.append(pack_row(row))


def _file_name(written: str, found: Survey) -> str:
    name = normalised(written)
    if "\\" in name and name not in found.names and name not in found.links:
        return normalised(written.replace("\\", "/"))
    return name


def _follow_links(found: Survey) -> None:
    for link in found.links:
        target = find_target(link, found.links, found.names)
        if not found.wants(link):
            _count_one(found, link) if target is not None else found.left_out.add(FOLDER_LINKS, link)
        elif target is None:
            found.broken.add(link)
        else:
            found.aliases.setdefault(target, []).append(link)


def _count_left_out(found: Survey) -> None:
    for name, times in found.names.items():
        if not found.wants(name):
            _count_one(found, name, times)


def _count_one(found: Survey, name: str, times: int = 1) -> None:
    if reason := _reason(name):
        found.left_out.add(*reason, times)


def _reason(name: str) -> tuple[str, str] | None:
    """Return why a file that is not an entry is left out, with a name.

    None for a table, and files in hidden folders that are not images.
    """
    reason = left_out_path(name)
    if is_image_name(name) or (reason and reason[0] == SYSTEM_FILES_FOUND):
        return reason
    is_hidden = reason is not None and reason[0] in {IN_HIDDEN_FOLDERS, IN_SYSTEM_FOLDERS}
    return None if is_hidden or table_depth(name) <= _MAX_TABLE_DEPTH else (NOT_IMAGES, name)


def _through_folder(path: str, links: Mapping[str, str]) -> str | None:
    """Replace the first linked folder of a path by its target."""
    at = path.find("/")
    while at > 0:
        if (folder := path[:at]) in links:
            return posixpath.normpath(f"{links[folder]}{path[at:]}")
        at = path.find("/", at + 1)
    return None
