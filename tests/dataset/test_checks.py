"""What a pair of image and mask suggests, at the limits, and slices that are alike."""

from pathlib import Path

import numpy as np
import pytest

from lungseg.config.loading import with_overrides
from lungseg.config.schema import Config
from lungseg.dataset.checks import find_duplicates, read_pair
from lungseg.dataset.slices import ManifestRow
from lungseg.imaging.folders import Pair
from lungseg.imaging.pixels import write_png

CONFIG = with_overrides(Config(), {"data.image_size": [32, 64]})


def findings_of(folder: Path, image: np.ndarray, mask: np.ndarray) -> dict[str, str]:
    pair = Pair("case", folder / "image.png", folder / "mask.png")
    write_png(pair.image, image)
    write_png(pair.mask, mask)
    *_, findings = read_pair(pair, CONFIG)
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


def test_a_slice_of_another_shape_is_stretched_and_that_is_reported(tmp_path: Path) -> None:
    image, mask = pictures()
    square = findings_of(tmp_path, np.repeat(image, 2, axis=0), np.repeat(mask, 2, axis=0))
    assert square == {"aspect_changed": "warning"}


def row(case: str, sha256: str, bits: int = 0, source: str = "") -> ManifestRow:
    """Return a row whose hash differs from that of a row with 0 bits in so many of 256."""
    return ManifestRow(
        case=case,
        source=source or case,
        image="",
        mask="",
        source_image=f"{case}.png",
        lung_fraction=0.2,
        sha256=sha256,
        phash=f"{(1 << bits) - 1:064x}",
    )


def test_slices_that_are_alike_are_named_in_pairs_and_copies_are_not() -> None:
    rows = [
        row("a", "1"),
        row("a_copy", "2", source="a"),
        row("same", "1"),
        row("near", "3", bits=64),
        row("far", "4", bits=129),
    ]
    # At least 0.75 alike: 64 of 256 bits may differ. `far` differs from `near` in 65.
    issues = find_duplicates(rows, 0.75)
    assert [(issue.case, issue.code, issue.detail) for issue in issues] == [
        ("same", "exact_duplicate", "the same pixels as a"),
        ("near", "near_duplicate", "like a (similarity 0.750)"),
        ("near", "near_duplicate", "like same (similarity 0.750)"),
    ]
    assert [issue.file for issue in issues] == ["same.png", "near.png", "near.png"]


def test_a_long_list_of_pairs_ends_and_says_so() -> None:
    # 20 slices make 190 pairs, 21 make 210.
    assert len(find_duplicates([row(f"{k}", "1") for k in range(20)], 0.9)) == 190
    issues = find_duplicates([row(f"{k}", "1") for k in range(21)], 0.9)
    assert [issue.code for issue in issues] == ["exact_duplicate"] * 200 + ["more_duplicates"]
    assert issues[-1].detail == "the list ends after 200 pairs"
