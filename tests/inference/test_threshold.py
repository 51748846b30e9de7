"""Lungs by classical means, on volumes whose lungs are known because they are drawn."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - its documented name

from lungseg.inference import threshold

SPACING = (2.0, 2.0, 6.0)
AIR, TISSUE, LUNG, GAS = -1000, 40, -800, -1000


def label(hu: np.ndarray, spacing: tuple[float, float, float] = SPACING) -> np.ndarray:
    image = sitk.GetImageFromArray(hu)
    image.SetSpacing(spacing)
    return np.asarray(sitk.GetArrayFromImage(threshold.label_lungs(image))) > 0


@pytest.fixture
def chest() -> tuple[np.ndarray, np.ndarray]:
    """Return a body of 176 x 120 x 48 mm in air, and its lungs, 120 mL each."""
    hu = np.full((8, 100, 120), AIR, dtype=np.int16)
    hu[:, 20:80, 16:104] = TISSUE
    lungs = np.zeros(hu.shape, dtype=bool)
    lungs[:, 30:55, 24:49] = lungs[:, 30:55, 71:96] = True
    hu[lungs] = LUNG
    return hu, lungs


def test_the_air_in_a_table_is_no_lung(chest: tuple[np.ndarray, np.ndarray]) -> None:
    hu, lungs = chest
    hu[:, 83:98, 10:110] = TISSUE  # a shell of 6 mm, 6 mm below the patient
    hu[:, 86:95, 13:107] = -900  # its foam
    hu[:, 80:83, 30:33] = hu[:, 80:83, 90:93] = TISSUE  # two bars hold the patient
    np.testing.assert_array_equal(label(hu), lungs)


def test_air_in_a_hollow_of_the_body_is_no_lung(chest: tuple[np.ndarray, np.ndarray]) -> None:
    hu, lungs = chest
    hu[:, 20:27, 50:70] = -955  # blurred, so brighter than gas
    np.testing.assert_array_equal(label(hu), lungs)


def test_vessels_within_the_lungs_are_lung(chest: tuple[np.ndarray, np.ndarray]) -> None:
    hu, lungs = chest
    hu[:, 40:44, 30:34] = TISSUE  # 8 mm wide, through all slices
    hu[4, 40:44, 80:94] = TISSUE  # within a slice
    np.testing.assert_array_equal(label(hu), lungs)


def test_a_lung_that_the_field_of_view_cuts_off_is_found(
    chest: tuple[np.ndarray, np.ndarray],
) -> None:
    hu, lungs = chest
    np.testing.assert_array_equal(label(hu[:, :, 30:]), lungs[:, :, 30:])


def test_the_corners_of_a_narrow_field_of_view_are_lung(
    chest: tuple[np.ndarray, np.ndarray],
) -> None:
    hu, lungs = chest
    wall = np.zeros(lungs.shape, dtype=bool)
    wall[:, :40, :35] = wall[:, :40, 85:] = True
    hu[wall & lungs] = TISSUE
    view = np.s_[:, 25:44, 30:90]  # the outline of the body leaves out both lower corners
    found, expected = label(hu[view]), (lungs & ~wall)[view]
    assert found[expected].all()
    assert not found[:, :10, :5].any()  # the closing rounds the other corners of the wall


def test_a_cut_lung_that_meets_the_air_around_the_patient_is_told_from_it(
    chest: tuple[np.ndarray, np.ndarray],
) -> None:
    hu, lungs = chest
    hu[:, 20:31, 30] = AIR  # at the edge, no wall between the lung and the air in front
    np.testing.assert_array_equal(label(hu[:, :, 30:])[:, 32:], lungs[:, 32:, 30:])
    assert not label(hu[:, :, 30:])[:, :28].any()


@pytest.mark.parametrize(("hu_inside", "is_lung"), [(LUNG, True), (GAS, False)])
def test_a_third_part_is_lung_unless_it_is_gas(
    hu_inside: int, is_lung: bool, chest: tuple[np.ndarray, np.ndarray]
) -> None:
    hu, lungs = chest
    third = np.zeros(lungs.shape, dtype=bool)
    third[:, 60:72, 50:62] = True  # 27.6 mL
    hu[third] = hu_inside
    np.testing.assert_array_equal(label(hu), lungs | third if is_lung else lungs)


def test_a_part_below_a_twentieth_of_the_lungs_is_left_out(
    chest: tuple[np.ndarray, np.ndarray],
) -> None:
    hu, lungs = chest
    hu[:, 60:69, 50:59] = LUNG  # 15.6 mL of 255.6 mL, 6.1%
    assert label(hu)[:, 60:69, 50:59].all()
    hu[:, 60:69, 50:59] = TISSUE
    hu[:, 60:68, 50:57] = LUNG  # 10.8 mL of 250.8 mL, 4.3%
    np.testing.assert_array_equal(label(hu), lungs)


def test_gas_is_known_by_its_interior_and_a_large_lung_may_have_emphysema() -> None:
    air = np.zeros((8, 40, 60), dtype=bool)
    air[:, 10:30, 5:25] = air[:, 10:30, 35:55] = True
    hu = np.where(air, -700, TISSUE).astype(np.int16)
    hu[:, 11:29, 36:54] = GAS  # its edge is blurred
    gas = np.s_[:, 10:30, 35:55]
    found = threshold.choose_lungs(hu, air, SPACING)
    assert not found[gas].any()
    assert found[:, 10:30, 5:25].all()
    # The same voxels, each part more than a litre.
    np.testing.assert_array_equal(threshold.choose_lungs(hu, air, (10.0, 10.0, 10.0)), air)
    # A fifth of the interior may be as dark as gas, in slices of 18 x 18 voxels. The median leaves
    # the darkness of whole rows as it is, but rounds their corners.
    for rows, is_lung in ((4, True), (5, False)):
        hu[gas] = -700
        hu[:, 11 : 11 + rows, 36:54] = GAS
        assert threshold.choose_lungs(hu, air, SPACING)[gas].all() == is_lung


def test_the_noise_of_a_sharp_kernel_is_no_gas() -> None:
    air = np.zeros((4, 60, 60), dtype=bool)
    air[:, 10:50, 10:50] = True
    noise = np.random.default_rng(1).normal(-880, 120, air.shape)
    assert (noise[air] < threshold.GAS_BELOW_HU).mean() > threshold.GAS_SHARE
    found = threshold.choose_lungs(np.where(air, noise, TISSUE), air, SPACING)
    np.testing.assert_array_equal(found, air)


def test_a_single_thin_slice_has_lungs_but_its_trachea_is_none(
    chest: tuple[np.ndarray, np.ndarray],
) -> None:
    hu, lungs = chest
    hu[:, 38:48, 55:65] = LUNG  # 4 cm2
    thin = (2.0, 2.0, 1.25)  # each lung has 3.1 mL
    np.testing.assert_array_equal(label(hu[:1], thin), lungs[:1])


def test_a_large_vessel_is_lung_and_a_dome_of_the_diaphragm_is_not(
    chest: tuple[np.ndarray, np.ndarray],
) -> None:
    hu, _ = chest
    hu[:, 37:48, 30:41] = TISSUE  # 484 mm2 through all slices
    hu[:, 36:48, 77:89] = TISSUE  # 576 mm2
    found = label(hu)
    assert found[:, 30:55, 24:49].all()
    assert not found[:, 38:46, 79:87].any()


def test_a_thin_recess_is_lung_unless_it_meets_gas(
    chest: tuple[np.ndarray, np.ndarray],
) -> None:
    hu, lungs = chest
    recess = np.s_[:, 54, 49:58]
    hu[recess] = LUNG
    assert label(hu)[recess].all()
    hu[3:5, 50:62, 58:66] = GAS  # too short for a trachea
    found = label(hu)
    assert not found[:, 54, 53:71].any()
    assert found[lungs].all()


def test_the_wall_of_a_lung_full_of_vessels_is_the_body(
    chest: tuple[np.ndarray, np.ndarray],
) -> None:
    hu, lungs = chest
    hu[:, 31:54:2, 25:48:2] = hu[:, 31:54:2, 72:95:2] = TISSUE
    air = lungs & (hu == LUNG)
    body = threshold.find_body(hu, SPACING)
    np.testing.assert_array_equal(threshold.air_within(hu, body, SPACING), air)


def test_vessels_that_come_from_the_hilum_are_no_wall(
    chest: tuple[np.ndarray, np.ndarray],
) -> None:
    hu, lungs = chest
    hu[:, 32:54:4, 30:49] = TISSUE
    body = threshold.find_body(hu, SPACING)
    air = threshold.air_within(hu, body, SPACING)
    np.testing.assert_array_equal(air, lungs & (hu == LUNG))


def test_air_between_the_body_and_a_sheet_is_no_lung(
    chest: tuple[np.ndarray, np.ndarray],
) -> None:
    hu, lungs = chest
    hu[:, 80:86, 16:104] = -900
    hu[:, 85, 16:104] = hu[:, 80:86, 16] = hu[:, 80:86, 103] = TISSUE
    np.testing.assert_array_equal(label(hu), lungs)


def test_the_blurred_edge_of_a_hollow_is_no_lung(chest: tuple[np.ndarray, np.ndarray]) -> None:
    hu, lungs = chest
    hu[:, 20:26, 50:60] = -900
    hu[:, 20:24, 52:58] = AIR  # two fifths of it
    body = threshold.find_body(hu, SPACING)
    np.testing.assert_array_equal(threshold._air_of_slice(hu[0], body[0]), lungs[0])


def test_a_lung_is_found_of_which_the_outline_of_the_body_leaves_out_most(
    chest: tuple[np.ndarray, np.ndarray],
) -> None:
    hu, lungs = chest
    hu[:, 46:55, 49:71] = LUNG  # what is seen of the body is its front and a part of the middle
    lungs[:, 46:55, 49:71] = True
    found, expected = label(hu[:, :55, 30:90]), lungs[:, :55, 30:90]
    assert found[expected].all()
    assert not found[:, :30].any()
    assert not found[:, 30:44, 22:38].any()


def test_a_bronchus_within_a_lung_is_lung(
    chest: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    hu, lungs = chest
    airways = np.zeros(lungs.shape, dtype=bool)
    airways[:, 40:44, 30:34] = True  # lung around it
    airways[:, 40:44, 68:73] = True  # at the hilum
    monkeypatch.setattr(threshold, "find_airways", lambda *_: airways)
    found = label(hu)
    assert found[:, 40:44, 30:34].all()
    assert not found[:, 40:44, 68:73].any()


def test_a_trachea_that_opens_into_the_lungs_is_no_lung(
    chest: tuple[np.ndarray, np.ndarray],
) -> None:
    hu, lungs = chest
    hu[3:, 38:47, 55:64] = AIR  # 18 mm wide, 30 mm long
    hu[2, 40:44, 49:71] = AIR  # main bronchi to both lungs
    found = label(hu)
    assert not found[3:, 37:48, 54:65].any()
    assert not found[2, 40:44, 51:69].any()
    # Its wall, a pixel, goes with it, and so does the lung at the end of a bronchus.
    lungs[:, 38:46, 47:49] = lungs[:, 38:46, 71:73] = False
    assert (found == lungs)[:, :, :47].all()
    assert (found == lungs)[:, :, 73:].all()


def test_airways_end_where_the_region_bursts_into_small_lungs(
    chest: tuple[np.ndarray, np.ndarray],
) -> None:
    hu, lungs = chest
    hu[3:, 38:47, 55:64] = AIR
    hu[2, 40:44, 49:71] = AIR
    found = label(hu, (1.0, 1.0, 6.0))  # lungs of 60 mL, a trachea of 2.4 mL
    assert not found[3:, 38:47, 55:64].any()
    assert found[lungs].mean() > 0.9


def test_without_air_or_without_a_body_nothing_is_lung() -> None:
    assert not label(np.full((4, 30, 30), TISSUE, dtype=np.int16)).any()
    assert not label(np.full((4, 30, 30), AIR, dtype=np.int16)).any()


def test_the_labels_agree_with_an_annotation_of_others() -> None:
    """R01-001 of NSCLC Radiogenomics, with the masks of BAMF Health's AIMI annotations."""
    folder = Path(__file__).parents[3] / "shared" / "data" / "open-ct"
    name = "nsclc-radiogenomics-r01-001.nii.gz"
    if not (folder / "masks" / name).exists():
        pytest.skip(f"needs {folder / 'masks' / name}")
    scan, mask = (
        sitk.DICOMOrient(sitk.ReadImage(str(folder / kind / name)), "LPS")
        for kind in ("volumes", "masks")
    )
    found = np.asarray(sitk.GetArrayFromImage(threshold.label_lungs(scan))) > 0
    truth = np.asarray(sitk.GetArrayFromImage(mask)) > 0
    dice = 2 * (found & truth).sum() / (found.sum() + truth.sum())
    assert dice > 0.985


