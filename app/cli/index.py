"""`lookalike index`: folders, archives, tables and pictures into the catalogue, here or behind HTTP."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import ProgressColumn, Task
from rich.text import Text

from app.cli.terminal import console, errors_as_sentences, fail, progress_bar
from app.settings import Settings

if TYPE_CHECKING:
    from app.ingest.bulk import Pace, Target
    from app.ingest.sources.archive_members import ArchiveLimits
    from app.ingest.sources.items import Source

# Retries for some four minutes, enough for a restart of the service.
_ATTEMPTS = 10
# Concurrent requests share the uplink, and each must arrive within a minute.
_REQUESTS = 2


def index(
    paths: Annotated[
        list[Path],
        typer.Argument(
            help="Folders, archives (zip, tar, tar.gz), tables (.csv, .jsonl) that name files in a column `file` and "
            "say more of them, or pictures. The name of a picture's folder becomes its label.",
            show_default=False,
        ),
    ],
    url: Annotated[str | None, typer.Option(help="A running service to fill, instead of the data folder.")] = None,
    api_key: Annotated[
        str | None, typer.Option(help="Its API key; better in LOOKALIKE_API_KEY, which no list shows.")
    ] = None,
    rejections: Annotated[
        Path | None, typer.Option(help="File for the rejected entries and the reasons: .csv or .jsonl.")
    ] = None,
) -> None:
    """Put pictures into the catalogue. Run it again at will: what is there already stays as it is.

    Ends with 0 if everything went in, and with 1 if anything was refused.
    """
    with errors_as_sentences():
        from app.ingest.sources.open import open_source

        settings = Settings()
        sources = [open_source(path, _limits(settings)) for path in paths]
        try:
            counts = _fill(sources, settings, url or settings.url, api_key or settings.api_key, rejections)
        except KeyboardInterrupt:
            fail("Stopped. The same command goes on where it was.")
        console().print(", ".join(f"{count} {status}" for status, count in counts.items()) or "nothing to index")
        if counts["rejected"]:
            raise typer.Exit(1)


def _fill(
    sources: Sequence["Source"], settings: Settings, url: str | None, key: str | None, report: Path | None
) -> Counter[str]:
    from app.cli.rejection_report import refusals
    from app.ingest.bulk import fill, unique

    counts: Counter[str] = Counter()
    with refusals(report) as tell, progress_bar(_Speed()) as bar:
        task = bar.add_task("looking", total=None)
        total = sum(source.count() for source in sources)
        if not total:
            return counts
        with _target(settings, url, key) as (target, pace):
            bar.reset(task, description="indexing", total=total)
            for outcomes in fill(unique(chain.from_iterable(sources)), target, pace, retry=True):
                for outcome in outcomes:
                    if outcome.reason is not None:
                        bar.console.print(f"{outcome.name}: {outcome.reason}", soft_wrap=True)
                        tell(outcome)
                counts.update(outcome.status for outcome in outcomes)
                bar.advance(task, len(outcomes))
    return counts


@contextmanager
def _target(settings: Settings, url: str | None, key: str | None) -> Iterator[tuple["Target", "Pace"]]:
    from app.ingest.bulk import HERE, Pace

    if url is not None:
        from lookalike_client import MAX_BATCH_BYTES, MAX_BATCH_IMAGES, ClientError, Lookalike, RetryPolicy

        from app.ingest.remote import Remote

        try:
            with Lookalike(url, key, retries=RetryPolicy(_ATTEMPTS)) as client:
                yield Remote(client), Pace(MAX_BATCH_IMAGES, MAX_BATCH_BYTES, _REQUESTS)
        except ClientError as error:
            fail(str(error))
        return
    from app.bootstrap import open_service

    with open_service(settings) as service:
        yield service.ingest, HERE


def _limits(settings: Settings) -> "ArchiveLimits":
    from app.ingest.sources.archive_members import ArchiveLimits

    return ArchiveLimits(settings.max_image_bytes)


class _Speed(ProgressColumn):
    """Pictures a second so far: they come in by chunks, and a speed of late would jump."""

    def render(self, task: Task) -> Text:
        """Shows the speed, once there is one."""
        speed = f"{task.completed / task.elapsed:.0f}/s" if task.completed and task.elapsed else ""
        return Text(speed, style="progress.data.speed")
