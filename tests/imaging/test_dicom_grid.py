"""What slices must share and where they must lie, up to each tolerance, by headers made here."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lungseg.errors import DataError
from lungseg.imaging.dicom.grid import (
    check_agreement,
    check_grid,
    slice_height,
    without_localizers,
)
from lungseg.imaging.dicom.headers import Header

ORIGIN = Path("ct")


def header(index: int, **changes: Any) -> Header:
    """Return the header of an axial slice, 2.5 mm above the one before."""
    good = Header(
        path=ORIGIN / f"{index}.dcm",
        modality="CT",
        image_type="ORIGINAL\\PRIMARY\\AXIAL",
        size=(64, 48),
        frames=None,
        pixel_type=2,
        position=np.array([-20.0, 10.0, 5.0 + 2.5 * index]),
        orientation=np.array([1.0, 0, 0, 0, 1, 0]),
        spacing=np.array([0.9, 0.8]),
        thickness=2.5,
        rescale=np.array([1.0, -1024.0]),
    )
    return replace(good, **changes)


def turned(index: int, degrees: float) -> Header:
    """Return the header of a slice that is turned about the line from right to left."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return header(index, orientation=np.array([1.0, 0, 0, 0, c, s]))


def numbers(headers: Sequence[Header]) -> list[int]:
    return [int(each.path.stem) for each in headers]


@pytest.mark.parametrize(
    ("axial", "others", "are_left_out"),
    [
        (3, 1, True),  # less than a third of all
        (2, 1, False),
        (7, 3, True),
        (6, 3, False),
        (40, 3, True),
        (40, 4, False),  # at most three are localizers
    ],
)
def test_few_slices_that_are_turned_are_localizers(
    axial: int, others: int, are_left_out: bool
) -> None:
    headers = [header(k) for k in range(axial)] + [turned(axial + k, -90) for k in range(others)]
    kept, findings = without_localizers(headers, ORIGIN)
    assert numbers(kept) == list(range(axial if are_left_out else axial + others))
    assert [finding.code for finding in findings] == ["localizer"] * are_left_out
    if are_left_out:
        assert f"turned against the {axial} other slices" in findings[0].detail


@pytest.mark.parametrize(("degrees", "is_left_out"), [(25, False), (27, True), (-27, True)])
def test_a_slice_is_turned_from_25_degrees_on(degrees: float, is_left_out: bool) -> None:
    headers = [turned(0, degrees), *(header(k) for k in range(1, 9))]
    kept, _ = without_localizers(headers, ORIGIN)
    assert numbers(kept) == list(range(int(is_left_out), 9))


def test_slices_that_look_the_other_way_lie_in_the_same_plane() -> None:
    headers = [turned(0, 180), *(header(k) for k in range(1, 9))]
    assert numbers(without_localizers(headers, ORIGIN)[0]) == list(range(9))


def test_localizers_by_their_type_are_left_out_unless_all_slices_have_it() -> None:
    named = [header(k, image_type="DERIVED\\Localizer") for k in range(4)]
    kept, [finding] = without_localizers([*named, header(9)], ORIGIN)
    assert numbers(kept) == [9]
    assert (finding.code, finding.severity, finding.path) == ("localizer", "left_out", ORIGIN)
    assert "ImageType LOCALIZER; 1 slices are read" in finding.detail
    assert without_localizers(named, ORIGIN) == (named, [])


def agree(*headers: Header) -> list[str]:
    return [finding.code for finding in check_agreement(headers, ORIGIN)]


def test_slices_that_agree_have_no_finding() -> None:
    assert agree(*(header(k) for k in range(5))) == []
    assert agree(header(0)) == []


def test_the_sizes_of_slices_are_counted() -> None:
    odd = header(3, size=(64, 64))
    with pytest.raises(DataError, match="differ in size: 3 of 64 x 48, 1 of 64 x 64"):
        agree(header(0), header(1), header(2), odd)


