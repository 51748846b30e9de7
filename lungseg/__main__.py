"""`python -m lungseg` is the same program as `lungseg`."""

from __future__ import annotations

import atexit
import gc
import os
import sys

# Imports make objects that last. By default Python looks through them after each 700 new ones, and
# some 7% of the time until the first mask goes into that.
ALLOCATIONS_BEFORE_A_COLLECTION = 50_000


def main() -> None:
    """Run the program. Ctrl-C while its modules are imported ends it as at any other time."""
    gc.set_threshold(ALLOCATIONS_BEFORE_A_COLLECTION)
    # pydantic would search every installed package for plugins, which takes 30 ms. None is wanted.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    try:
        from lungseg.cli import main as run

        run()
    except KeyboardInterrupt:
        from lungseg.system.interrupted import message

        sys.stderr.write(f"error: {message(sys.argv[1:])}\n")
        sys.exit(130)  # ExitCode.INTERRUPTED, whose module may be the one that was not imported
    except SystemExit as end:
        if not end.code:
            _end_at_once()
        raise


def _end_at_once() -> None:
    """End this process, without freeing each object first, which takes a tenth of a second.

    If the last output cannot be written, the process goes on: Python ends it and says why.
    """
    atexit._run_exitfuncs()
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    except (OSError, ValueError):  # a full disk, a pipe that nobody reads; a closed stream
        return
    os._exit(0)


if __name__ == "__main__":
    main()
