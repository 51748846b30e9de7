"""Pairs of slices that look alike, and leaks: those whose slices are in two parts of a split.

`likeness` says how alike two slices are. docs/likeness.md has what was measured.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lungseg.config.datasets import SplitConfig
from lungseg.dataset.likeness import Looks
from lungseg.dataset.slices import PARTS, Slice
from lungseg.errors import DataError
from lungseg.system import console

Pairs = tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]

ALL_PAIRS = 400_000  # at most so many pairs are compared without looking for candidates first
BLOCK = 2**20  # pairs whose nearness is in memory at a time
# How much less the powers of two slices may correlate than the slices. docs/likeness.md has what
# this misses.
SLACK = 0.25
NEAREST = 2000  # candidates among which the most similar pair is looked for


def similar_pairs(looks: Looks, at_least: float) -> Iterator[Pairs]:
    """Yield the pairs `i < j` of one list whose similarity is `at_least` or more.

    The time grows with the square of N, the memory with N.

    Yields:
        The indices `i`, the indices `j` and the similarities of some pairs, ordered by `i` and `j`.
    """
    for rows, columns, _ in _candidates(looks, looks, _floor(at_least)):
        later = columns > rows
        yield _correlate(looks, rows[later], looks, columns[later], at_least)


def similar_across(first: Looks, second: Looks, at_least: float) -> Iterator[Pairs]:
    """Yield the pairs across two lists whose similarity is `at_least` or more, as above."""
    for rows, columns, _ in _candidates(first, second, _floor(at_least)):
        yield _correlate(first, rows, second, columns, at_least)


def most_similar(first: Looks, second: Looks) -> tuple[int, int, float] | None:
    """Return the most similar pair across two lists, `(i, j, similarity)`; None if one is empty.

    Among many pairs, only the `NEAREST` by their powers of each block are compared.
    """
    best: tuple[int, int, float] | None = None
    for rows, columns, nearness in _candidates(first, second, -np.inf):
        if nearness.any():
            chosen = np.argpartition(-nearness, min(NEAREST, len(nearness)) - 1)[:NEAREST]
            rows, columns = rows[chosen], columns[chosen]
        similarity = first.similarities(rows, second, columns)
        k = int(similarity.argmax())
        if best is None or similarity[k] > best[2]:
            best = (int(rows[k]), int(columns[k]), float(similarity[k]))
    return best


def _floor(similarity: float) -> float:
    """Return how near the powers of two slices are if their similarity is this or more."""
    return 2 * similarity - 1 - SLACK


def _correlate(
    first: Looks, rows: NDArray[np.intp], second: Looks, columns: NDArray[np.intp], at_least: float
) -> Pairs:
    similarity = first.similarities(rows, second, columns)
    keep = similarity >= at_least
    return rows[keep], columns[keep], similarity[keep]


def _candidates(first: Looks, second: Looks, floor: float) -> Iterator[Pairs]:
    """Yield pairs whose powers are at least `floor` alike, and how alike; or all, if they are few.

    The mean of the data is subtracted from the powers, because those of all slices resemble each
    other. So this says something about many slices only. Of few pairs, the third array is 0.
    """
    if len(first) * len(second) <= ALL_PAIRS:
        every = np.indices((len(first), len(second))).reshape(2, -1)
        if every.size:
            yield every[0], every[1], np.zeros(every.shape[1], np.float32)
        return
    one = first.powers()
    two = one if second is first else second.powers()
    mean = (one.sum(axis=1) + two.sum(axis=1)) / (len(first) + len(second))
    for powers in (one,) if two is one else (one, two):
        powers -= mean[:, None]
        powers /= np.maximum(np.linalg.norm(powers, axis=2, keepdims=True), 1e-9)
    height = max(1, BLOCK // len(second))
    for start in range(0, len(first), height):
        block = slice(start, start + height)
        nearness = np.maximum.reduce([a[block] @ b.T for a, b in zip(one, two, strict=True)])
        rows, columns = np.nonzero(nearness >= floor)
        if len(rows):
            yield rows + start, columns, nearness[rows, columns]


@dataclass(frozen=True)
class Likeness:
    """How alike the slices of two parts are.

    Attributes:
        parts: the names of the parts.
        cases: their most similar slices.
        similarity: how alike those are, 0 to 1. Two slices of one patient count as 1.
        alike: slices of the second part that look like one patient's with a slice of the first.
        leaks: whether that makes the scores of a part too good.
    """

    parts: tuple[str, str]
    cases: tuple[str, str]
    similarity: float
    alike: int
    leaks: bool


def most_alike_pairs(parts: Mapping[str, Sequence[Slice]], split: SplitConfig) -> list[Likeness]:
    """Find, for each pair of parts, the most similar slices across them, and leaks.

    Slices in two parts are a leak if they belong to one patient, if their similarity is
    `split.leak_similarity` or more, or if it is `split.patient_similarity` or more and the patient
    of one of them is unknown.
    """
    looks = {part: Looks.read([s.likeness for s in slices]) for part, slices in parts.items()}
    return [
        _compare((one, parts[one], looks[one]), (other, parts[other], looks[other]), split)
        for one, other in itertools.combinations([p for p in PARTS if parts.get(p)], 2)
    ]


Part = tuple[str, Sequence[Slice], Looks]


def _compare(one: Part, other: Part, split: SplitConfig) -> Likeness:
    (first_name, first, first_looks), (second_name, second, second_looks) = one, other
    first_named, second_named = (np.array([s.named for s in part]) for part in (first, second))
    limit = min(split.patient_similarity, split.leak_similarity)
    best, alike, leaks = (0, 0, -1.0), set[int](), False
    for rows, columns, values in similar_across(first_looks, second_looks, limit):
        alike.update(columns.tolist())
        named = first_named[rows] & second_named[columns]
        leaks |= bool((values >= np.where(named, split.leak_similarity, limit)).any())
        k = int(values.argmax()) if len(values) else 0
        if len(values) and values[k] > best[2]:
            best = (int(rows[k]), int(columns[k]), float(values[k]))
    groups = {s.group: s for s in first if s.named}
    shared = [j for j, s in enumerate(second) if s.named and s.group in groups]
    parts = (first_name, second_name)
    if shared:
        example = second[shared[0]]
        cases = (groups[example.group].case, example.case)
        return Likeness(parts, cases, 1.0, len(alike.union(shared)), leaks=True)
    i, j, similarity = best if alike else most_similar(first_looks, second_looks) or best
    return Likeness(parts, (first[i].case, second[j].case), similarity, len(alike), leaks)


def report_leaks(audit: Sequence[Likeness], split: SplitConfig, *, strict: bool = True) -> None:
    """Report slices in two parts that look like one patient's.

    Args:
        audit: from `most_alike_pairs`.
        split: says what is a leak, and whether it is allowed.
        strict: a leak is an error; otherwise a warning.

    Raises:
        DataError: if there is a leak, `strict` is true and `split.allow_leakage` is not set.
    """
    leaks = [likeness for likeness in audit if likeness.leaks]
    if leaks:
        message = (
            "Slices in different parts look like one patient's, which makes every score too "
            f"good:\n{_lines(leaks)}"
        )
        if strict and not split.allow_leakage:
            raise DataError(
                None,
                f"{message}\nName the patients (split.group_regex or split.group_csv), or allow it "
                "with -s split.allow_leakage=true.",
            )
        console.warn(message)
    doubts = [each for each in audit if each.alike and not each.leaks]
    if doubts:
        console.warn(
            "slices in different parts have patients of different names, but look like one "
            f"patient's. Was a patient named twice?\n{_lines(doubts)}"
        )


def _lines(audit: Sequence[Likeness]) -> str:
    return "\n".join(
        f"  {' / '.join(each.parts)}: {each.alike} slices of {each.parts[1]}; the most similar are "
        f"{each.cases[0]} and {each.cases[1]}, similarity {each.similarity:.3f}"
        for each in audit
    )
