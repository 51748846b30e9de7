"""`python -m lungseg` is the same program as `lungseg`."""

from lungseg.cli import main

if __name__ == "__main__":
    main()
