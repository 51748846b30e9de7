"""Plain images and slices: read, resized, brought into the form of a network, written.

A slice is a uint8 array `(H, W)`, or `(H, W, 3)` for RGB. A label image is a uint8 array `(H, W)`
of class indices. Whatever is assumed or repaired on the way is returned as findings.
"""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from lungseg.config.schema import DataConfig
from lungseg.errors import DataError, UsageError
from lungseg.imaging.findings import Finding
from lungseg.imaging.framing import Framing, frame_slice
from lungseg.imaging.hounsfield import (
    AS_HU,
    PLUS_1024,
    Reading,
    converted,
    find_reading,
    no_reading,
)
from lungseg.system.files import require_regular, write_bytes

Pixels = NDArray[Any]
Labels = NDArray[np.uint8]
MAX_PIXELS = 2**26  # 8192 x 8192: far above any slice, far below the memory of a machine
MAX_FILE_BYTES = 300 << 20  # MAX_PIXELS of 4 bytes
_FILTERS = threading.Lock()


def as_array(values: object, name: str) -> Pixels:
    """Return the values that a Python program gave, as an array.

    Args:
        values: an array, or numbers in nested lists.
        name: name of the argument, for the error.

    Raises:
        UsageError: if the lists have different lengths, or if values of the array are masked.
    """
    if np.ma.is_masked(values):
        raise UsageError(
            f"{name}: a masked array has values without a meaning. Fill them first, for example "
            "by array.filled(-1000)."
        )
    try:
        return np.asarray(values)
    except ValueError:
        raise UsageError(f"{name}: expected rows of one length.") from None


def read_pixels(path: Path) -> Pixels:
    """Decode one image file.

    Args:
        path: PNG, JPG, TIF or BMP; grey, RGB, RGBA, CMYK or palette; 1, 8, 16 or 32 bit.

    Returns:
        `(H, W)` or `(H, W, 3)` of uint8, uint16, int32 (signed integers) or float32. Transparent
        pixels are laid over black, and a rotation given in EXIF is applied.

    Raises:
        DataError: if the file cannot be decoded, is too large, or holds several frames or values
            that are not finite.
    """
    content = _read_bytes(path)
    try:
        with _open(content) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise DataError(
                    path,
                    f"{width} x {height} pixels are more than a slice can have ({MAX_PIXELS:,}).",
                )
            frames = getattr(image, "n_frames", 1)
            if frames > 1:
                raise DataError(path, f"holds {frames} frames; save each slice as a separate file.")
            pixels = _to_array(ImageOps.exif_transpose(image))
    except UnidentifiedImageError:
        raise DataError(path, "this is not a PNG, JPG, TIF or BMP image.") from None
    except DataError:
        raise
    except (OSError, ValueError, SyntaxError, EOFError, MemoryError, TypeError) as problem:
        raise DataError(path, f"the image is damaged: {problem}.") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise DataError(path, "has more pixels than a slice can have.") from None
    if pixels.dtype == np.float32 and not np.isfinite(pixels).all():
        count = int((~np.isfinite(pixels)).sum())
        raise DataError(path, f"{count} pixels are NaN or infinite.")
    return pixels


def _read_bytes(path: Path) -> bytes:
    size = require_regular(path)
    if size > MAX_FILE_BYTES:
        raise DataError(path, f"{size:,} bytes are more than a slice can have.")
    try:
        content = path.read_bytes()
    except OSError as problem:
        raise DataError(path, f"cannot be read: {problem.strerror or problem}.") from None
    if not content:
        raise DataError(path, "the file is empty (0 bytes).")
    return content


def _open(content: bytes) -> Image.Image:
    """Open an image without Pillow's warning about its size, which `read_pixels` checks itself."""
    # Filters of warnings belong to the whole process, and images are read in threads.
    with _FILTERS, warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        return Image.open(io.BytesIO(content))


def _to_array(image: Image.Image) -> Pixels:
    if image.mode in ("1", "L"):
        return np.asarray(image.convert("L"))
    if image.mode.startswith("I;16"):
        return np.asarray(image).astype(np.uint16)
    if image.mode == "I":
        return np.asarray(image, dtype=np.int32)
    if image.mode == "F":
        return np.asarray(image, dtype=np.float32)
    if _has_alpha(image):
        rgba = image.convert("RGBA")
        black = Image.new("RGBA", rgba.size, (0, 0, 0, 255))
        return np.asarray(Image.alpha_composite(black, rgba).convert("RGB"))
    return np.asarray(image.convert("RGB"))


def _has_alpha(image: Image.Image) -> bool:
    return image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info


def unseen_values(path: Path) -> str:
    """Say where an image that `read_pixels` reads as black has values; empty if it has none."""
    with _open(_read_bytes(path)) as image:
        if not _has_alpha(image):
            return ""
        *colours, (low, high) = image.convert("RGBA").getextrema()
    if low < high:
        return (
            f"its alpha channel holds values from {low} to {high}: if this is the mask, save it as "
            "a grey image"
        )
    if high == 0 and any(least < most for least, most in colours):
        return "all pixels are transparent, which counts as black: save the mask without alpha"
    return ""


def apply_window(hu: Pixels, window: tuple[float, float]) -> NDArray[np.uint8]:
    """Map HU to grey: `window[0]` and below is 0, `window[1]` and above 255, linear between."""
    low, high = window
    with np.errstate(over="ignore"):  # beyond float32 is infinite, thus black or white
        scaled = np.asarray(hu, dtype=np.float32) - np.float32(low)
        scaled *= np.float32(255.0 / (high - low))
    return np.asarray(np.clip(np.rint(scaled, out=scaled), 0, 255, out=scaled), dtype=np.uint8)


