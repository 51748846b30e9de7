"""What a pair of image and mask suggests, at the limits."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lungseg.config.loading import with_overrides
from lungseg.config.schema import Config
from lungseg.dataset.checks import read_pair
from lungseg.imaging.folders import Pair
from lungseg.imaging.pixels import write_png

CONFIG = with_overrides(Config(), {"data.image_size": [32, 64]})


def findings_of(
    folder: Path, image: np.ndarray, mask: np.ndarray, config: Config = CONFIG
) -> dict[str, str]:
    pair = Pair("case", folder / "image.png", folder / "mask.png")
    write_png(pair.image, image)
    write_png(pair.mask, mask)
    *_, findings = read_pair(pair, config)
    assert all(finding.path in (pair.image, pair.mask) for finding in findings)
    return {finding.code: finding.severity for finding in findings}


def pictures(bright: int = 200, lung: int = 50) -> tuple[np.ndarray, np.ndarray]:
    """Return an image of 10 x 20 pixels, half of them 100, and a mask of so many of lung."""
    image = np.full((10, 20), bright, np.uint8)
    image[:5] = 100
    mask = np.zeros((10, 20), np.uint8)
    mask.ravel()[:lung] = 255
    return image, mask


@pytest.mark.parametrize(
    ("bright", "lung", "found"),
    [
        (200, 50, {}),
        # The standard deviation is half of the difference, and blank is less than 2.
        (104, 50, {}),
        (103, 50, {"blank_image": "left_out"}),
        (200, 0, {"empty_mask": "warning"}),
        (200, 1, {}),
        # More than 70 % of 200 pixels.
        (200, 140, {}),
        (200, 141, {"large_mask": "warning"}),
    ],
)
def test_a_blank_image_and_an_odd_mask_are_found(
    bright: int, lung: int, found: dict[str, str], tmp_path: Path
) -> None:
    assert findings_of(tmp_path, *pictures(bright, lung)) == found


def test_version_0_1_stretched_a_slice_of_another_shape_which_is_said(tmp_path: Path) -> None:
    image, mask = (np.repeat(each, 2, axis=0) for each in pictures())
    assert findings_of(tmp_path, image, mask) == {}
    old = with_overrides(CONFIG, {"data.square_pixels": False})
    assert findings_of(tmp_path, image, mask, old) == {"aspect_changed": "warning"}


@pytest.mark.parametrize(
    ("colour", "alpha", "said"),
    [
        (0, 255, "; its alpha channel holds values from 0 to 255: if this is the mask, save it"),
        (0, 7, "; its alpha channel holds values from 0 to 7: if this is the mask, save it"),
        (255, 0, "; all pixels are transparent, which counts as black: save the mask without"),
        (0, 0, ""),
    ],
)
def test_values_of_an_empty_mask_that_alpha_holds_or_hides_are_named(
    colour: int, alpha: int, said: str, tmp_path: Path
) -> None:
    image, mask = pictures()
    pair = Pair("case", tmp_path / "image.png", tmp_path / "mask.png")
    write_png(pair.image, image)
    lung = mask // 255
    Image.fromarray(np.dstack([lung * colour] * 3 + [lung * alpha])).save(pair.mask)
    (finding,) = read_pair(pair, CONFIG)[-1]
    assert (finding.code, finding.severity) == ("empty_mask", "warning")
    text = f"the mask holds only background{said}"
    assert finding.detail.startswith(text) if said else finding.detail == text


def test_opaque_colours_of_the_background_are_not_called_transparent(tmp_path: Path) -> None:
    image, mask = pictures()
    pair = Pair("case", tmp_path / "image.png", tmp_path / "mask.png")
    write_png(pair.image, image)
    Image.fromarray(np.dstack([mask // 25] * 3 + [np.full_like(mask, 255)])).save(pair.mask)
    colours = {"background": [[0, 0, 0], [10, 10, 10]], "lung": [[255, 255, 255]]}
    (finding,) = read_pair(pair, with_overrides(CONFIG, {"data.rgb_map": colours}))[-1]
    assert finding.detail == "the mask holds only background"
