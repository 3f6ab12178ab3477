"""Main program of a decode process: read requests from a socket, one at a time, and write replies.

Run by `app.search.decode.sandbox` alone: `python -m app.search.decode.worker JOB SOCKET [MEMORY]`.
"""

import json
import mmap
import os
import socket
import sys
from collections.abc import Mapping
from dataclasses import astuple

import numpy as np
from PIL import Image

from app.errors import ImageRejectedError
from app.search.decode.confinement import confine
from app.search.decode.image import Crop, DecodeLimits
from app.search.decode.prepare import ImagePreparer, InProcessPreparer
from app.search.decode.process import GREETING, READY, REPLY, REQUEST
from models.network.preprocess import Preprocess


def main() -> None:
    """Import what decoding needs, confine the process, then serve requests until the socket is closed."""
    job = json.loads(sys.argv[1])
    prepare = InProcessPreparer(Preprocess.from_dict(job["preprocess"]), DecodeLimits(**job["limits"]))
    descriptor, *memories = map(int, sys.argv[2:])
    memory = _map(memories[0]) if memories else None
    with socket.socket(fileno=descriptor) as connection, connection.makefile("rwb") as stream:
        # Pillow imports its plugins when it first writes a thumbnail, and a module for EXIF when an AVIF first has an
        # orientation. Confinement would prevent this.
        Image.preinit()
        Image.Exif().tobytes()
        stream.write(GREETING.pack(READY, *astuple(confine(job["memory"]))))
        stream.flush()
        while head := stream.read(REQUEST.size):
            thumbnail, shared, cropped, *box, length = REQUEST.unpack(head)
            data = memory[:length] if shared and memory is not None else stream.read(length)
            for part in handle_request(prepare, data, thumbnail, Crop(*box) if cropped else None, memory):
                stream.write(part)
            stream.flush()


def handle_request(
    prepare: ImagePreparer, data: bytes, thumbnail: bool, crop: Crop | None, memory: mmap.mmap | None
) -> list[bytes]:
    """Prepare an image; return the parts of the reply. Its pixels are written to shared memory, if there is any."""
    try:
        prepared = prepare(data, thumbnail=thumbnail, crop=crop)
    except ImageRejectedError as error:
        return _header({"code": error.code, "reason": error.reason})
    except MemoryError:
        reason = "The image needs more memory to decode than is available. Send a smaller image."
        return _header({"code": "image_decode_out_of_memory", "reason": reason})
    fields = {
        "width": prepared.width,
        "height": prepared.height,
        "media_type": prepared.media_type,
        "thumbnail": len(prepared.thumbnail),
        "warnings": [warning.value for warning in prepared.warnings],
    }
    if memory is None:
        return [*_header(fields), prepared.pixels.tobytes(), prepared.thumbnail]
    memory[: prepared.pixels.nbytes] = np.ascontiguousarray(prepared.pixels).data.cast("B")
    return [*_header(fields), prepared.thumbnail]


def _map(descriptor: int) -> mmap.mmap:
    """Map all of the memory; its descriptor is closed."""
    try:
        return mmap.mmap(descriptor, os.fstat(descriptor).st_size)
    finally:
        os.close(descriptor)


def _header(fields: Mapping[str, object]) -> list[bytes]:
    text = json.dumps(fields).encode()
    return [REPLY.pack(len(text)), text]


if __name__ == "__main__":
    main()
