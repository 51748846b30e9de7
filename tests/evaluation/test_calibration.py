"""Calibration figures against scikit-learn and direct counting."""

import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from lungseg.evaluation.calibration import Calibration, relative_entropy


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
