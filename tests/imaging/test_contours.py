"""RTSTRUCT is read as a mask on the CT's grid, and what is not drawn is said."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from matplotlib.path import Path as Outline
from numpy.typing import NDArray
from pydicom import dcmread

from lungseg.config.loading import check_config
from lungseg.config.schema import DataConfig
from lungseg.errors import DataError
from lungseg.imaging.dicom.contours import frame_of_reference, is_rtstruct, referenced_series
from lungseg.imaging.labels import UNLABELLED
from lungseg.imaging.structures import has_names, read_structures
from lungseg.imaging.volume_files import read_ct
from tests.support.dicom_files import write_series
from tests.support.rtstructs import (
    between_pixels,
    in_mm,
    near_outline,
    outlines,
    through_pixels,
    write_rtstruct,
)
from tests.support.volumes import image_of, phantom_arrays

LUNGS = DataConfig()
SHAPE = (6, 48, 56)
Mask = NDArray[np.bool_]


def scan(direction: Any = None) -> Any:
    """Return a CT of 0 HU, of which only the grid matters."""
    image = image_of(np.zeros(SHAPE, np.int16), (0.8, 0.9, 2.5), (-20.0, 10.0, 5.0))
    if direction is not None:
        image.SetDirection(np.ravel(direction).tolist())
    return image


def ring(shift: int = 0) -> Mask:
    """Return a disc with a hole in it, in the four middle slices."""
    rows, columns = np.mgrid[: SHAPE[1], : SHAPE[2]]
    away = np.hypot(rows - 22, columns - 25 - shift)
    mask = np.zeros(SHAPE, bool)
    mask[1:5] = (away < 18) & (away > 5)
    return mask


def read(path: Path, image: Any, data: DataConfig = LUNGS) -> tuple[NDArray[np.uint8], list[Any]]:
    """Return the labels in the CT's own order, and the findings but the first, on the names."""
    volume, findings = read_structures(path, image, data)
    assert findings[0].code == "structures_taken"
    back = sitk.Resample(volume.image, image, sitk.Transform(), sitk.sitkNearestNeighbor, 0)
    return sitk.GetArrayFromImage(back), findings[1:]


def dice(one: Mask, other: Mask) -> float:
    return 2 * float((one & other).sum()) / float(one.sum() + other.sum())


TURNED = ([0, 1, 0], [0, 0, 1], [1, 0, 0])  # slices run from right to left
OBLIQUE = ([0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1])


@pytest.mark.parametrize("make", [between_pixels, through_pixels])
@pytest.mark.parametrize("kind", ["CLOSED_PLANAR", "CLOSEDPLANAR_XOR"])
@pytest.mark.parametrize("direction", [None, TURNED, OBLIQUE])
def test_contours_of_a_mask_with_a_hole_give_it_back(
    make: Any, kind: str, direction: Any, tmp_path: Path
) -> None:
    image, mask = scan(direction), ring()
    path = write_rtstruct(tmp_path / "a.dcm", {"Lungs": outlines(image, mask, kind, make)})
    labels, findings = read(path, image)
    assert dice(labels > 0, mask) >= 0.99
    assert not labels[1:5, 22, 25].any()  # the hole
    assert findings == []


def test_phantom_lungs_come_back_through_a_dicom_series(tmp_path: Path) -> None:
    hu, lungs = phantom_arrays(8)
    series = write_series(tmp_path / "ct", hu)
    ct = read_ct(tmp_path / "ct")
    rois = {"Lung_L": outlines(ct.image, lungs > 0), "Heart": []}
    path = write_rtstruct(tmp_path / "rs.dcm", rois, series[0])
    labels, findings = read(path, ct.image)
    assert dice(labels > 0, lungs > 0) >= 0.99
    assert findings == []


