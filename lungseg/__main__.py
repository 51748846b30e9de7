"""`python -m lungseg` is the same program as `lungseg`."""

from __future__ import annotations

import gc
import sys

# Imports make objects that last. By default Python looks through them after each 700 new ones, and
# some 7% of the time until the first mask goes into that.
ALLOCATIONS_BEFORE_A_COLLECTION = 50_000


def main() -> None:
    """Run the program. Ctrl-C while its modules are imported ends it as at any other time."""
    gc.set_threshold(ALLOCATIONS_BEFORE_A_COLLECTION)
    try:
        from lungseg.cli import main as run

        run()
    except KeyboardInterrupt:
        from lungseg.system.interrupted import message

        sys.stderr.write(f"error: {message(sys.argv[1:])}\n")
        sys.exit(130)  # ExitCode.INTERRUPTED, whose module may be the one that was not imported


if __name__ == "__main__":
    main()
