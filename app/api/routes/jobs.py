"""Jobs: archives of pictures that go into the catalogue in the background, `POST /jobs`."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any, cast

from anyio import to_thread
from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.responses import StreamingResponse

from app.api.dependencies import MAX_ID, Cursor, ServiceDep, after
from app.api.routes.archive_upload import FIELD, archive_of
from app.api.routes.job_events import EventStream, events
from app.api.schemas.images import PROBLEM
from app.api.schemas.jobs import JobDetails, JobOut, JobPage, RejectionOut
from app.bootstrap import Service
from app.catalogue.database.tables import Job
from app.errors import InvalidInputError, OverloadedError
from app.ingest.jobs import rows
from app.ingest.jobs.files import Arrival, JobFiles
from app.ingest.jobs.runner import JobRunner
from app.ingest.sources.archive import is_archive
from app.ingest.sources.archive_members import ArchiveLimits

router = APIRouter(
    tags=["jobs"],
    responses={
        404: {"description": "There is no such job.", **PROBLEM},
        422: {"description": "A parameter or the archive cannot be used.", **PROBLEM},
        503: {"description": "Not now; see Retry-After.", **PROBLEM},
    },
)

# Each takes a connection for as long as it lasts.
WATCHING = "watching"
MOST = {WATCHING: 16}
# Bytes that go to the disk at a time.
BLOCK = 1 << 20
# Unpacked, an archive of pictures is hardly larger than packed; one that is much larger is none.
_UNPACKED = 4

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
EVENTS: dict[int | str, dict[str, Any]] = {
    200: {"description": "Server-sent events, each a job as JSON.", "content": {EventStream.media_type: {}}}
}


@dataclass
class Jobs:
    """What a process has for jobs: the archives' folder, the runner, and how many requests are at it."""

    files: JobFiles
    runner: JobRunner
    busy: Counter[str] = field(default_factory=Counter)

    def require_place(self, what: str) -> None:
        """Refuses another request where as many as there may be are under way.

        Raises:
            OverloadedError: they are.
        """
        if self.busy[what] >= MOST[what]:
            raise OverloadedError

    @contextmanager
    def place(self, what: str) -> Iterator[None]:
        """Takes a place for the length of the block."""
        self.require_place(what)
        self.busy[what] += 1
        try:
            yield
        finally:
            self.busy[what] -= 1


@contextmanager
def open_jobs(service: Service) -> Iterator[Jobs]:
    """Works through jobs, those of earlier runs first, for the length of the block."""
    settings = service.settings
    files = JobFiles(settings.data_dir / "jobs", service.disk, service.database, service.cleanup)
    files.settle()
    limits = ArchiveLimits(
        settings.max_image_bytes, settings.max_archive_entries, _UNPACKED * settings.max_archive_bytes
    )
    with JobRunner(service.database, files, service.ingest, limits) as runner:
        yield Jobs(files, runner)


async def get_jobs(request: Request) -> Jobs:
    """Returns what this process has for jobs."""
    return cast("Jobs", request.state.jobs)


JobsDep = Annotated[Jobs, Depends(get_jobs)]


@router.post(
    "/jobs",
    operation_id="create_job",
    status_code=202,
    summary="Send an archive of pictures",
    openapi_extra={"requestBody": BODY},
    responses={413: {"description": "The archive is too large.", **PROBLEM}},
)
async def start_job(request: Request, response: Response, service: ServiceDep, jobs: JobsDep) -> JobOut:
    """Takes a zip or tar archive, plain or gzipped, and puts its pictures into the catalogue in the background.

    The archive is the body, or the file `archive` of a form. A picture's key is its path in the archive, its label the
    name of its folder, unless a table `metadata.csv` or `metadata.jsonl` at the top says otherwise: its column `file`
    names a picture, `key` and `label` are the catalogue's, all others become metadata. Jobs are worked through one
    after the other. When the answer comes the archive is kept for good, and the job goes on even after a crash.
    """
    declared = request.headers.get("content-length", "")
    arrival = await to_thread.run_sync(jobs.files.arrive, int(declared) if declared.isdigit() else None)
    with arrival:
        await _receive(request, arrival)
        job = await to_thread.run_sync(_keep, service, arrival)
    jobs.runner.wake()
    response.headers["Location"] = f"/jobs/{job.id}"
    return JobOut.model_validate(job)


@router.get("/jobs", operation_id="list_jobs", summary="All jobs, the latest first")
def list_jobs(
    service: ServiceDep,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    cursor: Cursor = None,
) -> JobPage:
    """Lists jobs, with how far they are."""
    with service.database.asking() as session:
        found = rows.list_jobs(session, before=None if cursor is None else after(cursor), limit=limit + 1)
    more = str(found[limit - 1].id) if len(found) > limit else None
    return JobPage(items=[JobOut.model_validate(job) for job in found[:limit]], next_cursor=more)


@router.get("/jobs/{job_id}", operation_id="get_job", summary="How far is it?")
def get_job(job_id: JobId, service: ServiceDep) -> JobDetails:
    """Returns a job, with what of it could not be used, and why."""
    with service.database.asking() as session:
        job, refused = rows.find_job(session, job_id), rows.rejections(session, job_id)
    return JobDetails(
        **JobOut.model_validate(job).model_dump(), rejections=[RejectionOut.model_validate(one) for one in refused]
    )


@router.post("/jobs/{job_id}/cancel", operation_id="cancel_job", summary="Stop a job")
def cancel_job(job_id: JobId, service: ServiceDep, jobs: JobsDep) -> JobOut:
    """Stops a job; a few pictures that are under way may still come in, and what came in stays.

    A job that has ended stays as it is, so cancelling it again changes nothing. Its archive is deleted at once.
    """
    with service.database.begin(from_reserve=True) as session:
        job = rows.cancel(session, job_id)
    # Whatever reads it still has it open, or finds that its job was cancelled.
    jobs.files.remove(job.archive)
    return JobOut.model_validate(job)


@router.get(
    "/jobs/{job_id}/events",
    operation_id="stream_job_events",
    summary="Hear how far it is",
    responses=EVENTS,
    response_class=StreamingResponse,
)
async def watch_job(job_id: JobId, service: ServiceDep, jobs: JobsDep) -> EventStream:
    """Tells of a job whenever something changes, as server-sent events, until it has ended."""
    jobs.require_place(WATCHING)
    first = await to_thread.run_sync(_job, service, job_id)
    told = events(first, partial(_job, service, job_id), lambda: jobs.runner.ending)
    return EventStream(told, jobs.place(WATCHING))


def _keep(service: Service, arrival: Arrival) -> Job:
    if not is_archive(arrival.path):
        raise InvalidInputError(FIELD, "is neither a zip nor a tar archive, plain or gzipped")
    name = arrival.keep()
    with service.database.begin() as session:
        return rows.create_job(session, name, arrival.size)


async def _receive(request: Request, arrival: Arrival) -> None:
    """Writes what arrives, block by block and beside the loop that others wait for."""
    block = bytearray()
    async for data in archive_of(request):
        block += data
        if len(block) >= BLOCK:
            await to_thread.run_sync(arrival.write, bytes(block))
            block.clear()
    await to_thread.run_sync(arrival.write, bytes(block))


def _job(service: Service, job_id: int) -> JobOut:
    with service.database.asking() as session:
        return JobOut.model_validate(rows.find_job(session, job_id))
