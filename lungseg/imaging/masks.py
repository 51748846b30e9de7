"""Masks: colours of the `rgb_map` <-> class indices.

A label image is a uint8 array `(H, W)` of class indices, 0 the background.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lungseg.config.fields import Colour
from lungseg.config.schema import DataConfig
from lungseg.errors import DataError
from lungseg.imaging.findings import Finding
from lungseg.imaging.pixels import Labels, Pixels, is_grey, read_pixels

# A colour this far (of 441) from every mixture of two map colours is none of the map's.
OFF_MAP_DISTANCE = 40.0


def decode_mask(pixels: Pixels, rgb_map: Mapping[str, Colour]) -> tuple[Labels, list[Finding]]:
    """Turn a mask's colours into class indices.

    Colours of `rgb_map` are taken as they are. A mixture of two of them, as interpolation leaves
    it, goes to the nearer one and is reported. Class indices (0, 1, ...) in place of colours are
    understood and reported.

    Args:
        pixels: as `read_pixels` returns them.
        rgb_map: class name to colour, in the order of their indices.

    Returns:
        uint8 labels `(H, W)` and the findings.

    Raises:
        DataError: where more than 1 in 1000 pixels have a colour that is none of the map's nor a
            mixture of them. The message names no file: the caller knows it.
    """
    palette = np.array(list(rgb_map.values()), dtype=np.float64)
    codes, inverse, counts = _colours_in(pixels)
    colours = np.stack([codes >> 16 & 255, codes >> 8 & 255, codes & 255], axis=1)
    distance = np.linalg.norm(colours[:, None] - palette[None], axis=2)
    nearest = distance.argmin(axis=1).astype(np.uint8)
    exact = distance.min(axis=1) == 0
    if exact.all():
        return nearest[inverse], []
    greys = bool((colours == colours[:, :1]).all())
    if greys and colours.max() < len(palette):
        found = ", ".join(str(value) for value in sorted(set(colours[:, 0].tolist())))
        return colours[:, 0].astype(np.uint8)[inverse], [
            Finding("mask_indices", "repaired", f"values {found} taken as class indices")
        ]
    off = _distance_to_mixtures(colours.astype(np.float64), palette) > OFF_MAP_DISTANCE
    total = int(counts.sum())
    off_count = int(counts[off].sum())
    if off_count > total / 1000:
        worst = colours[off][counts[off].argmax()]
        raise DataError(
            None,
            f"{off_count / total:.1%} of the mask's pixels have a colour that is not in "
            f"data.rgb_map, most often ({worst[0]}, {worst[1]}, {worst[2]})",
        )
    mixed = int(counts[~exact].sum())
    if mixed > total / 1000 and not nearest[inverse].any():
        # Nothing but dark greys: more likely labels of another kind than a mask of nothing.
        found = ", ".join(f"({r}, {g}, {b})" for r, g, b in colours[~exact][:5])
        raise DataError(
            None,
            f"none of the mask's pixels is nearer to a class of data.rgb_map than to the "
            f"background, but {mixed / total:.1%} are no background either: {found}",
        )
    detail = (
        f"{len(codes)} different values; {mixed} of {total} pixels ({mixed / total:.2%}) are not "
        "a colour of the map and went to the nearest"
    )
    return nearest[inverse], [Finding("mask_grey", "repaired", detail)]


def _colours_in(pixels: Pixels) -> tuple[NDArray[np.int64], NDArray[np.intp], NDArray[np.int64]]:
    """Return the colours present (0xRRGGBB), the index of each pixel's, and their counts."""
    if pixels.dtype == np.uint16 and pixels.max() > 255:
        pixels = np.rint(pixels / 257.0)
    elif pixels.dtype in (np.int32, np.float32) and (pixels.min() < 0 or pixels.max() > 255):
        raise DataError(
            None,
            f"a mask holds colours or class indices, but this one has values from "
            f"{pixels.min():g} to {pixels.max():g}",
        )
    elif pixels.dtype == np.float32 and 0 < pixels.max() <= 1:
        pixels = pixels * 255
    pixels = pixels.astype(np.int64)
    grey = pixels if pixels.ndim == 2 else pixels[..., 0] if is_grey(pixels) else None
    if grey is not None:
        counts = np.bincount(grey.ravel(), minlength=256)
        present = np.flatnonzero(counts)
        lookup = np.zeros(256, dtype=np.intp)
        lookup[present] = np.arange(len(present))
        return present * 0x010101, lookup[grey], counts[present]
    packed = pixels[..., 0] << 16 | pixels[..., 1] << 8 | pixels[..., 2]
    codes, inverse, counts = np.unique(packed, return_inverse=True, return_counts=True)
    return codes, inverse.reshape(packed.shape), counts


def _distance_to_mixtures(
    colours: NDArray[np.float64], palette: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Distance of each colour to the nearest segment between two palette colours."""
    best = np.full(len(colours), np.inf)
    for first in range(len(palette)):
        for second in range(first + 1, len(palette)):
            start, along = palette[first], palette[second] - palette[first]
            share = np.clip((colours - start) @ along / (along @ along), 0, 1)
            gap = np.linalg.norm(colours - (start + share[:, None] * along), axis=1)
            best = np.minimum(best, gap)
    return best


def encode_mask(labels: Labels, rgb_map: Mapping[str, Colour]) -> NDArray[np.uint8]:
    """Turn class indices `(H, W)` into the map's colours: grey `(H, W)` where all are, else RGB."""
    palette = np.array(list(rgb_map.values()), dtype=np.uint8)
    if (palette == palette[:, :1]).all():
        return palette[:, 0][labels]
    return palette[labels]


def resize_labels(labels: Labels, size: tuple[int, int]) -> Labels:
    """Resize class indices to `size` (height, width) by nearest neighbour; no new values appear."""
    height, width = size
    if labels.shape == (height, width):
        return labels
    # INTER_NEAREST would shift by up to half a pixel; the exact form samples pixel centres.
    resized = cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    return np.asarray(resized, dtype=np.uint8)


def read_labels(path: Path, data: DataConfig) -> Labels:
    """Read a mask as class indices of the configured size."""
    try:
        labels, _ = decode_mask(read_pixels(path), data.rgb_map)
    except DataError as problem:
        if problem.path is not None:
            raise
        raise DataError(path, f"{problem.what}.") from None
    return resize_labels(labels, data.image_size)
