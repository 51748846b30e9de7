"""How alike two slices look, and leaks: slices that look like one patient's in two parts.

The hash is the 256-bit DCT hash of ImageHash. Similarity is the fraction of equal bits: 1 for equal
images. Measured on two archive patients (docs/explanation.md): neighbouring slices 2.5 mm apart
0.90 to 0.96, slices of different patients at most 0.75.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lungseg.config.schema import SplitConfig
from lungseg.dataset.slices import PARTS, Slice
from lungseg.errors import DataError
from lungseg.system import console

HASH_SIZE = 16
BITS = HASH_SIZE * HASH_SIZE


def perceptual_hash(pixels: NDArray[np.uint8]) -> str:
    """Hash a slice `(H, W)` or `(H, W, 3)`; 64 hexadecimal digits."""
    return str(imagehash.phash(Image.fromarray(pixels), hash_size=HASH_SIZE))


def pack(hashes: Sequence[str]) -> NDArray[np.uint64]:
    """Turn hexadecimal hashes into rows of four 64-bit words, `(N, 4)`."""
    if not hashes:
        return np.zeros((0, BITS // 64), dtype=np.uint64)
    return np.frombuffer(bytes.fromhex("".join(hashes)), dtype=">u8").reshape(-1, BITS // 64)


def similarities(one: NDArray[np.uint64], others: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Return the similarity of one hash `(4,)` to each of `(N, 4)`, in 0..1."""
    different = np.bitwise_count(np.bitwise_xor(one, others)).sum(axis=1, dtype=np.int64)
    return np.asarray(1 - different / BITS)


def similar_pairs(hashes: Sequence[str], at_least: float) -> Iterator[tuple[int, int, float]]:
    """Yield index pairs `(i, j, similarity)`, i < j, whose similarity is `at_least` or more.

    The time grows with the square of N (10,000 slices take seconds), the memory with N.
    """
    packed = pack(hashes)
    for i in range(len(packed) - 1):
        alike = similarities(packed[i], packed[i + 1 :])
        for offset in np.flatnonzero(alike >= at_least):
            yield i, i + 1 + int(offset), float(alike[offset])


def most_similar(first: Sequence[str], second: Sequence[str]) -> tuple[int, int, float] | None:
    """Return the most similar pair across two lists, `(i, j, similarity)`; None if one is empty."""
    left, right = pack(first), pack(second)
    if len(left) == 0 or len(right) == 0:
        return None
    best = (0, 0, -1.0)
    for i, row in enumerate(left):
        alike = similarities(row, right)
        j = int(alike.argmax())
        if alike[j] > best[2]:
            best = (i, j, float(alike[j]))
    return best


@dataclass(frozen=True)
class Likeness:
    """The most similar pair of slices across two parts."""

    parts: tuple[str, str]
    cases: tuple[str, str]
    similarity: float


def most_alike_pairs(parts: Mapping[str, Sequence[Slice]]) -> list[Likeness]:
    """Find, for each pair of parts, the most similar slices across them.

    Two slices of one patient count as equal, even if they look different.
    """
    pairs = []
    for one, other in itertools.combinations([p for p in PARTS if parts.get(p)], 2):
        first, second = parts[one], parts[other]
        groups = {s.group: s for s in first}
        shared = next((s for s in second if s.group in groups), None)
        if shared is not None:
            cases = (groups[shared.group].case, shared.case)
            pairs.append(Likeness((one, other), cases, 1.0))
            continue
        best = most_similar([s.phash for s in first], [s.phash for s in second])
        if best is not None:
            i, j, similarity = best
            pairs.append(Likeness((one, other), (first[i].case, second[j].case), similarity))
    return pairs


def report_leaks(audit: Sequence[Likeness], split: SplitConfig) -> None:
    """Report pairs at or above `split.leak_similarity`.

    Raises:
        DataError: if there are any. If `split.allow_leakage` is set, they are only a warning.
    """
    leaks = [likeness for likeness in audit if likeness.similarity >= split.leak_similarity]
    if not leaks:
        return
    lines = [
        f"  {' / '.join(leak.parts)}: {leak.cases[0]} and {leak.cases[1]}, "
        f"similarity {leak.similarity:.3f}"
        for leak in leaks
    ]
    message = (
        f"Slices in different parts look like one patient's (split.leak_similarity "
        f"{split.leak_similarity}), which makes every score too good:\n" + "\n".join(lines)
    )
    if not split.allow_leakage:
        raise DataError(
            None,
            message + "\nName the patients (split.group_regex or split.group_csv), or allow it "
            "with -s split.allow_leakage=true.",
        )
    console.warn(message)
