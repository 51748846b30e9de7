"""Masks: colours of the `rgb_map` <-> class indices.

A label image is a uint8 array `(H, W)` of class indices, 0 the background.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lungseg.config.classes import ClassColours, several
from lungseg.config.schema import DataConfig
from lungseg.errors import DataError
from lungseg.imaging.findings import Finding
from lungseg.imaging.framing import Framing, frame_slice
from lungseg.imaging.labels import MOST_LABELS, classes_of
from lungseg.imaging.palette import Palette
from lungseg.imaging.pixels import Labels, Pixels, is_grey, read_pixels

# A colour farther than this (RGB distance, at most 441) from every blend of two map colours is an
# error.
MAX_BLEND_DISTANCE = 40.0
# Masks of 512 x 512 that were resized with interpolation have up to 1.4% of such edges.
MOST_EDGES, EDGES_OF_SIDE = 0.03, 256
# Of the pixels of a 16-bit mask, this share may be so dark that they become 0 with 8 bits.
MOST_ROUNDED = 0.01
# A JPEG turns a colour into its neighbours, at most this far from it over a whole area.
JPEG_DISTANCE = 8.0
# A colour that fills areas has this share of its pixels among pixels of the same colour. On the
# edges of interpolated masks it is 0, on the lungs of a label image above 0.8.
FLAT = 0.1


def decode_mask(
    pixels: Pixels,
    rgb_map: Mapping[str, ClassColours],
    path: Path | None = None,
    labels: Mapping[str, Sequence[int]] | None = None,
    *,
    own: bool = False,
) -> tuple[Labels, list[Finding]]:
    """Turn a mask's colours into class indices.

    Each colour of `rgb_map` becomes the index of its class. A blend of two of them, as resizing
    produces it, becomes the nearer class and is reported. A grey mask may also hold class indices
    (0, 1, ...) or labels instead of colours, which is reported.

    Args:
        pixels: as `read_pixels` returns them.
        rgb_map: class name to colour, or to several, in the order of their indices.
        path: the mask's file, for findings and errors.
        labels: `data.labels`, which says what the values of a grey mask are.
        own: whether the mask may be one that this program wrote. If it has only colours of
            `rgb_map`, these count, and not `labels`.

    Returns:
        uint8 labels `(H, W)` and the findings.

    Raises:
        DataError: if more than 1 in 1000 pixels have a colour that is neither of the map nor a
            blend of two of its colours, if more pixels are blends than the edges of a resized mask
            have, or if it cannot be said which labels belong to which class.
    """
    codes, inverse, counts = _colours_in(pixels, path)
    colours = np.stack([codes >> 16 & 255, codes >> 8 & 255, codes & 255], axis=1)
    palette = Palette.of(rgb_map)
    nearest, distance = palette.nearest(colours)
    exact = distance == 0
    grey = bool((colours == colours[:, :1]).all())
    wanted = labels if labels and grey and not (own and exact.all()) else {}
    if exact.all() and not wanted:
        return nearest[inverse], []
    if grey and not wanted and colours.max() < len(rgb_map):
        indices, findings = _from_indices(colours[:, 0], path)
        return indices[inverse], findings
    palette, findings = _with_labels(
        palette, colours, counts, _fill_areas(inverse, counts), list(rgb_map), wanted, path
    )
    findings += _check_blends(colours, counts, palette, path)
    return palette.nearest(colours)[0][inverse], findings


def _from_indices(values: NDArray[np.int64], path: Path | None) -> tuple[Labels, list[Finding]]:
    """Use grey values below the number of classes as class indices."""
    listed = ", ".join(str(value) for value in sorted(set(values.tolist())))
    detail = f"values {listed} read as class indices"
    return values.astype(np.uint8), [Finding("mask_indices", "repaired", detail, path)]


def _fill_areas(inverse: NDArray[np.intp], counts: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return for each colour whether it fills areas, as a label does; an edge does not."""
    ids, around = inverse.astype(np.float32), np.ones((3, 3), np.uint8)
    flat = cv2.erode(ids, around) == cv2.dilate(ids, around)
    inner = np.bincount(inverse[flat], minlength=len(counts))
    return np.asarray(inner >= FLAT * counts)


