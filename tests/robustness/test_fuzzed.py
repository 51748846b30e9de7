"""Damaged bytes end in a result or in one of our errors: the brief form of `make fuzz`."""

import random
from pathlib import Path

import pytest

from lungseg.errors import LungsegError
from scripts.maintain.fuzz import readers, seeds


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("seeds")
    seeds(folder)
    return folder


def damaged(content: bytes, rng: random.Random) -> bytes:
    """Change a few bytes, cut, repeat, or insert a number that is often one too many."""
    found = bytearray(content)
    for _ in range(rng.randint(1, 6)):
        place = rng.randrange(len(found) + 1)
        change = rng.randrange(5)
        if change == 0:
            found[place : place + 1] = bytes([rng.randrange(256)])
        elif change == 1:
            del found[place : place + rng.randint(1, 40)]
        elif change == 2:
            found[place:place] = found[place : place + rng.randint(1, 40)]
        elif change == 3:
            found[place : place + 4] = rng.choice([b"\0\0\0\0", b"\xff\xff\xff\x7f", b"\xff" * 4])
        elif rng.random() < 0.2:
            del found[place:]
    return bytes(found)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("target", ["config", "image", "mask", "dicom", "nifti"])
def test_damaged_bytes_end_in_a_result_or_in_our_error(
    target: str, good: Path, tmp_path: Path
) -> None:
    suffix, read = readers()[target]
    originals = [path.read_bytes() for path in sorted((good / target).iterdir())]
    path = tmp_path / f"fuzzed{suffix}"
    rng, refused = random.Random(f"{target} 1"), 0
    for _ in range(60 if target == "config" else 1000):
        path.write_bytes(damaged(rng.choice(originals), rng))
        try:
            read(path)
        except LungsegError:
            refused += 1
    assert refused
    path.write_bytes(originals[0])
    read(path)  # the original itself is good
