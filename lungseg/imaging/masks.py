"""Masks: colours of the `rgb_map` <-> class indices.

A label image is a uint8 array `(H, W)` of class indices, 0 the background.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lungseg.config.fields import Colour
from lungseg.config.schema import DataConfig
from lungseg.errors import DataError
from lungseg.imaging.findings import Finding
from lungseg.imaging.framing import Framing, frame_slice
from lungseg.imaging.pixels import Labels, Pixels, is_grey, read_pixels

# A colour farther than this (RGB distance, at most 441) from every blend of two map colours is an
# error.
MAX_BLEND_DISTANCE = 40.0


def decode_mask(
    pixels: Pixels, rgb_map: Mapping[str, Colour], path: Path | None = None
) -> tuple[Labels, list[Finding]]:
    """Turn a mask's colours into class indices.

    Each colour of `rgb_map` becomes the index of its class. A blend of two of them, as resizing
    produces it, becomes the nearer class and is reported. A mask may also hold class indices (0, 1,
    ...) instead of colours, which is reported.

    Args:
        pixels: as `read_pixels` returns them.
        rgb_map: class name to colour, in the order of their indices.
        path: the mask's file, for findings and errors.

    Returns:
        uint8 labels `(H, W)` and the findings.

    Raises:
        DataError: if more than 1 in 1000 pixels have a colour that is neither of the map nor a
            blend of two of its colours.
    """
    palette = np.array(list(rgb_map.values()), dtype=np.float64)
    codes, inverse, counts = _colours_in(pixels, path)
    colours = np.stack([codes >> 16 & 255, codes >> 8 & 255, codes & 255], axis=1)
    distance = np.linalg.norm(colours[:, None] - palette[None], axis=2)
    nearest = distance.argmin(axis=1).astype(np.uint8)
    exact = distance.min(axis=1) == 0
    if exact.all():
        return nearest[inverse], []
    if (colours == colours[:, :1]).all() and colours.max() < len(palette):
        indices, findings = _from_indices(colours[:, 0], path)
        return indices[inverse], findings
    findings = _check_blends(colours, counts, palette, nearest, exact, path)
    return nearest[inverse], findings


def _from_indices(values: NDArray[np.int64], path: Path | None) -> tuple[Labels, list[Finding]]:
    """Use grey values below the number of classes as class indices."""
    listed = ", ".join(str(value) for value in sorted(set(values.tolist())))
    detail = f"values {listed} read as class indices"
    return values.astype(np.uint8), [Finding("mask_indices", "repaired", detail, path)]


def _check_blends(
    colours: NDArray[np.int64],
    counts: NDArray[np.int64],
    palette: NDArray[np.float64],
    nearest: NDArray[np.uint8],
    exact: NDArray[np.bool_],
    path: Path | None,
) -> list[Finding]:
    """Check that colours that are not in the map are blends of its colours, and report them.

    Args:
        colours: the colours present `(N, 3)`.
        counts: number of pixels of each `(N,)`.
        palette: the map's colours `(C, 3)`.
        nearest: for each colour, the nearest class `(N,)`.
        exact: for each colour, whether it is one of the map's `(N,)`.
        path: the mask's file.
    """
    total, blended = int(counts.sum()), int(counts[~exact].sum())
    foreign = _distance_to_blends(colours.astype(np.float64), palette) > MAX_BLEND_DISTANCE
    foreign_count = int(counts[foreign].sum())
    if foreign_count > total / 1000:
        worst = colours[foreign][counts[foreign].argmax()]
        raise DataError(
            path,
            f"{foreign_count / total:.1%} of the mask's pixels have a colour that is not in "
            f"data.rgb_map, most often ({worst[0]}, {worst[1]}, {worst[2]}). Set data.rgb_map to "
            "the mask's colours.",
        )
    if blended > total / 1000 and not nearest.any():
        # All colours are dark greys. These are more likely labels of another kind than an empty
        # mask.
        listed = ", ".join(f"({r}, {g}, {b})" for r, g, b in colours[~exact][:5])
        raise DataError(
            path,
            f"expected colours of data.rgb_map; every pixel of the mask is nearest to the "
            f"background, but {blended / total:.1%} have other colours: {listed}.",
        )
    detail = (
        f"{len(colours)} different values; {blended} of {total} pixels ({blended / total:.2%}) "
        "have a colour that is not in data.rgb_map and became the nearest class"
    )
    return [Finding("mask_grey", "repaired", detail, path)]


def _colours_in(
    pixels: Pixels, path: Path | None
) -> tuple[NDArray[np.int64], NDArray[np.intp], NDArray[np.int64]]:
    """Return the colours present (0xRRGGBB), each pixel's index into them, and their counts."""
    if pixels.dtype == np.uint16 and pixels.max() > 255:
        pixels = np.rint(pixels / 257.0)
    elif pixels.dtype in (np.int32, np.float32) and (pixels.min() < 0 or pixels.max() > 255):
        raise DataError(
            path,
            f"a mask holds colours or class indices, but this one has values from "
            f"{pixels.min():g} to {pixels.max():g}.",
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


def _distance_to_blends(
    colours: NDArray[np.float64], palette: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return each colour's distance to the nearest segment between two palette colours."""
    best = np.full(len(colours), np.inf)
    for first in range(len(palette)):
        for second in range(first + 1, len(palette)):
            start, along = palette[first], palette[second] - palette[first]
            along_segment = np.clip((colours - start) @ along / (along @ along), 0, 1)
            gap = np.linalg.norm(colours - (start + along_segment[:, None] * along), axis=1)
            best = np.minimum(best, gap)
    return best


def encode_mask(labels: Labels, rgb_map: Mapping[str, Colour]) -> NDArray[np.uint8]:
    """Turn class indices `(H, W)` into the map's colours: grey `(H, W)` if all are grey, or RGB."""
    palette = np.array(list(rgb_map.values()), dtype=np.uint8)
    if (palette == palette[:, :1]).all():
        return palette[:, 0][labels]
    return palette[labels]


def resize_labels(labels: Labels, size: tuple[int, int]) -> Labels:
    """Resize class indices to `size` (height, width) by nearest neighbour; no new values appear."""
    height, width = size
    if labels.shape == (height, width):
        return labels
    # INTER_NEAREST would shift by up to half a pixel; INTER_NEAREST_EXACT samples pixel centres.
    resized = cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    return np.asarray(resized, dtype=np.uint8)


def fit_labels(labels: Labels, framing: Framing) -> Labels:
    """Bring class indices `(H, W)` to the size of a network, as `fit_image` does the image."""
    return framing.place(resize_labels(labels, framing.content))


def merge_labels(
    labels: NDArray[np.integer[Any]], classes: int, path: Path
) -> tuple[NDArray[np.integer[Any]], list[Finding]]:
    """Fit labels to the number of classes, background included.

    With a single foreground class (`classes` 2), all labels above the background are foreground:
    a mask of left and right lung is a mask of lung. That is reported if a label is above 1.

    Raises:
        DataError: if a label is above the classes and there are several foreground classes.
    """
    highest = labels.max(initial=0)
    if highest >= classes > 2:
        raise DataError(path, f"holds label {highest}, but data.rgb_map has {classes} classes.")
    if highest < classes:
        return labels, []
    detail = f"labels up to {highest} taken together as foreground"
    return (labels > 0).astype(np.uint8), [Finding("labels_merged", "repaired", detail, path)]


def read_mask(path: Path, rgb_map: Mapping[str, Colour]) -> tuple[Labels, list[Finding]]:
    """Read a plain image as a mask of its own size; see `decode_mask`."""
    return decode_mask(read_pixels(path), rgb_map, path)


def read_labels(path: Path, data: DataConfig) -> Labels:
    """Read a mask of square pixels as class indices of the configured size."""
    labels, _ = read_mask(path, data.rgb_map)
    return fit_labels(labels, frame_slice((labels.shape[0], labels.shape[1]), data))
