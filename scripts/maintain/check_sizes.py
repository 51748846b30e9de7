"""Fail if a file that git knows, or would add, is larger than 200 kB. `make lint` runs this.

Example:
    python -m scripts.maintain.check_sizes
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
MAX_BYTES = 200_000
# Files that may be larger, by name and with the reason.
EXEMPT = {
    ".ci/requirements.lock",  # a hash for every file of every locked package
}


def files_of_repository(root: Path) -> list[str]:
    """Return the files in git's index and new ones that git does not ignore, relative to `root`."""
    # In a container the folder may belong to another user, which git refuses by default.
    listing = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others"]
    done = subprocess.run(
        [*listing, "--exclude-standard"], cwd=root, check=True, capture_output=True, text=True
    )
    return [name for name in done.stdout.split("\0") if name and (root / name).is_file()]


def main() -> None:
    """List the files that are too large, and exit with 1 if there are any."""
    sizes = {name: (ROOT / name).stat().st_size for name in files_of_repository(ROOT)}
    large = {n: s for n, s in sizes.items() if s > MAX_BYTES and n not in EXEMPT}
    for name, size in sorted(large.items()):
        sys.stderr.write(f"{name}: {size / 1000:.0f} kB; at most {MAX_BYTES / 1000:.0f} kB.\n")
    sys.exit(1 if large else 0)


if __name__ == "__main__":
    main()
