"""Jobs, which add the images of an archive in the background: `POST /jobs`."""

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, cast

from anyio import to_thread
from fastapi import Depends, Path, Query, Request, Response
from fastapi.sse import EventSourceResponse

from app.api.dependencies import Cursor, OnDuplicateParameter, ServiceDep, parse_cursor
from app.api.known_parameters import resource_router
from app.api.paths import RootPathDep
from app.api.routes.archive_upload import FIELD, read_archive
from app.api.routes.job_events import progress
from app.api.schemas.images import PROBLEM
from app.api.schemas.jobs import EntryWarningOut, JobDetails, JobOut, JobPage, RejectionOut
from app.bootstrap import Service
from app.catalogue.database.job_tables import Job
from app.common.json_values import MAX_ID
from app.errors import InvalidInputError, OverloadedError
from app.ingest.jobs import rows
from app.ingest.jobs.files import ArchiveUpload, JobFiles
from app.ingest.jobs.runner import JobRunner
from app.ingest.sources.archives.archive import is_archive
from app.ingest.sources.archives.members import ArchiveLimits
from app.ingest.uploads import OnDuplicate

router = resource_router(
    "jobs",
    responses={
        404: {"description": "There is no such job.", **PROBLEM},
        422: {"description": "A parameter or the archive is not valid.", **PROBLEM},
        503: {"description": "Temporarily unavailable; see Retry-After.", **PROBLEM},
    },
)

# Limits of concurrent requests. An event stream occupies a connection for as long as it lasts.
EVENT_STREAMS = "event_streams"
LIMITS = {EVENT_STREAMS: 16}
# Bytes written to disk at a time.
BLOCK_BYTES = 1 << 20
# Images hardly compress, so an archive that is much larger unpacked is not one of images.
_UNPACKED_FACTOR = 4

JobId = Annotated[int, Path(ge=1, le=MAX_ID, examples=[1])]
BINARY = {"schema": {"type": "string", "format": "binary"}}
BODY = {
    "required": True,
    "content": {
        "application/zip": BINARY,
        "application/x-tar": BINARY,
        "application/gzip": BINARY,
        "multipart/form-data": {
            "schema": {"type": "object", "required": [FIELD], "properties": {FIELD: {**BINARY["schema"]}}}
        },
    },
}


@dataclass
class Jobs:
    """A process's job state: archive folder, runner, and number of concurrent requests by kind."""

    files: JobFiles
    runner: JobRunner
    busy: Counter[str] = field(default_factory=Counter)

    @contextmanager
    def reserve(self, kind: str) -> Iterator[None]:
        """Hold a permit of this kind for the duration of the block.

        Raises:
            OverloadedError: the limit is reached.
        """
        if self.busy[kind] >= LIMITS[kind]:
            raise OverloadedError
        self.busy[kind] += 1
        try:
            yield
        finally:
            self.busy[kind] -= 1


@contextmanager
def open_jobs(service: Service) -> Iterator[Jobs]:
    """Run jobs in the background for the duration of the block, those of earlier runs first."""
    settings = service.settings
    files = JobFiles(settings.data_dir / "jobs", service.fsync_guard, service.database, service.orphan_cleanup)
    files.delete_orphans()
    limits = ArchiveLimits(
        settings.max_image_bytes, settings.max_archive_entries, _UNPACKED_FACTOR * settings.max_archive_bytes
    )
    with JobRunner(service.database, files, service.ingest, limits) as runner:
        yield Jobs(files, runner)


async def get_jobs(request: Request) -> Jobs:
    """Return this process's job state."""
    return cast("Jobs", request.state.jobs)


JobsDep = Annotated[Jobs, Depends(get_jobs)]


@router.post(
    "/jobs",
    operation_id="create_job",
    status_code=202,
    summary="Add an archive of images",
    openapi_extra={"requestBody": BODY},
    responses={413: {"description": "The archive is too large.", **PROBLEM}},
)
async def create_job(
    request: Request,
    response: Response,
    service: ServiceDep,
    jobs: JobsDep,
    root_path: RootPathDep,
    on_duplicate: OnDuplicateParameter = OnDuplicate.ADD,
) -> JobOut:
    """Add the images of a zip or tar archive, plain or gzipped, in the background.

    The archive is the body, or the file `archive` of a form. An image's key is its path in the archive, its label the
    name of its folder, unless a table `metadata.csv` (or `.tsv`, `.jsonl`) at the top level overrides them: its column
    `file` is an image's path, `key` and `label` set the image's key and label, all others become metadata. Jobs run
    one after the other. When the response arrives, the archive is durable, and the job continues even after a crash.
    """
    declared = request.headers.get("content-length", "")
    arrival = await to_thread.run_sync(jobs.files.begin_upload, int(declared) if declared.isdigit() else None)
    with arrival:
        await _write_body(request, arrival)
        job = await to_thread.run_sync(_create_job, service, arrival, on_duplicate)
    jobs.runner.notify()
    response.headers["Location"] = f"{root_path}/jobs/{job.id}"
    return JobOut.model_validate(job)


