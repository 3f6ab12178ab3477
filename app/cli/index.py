"""`lookalike index`: add folders, archives, tables and images to the catalogue, locally or over HTTP."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import ProgressColumn, Task
from rich.text import Text

from app.cli.terminal import console, exit_on_error, fail, progress_bar
from app.ingest.uploads import OnDuplicate
from app.settings import Settings

if TYPE_CHECKING:
    from app.ingest.bulk import BatchConfig, IngestTarget
    from app.ingest.sources.archives.members import ArchiveLimits
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
    on_duplicate: Annotated[
        OnDuplicate,
        typer.Option(help="What to do with files that the catalogue has under another key: add them, or skip them."),
    ] = OnDuplicate.ADD,
    rejections: Annotated[
        Path | None, typer.Option(help="File for the rejected entries and the reasons: .csv or .jsonl.")
    ] = None,
) -> None:
    """Add images to the catalogue. It is safe to run again: images that are already there stay unchanged.

    The exit status is 0 if all images were added, and 1 if any was rejected or there are none.
    """
    with exit_on_error():
        from app.cli.images.connection import require_url
        from app.ingest.sources.items import nothing_found
        from app.ingest.sources.open import open_sources

        settings = Settings()
        require_url(url or settings.url)
        sources = open_sources(paths, _limits(settings))
        open_target = partial(_target, settings, url or settings.url, api_key or settings.api_key, on_duplicate)
        try:
            counts, duplicates = _fill(sources, open_target, rejections)
        except KeyboardInterrupt:
            fail("Stopped. Run the same command again to continue.")
        if not counts:
            fail(nothing_found(_left_out(sources)))
        console().print(", ".join(f"{count} {status}" for status, count in counts.items()))
        if duplicates:
            console().print(_duplicates_sentence(duplicates, on_duplicate), soft_wrap=True)
        for line in _left_out(sources).lines():
            console().print(line, soft_wrap=True)
        if counts["rejected"]:
            raise typer.Exit(1)


def _duplicates_sentence(duplicates: int, on_duplicate: OnDuplicate) -> str:
    """Describe the files that are in the catalogue under other keys."""
    are = "is" if duplicates == 1 else "are"
    if on_duplicate is OnDuplicate.SKIP:
        return f"{duplicates:,} {are} in the catalogue already under other keys: skipped."
    return f"{duplicates:,} {are} in the catalogue already under other keys. `--on-duplicate skip` leaves them out."


def _fill(
    sources: Sequence["Source"],
    open_target: Callable[[Callable[[str], None]], AbstractContextManager[tuple["IngestTarget", "BatchConfig"]]],
    report: Path | None,
) -> tuple[Counter[str], int]:
    """Add the entries of all sources; returns their outcomes, and how many are there under other keys."""
    from app.cli.images.rejection_report import open_rejection_report
    from app.ingest.bulk import bulk_add, reject_duplicate_keys

    counts, duplicates = Counter[str](), 0
    with open_rejection_report(report) as write, progress_bar(_Speed()) as bar:
        task = bar.add_task("scanning", total=None)
        total = sum(source.count() for source in sources)
        if not total:
            return counts, 0
        with open_target(lambda message: bar.console.print(message, style="yellow", soft_wrap=True)) as (target, pace):
            bar.reset(task, description="indexing", total=total)
            for outcomes in bulk_add(reject_duplicate_keys(chain.from_iterable(sources)), target, pace, retry=True):
                for outcome in outcomes:
                    if outcome.reason is not None:
                        bar.console.print(f"{outcome.name}: {outcome.reason}", soft_wrap=True)
                        write(outcome)
                    for warning in outcome.warnings:
                        bar.console.print(f"{outcome.name}: {warning}", soft_wrap=True)
                counts.update(outcome.status for outcome in outcomes)
                duplicates += sum(outcome.duplicate_of is not None for outcome in outcomes)
                bar.advance(task, len(outcomes))
    return counts, duplicates


def _left_out(sources: Sequence["Source"]) -> "LeftOut":
    from models.data.left_out import LeftOut

    left_out = LeftOut()
    for source in sources:
        left_out.merge(source.left_out)
    return left_out


@contextmanager
def _target(
    settings: Settings, url: str | None, key: str | None, on_duplicate: OnDuplicate, show: Callable[[str], None]
) -> Iterator[tuple["IngestTarget", "BatchConfig"]]:
    from app.ingest.bulk import LOCAL_BATCHES, BatchConfig

    if url is not None:
        from lookalike_client import MAX_BATCH_BYTES, MAX_BATCH_IMAGES

        from app.cli.images.connection import connect
        from app.ingest.remote import RemoteTarget

        with connect(url, key, _ATTEMPTS, show) as client:
            pace = BatchConfig(MAX_BATCH_IMAGES, MAX_BATCH_BYTES, _CONCURRENT_REQUESTS)
            yield RemoteTarget(client, on_duplicate), pace
        return
    from app.bootstrap import open_service
    from app.ingest.jobs.stop import Stop, Stoppable

    with open_service(settings) as service:
        yield Stoppable(service.ingest, Stop(), on_duplicate), LOCAL_BATCHES


def _limits(settings: Settings) -> "ArchiveLimits":
    from app.ingest.sources.archives.members import ArchiveLimits

    return ArchiveLimits(settings.max_image_bytes)


class _Speed(ProgressColumn):
    """Progress column: images per second since the start, since chunks make the recent speed jump."""

    def render(self, task: Task) -> Text:
        """Return the speed as text; empty before the first chunk."""
        speed = f"{task.completed / task.elapsed:.0f}/s" if task.completed and task.elapsed else ""
        return Text(speed, style="progress.data.speed")