def to_batch(slices: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """Stack slices of one size to the input of a network: float32 `(B, H, W, C)`."""
    batch = np.stack(slices).astype(np.float32)
    return batch[..., None] if batch.ndim == 3 else batch


def labels_of(probabilities: NDArray[np.float32]) -> Labels:
    """Return the most probable class of each pixel, of probabilities `(..., C)`."""
    if probabilities.shape[-1] == 2:  # as argmax, which takes ten times as long
        return np.asarray(probabilities[..., 1] > probabilities[..., 0], dtype=np.uint8)
    return np.asarray(probabilities.argmax(axis=-1), dtype=np.uint8)


def with_channels(grey: NDArray[np.uint8], channels: int) -> NDArray[np.uint8]:
    """Return a grey slice `(H, W)` unchanged for 1 channel, or as `(H, W, 3)` for 3."""
    return np.repeat(grey[..., None], 3, axis=2) if channels == 3 else grey


def to_slice(
    pixels: Pixels, data: DataConfig, path: Path | None = None
) -> tuple[NDArray[np.uint8], list[Finding]]:
    """Turn decoded pixels into the grey values a network sees, at the file's own size.

    Args:
        pixels: as `read_pixels` returns them.
        data: gives the channels, the window, and the meaning of 16-bit unsigned values.
        path: the image's file, for the findings.

    Returns:
        A slice, `(H, W)` or `(H, W, 3)` by `data.channels`, and what was assumed.
    """
    grey, findings = _to_grey(pixels, data, path)
    if data.channels == 1 and grey.ndim == 3:
        if not is_grey(grey):
            detail = "a colour image was converted to grey"
            findings.append(Finding("colour_image", "warning", detail, path))
            grey = np.asarray(cv2.cvtColor(grey, cv2.COLOR_RGB2GRAY), np.uint8)
        else:
            grey = grey[..., 0]
    elif grey.ndim == 2:
        grey = with_channels(grey, data.channels)
    return np.ascontiguousarray(grey), findings


def _to_grey(
    pixels: Pixels, data: DataConfig, path: Path | None
) -> tuple[NDArray[np.uint8], list[Finding]]:
    """Map pixels of any type to 0..255, and return what was assumed."""
    if pixels.dtype == np.uint8:
        return pixels, []
    lowest, highest = float(pixels.min()), float(pixels.max())
    if pixels.dtype == np.uint16 and data.unsigned_16bit == "full_range":
        reading = find_reading(pixels, None)
        if reading is not None:
            return _window(pixels, reading, data), [converted(reading, path)]
        grey: NDArray[np.uint8] = np.rint(pixels / 257.0).astype(np.uint8)
        if highest >= 4096:
            return grey, []
        detail = (
            f"the highest value is {highest:g} of 65535. If the values are HU + 1024, "
            "set data.unsigned_16bit: hu_plus_1024"
        )
        return grey, [Finding("narrow_16bit", "warning", detail, path)]
    if pixels.dtype == np.float32 and lowest >= 0 and highest <= 1:
        detail = "float values in 0..1 read as black to white"
        grey = np.rint(pixels * 255).astype(np.uint8)
        return grey, [Finding("unit_range", "repaired", detail, path)]
    given = PLUS_1024 if pixels.dtype == np.uint16 else AS_HU
    reading = find_reading(pixels, given)
    if reading is None:
        raise no_reading(path)
    if reading is not given:
        return _window(pixels, reading, data), [converted(reading, path)]
    if lowest < 0 or given is PLUS_1024:
        return _window(pixels, given, data), []
    detail = (
        f"signed or float values should be HU with air near -1000, but the lowest is {lowest:g}"
    )
    return _window(pixels, given, data), [Finding("not_hu", "warning", detail, path)]


def _window(pixels: Pixels, reading: Reading, data: DataConfig) -> NDArray[np.uint8]:
    return apply_window(pixels if reading is AS_HU else reading.to_hu(pixels), data.window)


def is_grey(pixels: Pixels) -> bool:
    """Whether the three channels are the same."""
    first = pixels[..., 0]
    return bool(np.array_equal(first, pixels[..., 1]) and np.array_equal(first, pixels[..., 2]))


def resize_image(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """Resize to `size` (height, width): by area along a side that shrinks, otherwise linearly."""
    # One side at a time: OpenCV averages over areas only if both sides shrink.
    shrunk = min(size[0], pixels.shape[0]), min(size[1], pixels.shape[1])
    for wanted, method in ((shrunk, cv2.INTER_AREA), (size, cv2.INTER_LINEAR)):
        if pixels.shape[:2] != wanted:
            pixels = np.asarray(cv2.resize(pixels, wanted[::-1], interpolation=method))
    return pixels


def fit_image(pixels: NDArray[np.uint8], framing: Framing) -> NDArray[np.uint8]:
    """Bring a slice `(H, W)` or `(H, W, 3)` to the size of a network."""
    return framing.place(resize_image(pixels, framing.content))


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """Encode grey or RGB pixels as PNG."""
    if pixels.ndim == 3:
        pixels = pixels[..., ::-1]
    done, buffer = cv2.imencode(".png", pixels)
    if not done:
        raise DataError(None, f"an array of shape {pixels.shape} cannot be written as PNG")
    return bytes(buffer)


def write_png(path: Path, pixels: NDArray[np.uint8]) -> None:
    """Write grey or RGB pixels as PNG, whole or not at all."""
    write_bytes(path, encode_png(pixels))


def read_slice(path: Path, data: DataConfig) -> NDArray[np.uint8]:
    """Read an image of square pixels as a slice of the configured size and channels."""
    pixels, _ = to_slice(read_pixels(path), data)
    return fit_image(pixels, frame_slice((pixels.shape[0], pixels.shape[1]), data))