@pytest.mark.parametrize("name", ["spacing", "orientation", "position", "rescale"])
@pytest.mark.parametrize("lacking", [{0}, {2}, {0, 1}])
def test_what_some_slices_lack_is_an_error(name: str, lacking: set[int]) -> None:
    headers = [header(k, **({name: None} if k in lacking else {})) for k in range(3)]
    with pytest.raises(DataError, match=f"{len(lacking)} of 3 slices lack "):
        agree(*headers)


def test_what_all_slices_lack_is_assumed_if_it_can_be() -> None:
    assert agree(header(0, rescale=None), header(1, rescale=None)) == []
    assert agree(header(0, orientation=None), header(1, orientation=None)) == ["no_orientation"]
    assert agree(header(0, position=None)) == ["no_position"]
    with pytest.raises(DataError, match="no ImagePositionPatient"):
        agree(header(0, position=None), header(1, position=None))
    with pytest.raises(DataError, match="no PixelSpacing"):
        agree(header(0, spacing=None))


@pytest.mark.parametrize("index", [0, 1])
def test_a_slope_of_zero_in_any_slice_is_refused(index: int) -> None:
    headers = [header(k, rescale=np.array([float(k != index), 0.0])) for k in range(2)]
    with pytest.raises(DataError, match="RescaleSlope is 0"):
        agree(*headers)
    assert agree(header(0, rescale=np.array([1.0, 0.0]))) == []


@pytest.mark.parametrize("spacing", [(0.0, 0.8), (0.8, 0.0), (-0.9, 0.8)])
def test_a_pixel_has_a_size_along_both_sides(spacing: tuple[float, float]) -> None:
    with pytest.raises(DataError, match="gives pixels no size"):
        agree(header(0, spacing=np.array(spacing)))


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize(("share", "agrees"), [(0.0009, True), (0.0011, False), (-0.0011, False)])
def test_spacings_may_differ_by_a_thousandth(side: int, share: float, agrees: bool) -> None:
    spacing = np.array([0.9, 0.8])
    spacing[side] *= 1 + share
    headers = [header(0, spacing=spacing), *(header(k) for k in (1, 2, 3))]
    if agrees:
        assert agree(*headers) == []
        return
    with pytest.raises(DataError, match=r"differ in PixelSpacing .*odd: 0\.dcm\)"):
        agree(*headers)


@pytest.mark.parametrize("place", [1, 5])
@pytest.mark.parametrize(("apart", "agrees"), [(0.0009, True), (0.0012, False)])
def test_directions_may_differ_by_a_thousandth(place: int, apart: float, agrees: bool) -> None:
    orientation = np.array([1.0, 0, 0, 0, 1, 0])
    orientation[place] = apart
    headers = [*(header(k) for k in range(3)), header(3, orientation=orientation)]
    if agrees:
        assert agree(*headers) == []
        return
    with pytest.raises(DataError, match=r"Turned against the others: 3\.dcm\."):
        agree(*headers)


@pytest.mark.parametrize(("first", "named"), [(1, "0.dcm"), (2, "2.dcm, 3.dcm"), (3, "3.dcm")])
def test_the_fewer_slices_are_turned_against_the_others(first: int, named: str) -> None:
    headers = [header(k) for k in range(first)] + [turned(k, 10) for k in range(first, 4)]
    with pytest.raises(DataError, match=f"others: {named}\\."):
        agree(*headers)


@pytest.mark.parametrize(("apart", "is_read"), [(0.009, True), (0.011, False)])
def test_rows_and_columns_are_perpendicular_up_to_a_hundredth(apart: float, is_read: bool) -> None:
    askew = header(0, orientation=np.array([1.0, 0, 0, apart, 1, 0]))
    long = header(0, orientation=np.array([1.0 + apart / 2, 0, 0, 0, 1, 0]))
    for each in (askew, long):
        if is_read:
            assert agree(each) == []
            continue
        with pytest.raises(DataError, match="no two perpendicular directions"):
            agree(each)


