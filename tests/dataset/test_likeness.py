"""Likeness is exact where it can be checked, and the quick search finds what the slow one finds."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from lungseg.dataset import similarity
from lungseg.dataset.likeness import LENGTH, REACH, Looks, _body_circle, _rings, describe
from lungseg.dataset.similarity import most_similar, similar_across, similar_pairs
from tests.support.bodies import body


def looks_of(*images: np.ndarray) -> Looks:
    return Looks.read([describe(np.ascontiguousarray(image)) for image in images])


def similarity_of(one: np.ndarray, other: np.ndarray) -> float:
    looks = looks_of(one, other)
    return float(looks.similarities(np.array([0]), looks, np.array([1]))[0])


@pytest.mark.parametrize("other", [body(2), np.roll(body(1), (9, 7), (0, 1))])
def test_the_largest_correlation_over_all_angles_counts(other: np.ndarray) -> None:
    """Computed again from the rings themselves, turned sample by sample."""
    looks = looks_of(body(1), other)
    ring = (
        np.fft.irfft(looks.series(slice(None)), 128, axis=-1) * 128
    )  # (slices, views, rings, 128)
    expected = max(
        float((ring[0, view] * np.roll(turned, k, axis=-1)).sum() / 128) - 0.1 * view
        for view in range(2)
        for turned in (ring[1, view], ring[1, view][:, ::-1])
        for k in range(128)
    )
    assert similarity_of(body(1), other) == pytest.approx((1 + expected) / 2, abs=1e-5)


def test_equal_slices_have_1_and_blank_or_unknown_ones_are_like_nothing() -> None:
    assert similarity_of(body(1), body(1)) == pytest.approx(1, abs=1e-5)
    assert similarity_of(body(1), np.dstack([body(1)] * 3)) == pytest.approx(1, abs=1e-2)
    blank = np.zeros((64, 64), np.uint8)
    assert similarity_of(blank, blank) == pytest.approx(0.5, abs=1e-6)
    looks = Looks.read(["", describe(body(1))])
    assert looks.similarities(np.array([0]), looks, np.array([1]))[0] == pytest.approx(0.5)


@pytest.mark.parametrize("size", [(128, 128), (300, 480), (600, 200)])
def test_the_circle_of_the_body_is_where_the_body_is(size: tuple[int, int]) -> None:
    height, width = size
    x, y, radius = 0.45 * width, 0.6 * height, 0.3 * min(size)
    rows, columns = np.mgrid[:height, :width]
    disk = np.where(np.hypot(columns - x, rows - y) <= radius, 200, 10).astype(np.uint8)
    # The mean square distance from the centre of a disk of radius R is R**2 / 2.
    expected = (x, y, REACH * radius / np.sqrt(2))
    assert _body_circle(disk) == pytest.approx(expected, rel=0.02, abs=1)


@pytest.mark.parametrize("size", [(1400, 480), (480, 1400), (900, 900)])
def test_a_larger_copy_is_alike_in_a_picture_of_any_shape(size: tuple[int, int]) -> None:
    width, height = size
    wide = np.zeros((height // 2, width // 2), np.uint8)
    top, left = (height // 2 - 160) // 3, (width // 2 - 160) // 3
    wide[top : top + 160, left : left + 160] = body(1)
    larger = cv2.resize(wide, (width, height), interpolation=cv2.INTER_LINEAR)
    assert similarity_of(wide, larger) > 0.97
    small, large = (_rings_of(image) for image in (wide, larger))
    assert np.abs(small - large).max() < 0.1 * np.abs(small).max()


def _rings_of(image: np.ndarray) -> np.ndarray:
    """Return the series of the frame's circle, in which the place of the body counts."""
    height, width = image.shape
    return _rings(image, (width - 1) / 2, (height - 1) / 2, min(height, width) / 2)


@pytest.mark.parametrize("text", ["xyz", "AAAA", "é"])
def test_a_damaged_likeness_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=f"no base64|instead of {LENGTH}"):
        Looks.read([text])


def test_candidates_find_what_comparing_every_pair_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    originals = [body(k) for k in range(60)]
    copies = [
        np.rot90(image, k % 4) if k % 2 else np.fliplr(image) for k, image in enumerate(originals)
    ]
    one, other, both = looks_of(*originals), looks_of(*copies), looks_of(*originals, *copies)

    def search() -> list[list[tuple[int, int]]]:
        found = []
        for blocks in (similar_across(one, other, 0.75), similar_pairs(both, 0.75)):
            found.append([(int(i), int(j)) for rows, columns, _ in blocks
                          for i, j in zip(rows, columns, strict=True)])  # fmt: skip
        return found

    everything = search()
    assert everything[0] == [(k, k) for k in range(60)]
    assert everything[1] == [(k, k + 60) for k in range(60)]
    monkeypatch.setattr(similarity, "ALL_PAIRS", 0)
    monkeypatch.setattr(similarity, "BLOCK", 500)  # several blocks
    assert search() == everything
    monkeypatch.setattr(similarity, "NEAREST", 3)
    best = most_similar(one, other)
    assert best is not None
    assert best[0] == best[1]
    assert most_similar(one, Looks.read([])) is None


def test_the_page_has_the_figures_that_were_measured() -> None:
    root = Path(__file__).parents[2]
    page = (root / "docs" / "likeness.md").read_text(encoding="utf-8")
    from scripts.bench.likeness import table

    assert table() in page
