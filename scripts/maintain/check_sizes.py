"""Fail if a file that git knows, or would add, is too large, over 200 kB. `make lint` runs this.

Example:
    python -m scripts.maintain.check_sizes
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
MAX_BYTES = 200_000
# Files that may be larger, with their own limits and the reason.
LIMITS = {
    ".ci/requirements.lock": 1_000_000,  # a hash for every file of every locked package
    # The shipped network: a test checks that both take at most 20 MB.
    "lungseg/shipped/model.onnx": 10_000_000,
    "lungseg/shipped/model.keras": 12_000_000,
    "lungseg/shipped/data.csv": 2_000_000,  # what each slice of its training looks like
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
    large = {n: s for n, s in sizes.items() if s > LIMITS.get(n, MAX_BYTES)}
    for name, size in sorted(large.items()):
        limit = LIMITS.get(name, MAX_BYTES)
        sys.stderr.write(f"{name}: {size / 1000:.0f} kB; at most {limit / 1000:.0f} kB.\n")
    sys.exit(1 if large else 0)


if __name__ == "__main__":
    main()