@pytest.mark.parametrize(
    ("step", "is_axial"),
    [((0, 0, 1), True), ((1, 1, 1), True), ((1.1, 0, 1), False), ((0, 1.1, 1), False)],
)
def test_without_orientation_positions_lead_most_along_the_body(
    step: tuple[float, float, float], is_axial: bool
) -> None:
    headers = [
        header(k, orientation=None, position=np.array(step, float) * k + 3) for k in range(3)
    ]
    if is_axial:
        assert agree(*headers) == ["no_orientation"]
        return
    with pytest.raises(DataError, match="not axial"):
        agree(*headers)


def put(*places: tuple[float, float, float]) -> list[Header]:
    return [header(k, position=np.array(place, float)) for k, place in enumerate(places)]


@pytest.mark.parametrize(
    ("step", "off", "said"),
    [
        (2.5, 0.19, None),
        (2.5, 0.21, "unevenly spaced"),
        (10.0, 0.45, None),  # 5 % of thick slices
        (10.0, 0.55, "unevenly spaced"),
        (0.4, 0.09, None),  # a quarter of thin ones
        (0.4, 0.11, "unevenly spaced"),
        (2.5, 1.2, "unevenly spaced"),
        (2.5, 1.3, "1 missing"),
        (2.5, 4.5, "2 missing"),
    ],
)
def test_a_distance_may_be_off_by_its_tolerance(step: float, off: float, said: str | None) -> None:
    headers = put(*((0, 0, step * k + off * (k >= 3)) for k in range(8)))
    if said is None:
        check_grid(headers, ORIGIN)
        return
    with pytest.raises(DataError, match=rf"usually {step:g} mm .* 2\.dcm and 3\.dcm \({said}\)"):
        check_grid(headers, ORIGIN)


def test_the_usual_distance_is_the_lower_one_in_the_middle() -> None:
    with pytest.raises(DataError, match=r"usually 2 mm apart, but 6 mm between 1\.dcm and 2\.dcm"):
        check_grid(put((0, 0, 0), (0, 0, 2), (0, 0, 8)), ORIGIN)
    check_grid(put((0, 0, 0)), ORIGIN)
    check_grid(put((0, 0, 0), (0, 0, 300)), ORIGIN)


@pytest.mark.parametrize(("off", "is_read"), [(0.19, True), (0.25, False)])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_slice_may_be_shifted_by_two_tenths(off: float, axis: int, is_read: bool) -> None:
    places = np.zeros((20, 3))
    places[:, 2] = 2.5 * np.arange(20)
    places[19, axis] = off
    headers = put(*((x, y, z) for x, y, z in places.tolist()))
    if is_read:
        check_grid(headers, ORIGIN)
        return
    with pytest.raises(DataError, match=rf"19\.dcm lies {off} mm beside 18\.dcm"):
        check_grid(headers, ORIGIN)


@pytest.mark.parametrize(("shift", "is_read"), [(0.0085, True), (0.0090, False)])
def test_a_tilt_is_that_of_the_whole_series(shift: float, is_read: bool) -> None:
    # 0.5 degrees are 0.00873 mm per mm of height.
    headers = put(*((0, 3.0 * shift * k, 3.0 * k) for k in range(3)))
    if is_read:
        check_grid(headers, ORIGIN)
        return
    with pytest.raises(DataError, match=r"gantry tilt of 0\.5 degrees"):
        check_grid(headers, ORIGIN)


@pytest.mark.parametrize("thickness", [None, 0.0, -0.5, -2.5])
def test_the_height_of_a_slice_is_its_thickness(thickness: float | None) -> None:
    with pytest.raises(DataError, match="without SliceThickness"):
        slice_height([header(0, thickness=thickness)], ORIGIN)
    height, [finding] = slice_height([header(0, thickness=0.5)], ORIGIN)
    assert (height, finding.code) == (0.5, "slice_thickness")
    assert "0.5 mm" in finding.detail
