"""The patient of a case by its name or by likeness, and parts of like lung area."""

from dataclasses import replace
from pathlib import Path

import pytest

from lungseg.config.schema import SplitConfig
from lungseg.dataset.patients import assign_groups, assign_patients, patient_in
from lungseg.dataset.slices import Slice
from lungseg.errors import UsageError


def slice_of(case: str, group: str = "", area: float = 0.2, bits: int = 0) -> Slice:
    """Return a slice whose hash differs from that of a slice with 0 bits in so many bits."""
    phash = f"{(1 << bits) - 1:064x}"
    return Slice(case, case, group, Path(case), Path(case), area, case, phash)


def test_the_part_in_parentheses_is_the_patient() -> None:
    assert patient_in("scan_p12_s03", r"_(p\d+)_") == "p12"
    with pytest.raises(UsageError, match="does not match the case 'other'"):
        patient_in("other", r"_(p\d+)_")


@pytest.mark.parametrize(
    ("other", "bits", "split", "are_one"),
    [
        # At least 0.90 alike: 25 of 256 bits may differ, whatever the names.
        ("b7", 25, {}, True),
        ("b7", 26, {}, False),
        # At least 0.85, if the numbers are at most 3 apart: 38 bits may differ.
        ("a4", 38, {}, True),
        ("a4", 39, {}, False),
        ("a5", 38, {}, False),
        ("b4", 38, {}, False),
        ("a", 38, {}, False),
        # What the audit would call a leak is always joined: 0.5 is 128 bits.
        ("b7", 128, {"leak_similarity": 0.5}, True),
        ("b7", 129, {"leak_similarity": 0.5}, False),
        ("a4", 76, {"neighbour_similarity": 0.7}, True),
        ("a9", 38, {"neighbour_gap": 8}, True),
    ],
)
def test_slices_are_one_patients_if_alike_or_neighbours(
    other: str, bits: int, split: dict[str, float], are_one: bool
) -> None:
    slices = [slice_of("a1"), slice_of(other, bits=bits)]
    found, merged = assign_patients(slices, SplitConfig.model_validate(split))
    assert [s.group for s in found] == ["a1", "a1" if are_one else other]
    assert merged == ([["a1", other]] if are_one else [])


def test_chains_of_alike_slices_are_one_patient_and_names_are_kept() -> None:
    # Each is like the next one; the first and the last differ in 40 bits.
    chain = [slice_of(name, bits=bits) for name, bits in (("x", 0), ("y", 20), ("z", 40))]
    named = slice_of("w", group="anna")
    found, merged = assign_patients([*chain, named], SplitConfig())
    assert [s.group for s in found] == ["x", "x", "x", "anna"]
    assert merged == [["x", "y", "z"]]


@pytest.mark.parametrize("seed", range(8))
def test_each_part_has_its_share_of_large_and_small_lungs(seed: int) -> None:
    # Four patients of each of four sizes. Copies of the smallest lungs must not count.
    areas = (0.05, 0.15, 0.25, 0.35)
    groups = {f"p{k}": [slice_of(f"p{k}", area=areas[k % 4])] for k in range(16)}
    for k in (0, 4):
        groups[f"p{k}"] += [replace(slice_of(f"p{k}_{n}"), source=f"p{k}") for n in range(5)]
    shares = assign_groups(groups, list(groups), (0.5, 0.25, 0.25), seed)
    for k in range(4):
        assert sorted(shares[k::4]) == [0, 0, 1, 2]


@pytest.mark.parametrize("seed", range(8))
def test_each_part_has_its_share_of_slices(seed: int) -> None:
    # No division is better by areas, but only one by slices: two of a against b and c.
    groups = {
        "a": [slice_of("a1", area=0.1), slice_of("a2", area=0.1)],
        "b": [slice_of("b1", area=0.2)],
        "c": [slice_of("c1", area=0.3)],
    }
    a, b, c = assign_groups(groups, list(groups), (0.5, 0.5), seed)
    assert a != b == c
