"""Which slices are one patient's: by a CSV, by name, or by likeness."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from lungseg.config import SplitConfig
from lungseg.errors import UsageError
from lungseg.files import read_csv
from lungseg.similarity import similar_pairs
from lungseg.slices import Slice


def grouped(slices: Sequence[Slice], split: SplitConfig) -> tuple[list[Slice], list[list[str]]]:
    """Give each slice its group: from the CSV, the regex, the manifest, or by likeness."""
    originals = [s for s in slices if not s.is_copy]
    merged: list[list[str]] = []
    if split.group_csv is not None:
        table = {
            row["case"]: row[split.group_column]
            for row in read_csv(split.group_csv, ("case", split.group_column))
        }
        unknown = [s.case for s in originals if s.case not in table]
        if unknown:
            raise UsageError(
                f"{split.group_csv}: names no group for {len(unknown)} of {len(originals)} cases, "
                f"the first is {unknown[0]!r}."
            )
        groups = {s.case: table[s.case] for s in originals}
    elif split.group_regex is not None:
        pattern = re.compile(split.group_regex)
        groups = {}
        for s in originals:
            match = pattern.search(s.case)
            if not match:
                raise UsageError(
                    f"split.group_regex {split.group_regex!r} does not match the case {s.case!r}; "
                    "it must match every name."
                )
            groups[s.case] = match.group(1)
    else:
        groups, merged = _groups_by_likeness([s for s in originals if not s.group], split)
        groups |= {s.case: s.group for s in originals if s.group}
    return [replace(s, group=groups[s.source]) for s in slices], merged


def _groups_by_likeness(
    originals: Sequence[Slice], split: SplitConfig
) -> tuple[dict[str, str], list[list[str]]]:
    """Put together slices that may be one patient's.

    Two slices are joined if they are as alike as neighbours of one volume, or somewhat alike and
    close in number. Chains of such pairs make one group, named after its first slice.
    """
    leader = list(range(len(originals)))

    def find(index: int) -> int:
        while leader[index] != index:
            leader[index] = leader[leader[index]]
            index = leader[index]
        return index

    numbers = [_trailing_number(s.case) for s in originals]
    threshold = min(split.neighbour_similarity, split.leak_similarity)
    for i, j, similarity in similar_pairs([s.phash for s in originals], threshold):
        (stem_i, number_i), (stem_j, number_j) = numbers[i], numbers[j]
        close = (
            stem_i == stem_j
            and number_i is not None
            and number_j is not None
            and abs(number_i - number_j) <= split.neighbour_gap
        )
        if similarity >= split.leak_similarity or close:
            leader[max(find(i), find(j))] = min(find(i), find(j))
    members: dict[int, list[str]] = defaultdict(list)
    for index, s in enumerate(originals):
        members[find(index)].append(s.case)
    groups = {case: cases[0] for cases in members.values() for case in cases}
    return groups, [cases for cases in members.values() if len(cases) > 1]


def _trailing_number(case: str) -> tuple[str, int | None]:
    match = re.fullmatch(r"(.*?)(\d+)\D*", case)
    return (match.group(1), int(match.group(2))) if match else (case, None)
