"""A catalogue of images of six kinds, and adapting it with the fake networks."""

from collections.abc import Callable

import numpy as np
from PIL import Image as PILImage
from sqlalchemy import func, select

from app.adaptation.adapt import Adaptation, adapt
from app.bootstrap import index_locations, open_fsync_guard
from app.catalogue import index_versions
from app.catalogue.database.sessions import Database
from app.catalogue.database.tables import Encoding, IndexVersion
from app.ingest.uploads import Upload
from app.settings import Settings
from models.checkpoint.info import CheckpointInfo
from tests.fakes import FAKE_NETWORK
from tests.images import encoded
from tests.ingest.networks import OTHER_NETWORK

COUNT = 120


def picture(seed: int) -> bytes:
    """An image of one of six kinds; images of a kind differ little."""
    rng, kind = np.random.default_rng(seed), np.random.default_rng(seed % 6)
    pixels = kind.integers(0, 256, (4, 4, 3)) + rng.integers(-40, 40, (4, 4, 3))
    return encoded(
        PILImage.fromarray(pixels.clip(0, 255).astype(np.uint8)).resize((40, 40), PILImage.Resampling.NEAREST)
    )


def uploads(first: int, count: int) -> list[Upload]:
    return [Upload(picture(seed), f"key-{seed}", {"label": f"kind-{seed % 6}"}) for seed in range(first, first + count)]


def describe(model: str) -> CheckpointInfo:
    return {"fake": FAKE_NETWORK, "other": OTHER_NETWORK}[model.rpartition("/")[2].removesuffix(".json")]


def run(
    database: Database,
    settings: Settings,
    report: Callable[[str, int, int], None] = lambda *_: None,
    described: Callable[[str], CheckpointInfo] = describe,
    patience: float = 60,
) -> Adaptation:
    return adapt(database, index_locations(settings), open_fsync_guard(settings), report, patience, described)


def versions(database: Database) -> int:
    with database.read_session() as session:
        return session.scalar(select(func.count(IndexVersion.id))) or 0


def slots_by_image(database: Database) -> dict[int, int]:
    with database.read_session() as session:
        active = index_versions.active_version_id(session)
        rows = session.execute(select(Encoding.image_id, Encoding.slot).where(Encoding.index_version_id == active))
        return dict(rows.all())