@pytest.mark.parametrize(
    ("radius_mm", "spacing", "shape"),
    [
        (0.0, (2.0, 2.0, 6.0), (3, 3)),  # a pixel at least
        (4.0, (2.0, 1.0, 6.0), (9, 5)),  # rows, columns
        (2.5, (1.0, 0.7, 1.0), (9, 5)),
        (2.6, (1.0, 5.0, 1.0), (3, 7)),
    ],
)
def test_a_kernel_has_its_radius_in_mm(
    radius_mm: float, spacing: tuple[float, float, float], shape: tuple[int, int]
) -> None:
    kernel = threshold._kernel(radius_mm, spacing)
    assert kernel.shape == shape
    assert kernel[shape[0] // 2].all()
    assert kernel[:, shape[1] // 2].all()
    assert not kernel[0, 0]


def test_morphology_is_of_each_slice_alone() -> None:
    mask = np.zeros((3, 9, 9), bool)
    mask[1, 4, 4] = True
    grown = threshold._morph(cv2.MORPH_DILATE, mask, 0, SPACING)
    expected = np.zeros_like(mask)
    expected[1, 3:6, 4] = expected[1, 4, 3:6] = True
    np.testing.assert_array_equal(grown, expected)
    assert grown.dtype == bool
    above_and_below = expected.copy()
    above_and_below[0, 4, 4] = above_and_below[2, 4, 4] = True
    np.testing.assert_array_equal(threshold._grown(mask, SPACING), above_and_below)
    values = np.arange(243, dtype=np.int16).reshape(3, 9, 9) - 100
    lowest = threshold._morph(cv2.MORPH_ERODE, values, 0, SPACING, values=True)
    assert lowest[1, 4, 4] == values[1, 3, 4]
    assert lowest.dtype == np.int16


@pytest.mark.parametrize(("rows", "is_filled"), [(25, True), (26, False)])
def test_a_hole_of_5_cm2_is_filled(rows: int, is_filled: bool) -> None:
    mask = np.zeros((2, 60, 50), bool)
    mask[0, 5:50, 5:45] = True
    mask[0, 10 : 10 + rows, 10:20] = False  # 250 or 260 pixels of 2 mm2
    mask[0, 0:3, 0:3] = True
    filled = threshold._fill_holes(mask, (2.0, 1.0, 5.0))
    expected = mask.copy()
    expected[0, 10 : 10 + rows, 10:20] = is_filled
    np.testing.assert_array_equal(filled, expected)


def test_a_hole_at_the_edge_or_a_corner_is_none() -> None:
    mask = np.ones((2, 30, 30), bool)
    mask[0, 0:4, 0:4] = mask[1, 10:14, 26:] = False
    mask[1, 20:22, 5:7] = mask[1, 22:24, 7:9] = False  # two holes that touch at a corner
    expected = mask.copy()
    expected[1, 20:24, 5:9] = True
    np.testing.assert_array_equal(threshold._fill_holes(mask, (1.0, 1.0, 1.0)), expected)


def test_the_body_is_the_largest_part_that_is_thick() -> None:
    hu = np.full((3, 60, 80), AIR, np.int16)
    hu[:, 10:40, 10:70] = -319
    hu[:, 45:47, 5:75] = TISSUE  # a sheet of 4 mm
    hu[:, 49:57, 5:25] = TISSUE  # an arm: 160 of 1800 pixels
    hu[:, 0:4] = threshold.LUNG_BELOW_HU  # no tissue yet
    body = np.zeros(hu.shape, bool)
    body[:, 10:40, 10:70] = True
    found = threshold.find_body(hu, SPACING)
    assert not found[~body].any()
    # The opening rounds the corners.
    assert np.count_nonzero(body & ~found) <= 3 * 4 * 3
    assert found[:, 12:38, 12:68].all()
    assert not threshold.find_body(hu, SPACING, share=0.1)[:, 49:57].any()
    pieces = threshold.find_body(hu, SPACING, share=0.08)
    assert pieces[:, 50:56, 7:23].all()
    assert not pieces[:, 45:47].any()
    # What is thin depends on the limit; without a thick part all tissue is the body.
    thin = np.full((2, 60, 80), AIR, np.int16)
    thin[:, 45:47, 5:75] = TISSUE
    np.testing.assert_array_equal(threshold.find_body(thin, SPACING), thin == TISSUE)


@pytest.mark.parametrize(
    ("slices", "depth_mm", "side", "is_lung"),
    [
        (8, 6.0, 10, False),  # 19.2 mL, and 23.2 mL
        (8, 6.0, 11, True),
        (1, 1.0, 36, False),  # a single slice counts as 1 cm thick: 51.8 and 54.8 mL
        (1, 1.0, 37, True),
    ],
)
def test_a_part_of_a_twentieth_of_the_lungs_is_lung(
    slices: int, depth_mm: float, side: int, is_lung: bool
) -> None:
    # The large part has 433.2 mL, in one slice 1024 mL. A twentieth of both is 22.8 mL and 53.9 mL.
    air = np.zeros((slices, 300, 300), bool)
    large = np.s_[:, 10:57, 10:58] if slices > 1 else np.s_[:, 10:170, 10:170]
    air[large] = True
    air[:, 200 : 200 + side, 200 : 200 + side] = True
    hu = np.where(air, LUNG, TISSUE).astype(np.int16)
    found = threshold.choose_lungs(hu, air, (2.0, 2.0, depth_mm))
    assert found[large].all()
    assert found[:, 200 : 200 + side, 200 : 200 + side].all() == is_lung
    expected = air.copy()
    expected[:, 200:] &= is_lung
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(("pixels", "is_lung"), [(26, True), (24, False)])
def test_a_lung_has_5_ml(pixels: int, is_lung: bool) -> None:
    air = np.zeros((8, 40, 60), bool)
    air[:, 10:12, 5 : 5 + pixels // 2] = True  # 24 mm3 a voxel: 4.99 and 4.6 mL
    air[0, 12, 5:8] = True
    hu = np.where(air, LUNG, TISSUE).astype(np.int16)
    assert threshold.choose_lungs(hu, air, SPACING).any() == is_lung


@pytest.mark.parametrize(
    ("value", "is_air"), [(-950, True), (-951, False), (-1000, False), (-321, True), (-320, False)]
)
def test_a_part_at_the_edge_and_in_the_body_is_lung_if_it_is_brighter_than_air(
    value: int, is_air: bool
) -> None:
    hu = np.full((40, 50), TISSUE, np.int16)
    hu[10:30, :20] = hu[10:30, 35:] = value
    body = hu == TISSUE
    expected = np.zeros(hu.shape, bool)
    expected[10:30, :20] = expected[10:30, 35:] = is_air
    np.testing.assert_array_equal(threshold._air_of_slice(hu, body), expected)


@pytest.mark.parametrize(("columns", "whole"), [(14, True), (13, False)])
def test_of_a_part_that_lies_beside_the_body_only_what_is_within_can_be_lung(
    columns: int, whole: bool
) -> None:
    # Bright air of 50 columns beside a body, and in a hollow of it, of 38 of 40 rows.
    hu = np.full((40, 90), -900, np.int16)
    hu[:, 50:] = TISSUE
    hu[:, 50 : 50 + columns] = -900
    hu[:1, 50:] = hu[-1:, 50:] = TISSUE  # so that the outline begins at column 50
    hu[:, 88:] = TISSUE
    body = hu == TISSUE
    outline = np.zeros(hu.shape, bool)
    outline[:, 50:] = True
    part = hu == -900
    assert (np.count_nonzero(part & outline) > 0.2 * np.count_nonzero(part)) == whole
    found = threshold._air_of_slice(hu, body)
    np.testing.assert_array_equal(found, part if whole else part & outline)
