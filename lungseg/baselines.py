"""Masks that need no training. A score says something only beside theirs."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def all_background(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a mask without any lung."""
    return np.zeros(image.shape[:2], dtype=np.uint8)


def grey_threshold(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Take the dark regions inside the body as lung.

    Otsu's threshold, dark components that do not touch the border and cover at least 0.1% of the
    slice, their holes filled.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if image.ndim == 3 else image
    _, bright = cv2.threshold(grey, 0, 1, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    dark = (bright == 0).astype(np.uint8)
    _, parts, stats, _ = cv2.connectedComponentsWithStats(dark, connectivity=4)
    border = np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]])
    keep = stats[:, cv2.CC_STAT_AREA] >= 0.001 * dark.size
    keep[np.unique(border)] = False
    keep[0] = False
    lung = keep[parts].astype(np.uint8)
    contours, _ = cv2.findContours(lung, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(lung, contours, -1, 1, cv2.FILLED)
    return np.asarray(lung)


BASELINES = {"all_background": all_background, "grey_threshold": grey_threshold}
