"""The pictures of a case are the right way round, and as many as they should be."""

import base64
import io
import json
import re
from typing import Any

import numpy as np
from PIL import Image

from lungseg.config.schema import InferConfig
from lungseg.inference.gallery import draw_image, draw_volume, in_full
from lungseg.reporting.pictures import CasePictures

SPACING = (5.0, 2.0, 2.0)


def chest() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return HU, lungs and sides `(20, 40, 60)`, from feet, front and right on.

    The right lung is in columns 5 to 24, the left in 35 to 54. A bone lies in front, near the head
    and on the right.
    """
    hu = np.full((20, 40, 60), 40, np.int16)
    sides = np.zeros(hu.shape, np.uint8)
    sides[4:17, 8:30, 5:25] = 2
    sides[4:17, 8:30, 35:55] = 1
    hu[sides > 0] = -800
    hu[17:20, 0:4, 0:10] = 1200
    return hu, (sides > 0).astype(np.uint8), sides


def views(pictures: CasePictures) -> dict[str, Any]:
    return {view["name"]: view for view in json.loads(pictures.to_json())["views"]}


def pixels(entry: dict[str, Any]) -> np.ndarray:
    content = io.BytesIO(base64.b64decode(entry["image"]))
    return np.asarray(Image.open(content).convert("L")).astype(int)


def left_edge(path: str) -> tuple[int, int]:
    x, y = map(int, re.findall(r"-?\d+", path)[:2])
    return x, y


def test_every_slice_is_drawn_from_head_to_feet_and_from_front_to_back() -> None:
    hu, lung, sides = chest()
    shown = views(draw_volume(hu, lung, sides, lung, SPACING, full=True))
    assert [entry["n"] for entry in shown["axial"]["slices"]] == list(range(20, 0, -1))
    assert [entry["n"] for entry in shown["coronal"]["slices"]] == list(range(1, 41))
    assert (shown["axial"]["count"], shown["coronal"]["count"]) == (20, 40)
    # 120 mm wide; 80 mm deep, 100 mm high.
    assert (shown["axial"]["aspect"], shown["coronal"]["aspect"]) == (1.5, 1.2)
    top = pixels(shown["axial"]["slices"][0])
    assert top[:3, :8].min() > 230 > top[20:, 20:].max()  # the bone: in front, on the right
    front = pixels(shown["coronal"]["slices"][0])
    assert front.shape == (50, 60)
    assert front[:5, :8].min() > 230 > front[10:, 20:].max()  # near the head


def test_the_outlines_lie_on_the_lungs_of_their_sides() -> None:
    hu, lung, sides = chest()
    shown = views(draw_volume(hu, lung, sides, lung, SPACING, full=True))
    axial = shown["axial"]["slices"][10]["lines"]
    assert set(axial) == {"left", "right"}
    assert left_edge(axial["left"]) == (35, 8)
    assert left_edge(axial["right"]) == (5, 8)
    # Rows of a coronal slice count from the head: lung ends 3 slices below the top.
    coronal = shown["coronal"]["slices"][15]["lines"]
    assert left_edge(coronal["right"]) == (5, 3)
    assert shown["axial"]["slices"][0]["lines"] == {}


def test_lung_of_unknown_side_and_other_classes_have_lines_of_their_own() -> None:
    hu, lung, sides = chest()
    labels = lung.copy()
    labels[10, 35:38, 28:32] = 2
    shown = views(draw_volume(hu, lung, np.zeros_like(sides), labels, SPACING, full=True))
    lines = shown["axial"]["slices"][9]["lines"]
    assert set(lines) == {"lung", "other"}
    assert left_edge(lines["other"]) == (28, 35)


def test_a_case_without_flags_has_a_few_slices_with_lung() -> None:
    hu, lung, sides = chest()
    shown = views(draw_volume(hu, lung, sides, lung, SPACING, full=False))
    axial = [entry["n"] for entry in shown["axial"]["slices"]]
    assert len(axial) == 12
    assert axial == sorted(axial, reverse=True)
    assert 5 <= min(axial) <= max(axial) <= 17
    assert all(entry["lines"] for view in shown.values() for entry in view["slices"])
    assert len(shown["coronal"]["slices"]) == 6
    nothing = np.zeros_like(lung)
    empty = views(draw_volume(hu, nothing, nothing, nothing, SPACING, full=False))
    assert empty["axial"]["slices"][0]["n"] == 20


def test_a_long_volume_shows_at_most_400_slices() -> None:
    hu = np.zeros((900, 8, 8), np.int16)
    nothing = np.zeros(hu.shape, np.uint8)
    shown = views(draw_volume(hu, nothing, nothing, nothing, (1, 1, 1), full=True))
    assert len(shown["axial"]["slices"]) == 400


def test_an_image_is_shown_as_it_is() -> None:
    image = np.zeros((60, 90, 3), np.uint8)
    image[..., 0] = 200
    labels = np.zeros((60, 90), np.uint8)
    labels[10:20, 30:50], labels[30:40, 60:70] = 1, 2
    pictures = draw_image(image, labels, ["background", "lung", "airways"], (2.0, 1.0), full=False)
    assert not pictures.in_hu
    (view,) = views(pictures).values()
    assert view["aspect"] == 0.75
    lines = view["slices"][0]["lines"]
    assert (left_edge(lines["lung"]), left_edge(lines["other"])) == ((30, 10), (60, 30))
    content = base64.b64decode(view["slices"][0]["image"])
    red, green, _ = Image.open(io.BytesIO(content)).convert("RGB").getpixel((5, 5))
    assert red > 190 > 30 > green
    one = draw_image(image, labels, ["background", "anything", "else"], None, full=False)
    assert set(views(one)["image"]["slices"][0]["lines"]) == {"lung"}


def test_flagged_cases_are_drawn_in_full_unless_the_flag_is_of_the_whole_call() -> None:
    small, full = InferConfig(), InferConfig(gallery="full")
    assert small.gallery == "small"
    assert in_full(small, ["cut_off"])
    assert not in_full(small, [])
    assert not in_full(small, ["all_empty"])
    assert in_full(full, [])
