"""Pictures of slices: outlined masks, contact sheets, animations."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lungseg.imaging.pixels import apply_window
from lungseg.system.files import partial_path, put_in_place, write_bytes

Picture = NDArray[np.uint8]

# RGB colours of the outlines, in pictures and in the report's key.
TRUTH = (70, 200, 90)
PREDICTION = (255, 80, 60)
# A small slice is enlarged to about this many pixels per side for a report.
SHOWN_SIDE = 384


def outline(
    image: Picture, labels: NDArray[np.uint8], colour: tuple[int, int, int] = PREDICTION
) -> Picture:
    """Draw the contour of each class but the background on a slice.

    Args:
        image: slice `(H, W)` or `(H, W, 3)`.
        labels: class indices `(H, W)`.
        colour: RGB.

    Returns:
        RGB `(H, W, 3)`.
    """
    picture = cv2.cvtColor(image, cv2.COLOR_GRAY2RGB) if image.ndim == 2 else image.copy()
    width = max(1, round(min(image.shape[:2]) / 300))
    for label in np.unique(labels):
        if label:
            mask = (labels == label).astype(np.uint8)
            contours, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(picture, contours, -1, colour, width)
    return np.asarray(picture)


def two_outlines(
    image: Picture | None, truth: NDArray[np.integer[Any]], prediction: NDArray[np.integer[Any]]
) -> Picture:
    """Outline truth (green) and prediction (red) on a slice, or on black if there is no slice.

    A small slice is enlarged, so that the lines are thin compared with the lungs.

    Args:
        image: slice `(H, W)` or `(H, W, 3)`.
        truth: class indices `(H, W)`.
        prediction: class indices `(H, W)`.

    Returns:
        RGB.
    """
    ground = np.zeros(truth.shape, dtype=np.uint8) if image is None else image
    times = max(1, round(SHOWN_SIDE / max(truth.shape)))
    size = (ground.shape[1] * times, ground.shape[0] * times)

    def enlarge(pixels: NDArray[Any]) -> Any:
        return cv2.resize(pixels.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)

    drawn = outline(enlarge(ground), enlarge(truth), TRUTH)
    return outline(drawn, enlarge(prediction), PREDICTION)


def contact_sheet(
    pictures: Sequence[Picture], captions: Sequence[str], columns: int = 3, side: int = 256
) -> Picture:
    """Arrange pictures in rows, with a caption above each.

    Args:
        pictures: grey or RGB.
        captions: one text per picture.
        columns: largest number of pictures per row. Fewer are used if they need no more rows.
        side: width and height in pixels that each picture is fitted into.

    Returns:
        RGB.
    """
    band = 22
    cells = []
    for picture, caption in zip(pictures, captions, strict=True):
        rgb = cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB) if picture.ndim == 2 else picture
        scale = side / max(rgb.shape[:2])
        size = (max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale)))
        cell = np.full((side + band, side, 3), 24, dtype=np.uint8)
        small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
        cell[band : band + size[1], : size[0]] = small
        cv2.putText(
            cell, _ascii(caption), (4, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (230, 230, 230), 1,
            cv2.LINE_AA,
        )  # fmt: skip
        cells.append(cell)
    columns = math.ceil(len(cells) / math.ceil(len(cells) / columns))
    while len(cells) % columns:
        cells.append(np.full_like(cells[0], 24))
    rows = [np.hstack(cells[i : i + columns]) for i in range(0, len(cells), columns)]
    return np.asarray(np.vstack(rows))


def volume_frame(
    hu: NDArray[Any], labels: NDArray[Any], k: int, window: tuple[float, float]
) -> Picture:
    """Draw slice `k` of a CT with its labels outlined.

    Args:
        hu: the CT `(D, H, W)`.
        labels: of the same shape.
        k: index of the slice.
        window: HU that are black and white.
    """
    return outline(apply_window(hu[k], window), np.asarray(labels[k]))


def volume_sheet(
    hu: NDArray[Any],
    labels: NDArray[Any],
    window: tuple[float, float],
    count: int = 12,
    columns: int = 4,
) -> Picture:
    """Draw `count` evenly spaced slices of a CT, from head to feet, with the labels outlined."""
    positions = np.unique(np.linspace(len(hu) - 1, 0, min(count, len(hu))).round())[::-1]
    chosen = [int(k) for k in positions]
    pictures = [volume_frame(hu, labels, k, window) for k in chosen]
    captions = [f"slice {k + 1} of {len(hu)}" for k in chosen]
    return contact_sheet(pictures, captions, columns)


def write_gif(path: Path, frames: Iterable[Picture], side: int = 320, seconds: float = 0.1) -> None:
    """Write pictures as a GIF animation.

    Args:
        path: the file to write.
        frames: grey or RGB pictures.
        side: the longer side in pixels that frames are shrunk to.
        seconds: how long each frame is shown.
    """

    def small(frame: Picture) -> Any:
        image = Image.fromarray(frame)
        image.thumbnail((side, side))
        return image.quantize(64)

    first, *others = (small(frame) for frame in frames)
    buffer = io.BytesIO()
    first.save(
        buffer,
        format="GIF",
        save_all=True,
        append_images=others,
        duration=round(seconds * 1000),
        loop=0,
    )
    write_bytes(path, buffer.getvalue())


def write_mp4(path: Path, frames: Iterable[Picture], fps: float) -> bool:
    """Write pictures of one size as an MP4 film (MPEG-4 part 2), frame by frame.

    Args:
        path: the file to write, which appears whole or not at all.
        frames: RGB pictures `(H, W, 3)`. An odd side gets one more row or column, black, because
            the format has even sides only.
        fps: pictures per second.

    Returns:
        Whether it was written: not every OpenCV has an encoder.
    """
    partial = partial_path(path)
    film = None
    try:
        for frame in frames:
            height, width = frame.shape[:2]
            even = cv2.copyMakeBorder(frame, 0, height % 2, 0, width % 2, cv2.BORDER_CONSTANT)
            if film is None:
                code = cv2.VideoWriter.fourcc(*"mp4v")
                film = cv2.VideoWriter(str(partial), code, fps, even.shape[1::-1])
                if not film.isOpened():
                    return False
            film.write(cv2.cvtColor(even, cv2.COLOR_RGB2BGR))
        if film is None:
            return False
        film.release()
        put_in_place(partial, path)
        return True
    finally:
        if film is not None:
            film.release()
        partial.unlink(missing_ok=True)


def _ascii(text: str) -> str:
    """Return a caption that OpenCV can draw: ASCII, and the end of a name that is too long.

    The names of one patient's slices differ at their end.
    """
    plain = text.encode("ascii", "replace").decode()
    return plain if len(plain) <= 34 else "..." + plain[-31:]
