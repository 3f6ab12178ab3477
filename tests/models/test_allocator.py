"""Number of glibc's arenas, from its own statistics."""

import subprocess
import sys

ARENAS_OF_THREADS = """
import ctypes, sys, threading
from models.allocator import share_arenas

if sys.argv[1] == "shared":
    share_arenas()
library, taken = ctypes.CDLL(None), threading.Barrier(17)
library.malloc.restype = library.fopen.restype = ctypes.c_void_p

def take():
    library.malloc(ctypes.c_size_t(10_000))
    taken.wait()

threads = [threading.Thread(target=take) for _ in range(16)]
for thread in threads:
    thread.start()
taken.wait()
library.malloc_info(0, ctypes.c_void_p(library.fopen(b"/dev/stdout", b"w")))
library.fflush(None)
"""


def test_share_arenas_limits_threads_to_two_arenas() -> None:
    def arenas(how: str) -> int:
        command = [sys.executable, "-c", ARENAS_OF_THREADS, how]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.count("<heap nr")

    assert arenas("own") > 2
    assert arenas("shared") <= 2
