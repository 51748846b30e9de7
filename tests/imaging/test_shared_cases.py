"""The inputs of public bug reports beside the checkout end as each of them should."""

from pathlib import Path

import numpy as np
import pytest

from lungseg.config.schema import Config, DataConfig
from lungseg.dataset.cutting import cut_volume
from lungseg.errors import DataError
from lungseg.imaging.folders import Pair
from lungseg.imaging.masks import decode_mask
from lungseg.imaging.pixels import read_pixels, to_slice
from lungseg.imaging.volume_files import read_ct, read_label_volume
from tests.support.places import SHARED_DATA

CASES = SHARED_DATA.with_name("cases")
SPACING = (12.0, 2.8125, 2.8125)  # of all of them, z, y, x in mm


def case(pattern: str) -> Path:
    """Return the input that matches a pattern; skip the test without it."""
    found = sorted(CASES.glob(pattern))
    if not found:
        pytest.skip(f"the cases (shared/cases/{pattern}) are not here")
    return found[0]


@pytest.mark.parametrize(
    ("pattern", "codes"),
    [
        ("11-*/dcm", ["slice_thickness"]),
        ("12-*/left_right.nii.gz", ["two_geometries"]),
        ("12-*/sform_without_spacing.nii.gz", ["two_geometries"]),
        ("12-*/shifted.nii.gz", ["two_geometries"]),
        ("13-*/rounded_1e-3.nii.gz", ["two_geometries", "axes_straightened"]),
        ("14-*/enhanced.dcm", []),
        ("14-*/with_three_classic", ["several_series"]),
        ("17-*/axial_iop_missing", ["no_orientation"]),
        ("23-*/dcm", ["localizer"]),
        ("25-*/gzipped.nii", []),
        ("25-*/nifti2.nii.gz", []),
    ],
)
def test_what_can_be_read_is_read_and_said(pattern: str, codes: list[str]) -> None:
    ct = read_ct(case(pattern))
    assert [finding.code for finding in ct.findings] == codes
    assert ct.spacing == pytest.approx(SPACING, rel=1e-3)
    assert ct.hu.shape == ((1 if pattern.startswith("11") else 20), 128, 128)


@pytest.mark.parametrize(
    "name", ["hu_minus_1024.nii.gz", "hu_plus_1024_padded_-2000.nii.gz", "img/a.nii.gz"]
)
def test_values_on_another_scale_become_hu(name: str) -> None:
    ct = read_ct(case(f"03-*/{name}"))
    assert [finding.code for finding in ct.findings] == ["hu_converted"]
    plain = read_ct(case("12-*/shifted.nii.gz")).hu  # the same patient in HU
    inside = (plain > -500) & (ct.hu > -3000)  # without the padding
    assert inside.mean() > 0.3
    np.testing.assert_array_equal(ct.hu[inside], plain[inside])


@pytest.mark.parametrize(
    ("name", "scale"),
    [
        ("deeplesion_hu_plus_32768", "HU + 32768"),
        ("hu_plus_1024_times_16", "(HU + 1024) x 16"),
        ("int16_saved_as_uint16", "HU modulo 65536"),
    ],
)
def test_unsigned_slices_on_another_scale_become_hu(name: str, scale: str) -> None:
    greys = []
    for each in ("deeplesion_hu_plus_32768", name):
        grey, findings = to_slice(read_pixels(case(f"18-*/{each}.png")), DataConfig())
        greys.append(grey)
    # The three files hold the same slice.
    np.testing.assert_array_equal(greys[0], greys[1])
    assert f"the values are {scale}," in findings[0].detail


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("07-*/dcm", "no PixelSpacing"),
        ("08-*/first_slice", "differ in PixelSpacing"),
        ("13-*/sheared_1_degree.nii.gz", "sheared by 1 degrees"),
        ("17-*/coronal_iop_missing", "no ImageOrientationPatient"),
        ("29-*/dcm", "no ImagePositionPatient"),
    ],
)
def test_what_cannot_be_read_is_refused_for_its_reason(pattern: str, said: str) -> None:
    path = case(pattern)
    with pytest.raises(DataError, match=said):
        read_ct(path)


@pytest.mark.parametrize(
    "pattern", ["04-*/127_255/m/a.png", "04-*/100_200/m/a.png", "04-*/truth/a.png"]
)
def test_a_mask_with_a_grey_per_lung_has_both(pattern: str) -> None:
    path = case(pattern)
    labels, [finding] = decode_mask(read_pixels(path), DataConfig().rgb_map, path)
    np.testing.assert_array_equal(labels, read_pixels(case("04-*/pred/a.png")) > 0)
    assert finding.code == "labels_merged"


@pytest.mark.parametrize(
    ("number", "said"),
    [
        ("06", r"geometry looks as if it was lost"),
        ("21", r"labels 3, 4, 5\. .* data\.labels: \{lung"),
    ],
)
def test_masks_that_are_not_the_lungs_of_their_ct_are_refused(number: str, said: str) -> None:
    image, mask = case(f"{number}-*/img/a.nii.gz"), case(f"{number}-*/msk/a.nii.gz")
    with pytest.raises(DataError, match=said) as caught:
        cut_volume(Pair("a", image, mask), Config())
    assert caught.value.path == mask


def test_the_labels_of_the_config_leave_the_trachea_out() -> None:
    image, mask = case("21-*/img/a.nii.gz"), case("21-*/msk/a.nii.gz")
    config = Config(data=DataConfig(labels={"lung": [3, 4]}))
    slices, _, [finding, *_] = cut_volume(Pair("a", image, mask), config)
    lung = sum(int(each.labels.sum()) for each in slices)
    given = read_label_volume(mask).labels
    assert lung == np.count_nonzero((given == 3) | (given == 4))
    assert "label 5 (" in finding.detail
