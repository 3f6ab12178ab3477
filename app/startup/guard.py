"""Process that cleans up after an interrupted start: `python -m app.startup.guard LOG_FORMAT [DATA_DIR]`.

It reads from stdin what `app.startup.supervision` writes: a line `SECONDS NAME` for each step, then `complete`. If the
input ends without `complete`, the starting process has ended. The guard then logs the current step and stops the
embedded PostgreSQL of the data folder unless another process uses it.

Imports for the clean-up are local to it, because most starts complete.
"""

import os
import signal
import sys
import time

COMPLETE = "complete"


def main() -> None:
    """Wait until the start completes or is interrupted."""
    # A terminal or a supervisor sends these to the whole group, but the guard must outlive the starting process.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    last, began = "0 starting", time.monotonic()
    for line in sys.stdin:
        last, began = line.strip(), time.monotonic()
    if last == COMPLETE:
        # Exit at once: the started process waits for the guard, and there is nothing to clean up.
        os._exit(0)
    _clean_up(last, time.monotonic() - began, *sys.argv[1:])


def _clean_up(last: str, elapsed: float, log_format: str, data_dir: str | None = None) -> None:
    import logging.config
    from pathlib import Path

    from app.observability.log_format import logging_config

    logging.config.dictConfig(logging_config("json" if log_format == "json" else "auto"))
    log = logging.getLogger("app.startup.supervision")
    seconds, _, name = last.partition(" ")
    if 0 < float(seconds) <= elapsed:
        log.error(
            "step of the start timed out after %s s: %s. The stacks of all threads are above. Set "
            "LOOKALIKE_STARTUP_STEP_TIMEOUT_SECONDS to allow more time",
            seconds,
            name,
        )
    else:
        log.warning("the start was interrupted while %s", name)
    if data_dir is not None:
        from app.catalogue.embedded.postgres import stop_if_unused

        stop_if_unused(Path(data_dir))


if __name__ == "__main__":
    main()
