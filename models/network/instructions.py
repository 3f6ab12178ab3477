"""Instruction sets of the CPU that low-precision arithmetic needs, as Linux names them in `/proc/cpuinfo`."""

from pathlib import Path

from models.checkpoint.quantisation import LowPrecision
from models.errors import ConfigError

CPUINFO = Path("/proc/cpuinfo")
# OpenVINO needs one of these to compute in the precision itself. Elsewhere it emulates it, or computes in f32.
NEEDED: dict[LowPrecision, tuple[str, ...]] = {
    "int8": ("avx2", "avx512_vnni", "avx_vnni", "amx_int8", "asimddp"),
    "bf16": ("avx512_bf16", "amx_bf16"),
}
# With one of these, a step multiplies and adds four bytes; without, int8 gains little.
FAST_INT8 = ("avx512_vnni", "avx_vnni", "amx_int8", "asimddp")


def instructions() -> tuple[str, ...]:
    """Return the instruction sets of this CPU that low precision can use; empty if they are not known."""
    try:
        lines = CPUINFO.read_text().splitlines()
    except OSError:
        return ()
    # x86 has a line of flags for each core, ARM one of features.
    flags = {flag for line in lines if line.startswith(("flags", "Features")) for flag in line.split()}
    return tuple(name for name in dict.fromkeys((*NEEDED["int8"], *NEEDED["bf16"])) if name in flags)


def missing_instructions(precision: LowPrecision) -> str | None:
    """Return what this CPU lacks for a precision, as a sentence; None if it lacks nothing."""
    needed, present = NEEDED[precision], instructions()
    if set(needed) & set(present):
        return None
    *others, last = needed
    return (
        f"{precision} needs a CPU with {', '.join(others)} or {last}, and this one has "
        f"{', '.join(present) if present else 'none of them'}."
    )


def require_instructions(precision: LowPrecision) -> None:
    """Check that this CPU computes in a precision.

    Raises:
        ConfigError: it does not.
    """
    if lack := missing_instructions(precision):
        raise ConfigError(f"{lack} Use another precision, or another machine.")