def test_holes_are_those_of_another_implementation(tmp_path: Path) -> None:
    image = scan()
    rng = np.random.default_rng(0)
    polygons = []
    for low, high in ((16, 20), (6, 11), (2, 5)):  # an outline, a hole, and an island in it
        angles = np.linspace(0, 2 * np.pi, 20, endpoint=False)
        radius = rng.uniform(low, high, 20)
        polygons.append(
            np.column_stack([25.3 + radius * np.cos(angles), 22.6 + radius * np.sin(angles)])
        )
    shapes = [("CLOSED_PLANAR", in_mm(image, 2, points)) for points in polygons]
    labels, _ = read(write_rtstruct(tmp_path / "a.dcm", {"Lungs": shapes}), image)
    # In mm, centre by centre, by Matplotlib.
    expected = np.zeros(SHAPE[1:], bool)
    rows, columns = np.mgrid[: SHAPE[1], : SHAPE[2]]
    centres = np.column_stack([-20.0 + 0.8 * columns.ravel(), 10.0 + 0.9 * rows.ravel()])
    for _, points in shapes:
        path = Outline(np.vstack([points[:, :2], points[:1, :2]]), closed=True)
        expected ^= path.contains_points(centres).reshape(expected.shape)
    assert not expected[22, 25 + 6]  # in the hole
    assert expected[22, 25]  # on the island
    sure = ~near_outline(polygons, SHAPE[1:])
    assert sure.mean() > 0.99
    np.testing.assert_array_equal(labels[2][sure] > 0, expected[sure])
    assert not labels[[0, 1, 3, 4, 5]].any()


def test_the_structures_that_are_lung_are_taken_and_the_others_named(tmp_path: Path) -> None:
    image, mask = scan(), ring()
    left, right = mask.copy(), mask.copy()
    left[..., :25], right[..., 25:] = False, False
    rois = {
        "Lung_R": outlines(image, right, make=through_pixels),
        "Lungs-GTV": outlines(image, np.ones_like(mask), make=through_pixels),
        "lung left": outlines(image, left, make=through_pixels),
        "SpinalCord": [],
    }
    path = write_rtstruct(tmp_path / "a.dcm", rois)
    volume, findings = read_structures(path, image, LUNGS)
    np.testing.assert_array_equal(volume.labels > 0, mask)
    (finding,) = findings
    assert finding.detail == "lung: Lung_R, lung left; not taken: Lungs-GTV, SpinalCord"
    assert (finding.severity, finding.path) == ("repaired", path)
    only = {"data": {"structures": {"lung": "lung left"}}}
    volume, findings = read_structures(path, image, check_config(only, "test").data)
    np.testing.assert_array_equal(volume.labels > 0, left)
    assert "not taken: Lung_R, Lungs-GTV" in findings[0].detail


def test_classes_have_structures_of_their_own(tmp_path: Path) -> None:
    image, mask = scan(), ring()
    left, right = mask.copy(), mask.copy()
    left[..., :24], right[..., 27:] = False, False  # they overlap
    rois = {"Left lung": outlines(image, left), "Lung, right": outlines(image, right)}
    path = write_rtstruct(tmp_path / "a.dcm", rois)
    colours = {"background": [0, 0, 0], "left lung": [255, 0, 0], "right lung": [0, 255, 0]}
    named = check_config({"data": {"rgb_map": colours}}, "test").data
    with pytest.raises(DataError, match="no contour") as caught:
        read(write_rtstruct(tmp_path / "b.dcm", {"left_lung": []}), image, named)
    assert "left lung: left_lung" in str(caught.value)  # by its name
    patterns = {"left lung": "left lung", "right lung": r"lung.*right"}
    named = check_config({"data": {"rgb_map": colours, "structures": patterns}}, "test").data
    labels, _ = read(path, image, named)
    np.testing.assert_array_equal(labels == 1, left)
    np.testing.assert_array_equal(labels == 2, right & ~left)


def test_no_lung_among_the_structures_is_an_error_that_lists_them(tmp_path: Path) -> None:
    path = write_rtstruct(tmp_path / "a.dcm", {"Heart": [], "Lungs-GTV": []})
    with pytest.raises(DataError, match=r"Heart, Lungs-GTV, none of which is lung .*structures"):
        read_structures(path, scan(), LUNGS)


