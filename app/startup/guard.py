"""The process that cleans up after a start that was cut off: `python -m app.startup.guard LOG_FORM [DATA_DIR]`.

It reads from stdin what `app.startup.supervision` writes: a line for each step, `SECONDS NAME`, then `complete`. The
end of the input without that line means that the process which starts has ended. Then it logs which step was under way,
and stops the embedded PostgreSQL of the data folder unless another process uses it.

It imports what it needs only then, because most starts complete.
"""

import os
import signal
import sys
import time

COMPLETE = "complete"


def main() -> None:
    """Waits for the start to complete or to be cut off."""
    # Sent to the whole group by a terminal or a supervisor; this process ends with the start.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    last, began = "0 starting", time.monotonic()
    for line in sys.stdin:
        last, began = line.strip(), time.monotonic()
    if last == COMPLETE:
        # The process that has started waits for this one, and there is nothing to tidy up.
        os._exit(0)
    _clean_up(last, time.monotonic() - began, *sys.argv[1:])


def _clean_up(last: str, took: float, log_form: str, data_dir: str | None = None) -> None:
    import logging.config
    from pathlib import Path

    from app.observability.log_format import configuration

    logging.config.dictConfig(configuration("json" if log_form == "json" else "auto"))
    log = logging.getLogger("app.startup.supervision")
    seconds, _, name = last.partition(" ")
    if 0 < float(seconds) <= took:
        log.error(
            "the start took longer than %s s for one step and was ended: %s. The stacks above show where each thread "
            "was. LOOKALIKE_STARTUP_STEP_TIMEOUT_SECONDS allows more time",
            seconds,
            name,
        )
    else:
        log.warning("the start was ended before it was complete, while %s", name)
    if data_dir is not None:
        from app.catalogue.embedded.postgres import stop_if_unused

        stop_if_unused(Path(data_dir))


if __name__ == "__main__":
    main()
