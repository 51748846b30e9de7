"""Leaks: slices of one patient in two parts of a split."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lungseg.config.schema import SplitConfig
from lungseg.dataset.similarity import most_similar
from lungseg.dataset.slices import PARTS, Slice
from lungseg.errors import DataError
from lungseg.system import console


@dataclass(frozen=True)
class Likeness:
    """The most similar pair of slices across two parts."""

    parts: tuple[str, str]
    cases: tuple[str, str]
    similarity: float


def most_alike_pairs(parts: Mapping[str, Sequence[Slice]]) -> list[Likeness]:
    """Find, for each two parts, the most similar pair of slices across them.

    Two slices of one patient count as fully alike, even if they look different.
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
        DataError: if there are any; with `split.allow_leakage` it is a warning.
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
        f"Slices on two sides look like one patient's (split.leak_similarity "
        f"{split.leak_similarity}), which makes any score too good:\n" + "\n".join(lines)
    )
    if not split.allow_leakage:
        raise DataError(
            None,
            message + "\nName the patients (split.group_regex or split.group_csv), or allow it "
            "with -s split.allow_leakage=true.",
        )
    console.warn(message)
