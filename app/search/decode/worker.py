"""What a process of the sandbox runs: requests come through a socket, one after the other, answers go back.

Run by `app.search.decode.sandbox` alone: `python -m app.search.decode.worker JOB SOCKET`.
"""

import json
import socket
import sys
from dataclasses import astuple

from PIL import Image

from app.errors import PictureRefusedError
from app.search.decode.confinement import confine
from app.search.decode.image import Crop, DecodeLimits
from app.search.decode.prepare import InProcess, Preparer
from app.search.decode.process import GREETING, READY, REPLY, REQUEST
from models.network.preprocess import Preprocess


def main() -> None:
    """Opens and imports what decoding needs, gives up everything else, then works until the other end hangs up."""
    job = json.loads(sys.argv[1])
    preprocess, limits = Preprocess(**job["preprocess"]), DecodeLimits(**job["limits"])
    prepare = InProcess(preprocess.size, lambda image: Image.fromarray(preprocess(image)), limits)
    with socket.socket(fileno=int(sys.argv[2])) as connection, connection.makefile("rwb") as stream:
        # Pillow imports these plugins when it first writes a thumbnail: by then no file can be opened.
        Image.preinit()
        stream.write(GREETING.pack(READY, *astuple(confine(job["memory"]))))
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
    except MemoryError:
        return _headed(
            {"code": "image_decode_out_of_memory", "reason": "The picture needs more memory than there is for one."}
        )
    header: dict[str, int | str] = {
        "width": made.width,
        "height": made.height,
        "media_type": made.media_type,
        "thumbnail": len(made.thumbnail),
    }
    return [*_headed(header), made.image.tobytes(), made.thumbnail]


def _headed(header: dict[str, int | str]) -> list[bytes]:
    text = json.dumps(header).encode()
    return [REPLY.pack(len(text)), text]


if __name__ == "__main__":
    main()
