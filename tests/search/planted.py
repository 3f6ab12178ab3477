"""A process of the sandbox in which pictures can do harm: what they begin with says which."""

import ctypes
import os
import time

from app.errors import PictureRefusedError
from app.search import prepare, sandboxed
from app.search.decode import Crop, DecodeLimits, Picture, decode
from app.search.sandbox import REPLY

ANSWERS = {b"lies  ": [REPLY.pack(3), b"{}!"], b"floods": [REPLY.pack(2**32 - 1), b"x" * 10_000]}


def harmful(data: bytes, limits: DecodeLimits, side: int | None = None, crop: Crop | None = None) -> Picture:
    """Decodes, unless the bytes say otherwise."""
    harm, kept = data[:6], []
    match harm:
        case b"crash ":
            ctypes.string_at(0)
        case b"abort ":
            os.abort()
        case b"hang  ":
            time.sleep(600)
        case b"greedy":
            while True:
                kept.append(bytearray(50_000_000))
        case b"writes":
            os.write(os.open(data[6:].decode(), os.O_WRONLY | os.O_CREAT), b"x" * 100)
        case b"lies  " | b"floods":
            # From the next picture on.
            vars(sandboxed)["answer"] = lambda *_args, **_options: ANSWERS[harm]
        case b"tells ":
            raise PictureRefusedError("told", str(sorted(os.environ)))
        case _:
            pass
    return decode(data, limits, side, crop)


if __name__ == "__main__":
    vars(prepare)["decode"] = harmful
    sandboxed.main()
