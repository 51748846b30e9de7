"""The pictures of a case are the right way round, and as many as they should be."""

import base64
import dataclasses
import hashlib
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lungseg.config.schema import InferConfig
from lungseg.errors import DataError
from lungseg.inference.gallery import (
    STAGE,
    _extent,
    _regions,
    draw_image,
    draw_volume,
    gallery_case,
    in_full,
    keep_pictures,
    pictures_file,
    remove_stage,
)
from lungseg.inference.rows import CaseRow, LungMeasures, Measures, Quality
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


def test_the_slices_with_lung_are_counted_from_1() -> None:
    held = np.array([False, False, True, False, True, False])
    assert _extent(held) == (3, 5)
    assert _extent(held & False) == (1, 6)
    assert _extent(np.array([True])) == (1, 1)


def test_each_voxel_of_a_mask_belongs_to_one_line() -> None:
    lung = np.array([1, 1, 1, 0, 0])
    sides = np.array([1, 2, 0, 1, 0])
    labels = np.array([1, 1, 1, 2, 0])
    expected = {"left": [0], "right": [1], "lung": [2], "other": [3]}
    found = _regions(lung, sides, labels)
    assert {name: np.flatnonzero(held).tolist() for name, held in found.items()} == expected


def test_pictures_are_of_one_mask_and_one_way_of_drawing(tmp_path: Path) -> None:
    (tmp_path / "a.mha").write_bytes(b"one")
    (tmp_path / "b.mha").write_bytes(b"one")
    names = {
        pictures_file(tmp_path, case, mask, full).name
        for case in "ab"
        for mask in ("a.mha", "b.mha")
        for full in (True, False)
    }
    assert len(names) == 4  # the same content is the same mask
    before = pictures_file(tmp_path, "a", "a.mha", True)
    (tmp_path / "a.mha").write_bytes(b"two")
    after = pictures_file(tmp_path, "a", "a.mha", True)
    assert after != before
    text = f"a\n{hashlib.sha256(b'two').hexdigest()}\nTrue"
    assert after.name == f"p-{hashlib.sha256(text.encode()).hexdigest()[:32]}.json"


def test_a_row_of_the_page_has_what_its_case_has(tmp_path: Path) -> None:
    both, left, right = (LungMeasures(ml) for ml in (3000.0, 1400.0, 1600.0))
    measures = Measures(both, left, right, slices_with_lung=3, touches_border=False)
    row = CaseRow(
        "a", "in/a.mha", "done", "a.mha", lung_fraction=0.25, flags="cut_off volume",
        detail="said", measures=measures, quality=Quality(certainty=0.98),
    )  # fmt: skip
    volume = gallery_case(row, tmp_path, InferConfig())
    assert (volume.volume_ml, volume.left_ml, volume.right_ml) == (3000.0, 1400.0, 1600.0)
    assert (volume.share, volume.certainty, volume.pictures) == (None, 0.98, None)
    assert (volume.name, volume.input, volume.detail) == ("a", "in/a.mha", "said")
    assert (volume.flags, volume.is_volume, volume.failed) == (["cut_off", "volume"], True, False)
    plain = dataclasses.replace(row, measures=None, quality=None, flags="")
    image = gallery_case(plain, tmp_path, InferConfig())
    assert (image.volume_ml, image.left_ml, image.right_ml) == (None, None, None)
    assert (image.share, image.certainty, image.is_volume, image.flags) == (0.25, None, False, [])


@pytest.mark.parametrize(("flags", "full"), [("cut_off", True), ("", False)])
def test_a_row_of_the_page_has_the_pictures_of_its_mask(
    flags: str, full: bool, tmp_path: Path
) -> None:
    (tmp_path / "a.png").write_bytes(b"mask")
    row = CaseRow("a", "a.png", "done", "a.png", flags=flags)
    pictures = draw_image(
        np.zeros((9, 9), np.uint8), np.zeros((9, 9), np.uint8), ["b", "lung"], None, full=full
    )
    keep_pictures(tmp_path, "a", "a.png", pictures, full=not full)
    assert gallery_case(row, tmp_path, InferConfig()).pictures is None
    keep_pictures(tmp_path, "a", "a.png", pictures, full=full)
    found = gallery_case(row, tmp_path, InferConfig()).pictures
    assert found == pictures_file(tmp_path, "a", "a.png", full)
    failed = dataclasses.replace(row, status="failed")
    assert gallery_case(failed, tmp_path, InferConfig()).pictures is None


def test_pictures_that_cannot_be_kept_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"mask")
    (tmp_path / STAGE).write_text("a file of someone else")
    pictures = draw_image(
        np.zeros((9, 9), np.uint8), np.zeros((9, 9), np.uint8), ["b", "lung"], None, full=True
    )
    with pytest.raises(DataError, match="cannot be made: File exists"):
        keep_pictures(tmp_path, "a", "a.png", pictures, full=True)


def test_only_the_stage_itself_is_removed(tmp_path: Path) -> None:
    remove_stage(tmp_path)  # there is none
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "mine").touch()
    (tmp_path / STAGE).symlink_to(tmp_path / "elsewhere")
    remove_stage(tmp_path)
    assert (tmp_path / "elsewhere" / "mine").exists()
    assert not (tmp_path / STAGE).is_symlink()
    (tmp_path / STAGE).mkdir()
    (tmp_path / STAGE / "p-1.json").touch()
    remove_stage(tmp_path)
    assert not (tmp_path / STAGE).exists()


@pytest.mark.parametrize(("full", "side"), [(True, 512), (False, 320)])
def test_a_large_image_is_drawn_as_large_as_its_case_needs(full: bool, side: int) -> None:
    image = np.zeros((300, 900), np.uint8)
    (view,) = views(draw_image(image, image, ["b", "lung"], None, full=full)).values()
    assert pixels(view["slices"][0]).shape == (round(side / 3), side)


@pytest.mark.parametrize(("full", "side"), [(True, 320), (False, 256)])
def test_a_slice_of_a_volume_is_drawn_as_large_as_its_case_needs(full: bool, side: int) -> None:
    hu = np.zeros((2, 400, 800), np.int16)
    nothing = np.zeros(hu.shape, np.uint8)
    shown = views(draw_volume(hu, nothing, nothing, nothing, (5.0, 1.0, 1.0), full=full))
    assert pixels(shown["axial"]["slices"][0]).shape == (side // 2, side)
