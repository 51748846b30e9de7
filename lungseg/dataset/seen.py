"""Recognising the slices and the patients that a network was trained on."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lungseg.config.datasets import SplitConfig
from lungseg.dataset.likeness import Looks
from lungseg.dataset.similarity import similar_across
from lungseg.dataset.slices import SeenRow, Slice, is_named
from lungseg.errors import DataError
from lungseg.system.tables import read_rows

# Names that `prepare` derives from the PatientID with a key. Two people do not share one by chance.
HASHED_NAME = re.compile(r"patient_[0-9a-f]{12}")

# The part of a run's `data.csv` for what the network was trained on that the training started with.
BEFORE = "before"
TRAINED = ("train", BEFORE)


@dataclass(frozen=True)
class Seen:
    """The cases of a part that a network may know.

    Attributes:
        cases: those that it was trained on: by their pixels, their looks or their patient.
        namesakes: those whose patient only has the name of one in the training. No slice looks
            alike, so they count as other patients.
    """

    cases: frozenset[str] = frozenset()
    namesakes: frozenset[str] = frozenset()


def seen_in_training(
    listing: Path, parts: Mapping[str, Sequence[Slice]], part: str, split: SplitConfig
) -> Seen:
    """Compare a part of a data set with what a network was trained on.

    A slice was seen if its pixels are those of a training slice, if it looks like one, or if
    another slice of its patient was seen. A name alone proves nothing, because two data sets may
    both have a `patient01`. It counts if it is a hash of `prepare`, or if both data sets share a
    slice under the same name, so that they have the same names throughout.

    Args:
        listing: `data.csv` of the run. Without this file nothing is known.
        parts: the slices of the data set.
        part: the part to compare.
        split: says how alike two slices of one patient look.

    Raises:
        DataError: if `listing` is damaged.
    """
    if not listing.exists():
        return Seen()
    rows = read_rows(listing, SeenRow)
    trained = [row for row in rows if row.part in TRAINED]
    slices = parts[part]
    cases = _alike(slices, trained, listing, split)
    hashes = {row.sha256 for row in trained}
    cases |= {s.case for s in slices if s.sha256 in hashes}

    listed = {row.case for row in rows}
    names = {row.group for row in trained if is_named(row, listed)}
    shared = {(row.group, row.sha256) for row in rows}
    same_names = any((s.group, s.sha256) in shared for each in parts.values() for s in each)
    namesakes = {s.case: s.group for s in slices if s.named and s.group in names}
    cases |= {case for case, name in namesakes.items() if same_names or HASHED_NAME.fullmatch(name)}
    patients = {s.group for s in slices if s.case in cases}
    cases |= {s.case for s in slices if s.group in patients}
    return Seen(frozenset(cases), frozenset(namesakes.keys() - cases))


def _alike(
    slices: Sequence[Slice], trained: Sequence[SeenRow], listing: Path, split: SplitConfig
) -> set[str]:
    """Return the cases that look like a training slice of the same or of an unknown patient."""
    try:
        known = Looks.read([row.likeness for row in trained])
    except ValueError as problem:
        raise DataError(listing, f"a likeness is damaged: {problem}.") from None
    looks = Looks.read([s.likeness for s in slices])
    limit = min(split.patient_similarity, split.leak_similarity)
    group, other = (np.array([each.group for each in some]) for some in (slices, trained))
    named = np.array([s.named for s in slices])
    others_named = np.array([row.grouped_by == "name" for row in trained])
    cases = set()
    for i, j, similarity in similar_across(looks, known, limit):
        # Two names speak against one patient, so the slices have to look more alike.
        differ = named[i] & others_named[j] & (group[i] != other[j])
        for k in i[similarity >= np.where(differ, split.leak_similarity, limit)]:
            cases.add(slices[k].case)
    return cases
