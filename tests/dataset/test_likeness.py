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


@pytest.mark.parametrize(
    ("shape", "circle"), [((20, 31), (15, 9.5, 10)), ((31, 20), (9.5, 15, 10))]
)
def test_the_circle_of_a_blank_slice_is_the_largest_in_its_middle(
    shape: tuple[int, int], circle: tuple[float, float, float]
) -> None:
    assert _body_circle(np.zeros(shape, np.uint8)) == circle


def test_the_circle_of_a_dot_is_a_pixel_at_least() -> None:
    dot = np.zeros((128, 128), np.uint8)
    dot[100, 30] = 255
    assert _body_circle(dot) == pytest.approx((30, 100, 1.0))
    # A line of 31 pixels has the variance (31**2 - 1) / 12.
    dot[100, 30:61] = 255
    assert _body_circle(dot) == pytest.approx((45, 100, REACH * np.sqrt(80)))


@pytest.mark.parametrize("side", [65, 96, 300, 900])
@pytest.mark.parametrize("waves", [2, 3, 8])
def test_waves_around_the_middle_are_one_harmonic_with_their_phase(side: int, waves: int) -> None:
    turn = 0.2  # radians
    middle = (side - 1) / 2
    rows, columns = np.indices((side, side))
    angle = np.arctan2(rows - middle, columns - middle)
    grey = np.rint(127 + 100 * np.cos(waves * (angle - turn))).astype(np.uint8)
    rings = _rings(grey, middle, middle, side / 2)[5:14]  # away from the middle and the border
    assert (np.abs(rings).argmax(axis=1) == waves).all()
    phases = np.angle(rings[:, waves] * np.exp(1j * waves * turn))
    assert np.abs(phases).max() < 0.1
    others = np.delete(rings, waves, axis=1)
    assert np.abs(others).max() < 0.25 * np.abs(rings[:, waves]).min()


@pytest.mark.parametrize("side", [80, 400])
def test_rings_are_those_of_their_circle_wherever_it_lies(side: int) -> None:
    part = cv2.resize(body(2), (side, side), interpolation=cv2.INTER_AREA)
    middle = (side - 1) / 2
    expected = _rings(part, middle, middle, side / 3)
    whole = np.zeros((2 * side, 3 * side), np.uint8)
    whole[side // 2 : side // 2 + side, side : 2 * side] = part
    found = _rings(whole, side + middle, side // 2 + middle, side / 3)
    assert np.abs(found - expected).max() < 0.1 * np.abs(expected).max()


def test_a_likeness_keeps_the_series_in_704_letters() -> None:
    image = body(3)
    text = describe(image)
    assert len(text) == 704
    looks = Looks.read([text, ""])
    assert np.abs(looks.numbers[0]).max(axis=(1, 2)).tolist() == [7, 7]  # of each view
    assert not looks.numbers[1].any()
    rings = _rings(image, 79.5, 79.5, 80)
    quiet = rings / np.sqrt(np.abs(rings) + 1e-9)  # the square root of each size, with its phase
    kept = looks.series(slice(0, 1))[0, 0]
    weights = np.array([1.0] + [2.0] * 16)
    norm = np.sqrt((np.abs(kept) ** 2 * weights).sum() * (np.abs(quiet) ** 2 * weights).sum())
    assert ((kept * quiet.conj()).real * weights).sum() / norm > 0.97
    assert (np.abs(kept) ** 2 * weights).sum() == pytest.approx(1, rel=1e-5)
    powers = looks.powers()
    assert powers.shape == (2, 2, 16 * 17)
    np.testing.assert_allclose(powers[0, 0], (np.abs(kept) ** 2).ravel(), rtol=1e-5)


def test_many_slices_are_compared_a_part_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = looks_of(*[body(k) for k in range(5)])
    i, j = np.indices((5, 5)).reshape(2, -1)
    whole, powers = looks.similarities(i, looks, j), looks.powers()
    monkeypatch.setattr("lungseg.dataset.likeness._AT_ONCE", 2)
    np.testing.assert_allclose(looks.similarities(i, looks, j), whole, rtol=1e-6)
    np.testing.assert_allclose(looks.powers(), powers, rtol=1e-6)
    np.testing.assert_allclose(np.diag(whole.reshape(5, 5)), 1, atol=1e-5)


@pytest.mark.parametrize("shape", [(160, 160), (160, 140), (130, 160)])
def test_a_slice_of_six_times_the_pixels_has_the_same_rings(shape: tuple[int, int]) -> None:
    small = cv2.GaussianBlur(body(2), (0, 0), 2.0)[: shape[0], : shape[1]]
    large = small.repeat(6, axis=0).repeat(6, axis=1)
    # The middle of pixel x lies in the middle of the pixels 6 x to 6 x + 5.
    expected = _rings(small, 70.0, 65.0, 60.0)
    found = _rings(large, 70 * 6 + 2.5, 65 * 6 + 2.5, 360.0)
    assert np.abs(found - expected).max() < 0.025 * np.abs(expected).max()
