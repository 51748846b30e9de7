"""An audit finds a patient or a picture that is in two parts."""

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest

from lungseg.config.schema import SplitConfig
from lungseg.dataset.similarity import Likeness, most_alike_pairs, report_leaks
from lungseg.dataset.slices import PARTS, Slice
from lungseg.errors import DataError

PAIRS = list(combinations(PARTS, 2))
# Any two of these hashes differ in half of their 256 bits.
HASHES = [digits * 64 for digits in ("0", "3", "5", "6")]


def slice_of(case: str, phash: str) -> Slice:
    return Slice(case, case, f"patient of {case}", Path(case), Path(case), 0.2, case, phash)


@pytest.fixture
def parts() -> dict[str, list[Slice]]:
    train, *others = (slice_of(f"s{k}", phash) for k, phash in enumerate(HASHES))
    return {"train": [train, others[0]], "valid": [others[1]], "test": [others[2]]}


def test_each_two_parts_are_compared(parts: dict[str, list[Slice]]) -> None:
    found = most_alike_pairs(parts)
    assert [likeness.parts for likeness in found] == PAIRS
    assert [likeness.similarity for likeness in found] == [0.5, 0.5, 0.5]
    report_leaks(found, SplitConfig())


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_a_patient_in_two_parts_is_a_leak_however_the_slices_look(
    one: str, other: str, parts: dict[str, list[Slice]]
) -> None:
    parts[other].append(replace(parts[one][-1], case="other", phash="f" * 64))
    audit = {likeness.parts: likeness for likeness in most_alike_pairs(parts)}
    expected = Likeness((one, other), (parts[one][-1].case, "other"), 1.0)
    assert audit[one, other] == expected
    assert sum(likeness.similarity == 1 for likeness in audit.values()) == 1
    with pytest.raises(DataError, match=f"{one} / {other}: {parts[one][-1].case} and other"):
        report_leaks(list(audit.values()), SplitConfig())


def test_the_most_alike_slices_are_named(parts: dict[str, list[Slice]]) -> None:
    # 16 of 256 bits differ: similarity 0.9375.
    near = "0" * 60 + "ffff"
    parts["test"] = [*parts["test"], slice_of("near", near), slice_of("far", "f" * 64)]
    audit = {likeness.parts: likeness for likeness in most_alike_pairs(parts)}
    assert audit["train", "test"] == Likeness(("train", "test"), ("s0", "near"), 0.9375)


@pytest.mark.parametrize(("similarity", "is_leak"), [(0.89, False), (0.9, True)])
def test_a_leak_is_at_least_as_alike_as_the_config_says(similarity: float, is_leak: bool) -> None:
    audit = [Likeness(("train", "test"), ("a", "b"), similarity)]
    if is_leak:
        with pytest.raises(DataError, match=r"train / test: a and b, similarity 0\.900"):
            report_leaks(audit, SplitConfig())
    report_leaks(audit, SplitConfig(allow_leakage=is_leak))
