"""Plain images and slices: every mode, every type of value, and the limits of each."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lungseg.config.schema import DataConfig
from lungseg.errors import DataError, UsageError
from lungseg.imaging import pixels as module
from lungseg.imaging.framing import Framing
from lungseg.imaging.pixels import (
    apply_window,
    as_array,
    encode_png,
    fit_image,
    is_grey,
    labels_of,
    read_pixels,
    read_slice,
    resize_image,
    to_batch,
    to_slice,
    unseen_values,
    with_channels,
    write_png,
)

DATA = DataConfig()
STORED = DataConfig(unsigned_16bit="hu_plus_1024")
GREY = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20


def test_values_of_a_program_are_an_array_of_rows_of_one_length() -> None:
    np.testing.assert_array_equal(as_array([[1, 2], [3, 4]], "x"), [[1, 2], [3, 4]])
    with pytest.raises(UsageError, match="x: expected rows of one length"):
        as_array([[1, 2], [3]], "x")
    with pytest.raises(UsageError, match="x: a masked array"):
        as_array(np.ma.masked_array([1, 2], [True, False]), "x")
    assert as_array(np.ma.masked_array([1, 2], [False, False]), "x").tolist() == [1, 2]


@pytest.mark.parametrize(("limit", "is_read"), [(12, True), (11, False)])
def test_an_image_has_at_most_so_many_pixels(
    limit: int, is_read: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(GREY).save(tmp_path / "a.png")
    monkeypatch.setattr(module, "MAX_PIXELS", limit)
    if is_read:
        np.testing.assert_array_equal(read_pixels(tmp_path / "a.png"), GREY)
        return
    with pytest.raises(DataError, match=r"4 x 3 pixels are more than a slice can have \(11\)"):
        read_pixels(tmp_path / "a.png")


@pytest.mark.parametrize("more", [0, 1])
def test_a_file_has_at_most_so_many_bytes(
    more: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(GREY).save(tmp_path / "a.png")
    size = (tmp_path / "a.png").stat().st_size
    monkeypatch.setattr(module, "MAX_FILE_BYTES", size - more)
    if not more:
        np.testing.assert_array_equal(read_pixels(tmp_path / "a.png"), GREY)
        return
    with pytest.raises(DataError, match=f"{size} bytes are more than a slice can have"):
        read_pixels(tmp_path / "a.png")


@pytest.mark.parametrize(
    "problem", [OSError(5, "Input/output error"), OSError("Input/output error")]
)
def test_a_file_that_cannot_be_read_says_why(
    problem: OSError, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Path) -> bytes:
        raise problem

    (tmp_path / "a.png").write_bytes(b"x")
    monkeypatch.setattr(Path, "read_bytes", fail)
    with pytest.raises(DataError, match=r"cannot be read: Input/output error\."):
        read_pixels(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("mode", "values", "dtype"),
    [
        ("I;16", np.array([[0, 70, 65535]], np.uint16), np.uint16),
        ("I", np.array([[-5, 70, 100_000]], np.int32), np.int32),
        ("F", np.array([[-0.5, 70, 1e5]], np.float32), np.float32),
        ("L", np.array([[0, 70, 255]], np.uint8), np.uint8),
    ],
)
def test_an_image_keeps_the_type_of_its_values(
    mode: str, values: Any, dtype: type, tmp_path: Path
) -> None:
    image = Image.fromarray(values)
    assert image.mode == mode
    image.save(tmp_path / "a.tif")
    found = read_pixels(tmp_path / "a.tif")
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, values)


@pytest.mark.parametrize("mode", ["LA", "RGBA", "P"])
def test_what_is_transparent_in_part_is_laid_over_black(mode: str, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    if mode == "P":
        image = Image.fromarray(np.array([[0, 1, 2]], np.uint8), "P")
        image.putpalette([0, 0, 0, 200, 200, 200, 200, 200, 200])
        image.save(path, transparency=2)
        expected = [[0, 200, 0]]
    else:
        grey, alpha = np.array([[9, 200, 200]], np.uint8), np.array([[255, 255, 51]], np.uint8)
        Image.fromarray(np.dstack([grey] * (3 if mode == "RGBA" else 1) + [alpha]), mode).save(path)
        expected = [[9, 200, 40]]  # a fifth of 200
    found = read_pixels(path)
    assert found.shape == (1, 3, 3)
    for channel in range(3):
        assert found[..., channel].tolist() == expected


def test_values_in_the_alpha_channel_are_pointed_out(tmp_path: Path) -> None:
    def said(rgba: Any) -> str:
        Image.fromarray(np.array(rgba, np.uint8)).save(tmp_path / "a.png")
        return unseen_values(tmp_path / "a.png")

    assert "holds values from 0 to 255: if this is the mask" in said(
        [[[0, 0, 0, 0], [0, 0, 0, 255]]]
    )
    for colour in ([9, 0, 0, 0], [0, 9, 0, 0], [0, 0, 9, 0]):
        assert "all pixels are transparent" in said([[[0, 0, 0, 0], colour]])
    assert said([[[5, 5, 5, 0], [5, 5, 5, 0]]]) == ""
    assert said([[[0, 0, 0, 255], [9, 9, 9, 255]]]) == ""
    assert said([[[0, 0, 0, 1], [9, 9, 9, 1]]]) == ""
    assert said([[0, 9]]) == ""


def test_a_window_is_rounded_and_clipped() -> None:
    hu = np.array([-1e30, -101, -100, -99, 0, 99, 100, 101, 1e39])
    # 255 / 200 grey values per HU.
    assert apply_window(hu, (-100, 100)).tolist() == [0, 0, 0, 1, 128, 254, 255, 255, 255]


def test_a_batch_has_channels_last() -> None:
    grey, colour = np.zeros((3, 4), np.uint8), np.zeros((3, 4, 3), np.uint8)
    assert to_batch([grey, grey]).shape == (2, 3, 4, 1)
    assert to_batch([colour]).shape == (1, 3, 4, 3)
    assert to_batch([grey]).dtype == np.float32
    assert with_channels(grey, 1) is grey
    np.testing.assert_array_equal(with_channels(GREY, 3), np.stack([GREY] * 3, axis=-1))


def test_the_most_probable_class_is_taken_and_the_first_of_two_that_are_equal() -> None:
    two = np.array([[0.2, 0.8], [0.8, 0.2], [0.5, 0.5]], np.float32)
    assert labels_of(two).tolist() == [1, 0, 0]
    three = np.array([[0.1, 0.2, 0.7], [0.4, 0.4, 0.2], [0.2, 0.6, 0.2]], np.float32)
    assert labels_of(three).tolist() == [2, 0, 1]
    assert labels_of(two).dtype == labels_of(three).dtype == np.uint8


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_one_odd_pixel_makes_a_colour_image(channel: int) -> None:
    colours = np.stack([GREY] * 3, axis=-1)
    assert is_grey(colours)
    grey, findings = to_slice(colours, DATA)
    np.testing.assert_array_equal(grey, GREY)
    assert findings == []
    colours[2, 3, channel] += 20
    assert not is_grey(colours)
    grey, [finding] = to_slice(colours, DATA)
    assert finding.code == "colour_image"
    # ITU-R BT.601.
    assert grey[2, 3] == 220 + round(20 * (0.299, 0.587, 0.114)[channel])
    kept, findings = to_slice(colours, DataConfig(channels=3))
    np.testing.assert_array_equal(kept, colours)
    assert findings == []


def codes_of(values: Any, data: DataConfig = DATA) -> tuple[list[int], list[str]]:
    grey, findings = to_slice(np.array([values]), data)
    return grey[0].tolist(), [finding.code for finding in findings]


def test_unsigned_values_of_twelve_bits_are_pointed_out() -> None:
    assert codes_of(np.array([0, 257, 4095], np.uint16)) == ([0, 1, 16], ["narrow_16bit"])
    assert codes_of(np.array([0, 257, 4096], np.uint16)) == ([0, 1, 16], [])
    # The window is from -1000 to 400.
    assert codes_of(np.array([24, 724, 1424], np.uint16), STORED) == ([0, 128, 255], [])


def test_floats_from_zero_to_one_are_shares_of_white() -> None:
    assert codes_of(np.array([0, 0.2, 1], np.float32)) == ([0, 51, 255], ["unit_range"])
    assert codes_of(np.array([0, 0.2, 0.6], np.float32)) == ([0, 51, 153], ["unit_range"])
    assert codes_of(np.array([-0.001, 0.2, 1], np.float32))[1] == []
    assert codes_of(np.array([0, 0.2, 1.001], np.float32))[1] == ["not_hu"]
    assert codes_of(np.array([0, 1], np.int32))[1] == ["not_hu"]


def test_signed_values_without_a_negative_one_are_pointed_out() -> None:
    assert codes_of(np.array([-1, 400], np.int32)) == ([182, 255], [])  # 999 of 1400 HU
    assert codes_of(np.array([0, 400], np.int32)) == ([182, 255], ["not_hu"])


def test_a_side_that_grows_is_interpolated_and_one_that_shrinks_averaged() -> None:
    row = np.array([[0, 40, 80, 120]], np.uint8)
    assert resize_image(row, (1, 4)) is row
    assert resize_image(row, (1, 2)).tolist() == [[20, 100]]
    # Centres at -0.25, 0.25, 0.75, ... of the pixels.
    expected = [0, 10, 30, 50, 70, 90, 110, 120]
    assert resize_image(row, (1, 8)).tolist() == [expected]
    assert resize_image(row.T, (8, 1)).ravel().tolist() == expected
    framed = fit_image(row, Framing((1, 4), (1, 2), (3, 4)))
    assert framed.tolist() == [[0] * 4, [0, 20, 100, 0], [0] * 4]


@pytest.mark.parametrize("array", [GREY, np.dstack([GREY, GREY + 1, GREY + 2])])
def test_a_png_holds_the_pixels_in_the_order_of_their_channels(array: Any, tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", array)
    assert (tmp_path / "a.png").read_bytes() == encode_png(array)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.png")), array)


def test_a_slice_is_read_at_the_size_of_the_config(tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", np.full((20, 40), 77, np.uint8))
    found = read_slice(tmp_path / "a.png", DataConfig(image_size=(32, 32), channels=3))
    expected = np.zeros((32, 32, 3), np.uint8)
    expected[8:24] = 77  # 20 x 40 becomes 16 x 32, in the middle
    np.testing.assert_array_equal(found, expected)
