"""Contours are drawn in their slices up to each tolerance, and a file's gaps are filled in."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset

from lungseg.errors import DataError
from lungseg.imaging.dicom.contours import (
    Contour,
    Drawn,
    Structure,
    draw,
    frame_of_reference,
    is_rtstruct,
    read_rtstruct,
    referenced_series,
)
from lungseg.imaging.dicom.derived import LEFT_LUNG, LUNG, RIGHT_LUNG
from lungseg.imaging.dicom.structure_set import LOOKS
from tests.support.dicom_files import write_series
from tests.support.rtstructs import write_rtstruct
from tests.support.volumes import image_of, phantom_arrays

PATH = Path("rs.dcm")
SPACING, ORIGIN = (0.8, 0.9, 2.5), (-20.0, 10.0, 5.0)
SQUARE = np.array([(2.5, 3.5), (8.5, 3.5), (8.5, 7.5), (2.5, 7.5)])  # 6 columns, 4 rows


def at(*slices: float, points: NDArray[Any] = SQUARE, kind: str = "CLOSED_PLANAR") -> Contour:
    """Return a contour (x, y) in pixels in a slice, or with a slice for each point, in mm."""
    z = np.broadcast_to(np.array(slices), len(points))
    return Contour(kind, np.column_stack([points, z]) * SPACING + ORIGIN)


def drawn(*contours: Contour, slices: int = 5) -> Drawn:
    image = image_of(np.zeros((slices, 12, 14), np.int16), SPACING, ORIGIN)
    return draw(Structure("Lungs", list(contours)), image, PATH)


def test_a_contour_fills_the_pixels_that_it_encloses() -> None:
    found = drawn(at(3))
    expected = np.zeros((5, 12, 14), bool)
    expected[3, 4:8, 3:9] = True
    np.testing.assert_array_equal(found.mask, expected)
    assert found.slices.tolist() == [False, False, False, True, False]
    assert found.findings == []


@pytest.mark.parametrize(("place", "k"), [(1.49, 1), (1.5, 2), (2.5, 3), (-0.5, 0), (4.5, 4)])
def test_a_contour_between_slices_goes_to_the_nearest(place: float, k: int) -> None:
    assert np.flatnonzero(drawn(at(place)).slices).tolist() == [k]


@pytest.mark.parametrize("place", [-0.51, 4.51])
def test_a_contour_beyond_the_slices_is_counted(place: float) -> None:
    found = drawn(at(2), at(place), at(place, points=SQUARE[:3]))
    assert np.flatnonzero(found.slices).tolist() == [2]
    [finding] = found.findings
    assert finding.detail == "Lungs: 2 of 3 contours: 2 beyond the first or last slice of the CT"


@pytest.mark.parametrize(("away", "said"), [(0.04, False), (0.06, True), (-0.06, True)])
def test_a_contour_beside_its_slice_is_said_from_a_twentieth_on(away: float, said: bool) -> None:
    findings = drawn(at(1), at(3 + away)).findings
    assert [finding.code for finding in findings] == ["contours_moved"] * said
    if said:  # 0.06 of 2.5 mm
        assert "the contours of 1 slices lie up to 0.15 mm beside them" in findings[0].detail


@pytest.mark.parametrize(("slope", "is_drawn"), [(0.09, True), (0.11, False)])
def test_points_lie_in_one_slice_up_to_a_tenth_of_its_distance(
    slope: float, is_drawn: bool
) -> None:
    found = drawn(at(2), at(3, 3, 3, 3 + slope))
    assert found.slices.tolist() == [False, False, True, is_drawn, False]
    if not is_drawn:
        assert found.findings[0].detail == "Lungs: 1 of 2 contours: 1 not parallel to the slices"


@pytest.mark.parametrize(("apart", "is_one"), [(0.019, True), (0.021, False)])
def test_contours_of_one_plane_are_combined(apart: float, is_one: bool) -> None:
    hole = np.array([(4.5, 4.5), (6.5, 4.5), (6.5, 6.5), (4.5, 6.5)])
    for first, second in ((SQUARE, hole), (hole, SQUARE)):
        found = drawn(at(0), at(2, points=first), at(2 + apart, points=second))
        alone = 24 if first is SQUARE else 4
        assert found.mask[2].sum() == (24 - 4 if is_one else alone)
        reasons = [] if is_one else ["Lungs: 1 of 3 contours: 1 in a slice that has nearer ones"]
        assert [finding.detail for finding in found.findings] == reasons


def test_a_nearer_plane_takes_the_place_of_all_contours_of_another() -> None:
    other = SQUARE + np.array([0, 3])
    found = drawn(at(1.7), at(1.7, points=other[:3]), at(2.2, points=other), at(2.4), at(2.4))
    expected = np.zeros((12, 14), bool)
    expected[7:11, 3:9] = True
    np.testing.assert_array_equal(found.mask[2], expected)
    assert "4 of 5 contours: 4 in a slice that has nearer ones" in found.findings[0].detail


def test_a_structure_keeps_only_closed_contours_of_three_points() -> None:
    kinds = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR", "INTERPOLATED_PLANAR", "OPEN_NONPLANAR")
    found = drawn(
        *(at(k, kind=kind) for k, kind in enumerate(kinds)),
        at(4, points=SQUARE[:3]),
        at(4, points=SQUARE[:2]),
    )
    assert found.slices.tolist() == [True, True, True, False, True]
    assert found.findings[0].detail == (
        "Lungs: 2 of 6 contours: 1 of the type OPEN_NONPLANAR, 1 with fewer than three points"
    )


def test_contours_marked_as_xor_leave_out_what_they_share() -> None:
    shifted = SQUARE + np.array([3, 0])
    for kind, count in (("CLOSED_PLANAR", 36), ("CLOSEDPLANAR_XOR", 24)):
        assert drawn(at(2, kind=kind), at(2, points=shifted, kind=kind)).mask.sum() == count


def changed(path: Path, change: Any) -> Path:
    dataset = dcmread(path)
    change(dataset)
    dataset.save_as(path)
    return path


POINTS = np.array([[1.0, 2, 3], [4, 5, 6], [7, 8, 9.5]])


def test_structures_are_read_by_their_number(tmp_path: Path) -> None:
    rois = {"A": [("CLOSED_PLANAR", POINTS)], "B": [("POINT", POINTS[:1])], "C": []}

    def change(dataset: Dataset) -> None:
        dataset.ROIContourSequence.reverse()  # in another order than the names
        del dataset.ROIContourSequence[0]  # C has none
        del dataset.ROIContourSequence[1].ContourSequence[0].ContourGeometricType
        dataset.StructureSetROISequence[1].ROIName = ""

    a, b, c = read_rtstruct(changed(write_rtstruct(tmp_path / "a.dcm", rois), change))
    assert [each.name for each in (a, b, c)] == ["A", "", "C"]
    assert [contour.kind for contour in (*a.contours, *b.contours)] == ["CLOSED_PLANAR", "POINT"]
    np.testing.assert_array_equal(a.contours[0].points, POINTS)
    np.testing.assert_array_equal(b.contours[0].points, POINTS[:1])
    assert c.contours == []
    assert a.frame == ""


def test_an_empty_file_has_no_structures_and_an_empty_contour_no_points(tmp_path: Path) -> None:
    def bare(dataset: Dataset) -> None:
        del dataset.ROIContourSequence, dataset.StructureSetROISequence

    assert read_rtstruct(changed(write_rtstruct(tmp_path / "a.dcm", {}), bare)) == []

    def empty(dataset: Dataset) -> None:
        first, second = dataset.ROIContourSequence[0].ContourSequence
        del first.ContourData
        second.ContourData = None

    rois = {"A": [("CLOSED_PLANAR", POINTS)] * 2}
    [structure] = read_rtstruct(changed(write_rtstruct(tmp_path / "b.dcm", rois), empty))
    assert [contour.points.shape for contour in structure.contours] == [(0, 3), (0, 3)]


@pytest.mark.parametrize("value", ["nan", "1e400"])
def test_a_coordinate_that_is_not_finite_is_refused(value: str, tmp_path: Path) -> None:
    path = write_rtstruct(tmp_path / "a.dcm", {"A": [("CLOSED_PLANAR", POINTS)]})
    path.write_bytes(path.read_bytes().replace(b"9.500", value.encode().ljust(5)))
    with pytest.raises(DataError, match=r"not a usable RTSTRUCT.*three finite numbers"):
        read_rtstruct(path)


@pytest.mark.parametrize(("frames", "wanted"), [(["1.2"], "1.2"), (["1.2", "1.3"], ""), ([], "")])
def test_a_file_with_one_frame_of_reference_means_it_for_all(
    frames: list[str], wanted: str, tmp_path: Path
) -> None:
    def change(dataset: Dataset) -> None:
        items = []
        for uid in frames:
            item = Dataset()
            item.FrameOfReferenceUID = uid
            items.append(item)
        dataset.ReferencedFrameOfReferenceSequence = items
        dataset.StructureSetROISequence[1].ReferencedFrameOfReferenceUID = "1.9"

    a, b = read_rtstruct(changed(write_rtstruct(tmp_path / "a.dcm", {"A": [], "B": []}), change))
    assert (a.frame, b.frame) == (wanted, "1.9")


def test_what_is_no_dicom_has_no_series_and_no_frame(tmp_path: Path) -> None:
    text = tmp_path / "a.dcm"
    text.write_bytes(b"text")
    assert referenced_series(tmp_path / "nowhere.dcm") == ""
    assert frame_of_reference(text) == ""
    assert not is_rtstruct(text)
    assert not is_rtstruct(tmp_path)
    slices = write_series(tmp_path / "ct", phantom_arrays(2)[0])
    assert frame_of_reference(tmp_path, slices) == dcmread(slices[0]).FrameOfReferenceUID


def test_colours_are_those_for_the_colour_blind() -> None:
    # Okabe and Ito (2008): sky blue, orange, bluish green. The names are AAPM's, TG-263.
    assert LOOKS == {
        LEFT_LUNG: ("Lung_L", (86, 180, 233)),
        RIGHT_LUNG: ("Lung_R", (230, 159, 0)),
        LUNG: ("Lungs", (0, 158, 115)),
    }
