"""Finished networks are not written over: a catalogue may be using one, and codes of two never meet."""

from pathlib import Path

from app.cli.terminal import fail


def refuse_finished(out: Path) -> None:
    """Ends the command, before its work, where a finished checkpoint `out` (a path without suffix) is there.

    A run that was stopped has left no JSON, which is written last, and goes on.
    """
    if Path(f"{out}.json").exists():
        fail(
            f"{out} is a finished network, which a catalogue may be using or move back to. Name another place with "
            f"--out, or remove {out}.json and {out}.safetensors if nobody needs them."
        )
