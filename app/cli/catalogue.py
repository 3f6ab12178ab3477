"""Commands for the catalogue: statistics, consistency check, backup and migration."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.terminal import console, exit_on_error, fail, progress_counter, progress_steps
from app.settings import Settings

if TYPE_CHECKING:
    from app.catalogue.database.sessions import Database
    from app.catalogue.storage.protocol import ImageStorage
    from app.maintenance.restore import RestoreResult

# Maximum number of missing images that an error lists; `lookalike check` lists all.
_MAX_LISTED = 20


def stats() -> None:
    """Show the number of images and labels, and the model in use."""
    with exit_on_error():
        from app.bootstrap import open_database
        from app.catalogue import queries

        with open_database(Settings()) as database, database.snapshot() as session:
            totals, index_version = queries.totals(session), queries.active_index_version(session)
        console().print(f"{totals.images} images, {totals.labels} labels, seq {totals.seq}")
        if index_version is not None:
            codes = "adapted codes" if index_version.adapted else "codes"
            model = f"{index_version.feature_set.model} ({index_version.fingerprint})"
            console().print(f"model {model}, {codes} of {index_version.bits} bits")


def demo() -> None:
    """Fill an empty catalogue with the demo images."""
    with exit_on_error():
        from app.bootstrap import open_service
        from app.demo.fill import fill_if_empty

        with open_service(Settings(demo="auto")) as service, progress_counter("drawing") as report:
            added = fill_if_empty(service, report)
        console().print(f"{added} images added" if added else "The catalogue has images, so no demo images were added.")


def reindex(
    model: Annotated[str, typer.Argument(help="Model to switch to: name of a shipped checkpoint, or path of another.")],
) -> None:
    """Reindex the catalogue with another model. Running services continue to search, then switch by themselves."""
    with exit_on_error():
        from app.maintenance.tools import open_reindex

        with open_reindex(Settings(), model) as (run, network), progress_counter("encoding") as report:
            run.run(report)
        console().print(f"The catalogue and all running services now use {network.name} ({network.fingerprint}).")


def adapt(
    automatic: Annotated[bool, typer.Option("--automatic", hidden=True, help="As the service runs it.")] = False,
) -> None:
    """Fit codes to the catalogue, and use them if they find more. No image is read, and searches continue."""
    with exit_on_error():
        from app.adaptation.adapt import AdaptationRunningError, adapt
        from app.bootstrap import index_locations, open_database, open_fsync_guard

        settings = Settings()
        with open_database(settings) as database, progress_steps() as report:
            try:
                result = adapt(database, index_locations(settings), open_fsync_guard(settings), report)
            except AdaptationRunningError:
                if not automatic:
                    raise
                return
        console().print(str(result), soft_wrap=True)


def check(
    repair: Annotated[bool, typer.Option("--repair", help="Repair what can be repaired.")] = False,
    sample: Annotated[int, typer.Option(min=0, help="Number of images to encode again and compare.")] = 200,
) -> None:
    """Check that rows, vectors, codes and files are consistent. The service may run meanwhile.

    The first line of output states how image decoding is sandboxed on this machine.
    """
    with exit_on_error():
        from app.bootstrap import open_service
        from app.maintenance.tools import consistency_check
        from app.search.decode.confinement import probe_confinement

        console().print(probe_confinement().summary, soft_wrap=True)
        with open_service(Settings(demo="off")) as service, progress_counter("checking") as report:
            checker = consistency_check(service)
            findings = checker.run(sample, report)
            remaining = checker.repair(findings) if repair else findings
        for finding in findings:
            repaired = repair and finding not in remaining
            console().print(f"{finding}{' – repaired' if repaired else ''}")
        if remaining:
            advice = "Add those images again, or delete them." if repair else "Run `lookalike check --repair`."
            fail(f"{len(remaining)} of {len(findings)} findings remain. {advice}")
        console().print("All findings were repaired." if findings else "No problems found.")


def sync() -> None:
    """Synchronise Milvus with the catalogue: encode missing images, delete entities without one.

    The service may run meanwhile, unless Milvus has lost all data.
    """
    with exit_on_error():
        from app.maintenance.tools import open_sync

        with open_sync(Settings()) as run, progress_counter("comparing") as report:
            done = run.run(report)
        console().print(f"{done.encoded} images encoded again, {done.deleted} slots cleared.")
        if done.lost:
            listed = ", ".join(done.lost[:_MAX_LISTED])
            fail(
                f"The originals of {len(done.lost)} images are missing or damaged: {listed}. Run `lookalike check "
                "--repair`, then add them again."
            )


def backup(
    target: Annotated[Path, typer.Argument(help="New folder, or one with an earlier backup.")],
) -> None:
    """Back up the catalogue, as a consistent snapshot, into a folder. The service may run meanwhile."""
    with exit_on_error():
        from app.errors import LookalikeError
        from app.maintenance.backup import backup as run

        with _open_catalogue() as (database, storage, data_dir), progress_counter("copying originals") as report:
            try:
                manifest = run(database, storage, data_dir, target, report)
            except OSError as error:
                path = error.filename or target
                raise LookalikeError(f"{path}: {error.strerror}. The backup was not made.") from error
        console().print(f"{manifest['pictures']} images, seq {manifest['seq']}, in {target}", soft_wrap=True)


def restore(
    source: Annotated[Path, typer.Argument(help="Folder that `lookalike backup` wrote.")],
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Restore even if originals or vectors are missing.")
    ] = False,
) -> None:
    """Restore a backup into an empty catalogue. No service may use it meanwhile."""
    with exit_on_error():
        from app.maintenance.restore import restore as run

        with _open_catalogue() as (database, storage, data_dir), progress_counter("copying originals") as report:
            restored = run(database, storage, data_dir, source, report, allow_missing=allow_missing)
        for sentence in _summary(restored):
            console().print(sentence, markup=False, soft_wrap=True)


def _summary(restored: "RestoreResult") -> list[str]:
    """Describe what was restored, what is missing, and what to do next."""
    missing = restored.missing
    sentences = [f"{restored.pictures} images were restored."]
    if missing.pictures:
        sentences.append(
            f"The originals of {missing.pictures} of them are missing: {missing.named}. Add those images again, or "
            "delete them."
        )
    if missing.vectors:
        sentences += missing.files
        sentences.append("Run `lookalike check --repair` to encode their originals again.")
    return [*sentences, *restored.missing_networks, "Run `lookalike check` to verify all of them."]


@contextmanager
def _open_catalogue() -> "Iterator[tuple[Database, ImageStorage, Path]]":
    """Open the database and image storage that the settings name; yields them with the data folder."""
    from app.bootstrap import open_database
    from app.catalogue.storage.factory import open_storage

    settings = Settings()
    with open_database(settings) as database:
        yield database, open_storage(settings.storage_url, settings.data_dir), settings.data_dir


def migrate() -> None:
    """Migrate the database to this version's schema."""
    with exit_on_error():
        from contextlib import ExitStack, closing

        from app.catalogue.database.migrations import upgrade
        from app.catalogue.database.sessions import Database
        from app.catalogue.embedded.postgres import embedded_postgres

        settings = Settings()
        with ExitStack() as stack:
            url = settings.database_url or stack.enter_context(
                embedded_postgres(settings.data_dir, settings.min_free_disk_bytes)
            )
            upgrade(stack.enter_context(closing(Database(url))))
        console().print("The database is up to date.")
