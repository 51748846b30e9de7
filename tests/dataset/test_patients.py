"""The patient of a case by its name or by likeness, and parts of like lung area."""

from dataclasses import replace
from pathlib import Path

import pytest

from lungseg.config.datasets import SplitConfig
from lungseg.dataset.likeness import describe
from lungseg.dataset.patients import (
    assign_groups,
    assign_patients,
    patient_in,
    what_is_a_group,
)
from lungseg.dataset.slices import Slice
from lungseg.errors import UsageError
from lungseg.imaging.pixels import apply_window
from lungseg.phantom.drawing import make_slice
from lungseg.phantom.patient import make_patient


def slice_of(case: str, group: str = "", area: float = 0.2, bits: int = 0) -> Slice:
    """Return a slice whose hash differs from that of a slice with 0 bits in so many bits."""
    phash = f"{(1 << bits) - 1:064x}"
    return Slice(case, case, group, Path(case), Path(case), area, case, phash)


def test_the_part_in_parentheses_is_the_patient() -> None:
    assert patient_in("scan_p12_s03", r"_(p\d+)_") == "p12"
    with pytest.raises(UsageError, match="does not match the case 'other'"):
        patient_in("other", r"_(p\d+)_")


def test_each_alternative_names_a_patient() -> None:
    assert patient_in("scan7", r"^(p\d+)_|^scan(\d+)") == "7"
    with pytest.raises(UsageError, match="does not match the case 'x'"):
        patient_in("x", r"^x(\d*)")  # an empty name is none


@pytest.mark.parametrize(
    ("named", "meaning"),
    [
        ([True, True], None),
        ([], None),
        ([False, False], "A group is the slices that look alike, because the patients are not "
         "named."),
        ([True, False], "A group is a named patient, or the slices that look alike, because some "
         "patients are not named."),
    ],
)  # fmt: skip
def test_what_is_no_named_patient_is_a_group(named: list[bool], meaning: str | None) -> None:
    slices = [replace(slice_of(str(k)), named=known) for k, known in enumerate(named)]
    assert what_is_a_group(slices) == meaning


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


def test_slices_that_look_alike_are_one_patients_whatever_their_names() -> None:
    def looks(patient: int, at: float) -> str:
        hu, _ = make_slice(make_patient(patient), at, 256)
        return describe(apply_window(hu, (-1000, 400)))

    shown = {"scan": (1, 0.5), "other name": (1, 0.5), "x_01": (2, 0.3), "y_01": (3, 0.7)}
    slices = [replace(slice_of(case), likeness=looks(*at)) for case, at in shown.items()]
    found, merged = assign_patients(slices, SplitConfig())
    groups = {s.case: s.group for s in found}
    assert groups["scan"] == groups["other name"]
    assert len(set(groups.values())) == 3
    assert merged == [["scan", "other name"]]