def test_contours_beside_the_slices_are_drawn_in_the_nearest_and_it_is_said(
    tmp_path: Path,
) -> None:
    image, mask = scan(), ring()
    shapes = [
        ("CLOSED_PLANAR", in_mm(image, k + 0.4, points))
        for k in range(1, 5)
        for points in between_pixels(mask[k])
    ]
    labels, findings = read(write_rtstruct(tmp_path / "a.dcm", {"Lungs": shapes}), image)
    np.testing.assert_array_equal(labels > 0, mask)
    (finding,) = findings
    assert finding.code == "contours_moved"
    assert "the contours of 4 slices lie up to 1 mm beside them" in finding.detail


def test_contours_half_way_between_slices_leave_no_slice_out(tmp_path: Path) -> None:
    image, plane = scan(), ring()[1]
    shapes = [
        ("CLOSED_PLANAR", in_mm(image, k + 0.5, points))
        for k in range(5)
        for points in between_pixels(plane)
    ]
    labels, _ = read(write_rtstruct(tmp_path / "a.dcm", {"Lungs": shapes}), image)
    assert [int(k) for k in np.flatnonzero((labels == 1).any(axis=(1, 2)))] == [1, 2, 3, 4, 5]
    assert UNLABELLED not in labels


@pytest.mark.parametrize(("at", "slices"), [(-0.5, [0]), (5.5, [5]), (-0.6, []), (5.6, [])])
def test_a_contour_is_drawn_up_to_half_a_slice_beyond_the_ct(
    at: float, slices: list[int], tmp_path: Path
) -> None:
    image, plane = scan(), ring()[1]
    inside = [("CLOSED_PLANAR", in_mm(image, 2, points)) for points in between_pixels(plane)]
    edge = [("CLOSED_PLANAR", in_mm(image, at, points)) for points in between_pixels(plane)]
    labels, _ = read(write_rtstruct(tmp_path / "a.dcm", {"Lungs": [*inside, *edge]}), image)
    found = [int(k) for k in np.flatnonzero((labels == 1).any(axis=(1, 2)))]
    assert found == sorted([2, *slices])


def test_of_two_planes_in_one_slice_the_nearer_is_drawn(tmp_path: Path) -> None:
    image = scan()
    near, far = ring()[1], ring(shift=6)[1]
    shapes = [
        ("CLOSED_PLANAR", in_mm(image, k, points))
        for k, plane in ((2.3, far), (2.1, near), (1.75, far))
        for points in between_pixels(plane)
    ]
    labels, findings = read(write_rtstruct(tmp_path / "a.dcm", {"Lungs": shapes}), image)
    np.testing.assert_array_equal(labels[2] > 0, near)
    assert "4 of 6 contours: 4 in a slice that has nearer ones" in findings[0].detail


def test_slices_between_contours_that_have_none_are_not_labelled(tmp_path: Path) -> None:
    image, mask = scan(), ring()
    mask[3] = False
    path = write_rtstruct(tmp_path / "a.dcm", {"Lungs": outlines(image, mask)})
    labels, _ = read(path, image)
    assert (labels[3] == UNLABELLED).all()
    np.testing.assert_array_equal(labels[[0, 1, 2, 4, 5]] > 0, mask[[0, 1, 2, 4, 5]])


def test_contours_that_cannot_be_drawn_are_counted_by_their_reason(tmp_path: Path) -> None:
    image, mask = scan(), ring()
    (outer, hole) = between_pixels(mask[2])
    tilted = in_mm(image, 2, outer) + np.linspace(0, 1, len(outer))[:, None] * [0, 0, 2]
    shapes = [
        *outlines(image, mask),
        ("POINT", in_mm(image, 2, outer[:1])),
        ("OPEN_PLANAR", in_mm(image, 2, hole)),
        ("CLOSED_PLANAR", in_mm(image, 2, outer[:2])),
        ("CLOSED_PLANAR", tilted),
        ("CLOSED_PLANAR", in_mm(image, -0.6, outer)),
        ("CLOSED_PLANAR", in_mm(image, 5.6, outer)),
    ]
    labels, findings = read(write_rtstruct(tmp_path / "a.dcm", {"Lungs": shapes}), image)
    np.testing.assert_array_equal(labels > 0, mask)
    (finding,) = findings
    assert (finding.code, finding.severity) == ("contours_left_out", "warning")
    assert finding.detail == (
        "Lungs: 6 of 14 contours: 1 of the type POINT, 1 of the type OPEN_PLANAR, 1 with fewer "
        "than three points, 1 not parallel to the slices, 2 beyond the first or last slice of the "
        "CT"
    )


