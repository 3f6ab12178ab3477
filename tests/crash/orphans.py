"""Find files that no image uses."""

from pathlib import Path

from sqlalchemy import select

from app.bootstrap import open_database
from app.catalogue.database.sessions import Database
from app.catalogue.database.tables import Image, TrashedImage
from app.settings import Settings


def orphans_after_a_stop(data_dir: Path) -> list[str]:
    """List orphaned files of a data folder without a running service."""
    with open_database(Settings(data_dir=data_dir, demo="off", _env_file=None)) as database:
        return orphans(database, data_dir)


def orphans(database: Database, data_dir: Path) -> list[str]:
    """List unused originals, thumbnails and partial files, and remaining notes in `under-way`."""
    with database.read_session() as session:
        known = set(session.scalars(select(Image.sha256))) | set(session.scalars(select(TrashedImage.sha256)))
    files = [path for path in (data_dir / "pictures").rglob("*") if path.is_file()]
    unused = [path for path in files if path.name.removesuffix(".jpg") not in known]
    return sorted(str(path) for path in [*unused, *(data_dir / "under-way").glob("*")])
