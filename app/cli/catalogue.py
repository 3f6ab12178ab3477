"""Commands over the catalogue: search it, count it, keep it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from app.cli.terminal import console, counting, errors_as_sentences, fail
from app.settings import Settings

if TYPE_CHECKING:
    from app.catalogue.database.sessions import Database
    from app.catalogue.storage.protocol import PictureStore
    from app.maintenance.restore import Restored

# So many of what could not be mended are named; `lookalike check` names all.
_NAMED = 20


def search(
    image: Annotated[Path, typer.Argument(help="An image file.")],
    k: Annotated[int, typer.Option("-k", min=1, help="The most results.")] = 10,
) -> None:
    """Ask what looks like a picture."""
    with errors_as_sentences():
        from app.bootstrap import open_service
        from app.search.types import SearchOptions

        if not image.is_file():
            fail(f"{image} is not a file.")
        with open_service(Settings()) as service:
            answer = service.searcher.by_picture(image.read_bytes(), SearchOptions(k=k))
        table = Table("id", "key", "label", "distance", "hamming")
        for match, row in answer.matches:
            table.add_row(str(match.id), row.key, row.label or "", f"{match.distance:.4f}", str(match.hamming))
        console().print(table)


def stats() -> None:
    """Count the catalogue."""
    with errors_as_sentences():
        from app.bootstrap import open_database
        from app.catalogue import queries

        with open_database(Settings()) as database, database.snapshot() as session:
            totals, generation = queries.totals(session), queries.generation_in_use(session)
        console().print(f"{totals.images} pictures, {totals.labels} labels, seq {totals.seq}")
        if generation is not None:
            console().print(f"network {generation.model} ({generation.fingerprint}), {generation.bits} bits")


def demo() -> None:
    """Fill an empty catalogue with the demo pictures."""
    with errors_as_sentences():
        from app.bootstrap import open_service
        from app.demo.fill import fill_if_empty

        with open_service(Settings(demo="auto")) as service:
            added = fill_if_empty(service)
        console().print(f"{added} pictures added" if added else "The catalogue has pictures; the demo stays out.")


def reindex(
    model: Annotated[str, typer.Argument(help="The network to move to: one that ships, by name, or a path.")],
) -> None:
    """Move the catalogue to another network. Searches go on meanwhile, and running services go over by themselves."""
    with errors_as_sentences():
        from app.maintenance.tools import open_reencode

        with open_reencode(Settings(), model) as (run, network), counting("encoding") as report:
            run.run(report)
        console().print(f"The catalogue and all running services use {network.name} ({network.fingerprint}).")


def check(
    repair: Annotated[bool, typer.Option("--repair", help="Mend what can be mended.")] = False,
    sample: Annotated[int, typer.Option(min=0, help="How many pictures to encode anew and compare.")] = 200,
) -> None:
    """Look whether rows, vectors, codes and files belong together. The service may run meanwhile.

    The first line says what confines the processes that decode pictures on this machine.
    """
    with errors_as_sentences():
        from app.bootstrap import open_service
        from app.maintenance.consistency_check import Check
        from app.search.decode.confinement import offered

        console().print(offered().sentence, soft_wrap=True)
        with open_service(Settings(demo="off")) as service, counting("looking") as report:
            looking = Check(service.database, service.files, service.index, service.encodings)
            found = looking.run(sample, report)
            left = looking.repair(found) if repair else found
        for finding in found:
            mended = repair and finding not in left
            console().print(f"{finding}{' – mended' if mended else ''}")
        if left:
            mend = "`lookalike check --repair` mends what can be mended."
            again = "Add those pictures again, or delete them."
            fail(f"{len(left)} of {len(found)} findings remain. {again if repair else mend}")
        console().print("All is well." if not found else "All is well again.")


def sync() -> None:
    """Bring Milvus in line with the catalogue: encode what is missing there, clear away what is nobody's.

    The service may run meanwhile, unless Milvus has lost everything.
    """
    with errors_as_sentences():
        from app.maintenance.tools import open_sync

        with open_sync(Settings()) as run, counting("looking") as report:
            done = run.run(report)
        console().print(f"{done.encoded} pictures encoded anew, {done.cleared} slots cleared.")
        if done.lost:
            named = ", ".join(done.lost[:_NAMED])
            fail(
                f"The originals of {len(done.lost)} pictures are missing or damaged: {named}. Run `lookalike check "
                "--repair`, then add them again."
            )


def backup(
    target: Annotated[Path, typer.Argument(help="A new folder, or one with an earlier backup.")],
) -> None:
    """Copy the catalogue into a folder, as of one moment. The service may run meanwhile."""
    with errors_as_sentences():
        from app.errors import LookalikeError
        from app.maintenance.backup import backup as run

        with _catalogue() as (database, pictures, data_dir), counting("copying originals") as report:
            try:
                manifest = run(database, pictures, data_dir, target, report)
            except OSError as error:
                where = error.filename or target
                raise LookalikeError(f"{where}: {error.strerror}. The backup was not made.") from error
        console().print(f"{manifest['pictures']} pictures, seq {manifest['seq']}, in {target}", soft_wrap=True)


def restore(
    source: Annotated[Path, typer.Argument(help="A folder that `lookalike backup` wrote.")],
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Restore the rest where originals or vectors are missing.")
    ] = False,
) -> None:
    """Put a backup into an empty catalogue, while no service runs on it."""
    with errors_as_sentences():
        from app.maintenance.restore import restore as run

        with _catalogue() as (database, pictures, data_dir), counting("copying originals") as report:
            found = run(database, pictures, data_dir, source, report, without_missing=allow_missing)
        for sentence in _summary(found):
            console().print(sentence, markup=False, soft_wrap=True)


def _summary(found: "Restored") -> list[str]:
    """Says what a restore brought back, and what is left to do."""
    lacks = found.lacking
    sentences = [f"{found.pictures} pictures are back."]
    if lacks.pictures:
        sentences.append(
            f"The originals of {lacks.pictures} of them are missing: {lacks.named}. Add those pictures again, or "
            "delete them."
        )
    if lacks.vectors:
        sentences += lacks.files
        sentences.append("`lookalike check --repair` encodes their originals again.")
    return [*sentences, *found.checkpoints, "`lookalike check` looks at every one of them."]


@contextmanager
def _catalogue() -> "Iterator[tuple[Database, PictureStore, Path]]":
    """Opens the database and the pictures of the settings' catalogue."""
    from app.bootstrap import open_database
    from app.catalogue.storage.open import open_pictures

    settings = Settings()
    with open_database(settings) as database:
        yield database, open_pictures(settings.storage_url, settings.data_dir), settings.data_dir


def migrate() -> None:
    """Bring the database to this version's tables."""
    with errors_as_sentences():
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
