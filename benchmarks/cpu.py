"""Benchmark of the CPU time that a search takes, by process, beside that of decoding and encoding its image.

Times of a search depend on what else the machine does; CPU time hardly does, so it shows where the work is. The server
and its catalogue are those of `benchmarks/server/running.py`. Clients send an image as the body of a request, on a
connection of their own, which costs them and the server least.
"""

import http.client
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path

from benchmarks.options import Options, Say, space_shortage
from benchmarks.results import Results
from benchmarks.server.running import (
    MODEL,
    PIXELS,
    QUERIES,
    Images,
    InProcessBaseline,
    Server,
    bytes_needed,
    filled_service,
    jpegs,
)
from benchmarks.service import CLIENTS

IMAGES, SECONDS, ROUNDS = 100_000, 10.0, 3
SERVER, DECODING, DATABASE = "server", "decode processes", "database"
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
# Fields of /proc/PID/stat after the program's name: parent, user ticks, kernel ticks.
_PARENT, _USER, _KERNEL = 1, 11, 12
_OK = 200


def run(options: Options, say: Say) -> Results:
    """Fill a catalogue, start the server, and measure."""
    images = options.images or IMAGES
    results = Results("cpu", {"of": "a search", "pictures": images, "model": MODEL, "query": f"JPEG, {PIXELS} pixels"})
    if lack := space_shortage(options.folder, bytes_needed(images)):
        results.skip("cpu", lack)
        return results
    with filled_service(options.folder, images, results, say) as service:
        say("searching")
        measure(results, service.server, service.bare, service.settings.data_dir, jpegs(QUERIES))
    return results


def measure(results: Results, server: Server, bare: InProcessBaseline, data: Path, queries: Images) -> None:
    """Measure searches of several clients, interleaved with bare decoding and encoding: one by one, and in batches."""
    load(server, queries, CLIENTS[-1], SECONDS / 2)
    for clients in CLIENTS:
        searches, used = 0, dict.fromkeys((SERVER, DECODING, DATABASE), 0.0)
        images, spent = 0, 0.0
        for _ in range(ROUNDS):
            done, taken = bare_cpu(bare, queries, clients > 1)
            images, spent = images + done, spent + taken
            before = cpu_by_process(server.process_id, data)
            searches += load(server, queries, clients, SECONDS)
            after = cpu_by_process(server.process_id, data)
            used = {name: used[name] + after[name] - before[name] for name in used}
        name = f"{clients} at once"
        for process, seconds in used.items():
            results.value(f"{name}: {process}", 1000 * seconds / searches, "ms")
        whole, least = sum(used.values()) / searches, spent / images
        results.value(f"{name}: together", 1000 * whole, "ms")
        results.value(f"{name}: bare decoding and encoding", 1000 * least, "ms")
        results.value(f"{name}: beside them", 1000 * (whole - least), "ms")
        results.ratio(f"cpu_over_bare, {name}", 1000 * whole, 1000 * least)


def bare_cpu(bare: InProcessBaseline, queries: Images, in_batches: bool) -> tuple[int, float]:
    """Decode and encode images in this process; return their number and the CPU time in seconds."""
    call: Callable[[], object] = (lambda: bare.many(queries)) if in_batches else (lambda: [*map(bare.one, queries)])
    end, began, images = time.perf_counter() + SECONDS / 2, time.process_time(), 0
    while time.perf_counter() < end:
        call()
        images += len(queries)
    return images, time.process_time() - began


def load(server: Server, queries: Images, clients: int, seconds: float) -> int:
    """Run clients that search one image after another, each on its own connection; return the number of searches."""
    counts, end = [0] * clients, time.perf_counter() + seconds

    def client(number: int) -> None:
        with closing(server.connect()) as connection:
            turn = number * 7
            while time.perf_counter() < end:
                search(connection, queries[turn % QUERIES])
                counts[number] += 1
                turn += 1

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts)


def search(connection: http.client.HTTPConnection, image: bytes) -> None:
    """Search with an image as the body of the request."""
    connection.request("POST", "/search", image, {"Content-Type": "image/jpeg"})
    response = connection.getresponse()
    answer = response.read()
    if response.status != _OK:
        raise RuntimeError(f"/search returned {response.status}: {answer[:300]!r}")


def cpu_by_process(server: int, data: Path) -> Mapping[str, float]:
    """Return the CPU time so far of a server, its decode processes and its database, in seconds.

    Args:
        server: the server's process id.
        data: its data folder.
    """
    stats = dict(_stats())
    (postmaster,) = data.rglob("postmaster.pid")
    database = _descendants(int(postmaster.read_text().split()[0]), stats)
    decoding = _descendants(server, stats) - database - {server}
    processes = {SERVER: {server}, DECODING: decoding, DATABASE: database}
    return {
        name: sum(int(stats[one][_USER]) + int(stats[one][_KERNEL]) for one in which) / _TICKS_PER_SECOND
        for name, which in processes.items()
    }


def _descendants(process: int, stats: Mapping[int, list[str]]) -> set[int]:
    """Return a process and all processes below it."""
    found = {process}
    while more := {one for one, fields in stats.items() if int(fields[_PARENT]) in found} - found:
        found |= more
    return found


def _stats() -> Iterator[tuple[int, list[str]]]:
    """Yield the fields of /proc/PID/stat after the program's name, by process."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The program's name, in parentheses, may contain spaces and parentheses.
            yield int(path.parent.name), path.read_text().rpartition(")")[2].split()
        except OSError:  # the process has ended
            continue
