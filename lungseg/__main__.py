"""`python -m lungseg` is the same program as `lungseg`."""

from __future__ import annotations

from lungseg.cli.app import main

if __name__ == "__main__":
    main()
