"""`lookalike index`: add folders, archives, tables and images to the catalogue, locally or over HTTP."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import ProgressColumn, Task
from rich.text import Text

from app.cli.terminal import console, exit_on_error, fail, progress_bar
from app.settings import Settings

if TYPE_CHECKING:
    from app.ingest.bulk import BatchConfig, IngestTarget
    from app.ingest.sources.archive_members import ArchiveLimits
    from app.ingest.sources.items import Source
    from models.data.left_out import LeftOut

# About four minutes of retries, enough for a restart of the service.
_ATTEMPTS = 10
# Concurrent requests share the uplink, and each must arrive within a minute.
_CONCURRENT_REQUESTS = 2


def index(
    paths: Annotated[
        list[Path],
        typer.Argument(
            help="Folders, archives (zip, tar, tar.gz), images, or tables (.csv, .tsv, .jsonl) with a column `file` "
            "and metadata. The name of an image's folder becomes its label.",
            show_default=False,
        ),
    ],
    url: Annotated[
        str | None, typer.Option(help="Address of a running service to fill instead of the data folder.")
    ] = None,
    api_key: Annotated[
        str | None, typer.Option(help="Its API key. Prefer LOOKALIKE_API_KEY, which process lists do not show.")
    ] = None,
    rejections: Annotated[
        Path | None, typer.Option(help="File for the rejected entries and the reasons: .csv or .jsonl.")
    ] = None,
) -> None:
    """Add images to the catalogue. It is safe to run again: images that are already there stay unchanged.

    The exit status is 0 if all images were added, and 1 if any was rejected or there are none.
    """
    with exit_on_error():
        from app.ingest.sources.items import nothing_found
        from app.ingest.sources.open import open_source

        settings = Settings()
        sources = [open_source(path, _limits(settings)) for path in paths]
        try:
            counts = _fill(sources, settings, url or settings.url, api_key or settings.api_key, rejections)
        except KeyboardInterrupt:
            fail("Stopped. Run the same command again to continue.")
        if not counts:
            fail(nothing_found(_left_out(sources)))
        console().print(", ".join(f"{count} {status}" for status, count in counts.items()))
        for line in _left_out(sources).lines():
            console().print(line, soft_wrap=True)
        if counts["rejected"]:
            raise typer.Exit(1)


def _fill(
    sources: Sequence["Source"], settings: Settings, url: str | None, key: str | None, report: Path | None
) -> Counter[str]:
    from app.cli.rejection_report import open_rejection_report
    from app.ingest.bulk import bulk_add, reject_duplicate_keys

    counts: Counter[str] = Counter()
    with open_rejection_report(report) as write, progress_bar(_Speed()) as bar:
        task = bar.add_task("scanning", total=None)
        total = sum(source.count() for source in sources)
        if not total:
            return counts
        with _target(settings, url, key) as (target, pace):
            bar.reset(task, description="indexing", total=total)
            for outcomes in bulk_add(reject_duplicate_keys(chain.from_iterable(sources)), target, pace, retry=True):
                for outcome in outcomes:
                    if outcome.reason is not None:
                        bar.console.print(f"{outcome.name}: {outcome.reason}", soft_wrap=True)
                        write(outcome)
                    for warning in outcome.warnings:
                        bar.console.print(f"{outcome.name}: {warning}", soft_wrap=True)
                counts.update(outcome.status for outcome in outcomes)
                bar.advance(task, len(outcomes))
    return counts


def _left_out(sources: Sequence["Source"]) -> "LeftOut":
    from models.data.left_out import LeftOut

    left_out = LeftOut()
    for source in sources:
        left_out.merge(source.left_out)
    return left_out


@contextmanager
def _target(settings: Settings, url: str | None, key: str | None) -> Iterator[tuple["IngestTarget", "BatchConfig"]]:
    from app.ingest.bulk import LOCAL_BATCHES, BatchConfig

    if url is not None:
        from lookalike_client import MAX_BATCH_BYTES, MAX_BATCH_IMAGES, ClientError, Lookalike, RetryPolicy

        from app.ingest.remote import RemoteTarget

        try:
            with Lookalike(url, key, retries=RetryPolicy(_ATTEMPTS)) as client:
                yield RemoteTarget(client), BatchConfig(MAX_BATCH_IMAGES, MAX_BATCH_BYTES, _CONCURRENT_REQUESTS)
        except ClientError as error:
            fail(str(error))
        return
    from app.bootstrap import open_service

    with open_service(settings) as service:
        yield service.ingest, LOCAL_BATCHES


def _limits(settings: Settings) -> "ArchiveLimits":
    from app.ingest.sources.archive_members import ArchiveLimits

    return ArchiveLimits(settings.max_image_bytes)


class _Speed(ProgressColumn):
    """Progress column: images per second since the start, since chunks make the recent speed jump."""

    def render(self, task: Task) -> Text:
        """Return the speed as text; empty before the first chunk."""
        speed = f"{task.completed / task.elapsed:.0f}/s" if task.completed and task.elapsed else ""
        return Text(speed, style="progress.data.speed")
