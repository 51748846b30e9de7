"""Slices of every kind are read for what they are; what is none is named."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from lungseg.config.schema import DataConfig
from lungseg.errors import DataError
from lungseg.imaging.folders import list_images, pair_folders
from lungseg.imaging.masks import decode_mask, encode_mask, resize_labels
from lungseg.imaging.pixels import apply_window, read_pixels, to_slice

DATA = DataConfig()
RGB_MAP = DATA.rgb_map
GREY = np.arange(0, 240, dtype=np.uint8).reshape(12, 20)


def save(path: Path, array: Any, mode: str | None = None, **options: Any) -> Path:
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif"])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P"])
def test_lossless_formats_give_the_grey_values_back(tmp_path: Path, suffix: str, mode: str) -> None:
    path = save(tmp_path / f"a{suffix}", GREY, mode)
    grey, findings = to_slice(read_pixels(path), DATA)
    np.testing.assert_array_equal(grey, GREY)
    assert findings == []


def test_jpg_comes_near_the_grey_values(tmp_path: Path) -> None:
    smooth = cv2.resize(GREY, (64, 64), interpolation=cv2.INTER_LINEAR)
    path = save(tmp_path / "a.jpg", smooth, quality=95)
    grey, _ = to_slice(read_pixels(path), DATA)
    assert np.abs(grey.astype(int) - smooth).max() < 12


def test_one_bit_images_are_black_and_white(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", (GREY > 100) * np.uint8(255), "1")
    assert set(np.unique(read_pixels(path))) == {0, 255}


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.float32])
def test_signed_and_float_tiff_are_hu_seen_through_the_window(tmp_path: Path, dtype: type) -> None:
    hu: np.ndarray = np.array([[-2000, -1000, -300, 400, 3000]], dtype=dtype)
    cv2.imwrite(str(tmp_path / "hu.tif"), hu)
    grey, findings = to_slice(read_pixels(tmp_path / "hu.tif"), DATA)
    assert grey.tolist() == [[0, 0, 128, 255, 255]]
    assert findings == []


def test_values_that_cannot_be_hu_are_pointed_out(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.tif"), np.array([[0, 4095]], dtype=np.int32))
    _, findings = to_slice(read_pixels(tmp_path / "a.tif"), DATA)
    assert [finding.code for finding in findings] == ["not_hu"]


def test_float_values_from_0_to_1_are_black_to_white(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.tif"), np.array([[0, 0.5, 1]], dtype=np.float32))
    grey, findings = to_slice(read_pixels(tmp_path / "a.tif"), DATA)
    assert grey.tolist() == [[0, 128, 255]]
    assert [finding.code for finding in findings] == ["unit_range"]


def test_unsigned_16_bit_is_full_range_or_hu_plus_1024(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.array([[0, 257 * 100, 65535]], dtype=np.uint16))
    assert to_slice(read_pixels(tmp_path / "a.png"), DATA)[0].tolist() == [[0, 100, 255]]
    cv2.imwrite(str(tmp_path / "b.png"), np.array([[24, 724, 1424]], dtype=np.uint16))
    pixels = read_pixels(tmp_path / "b.png")
    assert [finding.code for finding in to_slice(pixels, DATA)[1]] == ["narrow_16bit"]
    stored = DataConfig(unsigned_16bit="hu_plus_1024")
    assert to_slice(pixels, stored)[0].tolist() == [[0, 128, 255]]


def test_alpha_lies_over_black(tmp_path: Path) -> None:
    rgba = np.zeros((2, 2, 4), dtype=np.uint8)
    rgba[0] = (200, 200, 200, 255)
    rgba[1] = (200, 200, 200, 0)
    path = save(tmp_path / "a.png", rgba)
    assert to_slice(read_pixels(path), DATA)[0].tolist() == [[200, 200], [0, 0]]


def test_a_colour_image_is_made_grey_and_said(tmp_path: Path) -> None:
    colours = np.zeros((4, 4, 3), dtype=np.uint8)
    colours[..., 0] = 255
    grey, findings = to_slice(read_pixels(save(tmp_path / "a.png", colours)), DATA)
    assert grey.shape == (4, 4)
    assert [finding.code for finding in findings] == ["colour_image"]


def test_three_channels_are_made_where_the_network_wants_them() -> None:
    grey, _ = to_slice(GREY, DataConfig(channels=3))
    assert grey.shape == (12, 20, 3)


def test_a_rotation_in_exif_is_carried_out(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = save(tmp_path / "a.tif", GREY, exif=exif)
    np.testing.assert_array_equal(read_pixels(path), np.rot90(GREY, -1))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"plain text", "not a PNG, JPG, TIF or BMP"),
        (b"\x89PNG\r\n\x1a\n" + b"\x00" * 40, "not a PNG|damaged"),
    ],
)
def test_what_is_no_image_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "slice.png"
    path.write_bytes(content)
    with pytest.raises(DataError, match=said) as caught:
        read_pixels(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".bmp"])
def test_a_truncated_image_is_never_half_read(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)
    path = save(tmp_path / f"a{suffix}", noise)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match=r"damaged|not a PNG"):
        read_pixels(path)


def test_several_frames_nan_and_bombs_are_refused(tmp_path: Path) -> None:
    frames = [Image.fromarray(GREY), Image.fromarray(GREY)]
    frames[0].save(tmp_path / "many.tif", save_all=True, append_images=frames[1:])
    with pytest.raises(DataError, match="holds 2 frames"):
        read_pixels(tmp_path / "many.tif")
    cv2.imwrite(str(tmp_path / "nan.tif"), np.array([[0, np.nan]], dtype=np.float32))
    with pytest.raises(DataError, match="1 pixels are NaN"):
        read_pixels(tmp_path / "nan.tif")
    Image.new("1", (30000, 30000)).save(tmp_path / "bomb.png")
    with pytest.raises(DataError, match="than a slice can have"):
        read_pixels(tmp_path / "bomb.png")


def test_the_window_is_linear_between_its_ends() -> None:
    hu = np.array([-160, 40, 240])
    assert apply_window(hu, (-160, 240)).tolist() == [0, 128, 255]


def test_an_interpolated_mask_goes_to_the_nearest_colour_and_is_reported() -> None:
    labels, findings = decode_mask(np.array([[0, 100, 127, 128, 255]], dtype=np.uint8), RGB_MAP)
    assert labels.tolist() == [[0, 0, 0, 1, 1]]
    assert [(f.code, f.severity) for f in findings] == [("mask_grey", "repaired")]
    assert "3 of 5 pixels" in findings[0].detail


def test_class_indices_in_place_of_colours_are_understood() -> None:
    labels, findings = decode_mask(np.array([[0, 1]], dtype=np.uint8), RGB_MAP)
    assert labels.tolist() == [[0, 1]]
    assert [finding.code for finding in findings] == ["mask_indices"]


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
@pytest.mark.parametrize("white", [1, 255])
def test_masks_of_other_types_are_understood(dtype: type, white: int) -> None:
    labels, _ = decode_mask(np.array([[0, white]], dtype=dtype), RGB_MAP)
    assert labels.tolist() == [[0, 1]]


def test_colours_off_the_map_are_refused() -> None:
    red = np.zeros((4, 4, 3), dtype=np.uint8)
    red[:2] = (255, 0, 0)
    with pytest.raises(DataError, match=r"50\.0% .* \(255, 0, 0\)"):
        decode_mask(red, RGB_MAP)
    with pytest.raises(DataError, match="values from -1000 to 0"):
        decode_mask(np.array([[-1000, 0]], dtype=np.int32), RGB_MAP)


COLOURS = {"background": (0, 0, 0), "lung": (0, 255, 0), "nodule": (255, 0, 255)}


@pytest.mark.parametrize("rgb_map", [RGB_MAP, COLOURS])
@given(labels=arrays(np.uint8, (5, 7), elements=st.integers(0, 1)))
def test_the_colour_map_round_trip_loses_nothing(rgb_map: Any, labels: Any) -> None:
    again, findings = decode_mask(encode_mask(labels, rgb_map), rgb_map)
    np.testing.assert_array_equal(again, labels)
    assert findings == []


@given(
    labels=arrays(np.uint8, (16, 16), elements=st.integers(0, 2)),
    factor=st.integers(2, 4),
)
def test_labels_enlarged_and_restored_are_the_same(labels: Any, factor: int) -> None:
    large = resize_labels(labels, (16 * factor, 16 * factor))
    assert set(np.unique(large)) == set(np.unique(labels))
    np.testing.assert_array_equal(resize_labels(large, (16, 16)), labels)


def test_files_are_listed_in_natural_order(tmp_path: Path) -> None:
    for name in ("s10.png", "s2.PNG", "s1.jpg", ".hidden.png", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    images, others = list_images(tmp_path)
    assert [path.name for path in images] == ["s1.jpg", "s2.PNG", "s10.png"]
    assert [path.name for path in others] == ["notes.txt"]


def test_pairs_are_found_by_stem_and_the_rest_is_told(tmp_path: Path) -> None:
    images, masks = tmp_path / "images", tmp_path / "masks"
    images.mkdir()
    masks.mkdir()
    for name in ("a.jpg", "alone.png", "twice.png", "twice.bmp", "Case.png", "case.png"):
        (images / name).write_bytes(b"x")
    for name in ("a.png", "orphan.png", "twice.png", "case.png", "Case.png", "readme.md"):
        (masks / name).write_bytes(b"x")
    pairs, findings = pair_folders(images, masks)
    assert [(pair.case, pair.image.name, pair.mask.name) for pair in pairs] == [
        ("a", "a.jpg", "a.png")
    ]
    told = {(f.path.parent.name, f.path.name): f.code for f in findings if f.path}
    assert told["images", "alone.png"] == "orphan_image"
    assert told["masks", "orphan.png"] == "orphan_mask"
    assert told["images", "twice.bmp"] == told["images", "twice.png"] == "duplicate_stem"
    assert told["images", "Case.png"] == told["masks", "case.png"] == "duplicate_stem"
    assert told["masks", "readme.md"] == "unsupported_file"
