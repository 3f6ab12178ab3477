"""Guard against overwriting a finished checkpoint, which a catalogue may be using.

Codes of different checkpoints are not comparable, so an overwritten one makes the catalogue's codes useless.
"""

from pathlib import Path

from app.cli.terminal import fail


def refuse_finished(out: Path) -> None:
    """Exit with an error if the checkpoint `out` (a path without suffix) is finished.

    An interrupted run has no JSON file, which is written last, and may continue.
    """
    if Path(f"{out}.json").exists():
        fail(
            f"{out} is a finished checkpoint that a catalogue may use or switch back to. Choose another path with "
            f"--out, or delete {out}.json and {out}.safetensors if they are not needed."
        )