def _with_labels(
    palette: Palette,
    colours: NDArray[np.int64],
    counts: NDArray[np.int64],
    flat: NDArray[np.bool_],
    classes: Sequence[str],
    wanted: Mapping[str, Sequence[int]],
    path: Path | None,
) -> tuple[Palette, list[Finding]]:
    """Return the palette with the labels of a grey mask, and what these are.

    Args:
        palette: the colours of the map.
        colours: the colours present `(N, 3)`.
        counts: number of pixels of each `(N,)`.
        flat: whether each fills areas `(N,)`.
        classes: names of the classes, background first.
        wanted: `data.labels`.
        path: the mask's file.
    """
    nearest, distance = palette.nearest(colours)
    values = colours[:, 0]
    if wanted:
        named = np.isin(values, [label for codes in wanted.values() for label in codes])
        found = (values > 0) & (named | flat)
        palette = Palette(np.zeros((1, 3)), np.zeros(1, np.uint8))
    else:
        noise = (distance <= JPEG_DISTANCE) & (len(values) > MOST_LABELS)
        # Without anything bright, dark greys are labels 1, 2, ... and no noise of a JPEG.
        codes = flat & (distance > 0) & ~(noise | (nearest > 0) & (distance <= JPEG_DISTANCE))
        # A colour apart from every blend is not like an edge, and an error of its own.
        codes &= palette.distance_to_blends(colours) <= MAX_BLEND_DISTANCE
        if not codes.any():
            return palette, []
        _check_codes(colours, codes, nearest, counts, path)
        found = codes | (distance == 0) & (nearest > 0)
    if not found.any():
        return palette, []
    sizes = {int(values[i]): f"{counts[i]} pixels" for i in np.flatnonzero(found)}
    assigned, finding = classes_of(sizes, classes, wanted, path, "grey value")
    known = values[distance == 0] if not wanted else [0]
    return palette.with_greys({v: c for v, c in assigned.items() if v not in known}), [finding]


def _check_codes(
    colours: NDArray[np.int64],
    codes: NDArray[np.bool_],
    nearest: Labels,
    counts: NDArray[np.int64],
    path: Path | None,
) -> None:
    """Raise `DataError` if colours that fill areas and are not in the map cannot be labels."""
    first = colours[codes][counts[codes].argmax()].tolist()
    if not (colours == colours[:, :1]).all():
        raise DataError(
            path,
            f"areas of the mask have the colour {tuple(first)}, which is not in data.rgb_map. Add "
            "it there; a class may have several colours.",
        )
    values = colours[:, 0]
    dark = codes & (nearest == 0) & (values <= MOST_LABELS)
    if (dark.any() and values.max() > MOST_LABELS) or (
        np.count_nonzero(codes) == 1 and not nearest.any()
    ):
        listed = ", ".join(str(value) for value in values[codes | (nearest > 0)])
        raise DataError(
            path,
            f"expected colours of data.rgb_map; areas of the mask have the grey {first[0]}, which "
            "is nearest to the background. If greys are labels, name those of each class as "
            f"data.labels; the mask holds {listed}.",
        )
    if not (~codes & (nearest == 0)).any():
        raise DataError(
            path, f"no pixel of the mask is background; areas have the grey {first[0]}."
        )


def _check_blends(
    colours: NDArray[np.int64],
    counts: NDArray[np.int64],
    palette: Palette,
    path: Path | None,
) -> list[Finding]:
    """Check that colours that are not in the palette are edges between them, and report them.

    Args:
        colours: the colours present `(N, 3)`.
        counts: number of pixels of each `(N,)`.
        palette: the colours of the map, and the labels of a grey mask.
        path: the mask's file.
    """
    nearest, distance = palette.nearest(colours)
    exact = distance == 0
    total, blended = int(counts.sum()), int(counts[~exact].sum())
    foreign = palette.distance_to_blends(colours) > MAX_BLEND_DISTANCE
    foreign_count = int(counts[foreign].sum())
    if foreign_count > total / 1000:
        worst = colours[foreign][counts[foreign].argmax()]
        raise DataError(
            path,
            f"{foreign_count / total:.1%} of the mask's pixels have a colour that is not in "
            f"data.rgb_map, most often ({worst[0]}, {worst[1]}, {worst[2]}). Set data.rgb_map to "
            "the mask's colours; a class may have several.",
        )
    # The smaller a mask, the larger the share of its edges.
    limit = MOST_EDGES * max(1.0, EDGES_OF_SIDE / total**0.5)
    between = int(counts[distance > MAX_BLEND_DISTANCE].sum()) / total
    if between > limit:
        raise DataError(
            path,
            f"{between:.1%} of the mask's pixels lie between the colours of data.rgb_map, but the "
            f"edges of a resized mask are at most {limit:.0%}. This is an image and no mask, or a "
            "mask with colours that are not in data.rgb_map.",
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
    if not blended:
        return []
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
        scaled = np.rint(pixels / 257.0)
        present = pixels[pixels > 0]
        if np.count_nonzero(scaled) < (1 - MOST_ROUNDED) * present.size:
            raise DataError(
                path,
                f"16 bits hold colours from 0 to 65535 or labels from 0 to 255, but this mask has "
                f"values of {present.min()} and of {present.max()}.",
            )
        pixels = scaled
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


def encode_mask(labels: Labels, rgb_map: Mapping[str, ClassColours]) -> NDArray[np.uint8]:
    """Turn class indices `(H, W)` into the map's colours: grey `(H, W)` if all are grey, or RGB.

    Of a class with several colours, the first is written.
    """
    palette = np.array([several(colours)[0] for colours in rgb_map.values()], dtype=np.uint8)
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


def read_labels(path: Path, data: DataConfig) -> Labels:
    """Read a mask of square pixels, of a data set, as class indices of the configured size."""
    labels, _ = decode_mask(read_pixels(path), data.rgb_map, path, data.labels, own=True)
    return fit_labels(labels, frame_slice((labels.shape[0], labels.shape[1]), data))
