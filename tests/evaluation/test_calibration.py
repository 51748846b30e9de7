"""Calibration figures against scikit-learn and direct counting."""

from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from lungseg.evaluation.calibration import Calibration, relate_uncertainty, relative_entropy


def test_bins_equal_scikit_learns_and_ece_its_definition() -> None:
    rng = np.random.default_rng(0)
    p = rng.uniform(size=(3, 40, 50)).astype(np.float32)
    truth = rng.uniform(size=p.shape) < p**2
    calibration = Calibration()
    for t, q in zip(truth, p, strict=True):
        calibration.add(t, q)
    found = calibration.result()
    share, confidence = calibration_curve(truth.ravel(), p.ravel(), n_bins=15)
    np.testing.assert_allclose([b["foreground"] for b in found["bins"]], share, atol=2e-3)
    np.testing.assert_allclose([b["probability"] for b in found["bins"]], confidence, atol=2e-3)
    weights = np.array([b["pixels"] for b in found["bins"]]) / p.size
    assert found["ece"] == pytest.approx((weights * np.abs(share - confidence)).sum(), abs=1e-3)


def test_dice_by_threshold_equals_direct_counting() -> None:
    rng = np.random.default_rng(1)
    p = rng.uniform(size=(2, 20, 20)).astype(np.float32)
    truth = rng.uniform(size=p.shape) < 0.4
    calibration = Calibration()
    for t, q in zip(truth, p, strict=True):
        calibration.add(t, q)
    found = calibration.result()
    points = found["dice_by_threshold"]
    assert [point["threshold"] for point in points] == pytest.approx(np.arange(1, 20) / 20)
    best = max(points, key=lambda point: point["dice"])
    assert found["best_threshold"] == best["threshold"]
    for point in points:
        guess = p >= point["threshold"]
        dice = [2 * (t & g).sum() / (t.sum() + g.sum()) for t, g in zip(truth, guess, strict=True)]
        assert point["dice"] == pytest.approx(np.mean(dice), abs=1e-6)


def test_a_sure_and_right_network_is_perfectly_calibrated() -> None:
    truth = np.zeros((8, 8), bool)
    truth[:4] = True
    calibration = Calibration()
    calibration.add(truth, truth.astype(np.float32))
    assert calibration.result()["ece"] == 0.0


def test_entropy_is_nought_for_the_sure_and_grows_with_doubt() -> None:
    sure = np.zeros((4, 4, 2), np.float32)
    sure[..., 1] = 1
    assert relative_entropy(sure) == pytest.approx(0, abs=1e-6)
    even = np.full((4, 4, 2), 0.5, np.float32)
    assert relative_entropy(even) == pytest.approx(16)
    half = sure.copy()
    half[0] = 0.45, 0.55
    assert 0 < relative_entropy(half) < 1


def related(entropy: Sequence[float | None], dice: Sequence[float]) -> dict[str, float | None]:
    rows = [
        SimpleNamespace(entropy=e, scores=SimpleNamespace(dice=d))
        for e, d in zip(entropy, dice, strict=True)
    ]
    return relate_uncertainty(rows)  # type: ignore[arg-type]


def test_the_rank_correlation_is_that_of_entropy_and_error() -> None:
    # Ranks of the entropy: 1 2 3 4 5; of the error 1 - Dice: 2 1 3 5 4. Four ranks differ by 1, so
    # Spearman's coefficient is 1 - 6 * 4 / (5 * (25 - 1)).
    found = related([0.1, 0.2, None, 0.3, 0.5, 0.9], [0.96, 0.99, 0.1, 0.9, 0.2, 0.4])
    assert found["spearman_with_error"] == pytest.approx(1 - 6 * 4 / (5 * 24))
    assert found["mean_entropy"] == pytest.approx(2.0 / 5)


@pytest.mark.parametrize(
    ("entropy", "dice"),
    [([0.1, 0.2], [0.9, 0.8]), ([0.1] * 3, [0.9, 0.8, 0.7]), ([0.1, 0.2, 0.3], [0.9] * 3)],
)
def test_without_differences_there_is_no_rank_correlation(
    entropy: list[float | None], dice: list[float]
) -> None:
    assert related(entropy, dice)["spearman_with_error"] is None
    assert related([*entropy, 0.4, 0.5], [*dice, 0.6, 0.5])["spearman_with_error"] is not None


def test_bins_hold_their_lower_end_and_the_last_one_holds_1() -> None:
    calibration = Calibration()
    calibration.add(
        np.array([[False, True], [True, True]]), np.array([[0, 0.0625], [0.5, 1]], np.float32)
    )
    # An empty slice that the network calls empty has a Dice of 1 at each threshold.
    calibration.add(np.zeros((1, 1), bool), np.zeros((1, 1), np.float32))
    found = calibration.result()
    # Of 15 bins, the first ends at 1/15 = 0.067 and holds two pixels of the first slice.
    assert [(b["probability"], b["foreground"], b["pixels"]) for b in found["bins"]] == [
        (pytest.approx(0.0625 / 3), pytest.approx(1 / 3), 3),
        (0.5, 1.0, 1),
        (1.0, 1.0, 1),
    ]
    assert found["ece"] == pytest.approx((3 * (1 / 3 - 0.0625 / 3) + 0.5) / 5)
    dice = [point["dice"] for point in found["dice_by_threshold"]]
    # At 0.05 all three are found, up to 0.5 two, then one, each beside the 1 of the empty slice.
    two, one = (2 * 2 / 5 + 1) / 2, (2 * 1 / 4 + 1) / 2
    assert dice == pytest.approx([1.0] + [two] * 9 + [one] * 9)
    assert found["best_threshold"] == 0.05


def test_without_foreground_the_entropy_is_that_of_one_pixel() -> None:
    p = np.tile(np.array([0.9, 0.1], np.float32), (2, 2, 1))
    bits = -(0.9 * np.log2(0.9) + 0.1 * np.log2(0.1))
    assert relative_entropy(p) == pytest.approx(4 * bits, rel=1e-5)
    assert relative_entropy(p[..., ::-1]) == pytest.approx(bits, rel=1e-5)
    three = np.full((1, 2, 3), 1 / 3, np.float32)
    three[0, 1] = 0, 1, 0
    # The even pixel is background, the first of equals, and one is foreground.
    assert relative_entropy(three) == pytest.approx(1, rel=1e-5)
