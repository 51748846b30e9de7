"""A slice keeps its shape in the square pixels of a network, and its mask comes back exactly."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lungseg.config.loading import check_config, load_config
from lungseg.config.schema import DataConfig
from lungseg.imaging.framing import Framing, frame_slice, square_size
from lungseg.imaging.masks import fit_labels
from lungseg.imaging.pixels import fit_image, resize_image

OLD = DataConfig(image_size=(64, 64), square_pixels=False)
NEW = DataConfig(image_size=(64, 64))


def disc(size: tuple[int, int], spacing: tuple[float, float], radius: float) -> np.ndarray:
    """Return a bright disc of `radius` mm in the middle of an image whose pixels have a size."""
    y, x = np.indices(size).astype(float)
    y, x = ((each - (n - 1) / 2) * mm for each, n, mm in zip((y, x), size, spacing, strict=True))
    return np.where(x**2 + y**2 <= radius**2, 255, 0).astype(np.uint8)


@pytest.mark.parametrize(
    ("size", "spacing"),
    [((128, 128), (1, 1)), ((42, 128), (3, 1)), ((128, 42), (1, 3)), ((64, 128), (1.5, 0.75))],
)
@pytest.mark.parametrize("frame", [(64, 64), (64, 96), (200, 160)])
def test_a_disc_stays_a_disc_and_fills_the_frame(
    size: tuple[int, int], spacing: tuple[float, float], frame: tuple[int, int]
) -> None:
    data = NEW.model_copy(update={"image_size": frame})
    extent = min(size[0] * spacing[0], size[1] * spacing[1])
    image = disc(size, spacing, extent / 4)
    framing = frame_slice(size, data, spacing)
    framed = fit_image(image, framing)
    assert framed.shape == frame
    rows, columns = (np.flatnonzero((framed > 127).any(axis=axis)) for axis in (1, 0))
    # The disc has half of the shorter side, and the frame is filled along one of its sides.
    pixel = max(size[0] * spacing[0] / frame[0], size[1] * spacing[1] / frame[1])  # mm
    for found, mm in ((rows, spacing[0]), (columns, spacing[1])):
        assert len(found) == pytest.approx(extent / 2 / pixel, abs=mm / pixel + 1)
    for found, side in ((rows, frame[0]), (columns, frame[1])):
        assert (found[0] + found[-1]) / 2 == pytest.approx((side - 1) / 2, abs=1)
    labels = fit_labels((image > 0).astype(np.uint8), framing)
    assert (labels == (framed > 127)).mean() > 0.98


@given(
    labels=st.tuples(st.integers(1, 24), st.integers(1, 24)).flatmap(
        lambda size: arrays(np.uint8, size, elements=st.integers(0, 1))
    ),
    factor=st.integers(1, 3),
    volume=st.booleans(),
)
def test_what_is_enlarged_and_padded_comes_back_as_it_was(
    labels: np.ndarray, factor: int, volume: bool
) -> None:
    side = max(labels.shape) * factor
    for square_pixels in (True, False):
        data = DataConfig(image_size=(side, side), square_pixels=square_pixels)
        framing = frame_slice((labels.shape[0], labels.shape[1]), data, volume=volume)
        seen = fit_labels(labels, framing)
        assert seen.shape == (side, side)
        cut = framing.cut(seen)
        if square_pixels or volume:
            np.testing.assert_array_equal(cut[::factor, ::factor], labels)
            assert seen.sum() == labels.sum() * factor**2  # nothing but background around it
        else:
            assert cut.shape == (side, side)


def test_version_0_1_stretched_images_and_ignored_the_pixels_of_volumes() -> None:
    size = (30, 60)
    assert frame_slice(size, OLD, (2.0, 1.0)) == Framing(size, (64, 64), (64, 64))
    assert frame_slice(size, OLD, (2.0, 1.0), volume=True) == Framing(size, (32, 64), (64, 64))
    assert frame_slice(size, NEW, (2.0, 1.0)) == Framing(size, (64, 64), (64, 64))
    assert frame_slice(size, NEW, (2.0, 1.0), volume=True).content == (64, 64)
    assert frame_slice(size, NEW).content == (32, 64)


def test_the_thinnest_slice_keeps_a_pixel() -> None:
    assert frame_slice((1, 5000), NEW).content == (1, 64)
    assert frame_slice((5000, 1), NEW).content == (64, 1)


def test_square_pixels_are_as_many_as_there_were() -> None:
    height, width = square_size((100, 400), (4.0, 1.0))
    assert (height, width) == (200, 200)
    assert square_size((80, 50), (0.7, 0.7)) == (80, 50)


def test_a_side_that_shrinks_is_averaged_while_the_other_grows() -> None:
    stripes = np.tile(np.array([0, 0, 0, 240], np.uint8), (4, 8))
    found = resize_image(stripes, (8, 8))
    np.testing.assert_array_equal(found, 60)  # a quarter of each four columns is 240
    np.testing.assert_array_equal(resize_image(stripes.T, (8, 8)), 60)


def test_a_run_of_version_0_1_keeps_its_way(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("data:\n  image_size: [64, 64]\n")
    assert load_config(config).data.square_pixels  # a config that a person wrote
    (tmp_path / "data.csv").touch()
    assert not load_config(config).data.square_pixels
    config.write_text("seed: 3\n")
    assert not load_config(config).data.square_pixels
    config.write_text("data:\n  square_pixels: true\n")
    assert load_config(config).data.square_pixels
    assert check_config({}, "").data.square_pixels


def test_what_cannot_lie_in_the_middle_lies_one_pixel_before_it() -> None:
    framing = Framing((2, 3), (2, 3), (5, 4))
    content = np.arange(1, 7).reshape(2, 3)
    framed = framing.place(content)
    expected = np.zeros((5, 4), int)
    expected[1:3, 0:3] = content
    np.testing.assert_array_equal(framed, expected)
    np.testing.assert_array_equal(framing.cut(framed), content)
    channels = framing.place(np.stack([content, content * 2], axis=-1))
    assert channels.shape == (5, 4, 2)
    np.testing.assert_array_equal(channels[..., 1], expected * 2)
    whole = Framing((9, 9), (2, 3), (2, 3))
    assert whole.place(content) is content
    np.testing.assert_array_equal(whole.cut(content), content)


def test_the_side_that_is_longer_in_mm_fills_the_frame() -> None:
    wide = DataConfig(image_size=(32, 64))
    assert frame_slice((10, 10), wide).content == (32, 32)
    assert frame_slice((10, 10), wide, (1.0, 4.0)).content == (16, 64)
    assert frame_slice((10, 40), wide, (4.0, 1.0)).content == (32, 32)
    old = DataConfig(image_size=(32, 64), square_pixels=False)
    assert frame_slice((10, 40), old, volume=True).content == (8, 64)
    assert frame_slice((40, 10), old, volume=True).content == (32, 16)
    assert frame_slice((1, 5000), old, volume=True).content == (1, 64)
    assert square_size((1, 9), (0.01, 1.0)) == (1, 90)
    assert square_size((9, 1), (1.0, 0.01)) == (90, 1)
