"""The patient of each slice, and the part of a split that each patient goes to."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lungseg.config.datasets import SplitConfig
from lungseg.config.schema import Config
from lungseg.dataset.likeness import Looks
from lungseg.dataset.similarity import similar_pairs
from lungseg.dataset.slices import PARTS, Slice
from lungseg.errors import DataError, UsageError
from lungseg.system import console
from lungseg.system.files import natural_key
from lungseg.system.tables import read_csv
from lungseg.system.wording import counted

FEW_PATIENTS = 5  # with fewer, a part says little about other patients
REMEDY = (
    "Slices that look alike count as one patient's, and a patient whose slices do not may be on "
    "both sides of a split. Name the patients: split.group_regex or split.group_csv."
)


def assign_patients(
    slices: Sequence[Slice], split: SplitConfig
) -> tuple[list[Slice], list[list[str]]]:
    """Give each slice its patient as `group`.

    The patient comes from the CSV, the regular expression, the manifest, or, without these, from
    how alike the slices look. A copy has the group of its source.

    Returns:
        The slices with their groups, and the cases that were put together because they look alike.

    Raises:
        UsageError: if the CSV or the regular expression gives some case no group.
    """
    cases = {s.case for s in slices}
    # A copy whose source is not in the list stands for itself.
    originals = [s for s in slices if not s.is_copy or s.source not in cases]
    merged: list[list[str]] = []
    if names_patients(split):
        groups = named_groups([s.case for s in originals], split)
    else:
        groups, merged = _groups_by_likeness([s for s in originals if not s.group], split)
        groups |= {s.case: s.group for s in originals if s.group}
    named = {s.case for s in originals if s.group or names_patients(split)}
    grouped = []
    for s in slices:
        origin = s.source if s.source in cases else s.case
        grouped.append(replace(s, group=groups[origin], named=origin in named))
    return grouped, merged


def names_patients(split: SplitConfig) -> bool:
    """Whether the config says which patient a case belongs to."""
    return split.group_csv is not None or split.group_regex is not None


def named_groups(cases: Sequence[str], split: SplitConfig) -> dict[str, str]:
    """Return the patient of each case by the CSV or the regular expression; without both, itself.

    Raises:
        UsageError: if some case has no patient or, in the CSV, several.
    """
    if split.group_csv is None:
        regex = split.group_regex
        return {case: case if regex is None else patient_in(case, regex) for case in cases}
    table: dict[str, str] = {}
    for row in read_csv(split.group_csv, ("case", split.group_column)):
        case, group = row["case"], (row[split.group_column] or "").strip()
        if table.setdefault(case, group) != group:
            raise UsageError(
                f"{split.group_csv}: gives the case {case!r} two groups, {table[case]!r} and "
                f"{group!r}."
            )
    unknown = [case for case in cases if not table.get(case)]
    if unknown:
        raise UsageError(
            f"{split.group_csv}: names no group for {len(unknown)} of {len(cases)} cases, "
            f"the first is {unknown[0]!r}."
        )
    return {case: table[case] for case in cases}


def patient_in(case: str, group_regex: str) -> str:
    """Return the patient that `split.group_regex` matches in the name of a case.

    This is the first part in parentheses that matched, so `^(p[0-9]+)_|^scan([0-9]+)` works.

    Raises:
        UsageError: if it matches nothing.
    """
    match = re.search(group_regex, case)
    patient = next((part for part in match.groups() if part), None) if match else None
    if patient is None:
        raise UsageError(
            f"split.group_regex {group_regex!r} does not match the case {case!r}; it must match "
            "every name."
        )
    return patient


def warn_of_unknown_patients(slices: Sequence[Slice]) -> int:
    """Warn if patients are unknown, and say what to give; return the number of their slices."""
    unknown = sum(not s.named for s in slices)
    if unknown:
        console.warn(f"the patients of {unknown} of {len(slices)} slices are unknown. {REMEDY}")
    return unknown


def what_is_a_group(slices: Sequence[Slice]) -> str | None:
    """Return a sentence that says what a group is; None if each is a patient known by name."""
    named = {s.named for s in slices}
    if False not in named:
        return None
    alike = "the slices that look alike, because"
    if True in named:
        return f"A group is a named patient, or {alike} some patients are not named."
    return f"A group is {alike} the patients are not named."


def warn_of_few_patients(slices: Sequence[Slice], part: str) -> None:
    """Warn if a part has so few patients that its scores say little about others."""
    patients = len({s.group for s in slices})
    if 0 < patients < FEW_PATIENTS:
        console.warn(
            f"the {part} part has {counted(patients, what_is_a_group(slices))}. Its scores say "
            f"little about other patients; {FEW_PATIENTS} is the least to go by."
        )


def _groups_by_likeness(
    originals: Sequence[Slice], split: SplitConfig
) -> tuple[dict[str, str], list[list[str]]]:
    """Put together slices that may be one patient's.

    Two slices are joined if they are as alike as neighbours of one volume, or somewhat alike with
    numbers close to each other. Chains of such pairs make one group, named after its first slice.
    """
    # Imported here because it takes half a second and a split by named patients does not need it.
    from scipy.cluster.hierarchy import DisjointSet

    patients = DisjointSet(range(len(originals)))
    looks = Looks.read([s.likeness for s in originals])
    limit = min(split.patient_similarity, split.leak_similarity)
    for rows, columns, _ in similar_pairs(looks, limit):
        for i, j in zip(rows.tolist(), columns.tolist(), strict=True):
            patients.merge(i, j)
    i, j = _close_numbers([s.case for s in originals], split.neighbour_gap)
    for k in np.flatnonzero(looks.similarities(i, looks, j) >= split.neighbour_similarity):
        patients.merge(int(i[k]), int(j[k]))
    members: dict[int, list[str]] = defaultdict(list)
    for index, s in enumerate(originals):
        members[patients[index]].append(s.case)
    groups = {case: cases[0] for cases in members.values() for case in cases}
    return groups, [cases for cases in members.values() if len(cases) > 1]


def _close_numbers(cases: Sequence[str], gap: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the pairs of cases whose names differ in their last number only, by up to `gap`."""
    numbers: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for index, case in enumerate(cases):
        stem, number = _trailing_number(case)
        if number is not None:
            numbers[stem].append((number, index))
    pairs = []
    for series in numbers.values():
        series.sort()
        for position, (number, index) in enumerate(series):
            for other, neighbour in series[position + 1 :]:
                if other - number > gap:
                    break
                pairs.append((index, neighbour))
    i, j = np.array(pairs, np.intp).reshape(-1, 2).T
    return i, j


