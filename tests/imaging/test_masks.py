"""Masks: errors and findings name the mask's file; greys are edges, labels or no mask at all."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from lungseg.config.schema import DataConfig
from lungseg.errors import DataError
from lungseg.imaging.findings import Finding
from lungseg.imaging.masks import decode_mask, encode_mask, read_labels
from lungseg.imaging.pixels import read_pixels

RGB_MAP = DataConfig().rgb_map
RED = np.full((4, 4, 3), (0, 0, 255), np.uint8)  # OpenCV orders blue, green, red


def decode(path: Path) -> tuple[np.ndarray, list[Finding]]:
    return decode_mask(read_pixels(path), RGB_MAP, path)


def test_a_mask_of_other_colours_is_an_error_of_its_file(tmp_path: Path) -> None:
    path = tmp_path / "m.png"
    cv2.imwrite(str(path), RED)
    for read in (lambda: decode(path), lambda: read_labels(path, DataConfig())):
        with pytest.raises(DataError, match=r"not in data\.rgb_map") as caught:
            read()
        assert caught.value.path == path
        assert "most often (255, 0, 0). Set data.rgb_map to the mask's colours" in str(caught.value)


def test_a_repaired_mask_is_a_finding_of_its_file(tmp_path: Path) -> None:
    path = tmp_path / "m.png"
    cv2.imwrite(str(path), np.array([[0, 1]], np.uint8))
    labels, [finding] = decode(path)
    assert labels.tolist() == [[0, 1]]
    assert (finding.code, finding.path) == ("mask_indices", path)
    cv2.imwrite(str(path), np.array([[0, 100, 255]], np.uint8))
    assert [(f.code, f.path) for f in decode(path)[1]] == [("mask_grey", path)]


def test_nothing_but_dark_greys_is_no_mask_of_nothing() -> None:
    with pytest.raises(DataError, match="nearest to the background"):
        decode_mask(np.full((4, 4), 30, np.uint8), RGB_MAP)


SIDE = 256


def two_lungs(left: int, right: int, side: int = SIDE) -> np.ndarray:
    """Return a mask of two discs, each of its own grey."""
    mask = np.zeros((side, side), np.uint8)
    for x, grey in ((0.3, left), (0.7, right)):
        cv2.circle(mask, (int(side * x), side // 2), side // 6, grey, -1)
    return mask


@pytest.mark.parametrize(
    "greys", [(127, 255), (100, 200), (85, 170), (60, 120), (1, 2), (255, 128)]
)
def test_a_grey_per_lung_keeps_both_lungs(greys: tuple[int, int]) -> None:
    mask = two_lungs(*greys)
    with np.errstate(all="raise"):
        labels, [finding] = decode_mask(mask, RGB_MAP)
    np.testing.assert_array_equal(labels, mask > 0)
    assert finding.code == "labels_merged"
    for grey in greys:
        assert f"{grey} ({np.count_nonzero(mask == grey)} pixels)" in finding.detail


@pytest.mark.parametrize(("left", "right"), [(1, 300), (100, 1000)])
@pytest.mark.parametrize("labels", [{}, {"lung": [1]}])
def test_a_label_of_16_bits_that_8_bits_would_lose_is_refused(
    left: int, right: int, labels: dict[str, list[int]]
) -> None:
    mask = np.array([0, left, right], np.uint16)[two_lungs(1, 2)]
    with pytest.raises(DataError, match=rf"values of {left} and of {right}"):
        decode_mask(mask, RGB_MAP, labels=labels)


def test_a_resized_mask_of_16_bits_may_have_nearly_black_edges() -> None:
    edges = cv2.resize(two_lungs(255, 255).astype(np.uint16) * 257, (99, 99))
    edges[0, :5] = 100
    labels, [finding] = decode_mask(edges, RGB_MAP)
    np.testing.assert_array_equal(labels, edges > 32767)
    assert finding.code == "mask_grey"


@pytest.mark.parametrize("size", [(200, 200), (512, 512)])
def test_labels_of_a_resized_mask_keep_their_soft_edges(size: tuple[int, int]) -> None:
    mask = cv2.resize(two_lungs(127, 255), size, interpolation=cv2.INTER_LINEAR)
    labels, findings = decode_mask(mask, RGB_MAP)
    assert [finding.code for finding in findings] == ["labels_merged", "mask_grey"]
    wanted = cv2.resize(two_lungs(1, 1), size, interpolation=cv2.INTER_NEAREST_EXACT)
    assert np.mean(labels == wanted) > 0.995


def test_labels_survive_a_jpeg() -> None:
    mask = two_lungs(127, 255)
    labels, findings = decode_mask(jpeg(mask), RGB_MAP)
    assert findings[0].code == "labels_merged"
    assert np.mean(labels == (mask > 0)) > 0.99


def jpeg(mask: np.ndarray) -> np.ndarray:
    _, content = cv2.imencode(".jpg", mask, [cv2.IMWRITE_JPEG_QUALITY, 75])
    return np.asarray(cv2.imdecode(content, cv2.IMREAD_UNCHANGED))


def test_the_noise_of_a_jpeg_is_no_label() -> None:
    mask = two_lungs(255, 255)
    labels, findings = decode_mask(jpeg(mask), RGB_MAP)
    np.testing.assert_array_equal(labels, mask > 0)
    assert [finding.code for finding in findings] == ["mask_grey"]


def test_areas_that_a_jpeg_made_nearly_black_or_white_are_no_labels() -> None:
    labels, [finding] = decode_mask(two_lungs(255, 252), RGB_MAP)
    np.testing.assert_array_equal(labels, two_lungs(1, 1))
    assert finding.code == "mask_grey"
    mask = two_lungs(255, 255)
    mask[:30, :30] = 2
    mask[-1, :12] = np.arange(240, 252)  # so many values are noise
    labels, [finding] = decode_mask(mask, RGB_MAP)
    assert not labels[:30, :30].any()
    assert finding.code == "mask_grey"


@pytest.mark.parametrize(
    ("left", "right", "said"),
    [
        (30, 30, "nearest to the background"),  # what is it?
        (1, 255, "nearest to the background"),  # 255 often stands for "do not use"
        (5, 3, r"5 is the trachea\. Name those that are lung, for example data\.labels"),
    ],
)
def test_greys_that_need_not_be_lung_are_refused(left: int, right: int, said: str) -> None:
    with pytest.raises(DataError, match=said):
        decode_mask(two_lungs(left, right), RGB_MAP)


def test_labels_without_a_background_are_refused() -> None:
    mask = two_lungs(200, 200)
    mask[mask == 0] = 100
    with pytest.raises(DataError, match="no pixel of the mask is background"):
        decode_mask(mask, RGB_MAP)


def test_more_labels_than_lungs_have_are_refused() -> None:
    mask = np.repeat(np.arange(0, 250, 25, dtype=np.uint8), 6)[None].repeat(60, axis=0)
    with pytest.raises(DataError, match=r"25, 50, 75, .* more than lungs alone have"):
        decode_mask(mask, RGB_MAP)


def test_a_label_that_fills_areas_needs_a_class_among_several() -> None:
    three = {"background": (0, 0, 0), "left": (127, 127, 127), "right": (255, 255, 255)}
    labels, findings = decode_mask(two_lungs(127, 255), three)
    assert (sorted(np.unique(labels)), findings) == ([0, 1, 2], [])
    with pytest.raises(DataError, match=r"data\.labels: \{left: \[1\], right: \[2\]\}"):
        decode_mask(two_lungs(100, 200), three)


@pytest.mark.parametrize("sigma", [0, 8])
def test_an_image_is_no_mask(sigma: float) -> None:
    ramp = np.linspace(0, 255, SIDE)[None].repeat(SIDE, axis=0)
    image = (ramp if not sigma else cv2.GaussianBlur(two_lungs(255, 255), (0, 0), sigma)).astype(
        np.uint8
    )
    with pytest.raises(DataError, match=r"% of the mask's pixels lie between the colours"):
        decode_mask(image, RGB_MAP)


@pytest.mark.parametrize(("side", "factor"), [(512, 2), (256, 2), (128, 2), (64, 2), (64, 0.5)])
def test_the_edges_of_a_resized_mask_are_a_repair_at_every_size(side: int, factor: float) -> None:
    mask = two_lungs(255, 255, int(side / factor))
    resized = cv2.resize(mask, (side, side), interpolation=cv2.INTER_LINEAR)
    _, [finding] = decode_mask(resized, RGB_MAP)
    assert finding.code == "mask_grey"


def test_the_labels_of_the_config_say_what_greys_are() -> None:
    mask = two_lungs(3, 4)
    mask[:20, :20] = 5
    labels, [finding] = decode_mask(mask, RGB_MAP, None, {"lung": [3, 4]})
    np.testing.assert_array_equal(labels, (mask == 3) | (mask == 4))
    assert finding.code == "labels_mapped"
    assert "grey value 5 (400 pixels) is background" in finding.detail
    with pytest.raises(DataError, match=r"grey values 3, 4, 5, none of which data\.labels names"):
        decode_mask(mask, RGB_MAP, None, {"lung": [1, 2]})
    # Greys that rgb_map knows follow the labels, too.
    labels, _ = decode_mask(two_lungs(127, 255), RGB_MAP, None, {"lung": [127]})
    np.testing.assert_array_equal(labels, two_lungs(127, 255) == 127)


def test_labels_do_not_change_a_mask_that_prepare_wrote(tmp_path: Path) -> None:
    data = DataConfig(
        image_size=(SIDE, SIDE),
        rgb_map={"background": (0, 0, 0), "lung": (255, 255, 255), "airway": (127, 127, 127)},
        labels={"lung": [1], "airway": [127]},
    )
    written = two_lungs(1, 2)
    cv2.imwrite(str(tmp_path / "m.png"), encode_mask(written, data.rgb_map))
    np.testing.assert_array_equal(read_labels(tmp_path / "m.png", data), written)
    cv2.imwrite(str(tmp_path / "m.png"), two_lungs(1, 127))
    np.testing.assert_array_equal(read_labels(tmp_path / "m.png", data), written)


def test_two_colours_may_mean_one_class() -> None:
    red, green = (255, 0, 0), (0, 255, 0)
    data = DataConfig(rgb_map={"background": (0, 0, 0), "lung": (red, green)})
    mask = np.zeros((4, 6, 3), np.uint8)
    mask[:, :2], mask[:, 4:] = red, green
    labels, findings = decode_mask(mask, data.rgb_map)
    assert (labels[0].tolist(), findings) == ([1, 1, 0, 0, 1, 1], [])
    # The first colour is the one that is written.
    assert encode_mask(labels, data.rgb_map)[0, 4].tolist() == list(red)


def test_an_area_in_a_colour_between_two_of_the_map_is_refused() -> None:
    mask = np.zeros((8, 8, 3), np.uint8)
    mask[:4], mask[6:] = (0, 100, 0), (0, 255, 0)
    with pytest.raises(DataError, match=r"\(0, 100, 0\), which is not in data\.rgb_map"):
        decode_mask(mask, {"background": (0, 0, 0), "lung": (0, 255, 0)})
