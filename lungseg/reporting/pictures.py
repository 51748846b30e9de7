"""Pictures of a case for a page with a viewer: slices as WebP, outlines as lines of their own.

A slice of a CT is stored once, for all windows: its grey values stand for HU on a scale that is
finer where the windows are narrow, and the browser turns them into the grey values of a window.
docs/explanation.md says why.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, WebPImagePlugin

# HU that are black and white in each window of the viewer.
WINDOWS = {"lung": (-1350, 150), "soft tissue": (-160, 240), "bone": (-500, 1300)}
# The scale: HU, and the grey values that stand for them. Between two entries it is linear.
SCALE_HU = (-1350, -1050, -160, 240, 1300)
SCALE_GREY = (0, 4, 92, 200, 255)
QUALITY = 60  # of WebP, 0 to 100
METHOD = 2  # of WebP: 0 is fast, 6 is small
# A line may lie so far from the edge of the mask, in pixels of the slice.
LINE_TOLERANCE = 0.6

# Masks by the names of `pages.LINES`: of bool, or class indices, each class with a line of its own.
Outlines = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class View:
    """The slices of a case in one direction.

    Attributes:
        name: `axial`, `coronal`, or `image` for a plain image.
        shape: height and width of a slice in pixels.
        spacing: height and width of a pixel in mm, or of any unit if only their ratio is known.
        count: number of slices of the case in this direction.
        slices: those that are shown, each as `encode_slice` returns it.
    """

    name: str
    shape: tuple[int, int]
    spacing: tuple[float, float]
    count: int
    slices: list[str] = field(repr=False)

    @property
    def head(self) -> dict[str, Any]:
        """What the viewer needs to know beside the slices."""
        height, width = self.shape
        tall, wide = self.spacing
        return {
            "name": self.name,
            "width": width,
            "height": height,
            "aspect": round(width * wide / (height * tall), 5),
            "count": self.count,
        }


@dataclass(frozen=True)
class CasePictures:
    """The pictures of a case.

    Attributes:
        views: the directions in which it can be seen.
        in_hu: whether the slices are in HU, on the scale of `WINDOWS`. Other pictures are shown as
            they are.
    """

    views: list[View]
    in_hu: bool

    def to_json(self) -> str:
        """Return JSON that may stand in an HTML page, on one line."""
        # The slices are texts of JSON already, and too long to be read and written again.
        views = []
        for view in self.views:
            head = json.dumps(view.head)
            views.append(f'{head[:-1]}, "slices": [{",".join(view.slices)}]}}')
        return f'{{"hu": {json.dumps(self.in_hu)}, "views": [{",".join(views)}]}}'

    @classmethod
    def from_json(cls, text: str) -> CasePictures:
        """Read what `to_json` wrote."""
        content = json.loads(text)
        views = []
        for view in content["views"]:
            spacing = (1.0, view["aspect"] * view["height"] / view["width"])
            slices = [_dumps(each) for each in view["slices"]]
            shape = (view["height"], view["width"])
            views.append(View(view["name"], shape, spacing, view["count"], slices))
        return cls(views, content["hu"])

    def thinned(self, most_bytes: int) -> CasePictures | None:
        """Leave slices out, evenly, so that the JSON has at most this size; None if none fit."""
        sizes = [[len(text) + 1 for text in view.slices] for view in self.views]
        for step in range(1, max(map(len, sizes)) + 1):
            # From the middle of each gap, so that one slice that is left is not the first.
            kept = slice((step - 1) // 2, None, step)
            if sum(sum(each[kept]) for each in sizes) > most_bytes:
                continue
            views = [replace(view, slices=view.slices[kept]) for view in self.views]
            thinner = CasePictures([view for view in views if view.slices], self.in_hu)
            if thinner.views and len(thinner.to_json()) <= most_bytes:
                return thinner
        return None


def to_scale(hu: NDArray[Any]) -> NDArray[np.uint8]:
    """Turn HU into grey values of the scale."""
    low, high = SCALE_HU[0], SCALE_HU[-1]
    index = np.rint(np.clip(hu, low, high)).astype(np.int32) - low
    return np.asarray(_GREY_OF_HU[index])


_GREY_OF_HU = np.rint(
    np.interp(np.arange(SCALE_HU[0], SCALE_HU[-1] + 1), SCALE_HU, SCALE_GREY)
).astype(np.uint8)


def window_tables() -> dict[str, list[float]]:
    """Return for each window what the 256 grey values of the scale look like, 0 black to 1 white.

    They are the `tableValues` of an SVG filter.
    """
    hu = np.interp(np.arange(256), SCALE_GREY, SCALE_HU)
    return {
        name: [round(float(v), 4) for v in np.clip((hu - low) / (high - low), 0, 1)]
        for name, (low, high) in WINDOWS.items()
    }


def encode_slice(
    number: int,
    pixels: NDArray[Any],
    outlines: Outlines,
    size: tuple[int, int],
    *,
    in_hu: bool,
) -> str:
    """Return a slice as JSON: its number, its picture, and its outlines as paths of SVG.

    Args:
        number: number of the slice, from 1.
        pixels: HU `(H, W)`, or grey or RGB of uint8.
        outlines: masks `(H, W)` by name. Those without a pixel are left out.
        size: height and width of the picture.
        in_hu: whether the pixels are HU.
    """
    small = pixels if pixels.dtype == np.uint8 else pixels.astype(np.float32)
    if small.shape[:2] != size:
        shrinks = small.shape[0] >= size[0] and small.shape[1] >= size[1]
        way = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        small = cv2.resize(small, size[::-1], interpolation=way)
    grey = to_scale(small) if in_hu else small
    content = io.BytesIO()
    # Asked for "WEBP" by name, Pillow would import all of its formats.
    Image.fromarray(grey).save(
        content, WebPImagePlugin.WebPImageFile.format, quality=QUALITY, method=METHOD
    )
    lines = {name: path for name, mask in outlines.items() if (path := outline_path(mask))}
    image = base64.b64encode(content.getvalue()).decode()
    return _dumps({"n": number, "image": image, "lines": lines})


def outline_path(mask: NDArray[Any]) -> str:
    """Return the outline of a mask as a path of SVG, in pixels; empty for an empty mask.

    Whole numbers are the middles of pixels, and the path runs through those at the edge. Each class
    of a mask of class indices has its own outline.
    """
    # Without `np.unique`, which imports `numpy.ma`: for one slice that takes longer than this.
    held = np.flatnonzero(np.bincount(mask.ravel()))
    return "".join(_path_of(mask == label) for label in held if label)


def _path_of(mask: NDArray[np.bool_]) -> str:
    contours, _ = cv2.findContours(
        np.ascontiguousarray(mask, dtype=np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE
    )
    parts = []
    for contour in contours:
        points = cv2.approxPolyDP(contour, LINE_TOLERANCE, True)[:, 0]
        steps = np.diff(points, axis=0, prepend=0)
        first, *rest = (f"{x} {y}" for x, y in steps.tolist())
        # A part of one pixel gets a short line, because a point would not be drawn.
        parts.append(f"M{first}l{' '.join(rest)}z" if rest else f"M{first}h.5")
    return "".join(parts)


def picture_size(
    shape: tuple[int, int], spacing: tuple[float, float], side: int
) -> tuple[int, int]:
    """Return height and width of a picture with square pixels, at most `side` pixels long.

    It has no smaller pixels than the slice.
    """
    tall, wide = shape[0] * spacing[0], shape[1] * spacing[1]
    scale = min(side / max(tall, wide), 1 / min(spacing))
    return max(1, round(tall * scale)), max(1, round(wide * scale))


def draw_view(
    name: str,
    numbers: Sequence[int],
    count: int,
    spacing: tuple[float, float],
    side: int,
    get: Callable[[int], tuple[NDArray[Any], Outlines]],
    *,
    in_hu: bool,
) -> View:
    """Draw slices of one direction.

    Args:
        name: of the direction.
        numbers: the slices to draw, from 1, in the order in which they are shown.
        count: number of slices that there are.
        spacing: height and width of a pixel.
        side: longer side of a picture in pixels.
        get: returns pixels and outlines of the slice of an index, which counts from 0.
        in_hu: whether the pixels are HU.
    """
    slices, shape = [], (1, 1)
    for number in numbers:
        pixels, outlines = get(number - 1)
        shape = (pixels.shape[0], pixels.shape[1])
        size = picture_size(shape, spacing, side)
        slices.append(encode_slice(number, pixels, outlines, size, in_hu=in_hu))
    return View(name, shape, spacing, count, slices)


def draw_one(
    image: NDArray[np.uint8], outlines: Outlines, spacing: tuple[float, float], side: int
) -> CasePictures:
    """Draw a plain image, grey or RGB, as the only slice of its case."""
    view = draw_view("image", [1], 1, spacing, side, lambda _: (image, outlines), in_hu=False)
    return CasePictures([view], in_hu=False)


def draw_directions(
    voxels: NDArray[Any],
    outlines: Callable[[Any], Outlines],
    spacing: Sequence[float],
    numbers: tuple[Sequence[int], Sequence[int]],
    side: int,
    *,
    in_hu: bool = True,
) -> CasePictures:
    """Draw a volume, axial from head to feet and coronal from front to back.

    Args:
        voxels: `(D, H, W)` with axes to the head, back and left.
        outlines: returns the outlines of the plane that it is given as an index of a volume.
        spacing: voxel size in mm, ordered (z, y, x).
        numbers: the axial slices to draw, from 1, the first that of the feet; and the coronal ones.
        side: longer side of a picture in pixels.
        in_hu: whether the voxels are HU.
    """
    z, y, x = spacing
    turned = slice(None, None, -1)  # the head is at the top of a coronal slice
    axial = draw_view(
        "axial", sorted(numbers[0], reverse=True), len(voxels), (y, x), side,
        lambda index: (voxels[index], outlines(index)), in_hu=in_hu,
    )  # fmt: skip
    coronal = draw_view(
        "coronal", numbers[1], voxels.shape[1], (z, x), side,
        lambda index: (voxels[turned, index], outlines((turned, index))), in_hu=in_hu,
    )  # fmt: skip
    return CasePictures([axial, coronal], in_hu)


def spread(first: int, last: int, most: int) -> list[int]:
    """Return at most `most` whole numbers from `first` to `last`, evenly spaced.

    If that is fewer than all, they are the middles of as many equal parts.
    """
    count = last - first + 1
    if count <= most:
        return list(range(first, last + 1))
    return [first + int((index + 0.5) * count / most) for index in range(most)]


def _dumps(content: object) -> str:
    # An end tag within a text would end the script that holds it.
    return json.dumps(content, separators=(",", ":")).replace("<", "\\u003c")