def test_a_structure_without_contours_is_said_and_a_file_without_any_is_an_error(
    tmp_path: Path,
) -> None:
    image, mask = scan(), ring()
    rois = {"Lung_L": outlines(image, mask), "Lung_R": []}
    _, findings = read(write_rtstruct(tmp_path / "a.dcm", rois), image)
    assert [(f.code, f.detail) for f in findings] == [
        ("no_contours", "Lung_R has no contour in the CT")
    ]
    with pytest.raises(DataError, match="no contour lies in the CT"):
        read(write_rtstruct(tmp_path / "b.dcm", {"Lung_L": []}), image)


def test_a_damaged_file_is_an_error_with_its_path(tmp_path: Path) -> None:
    image = scan()
    path = write_rtstruct(tmp_path / "a.dcm", {"Lungs": outlines(image, ring())})
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"a\.dcm: this is not a usable RTSTRUCT"):
        read_structures(path, image, LUNGS)
    odd = [("CLOSED_PLANAR", np.array([1.0, 2.0, 3.0, 4.0]))]
    with pytest.raises(DataError, match="groups of three finite numbers"):
        read_structures(write_rtstruct(tmp_path / "b.dcm", {"Lungs": odd}), image, LUNGS)


def test_contours_of_another_frame_of_reference_are_refused(tmp_path: Path) -> None:
    hu, lungs = phantom_arrays(4)
    slices = write_series(tmp_path / "ct", hu)
    ct = read_ct(tmp_path / "ct")
    rois = {"Lungs": outlines(ct.image, lungs > 0), "Heart": []}
    path = write_rtstruct(tmp_path / "rs.dcm", rois, slices[0])
    frame = frame_of_reference(tmp_path / "ct")
    assert frame == frame_of_reference(slices[0]) == dcmread(slices[0]).FrameOfReferenceUID
    read_structures(path, ct.image, LUNGS, frame)
    for change in ("usual", "of the heart", "of the lungs"):
        dataset = dcmread(path)
        heart = dataset.StructureSetROISequence[1]
        if change == "usual":
            dataset.ReferencedFrameOfReferenceSequence[0].FrameOfReferenceUID = "1.2.3"
        else:  # a structure may say it by itself, and only those that are taken count
            roi = heart if change == "of the heart" else dataset.StructureSetROISequence[0]
            roi.ReferencedFrameOfReferenceUID = "1.2.3"
        dataset.save_as(tmp_path / "other.dcm")
        if change == "of the heart":
            read_structures(tmp_path / "other.dcm", ct.image, LUNGS, frame)
            continue
        with pytest.raises(DataError, match=rf"of Lungs lie in .* 1\.2\.3, the CT in {frame}\. .*"):
            read_structures(tmp_path / "other.dcm", ct.image, LUNGS, frame)
        read_structures(tmp_path / "other.dcm", ct.image, LUNGS)  # a NIfTI has no frame
    assert frame_of_reference(tmp_path / "ct.nii.gz") == ""
    assert frame_of_reference(tmp_path) == ""


def test_an_rtstruct_is_known_by_its_header_and_names_its_series(tmp_path: Path) -> None:
    hu, _ = phantom_arrays(2)
    slices = write_series(tmp_path / "ct", hu)
    path = write_rtstruct(tmp_path / "RS", {"Lungs": []}, slices[0])
    assert is_rtstruct(path)
    assert has_names(path)
    assert not is_rtstruct(slices[0])
    assert not is_rtstruct(tmp_path / "nowhere")
    uid = sitk.ReadImage(str(slices[0])).GetMetaData("0020|000e")
    assert referenced_series(path) == uid
    assert referenced_series(write_rtstruct(tmp_path / "other", {"Lungs": []})) == ""
