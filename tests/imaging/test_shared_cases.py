"""The inputs of public bug reports beside the checkout end as each of them should."""

from pathlib import Path

import pytest

from lungseg.errors import DataError
from lungseg.imaging.volume_files import read_ct
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