def _trailing_number(case: str) -> tuple[str, int | None]:
    match = re.fullmatch(r"(.*?)(\d+)\D*", case)
    return (match.group(1), int(match.group(2))) if match else (case, None)


def share_out(slices: Sequence[Slice], config: Config) -> dict[str, dict[str, list[Slice]]]:
    """Return folder name (`""` or `fold_k`) to parts to slices; copies go only to train."""
    groups: dict[str, list[Slice]] = defaultdict(list)
    for s in sorted(slices, key=lambda s: natural_key(s.case)):
        groups[s.group].append(s)
    names = list(groups)
    fractions = config.split.fractions
    if not config.split.folds:
        shares = assign_groups(groups, names, fractions, config.seed)
        return {"": _fill(groups, dict(zip(names, (PARTS[i] for i in shares), strict=True)))}
    folds = config.split.folds
    held_out = assign_groups(groups, names, [1 / folds] * folds, config.seed)
    plans = {}
    for fold in range(folds):
        rest = [name for name, k in zip(names, held_out, strict=True) if k != fold]
        shares = assign_groups(groups, rest, fractions[:2], config.seed + fold)
        part_of = dict(zip(rest, (PARTS[i] for i in shares), strict=True))
        plans[f"fold_{fold + 1}"] = _fill(
            groups, {name: part_of.get(name, "test") for name in names}
        )
    return plans


def _fill(groups: Mapping[str, list[Slice]], part_of: Mapping[str, str]) -> dict[str, list[Slice]]:
    parts: dict[str, list[Slice]] = {part: [] for part in PARTS}
    for name, members in groups.items():
        part = part_of[name]
        parts[part] += [s for s in members if part == "train" or not s.is_copy]
    return parts


def assign_groups(
    groups: Mapping[str, Sequence[Slice]],
    names: Sequence[str],
    fractions: Sequence[float],
    seed: int,
) -> list[int]:
    """Assign whole groups to parts so that sizes and lung areas match.

    The best of many seeded random assignments is kept: the one whose parts are nearest to their
    fraction of the slices, with the quartiles of lung area spread most evenly over them.

    Args:
        groups: group name to slices; copies do not count.
        names: the groups to assign.
        fractions: wanted fraction of each part; they are scaled to sum to 1.
        seed: the same seed gives the same assignment.

    Returns:
        For each of `names`, the index of its part. Each part with a fraction above 0 has a group.

    Raises:
        DataError: if there are fewer groups than parts.
    """
    wanted = np.array(fractions, dtype=float) / sum(fractions)
    open_parts = np.flatnonzero(wanted)
    if len(names) < len(open_parts):
        raise DataError(
            None,
            f"{len(names)} group(s) of slices cannot fill {len(open_parts)} parts without "
            "putting one patient into two parts. Use more patients, fewer parts (split.fractions) "
            "or another grouping (split.group_regex).",
        )
    areas = [[s.lung_fraction for s in groups[name] if not s.is_copy] for name in names]
    edges = np.quantile(np.concatenate([np.array(a) for a in areas]), [0.25, 0.5, 0.75])
    # One row per group: its slices in each quartile of lung area.
    strata = np.array([np.bincount(np.searchsorted(edges, a), minlength=4) for a in areas])
    sizes = strata.sum(axis=1)
    rng = np.random.default_rng([seed, 0x5917])
    best: NDArray[np.intp] | None = None
    best_score = np.inf
    for _ in range(int(np.clip(200_000 // len(names), 8, 400))):
        shares = _deal(rng.permutation(len(names)), sizes, wanted, open_parts)
        score = _imbalance(shares, strata, wanted)
        if score < best_score:
            best, best_score = shares, score
    assert best is not None
    return [int(part) for part in best]


def _deal(
    order: NDArray[np.int64],
    sizes: NDArray[np.int64],
    wanted: NDArray[np.float64],
    open_parts: NDArray[np.intp],
) -> NDArray[np.intp]:
    """Assign groups in `order`: one to each part, then each to the part that lacks most slices."""
    shares = np.zeros(len(order), dtype=np.intp)
    goal = wanted * sizes.sum()
    filled = np.zeros(len(wanted))
    for position, index in enumerate(order):
        if position < len(open_parts):
            part = int(open_parts[position])
        else:
            part = int((goal - filled).argmax())
        shares[index] = part
        filled[part] += sizes[index]
    return shares


def _imbalance(
    shares: NDArray[np.intp], strata: NDArray[np.int64], wanted: NDArray[np.float64]
) -> float:
    counts = np.array([strata[shares == part].sum(axis=0) for part in range(len(wanted))])
    total = strata.sum(axis=0)
    off_size = np.abs(counts.sum(axis=1) / total.sum() - wanted).sum()
    off_strata = np.abs(counts - wanted[:, None] * total[None]).sum() / total.sum()
    return float(2 * off_size + off_strata)
