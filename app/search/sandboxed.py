"""What a process of the sandbox runs: requests come through a socket, one after the other, answers go back.

Run by `app.search.sandbox` alone: `python -m app.search.sandboxed JOB SOCKET`.
"""

import json
import resource
import signal
import socket
import sys
from pathlib import Path

from PIL import Image

from app.errors import PictureRefusedError
from app.search.decode import Crop, DecodeLimits
from app.search.prepare import InProcess, Preparer
from app.search.sandbox import READY, REPLY, REQUEST
from models.preprocess import Preprocess

_OPEN_FILES = 64


def main() -> None:
    """Gives up what it does not need, then works until the other end hangs up."""
    job = json.loads(sys.argv[1])
    confine(job["memory"])
    preprocess, limits = Preprocess(**job["preprocess"]), DecodeLimits(**job["limits"])
    prepare = InProcess(preprocess.size, lambda image: Image.fromarray(preprocess(image)), limits)
    with socket.socket(fileno=int(sys.argv[2])) as connection, connection.makefile("rwb") as stream:
        stream.write(READY)
        stream.flush()
        while head := stream.read(REQUEST.size):
            thumbnail, cropped, *box, length = REQUEST.unpack(head)
            for part in answer(prepare, stream.read(length), thumbnail, Crop(*box) if cropped else None):
                stream.write(part)
            stream.flush()


def answer(prepare: Preparer, data: bytes, thumbnail: bool, crop: Crop | None) -> list[bytes]:
    """Prepares a picture; returns the parts of the answer."""
    try:
        made = prepare(data, thumbnail=thumbnail, crop=crop)
    except PictureRefusedError as error:
        return _headed({"code": error.code, "reason": error.reason})
    header: dict[str, int | str] = {
        "width": made.width,
        "height": made.height,
        "media_type": made.media_type,
        "thumbnail": len(made.thumbnail),
    }
    return [*_headed(header), made.image.tobytes(), made.thumbnail]


def confine(memory: int) -> None:
    """Takes from this process what decoding does not need: memory past a limit, files to write, a long life."""
    victim = Path("/proc/self/oom_score_adj")
    if victim.exists():
        # Where memory runs out after all, this process goes before any other.
        victim.write_text("1000")
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (_OPEN_FILES, _OPEN_FILES))
    # Ctrl-C in a terminal reaches every process; the service ends this one when it is done with it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _headed(header: dict[str, int | str]) -> list[bytes]:
    text = json.dumps(header).encode()
    return [REPLY.pack(len(text)), text]


if __name__ == "__main__":
    main()
