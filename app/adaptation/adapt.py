"""Fit codes to the catalogue, judge them on its own images, and switch to them if they find more.

F7 of every image is stored, so new codes are one matrix product. The catalogue keeps its version until the new one is
complete, and keeps it for good if the new codes gain nothing. A run that is interrupted leaves at most an unfinished
version, which the next run deletes.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from app.adaptation.fill import FeatureFiller, damaged_error
from app.adaptation.recall import (
    CodeRecall,
    Sample,
    code_recall,
    codes_curve,
    draw_sample,
    recode,
    smallest_pool,
)
from app.catalogue import index_versions, queries
from app.catalogue.database.locks import Lock, lock_if_free
from app.catalogue.database.sessions import Database
from app.catalogue.database.tables import FeatureSet, IndexVersion
from app.catalogue.index_versions import AdaptedCodes
from app.catalogue.storage.fsync_guard import FsyncGuard
from app.catalogue.vectors.file import VectorFile, without_hole_punching
from app.errors import LookalikeError
from app.maintenance.switchover import SWITCH_TIMEOUT_S, fill_and_switch
from app.model_switch.index_factory import IndexLocations, open_index, open_vectors
from app.quality.content import CatalogueContent, intact, read_content
from app.search.types import IndexEntries
from models.checkpoint.info import CheckpointInfo, find_checkpoint, read_info
from models.network.latent_layer import LatentLayer, fit_latent_layer
from models.training.itq import itq

# With fewer images, exhaustive search takes less than a millisecond, and a sample tells little.
MIN_IMAGES = 500
BITS = 256
# Images that H is fitted on; more change little.
_SAMPLE = 16_000
# Smaller gains are within the error of the sample: in recall of the codes, and in their precision on labels.
_MIN_GAIN, _MIN_PRECISION_GAIN = 0.01, 0.005

Report = Callable[[str, int, int], None]


def read_checkpoint_info(model: str) -> CheckpointInfo:
    """Read the description of a checkpoint by its name or path."""
    return read_info(find_checkpoint(model))


class AdaptationRunningError(LookalikeError):
    """Another process is fitting codes to this catalogue."""

    def __init__(self) -> None:
        super().__init__("Another process is fitting codes to this catalogue. Wait for it.")


@dataclass(frozen=True)
class Adaptation:
    """Result of fitting codes to a catalogue.

    Attributes:
        outcome: whether the catalogue uses the new codes now.
        images: images in the catalogue.
        before, after: the codes that were in use, and the new ones with the pool chosen for them.
        seconds: how long it took.
    """

    outcome: Literal["adapted", "refused"]
    images: int
    before: CodeRecall
    after: CodeRecall
    seconds: float

    def __str__(self) -> str:
        before, after = self.before, self.after
        figures = (
            f"Codes alone find {after.codes:.1%} of the exact nearest neighbours, against {before.codes:.1%} before; "
            f"a pool of {after.pool} holds {after.recall:.1%}, against {before.recall:.1%} of {before.pool} before."
        )
        if self.outcome == "refused":
            return f"The catalogue keeps its codes, because new ones gain too little. {figures}"
        return f"The catalogue uses codes of {after.bits} bits that were fitted to its {self.images} images. {figures}"


def adapt(
    database: Database,
    places: IndexLocations,
    disk: FsyncGuard,
    report: Report,
    patience: float = SWITCH_TIMEOUT_S,
    describe: Callable[[str], CheckpointInfo] = read_checkpoint_info,
) -> Adaptation:
    """Fit codes to the catalogue and switch to them, if they find more of the exact nearest neighbours.

    With a model that has learnt classes, they must agree with the labels more often instead: codes that labels taught
    know more than F7.

    Args:
        database: the catalogue.
        places: where its index is.
        disk: notified of write errors.
        report: called with the step, and the numbers of images done and of all.
        patience: how long serving processes may take to open the new version, in seconds.
        describe: returns the description of a checkpoint by its name or path.

    Raises:
        AdaptationRunningError: another process does the same.
        LookalikeError: there are too few images, vectors are damaged, or the switch failed; the catalogue goes on with
            the codes that it had.
    """
    with lock_if_free(database, Lock.ADAPT) as acquired:
        if not acquired:
            raise AdaptationRunningError
        start = time.monotonic()
        with _open_snapshot(database, places) as (active, content, vectors):
            network = index_versions.effective_info(active, describe(active.feature_set.model))
            codes, entries, before, after = _fit(active, network, content, vectors, report)
            gains = _gains(before, after, taught=bool(network.classes) and not active.adapted)
        if gains:
            _switch(database, places, disk, active, codes, entries, report, patience)
        outcome: Literal["adapted", "refused"] = "adapted" if gains else "refused"
        result = Adaptation(outcome, len(content), before, after, time.monotonic() - start)
        _record(database, active.feature_set_id, result)
        return result


@contextmanager
def _open_snapshot(
    database: Database, places: IndexLocations
) -> Iterator[tuple[IndexVersion, CatalogueContent, VectorFile]]:
    """Open codes, labels and F7 of the active version as of one moment."""
    with without_hole_punching(places.data_dir / "vectors"):
        with database.snapshot() as session:
            active = queries.active_index_version(session)
            if active is None or (images := queries.totals(session).images) < MIN_IMAGES:
                found = 0 if active is None else images
                raise LookalikeError(f"Fitting codes needs {MIN_IMAGES} images, and the catalogue has {found}.")
            content = read_content(session, active)
        with open_vectors(database, active, places, content.entries.slots) as vectors:
            whole = intact(content, vectors)
            if len(whole) < len(content):
                raise damaged_error(len(content) - len(whole))
            yield active, content, vectors


def _fit(
    active: IndexVersion, network: CheckpointInfo, content: CatalogueContent, vectors: VectorFile, report: Report
) -> tuple[AdaptedCodes, IndexEntries, CodeRecall, CodeRecall]:
    """Fit H to a sample; return it, the codes of all images by it, and what codes in use and new ones find."""
    report("fitting codes", 0, len(content))
    latent = fit(content, vectors)
    sample = draw_sample(content, vectors)
    own = index_versions.latent_layer(active)
    before = code_recall(content, vectors, sample, own)(network.pool)
    recoded = recode(content, vectors, latent)
    after = choose_pool(recoded, vectors, sample, latent)
    similarity = network.similarity
    curve = codes_curve(recoded, vectors, sample, similarity.features) if similarity is not None else None
    return AdaptedCodes(latent, after.pool, curve), recoded.entries, before, after


def fit(content: CatalogueContent, vectors: VectorFile, bits: int = BITS, seed: int = 0) -> LatentLayer:
    """Fit H by ITQ to the F7 of a sample of the catalogue; fewer bits where images or floats do not suffice.

    Raises:
        DatasetError: there are too few images for eight bits.
    """
    rows = np.sort(np.random.default_rng(seed).permutation(len(content))[:_SAMPLE])
    features = content.features(vectors, rows)
    most = min(features.shape[1], len(rows) - 1)
    weights, biases = itq(features, min(bits, max(most - most % 8, 8)), seed)
    return fit_latent_layer(weights, biases, features)


def choose_pool(content: CatalogueContent, vectors: VectorFile, sample: Sample, latent: LatentLayer) -> CodeRecall:
    """Return what codes find with the smallest pool that holds 99 of 100 exact nearest neighbours."""
    return smallest_pool(code_recall(content, vectors, sample, latent))


def _gains(before: CodeRecall, after: CodeRecall, *, taught: bool) -> bool:
    if taught:
        if before.precision is None or after.precision is None:
            return False
        return after.precision > before.precision + _MIN_PRECISION_GAIN
    return after.codes > before.codes + _MIN_GAIN


def _switch(
    database: Database,
    places: IndexLocations,
    disk: FsyncGuard,
    active: IndexVersion,
    codes: AdaptedCodes,
    entries: IndexEntries,
    report: Report,
    patience: float,
) -> None:
    with database.transaction() as session:
        version = index_versions.create_adapted(session, active.feature_set_id, codes)
    try:
        with closing(open_index(database, version, places, disk)) as index:
            filler = FeatureFiller(database, active.id, version.id, index, codes.latent, entries)

            def progress(done: int, total: int) -> None:
                report("computing codes", done, total)

            fill_and_switch(database, filler, progress, patience, replacing=active.id)
    except BaseException:
        _delete_unless_active(database, version.id)
        raise


def _delete_unless_active(database: Database, index_version_id: int) -> None:
    with database.transaction(allow_low_space=True) as session:
        if index_versions.active_version_id(session) != index_version_id:
            index_versions.delete_version(session, index_version_id)


def _record(database: Database, feature_set_id: int, result: Adaptation) -> None:
    recorded: dict[str, Any] = asdict(result)
    with database.transaction() as session:
        session.get_one(FeatureSet, feature_set_id).last_adaptation = recorded