@router.get("/jobs", operation_id="list_jobs", summary="List jobs, latest first")
def list_jobs(
    service: ServiceDep,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    cursor: Cursor = None,
) -> JobPage:
    """List jobs and their progress, latest first."""
    with service.database.read_session() as session:
        found = rows.list_jobs(session, before=None if cursor is None else parse_cursor(cursor), limit=limit + 1)
    more = str(found[limit - 1].id) if len(found) > limit else None
    return JobPage(items=[JobOut.model_validate(job) for job in found[:limit]], next_cursor=more)


@router.get("/jobs/{job_id}", operation_id="get_job", summary="Get a job")
def get_job(job_id: JobId, service: ServiceDep) -> JobDetails:
    """Return a job's progress, its rejected entries with the reasons, and warnings."""
    with service.database.read_session() as session:
        job = rows.find_job(session, job_id)
        rejections, warnings = rows.rejections(session, job_id), rows.entry_warnings(session, job_id)
    return JobDetails(
        **JobOut.model_validate(job).model_dump(),
        rejections=[RejectionOut.model_validate(one) for one in rejections],
        warnings=[EntryWarningOut.model_validate(one) for one in warnings],
    )


@router.post("/jobs/{job_id}/cancel", operation_id="cancel_job", summary="Cancel a job")
def cancel_job(job_id: JobId, service: ServiceDep, jobs: JobsDep) -> JobOut:
    """Cancel a job and delete its archive.

    Images that it has added stay, and a few that are being processed may still be added. Cancelling a job that has
    ended changes nothing.
    """
    with service.database.transaction(allow_low_space=True) as session:
        job = rows.cancel(session, job_id)
    # A reader either has the file open already, or finds that the job is cancelled.
    jobs.files.remove(job.archive)
    return JobOut.model_validate(job)


async def hold_stream_permit(jobs: JobsDep) -> AsyncIterator[None]:
    """Hold a permit from before the response begins, when it can still be 503, until it has ended in any way.

    Raises:
        OverloadedError: no permit is free.
    """
    with jobs.reserve(EVENT_STREAMS):
        yield


def get_job_state(job_id: JobId, service: ServiceDep) -> JobOut:
    """Return a job's current state, or raise `NotFoundError`."""
    return _read_job(service, job_id)


@router.get(
    "/jobs/{job_id}/events",
    operation_id="stream_job_events",
    summary="Stream a job's progress",
    responses={200: {"description": "Server-sent events, each a job as JSON."}},
    response_class=EventSourceResponse,
    dependencies=[Depends(hold_stream_permit)],
)
async def stream_job_events(
    job: Annotated[JobOut, Depends(get_job_state)], service: ServiceDep, jobs: JobsDep
) -> AsyncIterator[JobOut]:
    """Stream a job's state as server-sent events, whenever it changes, until the job ends."""
    async for state in progress(job, partial(_read_job, service, job.id), lambda: jobs.runner.stopping):
        yield state


def _create_job(service: Service, arrival: ArchiveUpload, on_duplicate: OnDuplicate) -> Job:
    if not is_archive(arrival.path):
        raise InvalidInputError(FIELD, "is neither a zip nor a tar archive, plain or gzipped. Send one of these")
    name = arrival.commit()
    with service.database.transaction() as session:
        return rows.create_job(session, name, arrival.size, on_duplicate)


async def _write_body(request: Request, arrival: ArchiveUpload) -> None:
    """Write the request's archive to disk, block by block, in threads."""
    block = bytearray()
    async for data in read_archive(request):
        block += data
        if len(block) >= BLOCK_BYTES:
            await to_thread.run_sync(arrival.write, bytes(block))
            block.clear()
    await to_thread.run_sync(arrival.write, bytes(block))


def _read_job(service: Service, job_id: int) -> JobOut:
    with service.database.read_session() as session:
        return JobOut.model_validate(rows.find_job(session, job_id))
