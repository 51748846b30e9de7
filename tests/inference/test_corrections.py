"""Corrections by hand change the voxels that they name, and no others."""

from pathlib import Path

import numpy as np
import pytest

from lungseg.errors import DataError, UsageError
from lungseg.inference.corrections import correct, read_corrections

SHAPE = (6, 10, 12)


def corrected(
    folder: Path, text: str, labels: np.ndarray, hu: np.ndarray
) -> tuple[np.ndarray, list[str]]:
    path = folder / "case.yaml"
    path.write_text(text)
    changed = labels.copy()
    return changed, correct(changed, hu, read_corrections(path), path)


def test_each_step_changes_its_region_in_its_slices(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, SHAPE, np.uint8)
    hu = rng.integers(-1000, 300, SHAPE).astype(np.int16)
    found, said = corrected(
        tmp_path,
        """
        steps:
          - {why: tumour, add: {slices: [2, 4], box: [3, 1, 7, 5], hu: [-200, 200]}}
          - {why: bowel, remove: {slices: [1, 2], polygon: [[2, 2], [2, 8], [8, 8], [8, 2]]}}
          - {why: blurred, leave_out: {slices: [6, 6]}}
          - {why: again, add: {slices: [5, 6], box: [11, 9, 0, 0]}}
        """,
        labels,
        hu,
    )
    # x is the column and y the row, both from 0; slices are counted from 1, ends included.
    expected = labels.copy()
    for z in (1, 2, 3):
        for y in range(1, 6):
            for x in range(3, 8):
                if -200 <= hu[z, y, x] <= 200:
                    expected[z, y, x] = 1
    expected[0:2, 2:9, 2:9] = 0
    expected[4] = 1
    expected[5] = 255  # stays, whatever follows
    np.testing.assert_array_equal(found, expected)
    before = labels.copy()
    tumour = (before == 0) & (hu >= -200) & (hu <= 200)
    assert said[0] == (
        f"slices 2 to 4: {np.count_nonzero(tumour[1:4, 1:6, 3:8])} voxels added: tumour"
    )
    assert said[2] == "slices 6 to 6 are not labelled: blurred"


def test_a_triangle_is_filled_with_its_outline(tmp_path: Path) -> None:
    text = "steps: [{why: x, add: {slices: [1, 1], polygon: [[2, 2], [8, 2], [2, 8]]}}]"
    empty = np.zeros(SHAPE, np.uint8)
    found, _ = corrected(tmp_path, text, empty, empty)
    y, x = np.indices(SHAPE[1:])
    np.testing.assert_array_equal(found[0] > 0, (x >= 2) & (y >= 2) & (x + y <= 10))


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ("add: {slices: [2, 7], box: [0, 0, 2, 2]}", "goes to slice 7, but the CT has 6 slices"),
        ("remove: {slices: [1, 2], box: [0, 0, 2, 2]}", "changes no voxel"),
        ("add: {slices: [1, 2], box: [50, 50, 60, 60]}", "changes no voxel"),
    ],
)
def test_a_step_for_another_ct_is_an_error(step: str, said: str, tmp_path: Path) -> None:
    empty = np.zeros(SHAPE, np.uint8)
    with pytest.raises(DataError, match=said):
        corrected(tmp_path, f"steps: [{{why: x, {step}}}]", empty, empty)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "steps"),
        ("steps: []", "steps"),
        ("steps: [{add: {slices: [1, 1], box: [0, 0, 1, 1]}}]", "steps.0.why"),
        ("steps: [{why: x}]", "one of add, remove and leave_out"),
        (
            "steps: [{why: x, leave_out: {slices: [1, 1]}, add: {slices: [1, 1], box: [0, 0, 1, 1]}"
            "}]",
            "one of add",
        ),
        ("steps: [{why: x, add: {slices: [1, 1]}}]", "a polygon or a box"),
        (
            "steps: [{why: x, add: {slices: [3, 1], box: [0, 0, 1, 1]}}]",
            "the first slice comes first",
        ),
        (
            "steps: [{why: x, add: {slices: [0, 1], box: [0, 0, 1, 1]}}]",
            "greater than or equal to 1",
        ),
        ("steps: [{why: x, add: {slices: [1, 1], polygon: [[0, 0], [1, 1]]}}]", "polygon"),
        ("steps: [{why: x, add: {slice: 1}}]", "slice"),
        ("steps: [", "case.yaml"),
    ],
)
def test_what_is_no_correction_is_refused_with_its_place(
    text: str, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "case.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=said) as raised:
        read_corrections(path)
    assert str(path) in str(raised.value)


@pytest.mark.parametrize("last", [5, 6])
def test_a_step_may_go_to_the_last_slice(last: int, tmp_path: Path) -> None:
    text = f"steps: [{{why: x, add: {{slices: [{last}, 6], box: [1, 2, 3, 2]}}}}]"
    empty = np.zeros(SHAPE, np.uint8)
    found, said = corrected(tmp_path, text, empty, empty)
    expected = empty.copy()
    expected[last - 1 :, 2, 1:4] = 1
    np.testing.assert_array_equal(found, expected)
    assert said == [f"slices {last} to 6: {3 * (7 - last)} voxels added: x"]


def test_a_region_in_hu_holds_its_limits_and_a_removal_says_so(tmp_path: Path) -> None:
    full = np.ones(SHAPE, np.uint8)
    hu = np.broadcast_to(np.arange(12), SHAPE)
    text = "steps: [{why: x, remove: {slices: [2, 2], box: [0, 0, 11, 9], hu: [3, 5]}}]"
    found, said = corrected(tmp_path, text, full, hu)
    expected = full.copy()
    expected[1, :, 3:6] = 0
    np.testing.assert_array_equal(found, expected)
    assert said == ["slices 2 to 2: 30 voxels removed: x"]


def test_corners_are_rounded_to_the_nearest_pixel(tmp_path: Path) -> None:
    empty = np.zeros(SHAPE, np.uint8)
    text = "steps: [{why: x, add: {slices: [1, 1], box: [1.6, 2.4, 3.4, 4.6]}}]"
    found, _ = corrected(tmp_path, text, empty, empty)
    expected = empty.copy()
    expected[0, 2:6, 2:4] = 1
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("steps: [{why: '', leave_out: {slices: [1, 1]}}]", "steps.0.why"),
        ("steps: [{why: x, leave_out: {slices: [1, 1], box: [0, 0, 1, 1]}}]", "leave_out.box"),
        (
            "steps: [{why: x, add: {slices: [1, 1], box: [0, 0, 1, 1], "
            "polygon: [[0, 0], [1, 1], [0, 1]]}}]",
            "a polygon or a box",
        ),
        ("[1]", "file: "),
    ],
)
def test_more_or_less_than_a_step_needs_is_refused(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "case.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=said):
        read_corrections(path)
    path.write_bytes(b"steps: \xff")
    with pytest.raises(UsageError, match=r"case\.yaml: the corrections cannot be read"):
        read_corrections(path)
    with pytest.raises(UsageError, match=r"none\.yaml: the corrections cannot be read"):
        read_corrections(tmp_path / "none.yaml")
