"""Values that are not HU are told by where air, fat and soft tissue lie, whatever the padding."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from lungseg.config.schema import Config, DataConfig
from lungseg.errors import DataError
from lungseg.imaging.hounsfield import AS_HU, READINGS, Reading, find_reading, tissues_of
from lungseg.imaging.pixels import apply_window, read_pixels, to_slice
from lungseg.imaging.volume_files import ct_from_image, read_ct
from lungseg.verbs.prepare import prepare
from tests.support.places import SHARED_DATA
from tests.support.volumes import image_of, phantom_arrays

HU, LUNGS = phantom_arrays(8)
SLICE = phantom_arrays(8, 128)[0][4]
WHOLE = HU.astype(np.int32)
Scale = Callable[[Any], Any]


def padded(values: Any, value: float) -> Any:
    """Return values with padding outside the circle that a scanner reconstructs."""
    height, width = values.shape[-2:]
    y, x = np.ogrid[:height, :width]
    outside = (2 * y / height - 1) ** 2 + (2 * x / width - 1) ** 2 > 1
    return np.where(outside, value, values).astype(values.dtype)


# What programs write in place of HU, by the formula that they applied.
SCALES: dict[str, Scale] = {
    "HU + 1024": lambda hu: hu + 1024,
    "HU - 1024": lambda hu: hu - 1024,
    "HU + 32768": lambda hu: hu + 32768,
    "HU - 32768": lambda hu: hu - 32768,
    "HU modulo 65536": lambda hu: hu.astype(np.int16).astype(np.uint16).astype(np.int32),
    "HU x 2": lambda hu: hu * 2,
    "HU x 10": lambda hu: hu * 10,
    "HU x 16": lambda hu: hu * 16,
    "HU / 2": lambda hu: hu / 2,
    "(HU + 1024) x 16": lambda hu: (hu + 1024) * 16,
    "HU / 1000": lambda hu: hu / 1000,
    "(HU + 1000) / 1000": lambda hu: hu / 1000 + 1,
}


def test_every_reading_has_its_scale_here() -> None:
    assert {reading.name for reading in READINGS} == set(SCALES)


@pytest.mark.parametrize("name", SCALES)
def test_a_usual_scale_is_recognised_and_undone(name: str) -> None:
    ct = ct_from_image(image_of(SCALES[name](WHOLE), (4, 4, 10), (1, 2, 3)))
    np.testing.assert_allclose(ct.hu, HU, atol=1e-3)
    assert (ct.image.GetSpacing(), ct.image.GetOrigin()) == ((4, 4, 10), (1, 2, 3))
    [finding] = ct.findings
    assert (finding.code, finding.severity) == ("hu_converted", "repaired")
    assert f"the values are {name}," in finding.detail


def test_lungs_of_one_density_are_not_taken_for_tissue_on_a_larger_scale() -> None:
    # On the scale of HU + 1024, the sixteenfold of emphysema lies where fat and soft tissue do.
    emphysema = WHOLE.copy()
    lungs = (LUNGS > 0) & (HU < -600)
    emphysema[lungs] = np.random.default_rng(0).normal(-962, 4, lungs.sum())
    ct = ct_from_image(image_of(SCALES["(HU + 1024) x 16"](emphysema)))
    np.testing.assert_array_equal(ct.hu, emphysema)


@pytest.mark.parametrize("padding", [-3024, -2000, -1024, -2048])
@pytest.mark.parametrize("name", ["HU + 1024", "HU - 1024", "HU x 2", "HU + 32768"])
def test_padding_does_not_hide_a_scale(name: str, padding: int) -> None:
    ct = ct_from_image(image_of(padded(SCALES[name](WHOLE), padding)))
    inside = padded(np.ones_like(WHOLE), 0) > 0
    np.testing.assert_array_equal(ct.hu[inside], HU[inside])
    assert [finding.code for finding in ct.findings] == ["hu_converted"]


@pytest.mark.parametrize("padding", [None, -3024, -2000, -1024])
@pytest.mark.parametrize("kind", [np.int16, np.int32, np.float32])
def test_hu_stay_as_they_are_with_any_padding(padding: int | None, kind: type) -> None:
    values = HU.astype(kind) if padding is None else padded(HU.astype(kind), padding)
    ct = ct_from_image(image_of(values))
    np.testing.assert_array_equal(ct.hu, values)
    assert ct.hu.dtype == kind
    assert ct.findings == []


@pytest.mark.parametrize("fill", [-3024, -1024, 0])
def test_lungs_cut_out_of_their_scan_stay_as_they_are(fill: int) -> None:
    alone = np.where((LUNGS > 0) & (HU < -600), HU, fill).astype(np.int16)
    alone[0, 0, 0] = -1024
    ct = ct_from_image(image_of(alone))
    np.testing.assert_array_equal(ct.hu, alone)
    assert ct.findings == []


def test_a_body_without_air_stays_as_it_is() -> None:
    body = np.where(HU < -300, -1024, HU).astype(np.int16)
    np.testing.assert_array_equal(ct_from_image(image_of(body)).hu, body)


GREYS: dict[str, Scale] = {
    "8 bits": lambda hu: apply_window(hu, (-1000, 400)).astype(np.int32),
    "12 bits": lambda hu: np.clip((hu + 1000) / 1400 * 4095, 0, 4095).astype(np.int32),
    "16 bits": lambda hu: np.clip((hu + 1000) / 1400 * 65535, 0, 65535).astype(np.int32),
    "a lung window": lambda hu: np.clip((hu + 1350) / 1500 * 4095, 0, 4095).astype(np.int32),
    "signed": lambda hu: np.clip((hu + 1024) / 2024 * 4095 - 1024, -1024, 3071).astype(np.int32),
    "HU x 1.5": lambda hu: hu * 1.5,
}


@pytest.mark.parametrize("padding", [None, -2000])
@pytest.mark.parametrize("name", GREYS)
def test_stretched_grey_values_are_refused_with_a_remedy(name: str, padding: int | None) -> None:
    values = GREYS[name](WHOLE)
    values = values if padding is None else padded(values, padding)
    with pytest.raises(DataError, match=r"Hounsfield units.*rescale slope and intercept"):
        ct_from_image(image_of(values))


def test_values_that_are_few_or_a_ramp_say_nothing() -> None:
    assert find_reading(WHOLE[4, :20, :20] + 1024, AS_HU) is AS_HU
    assert find_reading(np.linspace(0, 4095, 10_000), AS_HU) is AS_HU
    assert find_reading(np.linspace(0, 4095, 10_000), None) is None


def save(path: Path, pixels: Any) -> Path:
    assert cv2.imwrite(str(path), pixels)
    return path


@pytest.mark.parametrize("name", ["HU + 1024", "HU + 32768", "HU modulo 65536", "(HU + 1024) x 16"])
@pytest.mark.parametrize("meaning", ["full_range", "hu_plus_1024"])
def test_unsigned_slices_are_read_by_what_they_mean(
    tmp_path: Path, name: str, meaning: Any
) -> None:
    stored = np.clip(SCALES[name](SLICE.astype(np.int32)), 0, 65535).astype(np.uint16)
    data = DataConfig(unsigned_16bit=meaning)
    grey, findings = to_slice(read_pixels(save(tmp_path / "a.png", stored)), data)
    np.testing.assert_array_equal(grey, apply_window(SLICE, data.window))
    expected = (meaning, name) == ("hu_plus_1024", "HU + 1024")
    assert [finding.code for finding in findings] == ([] if expected else ["hu_converted"])


@pytest.mark.parametrize("name", ["HU + 1024", "HU - 1024", "HU x 2", "HU / 1000"])
def test_signed_and_float_slices_are_read_by_what_they_mean(tmp_path: Path, name: str) -> None:
    values = SCALES[name](SLICE.astype(np.int32))
    stored = values.astype(np.int32 if values.dtype.kind == "i" else np.float32)
    grey, findings = to_slice(read_pixels(save(tmp_path / "a.tif", stored)), DataConfig())
    np.testing.assert_array_equal(grey, apply_window(SLICE, (-1000, 400)))
    assert [finding.code for finding in findings] == ["hu_converted"]


@pytest.mark.parametrize("window", [(-1000, 400), (-1350, 150), (-160, 240)])
def test_unsigned_slices_of_stretched_grey_stay_grey(
    tmp_path: Path, window: tuple[int, int]
) -> None:
    low, high = window
    stretched = np.clip((SLICE - low) / (high - low), 0, 1) * 65535
    stored = np.rint(stretched).astype(np.uint16)
    grey, findings = to_slice(read_pixels(save(tmp_path / "a.png", stored)), DataConfig())
    np.testing.assert_array_equal(grey, np.rint(stored / 257.0))
    assert findings == []


@pytest.mark.parametrize("name", ["12 bits", "signed"])
def test_signed_slices_of_stretched_grey_are_refused(tmp_path: Path, name: str) -> None:
    path = save(tmp_path / "a.tif", GREYS[name](SLICE.astype(np.int32)).astype(np.int32))
    with pytest.raises(DataError, match="Hounsfield units"):
        to_slice(read_pixels(path), DataConfig(), path)


def test_a_slice_beside_the_patient_is_hu() -> None:
    air = np.random.default_rng(0).normal(-1000, 20, (64, 64)).astype(np.int32)
    grey, findings = to_slice(air, DataConfig())
    assert (grey.max() < 20, findings) == (True, [])


@pytest.mark.parametrize("name", ["HU + 1024", "HU - 1024"])
def test_prepare_makes_the_slices_of_the_hu(tmp_path: Path, name: str) -> None:
    def prepared(hu: Any) -> list[Any]:
        for folder, values in (("ct", hu), ("lungs", LUNGS)):
            (tmp_path / folder).mkdir(exist_ok=True)
            image = image_of(values, (4.0, 4.0, 10.0))
            sitk.WriteImage(image, str(tmp_path / folder / "a.nii.gz"))
        config = Config(data=DataConfig(image_size=(64, 64)))
        prepare(config, tmp_path / "ct", tmp_path / "lungs", tmp_path / "out", overwrite=True)
        assert ("hu_converted" in (tmp_path / "out" / "issues.csv").read_text()) == (hu is not HU)
        return [read_pixels(path) for path in sorted((tmp_path / "out" / "images").iterdir())]

    right = prepared(HU)
    found = prepared(padded(SCALES[name](WHOLE), -2000))
    inside = padded(np.ones_like(WHOLE[0]), 0) > 0
    assert len(found) == len(right) > 0
    for one, other in zip(found, right, strict=True):
        np.testing.assert_array_equal(one[inside], other[inside])


@pytest.mark.slow
def test_no_real_ct_is_refused_or_converted() -> None:
    if not SHARED_DATA.is_dir():
        pytest.skip("the real volumes (shared/data) are not here")
    names = ("open-ct/volumes", "open-ct/slices", "volumes", "mha-right-lung")
    files = [p for name in names for p in sorted((SHARED_DATA / name).rglob("*.[nm][ih][ia]*"))]
    paths = [*sorted(SHARED_DATA.glob("dicom-*")), *(p for p in files if "mask" not in p.name)]
    assert len(paths) > 100
    for path in paths:
        assert not {f.code for f in read_ct(path).findings} & {"hu_converted"}, path


@pytest.mark.parametrize(
    ("reading", "kind", "values", "hu"),
    [
        (AS_HU, np.int16, [-1000, 40], [-1000, 40]),
        (AS_HU, np.float32, [-1000.5, 40], [-1000.5, 40]),
        (Reading("x", 1 / 2), np.int16, [-1999, 80], [-999.5, 40]),
        (Reading("x", 3.0, -7), np.uint8, [0, 100], [-7, 293]),
        (Reading("x", wrapped=True), np.uint16, [64536, 32767, 32768], [-1000, 32767, -32768]),
    ],
)
def test_a_reading_keeps_whole_numbers_whole(
    reading: Reading, kind: type, values: list[float], hu: list[float]
) -> None:
    found = reading.to_hu(np.array(values, kind))
    assert found.tolist() == hu
    whole = all(number == int(number) for number in (*hu, reading.slope)) and kind is not np.float32
    assert found.dtype == (np.int32 if whole else np.float32)


def test_padding_is_a_value_far_below_the_next_one_alone() -> None:
    body = np.arange(-1000.0, 1000.0)
    often = np.ones(body.shape)

    def below_air(*low: float) -> float:
        values = np.concatenate([body, low])
        return tissues_of(values, np.concatenate([often, [1.0 for _ in low]])).below_air

    # One value far below all others is padding. Of two near each other, neither is.
    assert below_air(-3024.0) == 0
    assert below_air(-3024.0, -3023.0) == pytest.approx(2 / 2002)
    # There are three paddings at most.
    assert below_air(-6000.0, -4500.0, -3000.0) == 0
    assert below_air(-6000.0, -4500.0, -3000.0, -1300.0) == pytest.approx(1 / 2001)
