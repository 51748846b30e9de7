"""Calibration: whether a probability of 0.8 is right in 80% of the pixels; and uncertainty.

Pixels are counted slice by slice, so memory stays constant.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungseg.evaluation.cases import CaseScore

BINS = 15
THRESHOLDS = np.round(np.arange(0.05, 1.0, 0.05), 2)


class Calibration:
    """Reliability of the foreground probability, and mean Dice for each threshold on it."""

    def __init__(self) -> None:
        """Start without any slice."""
        self._count = np.zeros(BINS)
        self._confidence = np.zeros(BINS)
        self._truth = np.zeros(BINS)
        self._dice: list[NDArray[np.float64]] = []

    def add(self, truth: NDArray[np.bool_], probability: NDArray[np.float32]) -> None:
        """Add a slice: its true foreground and the probability of foreground, both `(H, W)`."""
        p = probability.ravel().astype(np.float64)
        t = truth.ravel()
        bins = np.minimum((p * BINS).astype(np.intp), BINS - 1)
        self._count += np.bincount(bins, minlength=BINS)
        self._confidence += np.bincount(bins, weights=p, minlength=BINS)
        self._truth += np.bincount(bins, weights=t, minlength=BINS)
        self._dice.append(_dice_by_threshold(p, t))

    def result(self) -> dict[str, Any]:
        """Summarise all slices.

        Returns:
            `ece`, the expected calibration error with 15 bins of equal width (Naeini et al., 2015):
            the mean over pixels of |share of foreground - mean probability| in the pixel's bin.
            `bins`, both values for each bin that holds pixels. `dice_by_threshold`, the mean Dice
            of the slices if foreground is probability >= threshold. `best_threshold`, the threshold
            with the highest Dice.
        """
        seen = self._count > 0
        share = self._truth[seen] / self._count[seen]
        confidence = self._confidence[seen] / self._count[seen]
        weight = self._count[seen] / self._count.sum()
        dice = np.mean(self._dice, axis=0)
        return {
            "ece": float((weight * np.abs(share - confidence)).sum()),
            "bins": [
                {"probability": float(c), "foreground": float(s), "pixels": int(n)}
                for c, s, n in zip(confidence, share, self._count[seen], strict=True)
            ],
            "dice_by_threshold": [
                {"threshold": float(t), "dice": float(d)}
                for t, d in zip(THRESHOLDS, dice, strict=True)
            ],
            "best_threshold": float(THRESHOLDS[int(np.argmax(dice))]),
        }


def _dice_by_threshold(p: NDArray[np.float64], t: NDArray[np.bool_]) -> NDArray[np.float64]:
    # Bin k counts the pixels between thresholds k - 1 and k. Summed from the top, the counts are
    # those of all pixels above each threshold.
    edges = np.searchsorted(THRESHOLDS, p + 1e-9, side="right")
    size = len(THRESHOLDS) + 1
    above = np.bincount(edges, minlength=size)[::-1].cumsum()[::-1][1:]
    hits = np.bincount(edges, weights=t, minlength=size)[::-1].cumsum()[::-1][1:]
    total = above + np.count_nonzero(t)
    return np.where(total > 0, 2 * hits / np.maximum(total, 1), 1.0)


def relative_entropy(probabilities: NDArray[np.float32]) -> float:
    """Return the number of uncertain pixels per foreground pixel.

    The entropy of a pixel's probabilities `(H, W, C)` is scaled from 0 (certain) to 1 (all classes
    equal), summed over the slice, and divided by the number of foreground pixels (at least 1). Like
    1 - Dice, it is therefore large for a small lung with an uncertain edge.
    """
    p = np.clip(probabilities.astype(np.float64), 1e-12, 1)
    entropy = -(p * np.log(p)).sum() / np.log(p.shape[-1])
    return float(entropy / max(np.count_nonzero(p.argmax(axis=-1)), 1))


def relate_uncertainty(rows: Sequence[CaseScore]) -> dict[str, Any]:
    """Relate the network's uncertainty (entropy of the mirrored mean) to its error.

    Args:
        rows: the rows of one class by the network. At least one has an entropy.
    """
    from scipy.stats import spearmanr

    pairs = [(row.entropy, 1 - row.scores.dice) for row in rows if row.entropy is not None]
    entropy = [entropy for entropy, _ in pairs]
    error = [error for _, error in pairs]
    varied = len(pairs) > 2 and len(set(entropy)) > 1 and len(set(error)) > 1
    return {
        "entropy_of": "the mean of the predictions for the image and the mirrored image",
        "mean_entropy": float(np.mean(entropy)),
        "spearman_with_error": float(spearmanr(entropy, error).statistic) if varied else None,
    }
