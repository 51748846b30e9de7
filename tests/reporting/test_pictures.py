"""Slices for a viewer: each window comes out of one picture; outlines are those of the mask."""

import base64
import io
import json
import re

import cv2
import numpy as np
import pytest
from PIL import Image

from lungseg.reporting.pictures import (
    WINDOWS,
    CasePictures,
    draw_view,
    encode_slice,
    outline_path,
    picture_size,
    spread,
    to_scale,
    window_tables,
)
from tests.support.volumes import phantom_arrays


def decode(text: str) -> np.ndarray:
    content = base64.b64decode(json.loads(text)["image"])
    assert content[8:12] == b"WEBP"
    return np.asarray(Image.open(io.BytesIO(content)).convert("L"))


def disc(side: int = 100, radius: float = 30, hole: float = 0) -> np.ndarray:
    y, x = np.mgrid[:side, :side]
    far = np.hypot(y - side * 0.4, x - side * 0.6)
    return np.asarray((far <= radius) & (far >= hole))


def fill(path: str, shape: tuple[int, int]) -> np.ndarray:
    """Fill a path of SVG as the even-odd rule says: a second reading of its text."""
    polygons = []
    for part in re.findall(r"M[^M]*", path):
        steps = np.array(re.findall(r"-?[\d.]+", part), float)
        if len(steps) % 2:  # a part of one pixel
            polygons.append(np.rint(steps[:2]).astype(np.int32)[None])
            continue
        assert part.endswith("z") or "h" in part
        polygons.append(np.cumsum(steps.reshape(-1, 2), axis=0).astype(np.int32))
    filled = np.zeros(shape, np.uint8)
    for polygon in polygons:
        one = cv2.fillPoly(np.zeros(shape, np.uint8), [polygon], 1)
        filled = filled ^ one
    return filled > 0


@pytest.mark.parametrize("window", WINDOWS)
def test_each_window_comes_out_of_the_one_picture(window: str) -> None:
    hu = np.arange(-2000, 3000)[None]
    table = np.array(window_tables()[window])
    assert table.shape == (256,)
    low, high = {"lung": (-1350, 150), "soft tissue": (-160, 240), "bone": (-500, 1300)}[window]
    expected = np.clip((hu - low) / (high - low), 0, 1)
    # Half a step of the scale is at most 1.5 of the 256 greys of a screen, but in air.
    off = np.abs(table[to_scale(hu)] - expected)
    assert off[hu > -1050].max() < 1.5 / 256
    assert off.max() < 7 / 256


def test_a_real_slice_survives_its_compression_in_each_window() -> None:
    hu = phantom_arrays(8, 320)[0][4].astype(float)
    text = encode_slice(5, hu, {}, hu.shape, in_hu=True)
    assert len(text) < 20_000
    shown = decode(text)
    for name, (low, high) in WINDOWS.items():
        expected = np.clip((hu - low) / (high - low), 0, 1)
        off = np.abs(np.array(window_tables()[name])[shown] - expected)
        assert off.mean() < 5 / 256, name


def test_the_outline_is_that_of_the_mask() -> None:
    mask = disc(hole=9)
    mask[5:30, 4:20] = True
    path = outline_path(mask)
    assert len(path) < 600
    filled = fill(path, mask.shape)
    both = np.count_nonzero(filled & mask)
    # A hole's line runs through the mask around it, which is then not filled.
    assert 2 * both / (filled.sum() + mask.sum()) > 0.95
    assert not filled[40, 60]
    assert outline_path(np.zeros((9, 9), bool)) == ""


def test_a_part_of_one_pixel_has_a_line_too() -> None:
    mask = np.zeros((9, 9), bool)
    mask[3, 5] = True
    assert outline_path(mask) == "M5 3h.5"


def test_an_outline_moves_with_its_mask() -> None:
    mask = np.zeros((40, 60), bool)
    mask[10:20, 30:50] = True
    x, y = map(int, re.findall(r"\d+", outline_path(mask))[:2])
    assert (x, y) == (30, 10)
    text = encode_slice(1, np.zeros((40, 60)), {"left": mask, "right": ~mask & False}, (20, 30),
                        in_hu=True)  # fmt: skip
    assert json.loads(text)["lines"] == {"left": outline_path(mask)}
    assert decode(text).shape == (20, 30)


@pytest.mark.parametrize(
    ("shape", "spacing", "side", "expected"),
    [
        ((512, 512), (0.8, 0.8), 320, (320, 320)),
        ((60, 512), (5.0, 0.8), 320, (234, 320)),  # a coronal slice: 300 mm x 409.6 mm
        ((64, 64), (5.0, 5.0), 320, (64, 64)),
        ((1, 300), (1.0, 1.0), 100, (1, 100)),
    ],
)
def test_a_picture_has_square_pixels(
    shape: tuple[int, int], spacing: tuple[float, float], side: int, expected: tuple[int, int]
) -> None:
    assert picture_size(shape, spacing, side) == expected


def case(count: int, side: int = 64) -> CasePictures:
    hu, mask = phantom_arrays(count, side)
    view = draw_view(
        "axial", range(1, count + 1), count, (2.0, 1.0), side,
        lambda k: (hu[k], {"lung": mask[k] > 0}), in_hu=True,
    )  # fmt: skip
    return CasePictures([view, view], in_hu=True)


def numbers(pictures: CasePictures | None) -> list[list[int]]:
    assert pictures is not None
    return [[json.loads(text)["n"] for text in view.slices] for view in pictures.views]


def test_too_many_slices_are_left_out_evenly() -> None:
    whole = case(12)
    size = len(whole.to_json())
    assert numbers(whole.thinned(size)) == [list(range(1, 13))] * 2
    half = whole.thinned(size - 1)
    assert numbers(half) == [[1, 3, 5, 7, 9, 11]] * 2
    third = whole.thinned(size // 2)
    assert numbers(third) == [[2, 5, 8, 11]] * 2
    assert third is not None
    assert len(third.to_json()) <= size // 2
    assert whole.thinned(100) is None


def test_pictures_come_back_from_their_text() -> None:
    whole = case(3)
    text = whole.to_json()
    assert "\n" not in text
    again = CasePictures.from_json(text)
    assert again.to_json() == text
    head = json.loads(text)["views"][0]
    assert (head["width"], head["height"], head["aspect"], head["count"]) == (64, 64, 0.5, 3)


def test_spread_takes_all_or_the_middles_of_equal_parts() -> None:
    assert spread(3, 6, 4) == [3, 4, 5, 6]
    assert spread(1, 9, 3) == [2, 5, 8]
    assert spread(1, 100, 1) == [51]
