"""A mask that stays from an earlier call is drawn as it is, or its row says why not."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from lungseg.config.loading import with_overrides
from lungseg.config.schema import Config
from lungseg.imaging.folders import Input
from lungseg.imaging.pixels import write_png
from lungseg.inference.gallery import STAGE
from lungseg.inference.gallery_page import begin_gallery, finish_gallery, gallery_files
from lungseg.inference.predictor import Predictor
from lungseg.inference.redraw import redraw
from lungseg.inference.rows import CaseRow
from lungseg.inference.sides import LEFT, RIGHT
from lungseg.reporting.gallery import read_pictures
from tests.support.chests import GAS, TISSUE
from tests.support.networks import write_classes, write_network
from tests.support.volumes import image_of

SPACING = (5.0, 5.0, 20.0)


@pytest.fixture
def predictor(tmp_path: Path) -> Predictor:
    return Predictor(write_network(tmp_path / "run", (20, 30)) / "model.onnx")


def image_case(folder: Path, size: tuple[int, int] = (20, 30)) -> tuple[CaseRow, Input]:
    """Write an image of 20 x 30 pixels and a mask of some size; return their row and input."""
    write_png(folder / "in.png", np.full((20, 30), 200, np.uint8))
    mask = np.zeros(size, np.uint8)
    mask[3:9, 4:14] = 255
    write_png(folder / "a.png", mask)
    return CaseRow("a", "in.png", "done", "a.png"), Input(folder / "in.png", "a", False)


def lines(path: Path) -> dict[int, Any]:
    """Return the outlines of each slice of the first view, by its number from 1."""
    shown = json.loads(path.read_text())["views"][0]["slices"]
    return {entry.get("n", 1): entry["lines"] for entry in shown}


def test_an_input_that_was_not_given_is_said(predictor: Predictor, tmp_path: Path) -> None:
    row, _ = image_case(tmp_path)
    case = redraw(row, None, predictor, tmp_path, Config())
    assert case.pictures is None
    assert case.detail == "there are no pictures: its input was not given this time"
    remarked = dataclasses.replace(row, detail="no lung was found")
    case = redraw(remarked, None, predictor, tmp_path, Config())
    assert case.detail == (
        "no lung was found; there are no pictures: its input was not given this time"
    )


@pytest.mark.parametrize("size", [(21, 30), (20, 29), (30, 20)])
def test_a_mask_of_another_size_than_its_image_is_not_drawn(
    size: tuple[int, int], predictor: Predictor, tmp_path: Path
) -> None:
    row, item = image_case(tmp_path, size)
    case = redraw(row, item, predictor, tmp_path, Config())
    assert case.pictures is None
    assert f"{tmp_path / 'a.png'}: has not the size of its image." in case.detail


@pytest.mark.parametrize("flags", ["", "cut_off"])
def test_a_mask_of_an_image_is_drawn(flags: str, predictor: Predictor, tmp_path: Path) -> None:
    row, item = image_case(tmp_path)
    row = dataclasses.replace(row, flags=flags)
    case = redraw(row, item, predictor, tmp_path, Config())
    assert case.detail == ""
    assert case.pictures is not None
    assert case.pictures.parent == tmp_path / STAGE
    (drawn,) = lines(case.pictures).values()
    assert set(drawn) == {"lung"}
    assert drawn["lung"].startswith("M4 3")


def volume_case(folder: Path, more: int = 0) -> tuple[CaseRow, Input, np.ndarray]:
    """Write a CT of two lungs in six slices, of which four hold them, and the mask.

    Args:
        folder: where to.
        more: added to the labels of the mask, which are 1 in the left and 2 in the right lung.

    Returns:
        The row, the input, and the sides of the lungs.
    """
    sides = np.zeros((6, 60, 76), np.uint8)
    sides[1:5, 14:34, 14:32], sides[1:5, 14:34, 44:62] = RIGHT, LEFT
    hu = np.full(sides.shape, GAS, np.int16)
    hu[:, 6:50, 6:70] = TISSUE
    hu[sides > 0] = -800
    sitk.WriteImage(image_of(hu, SPACING), str(folder / "in.mha"))
    sitk.WriteImage(image_of(np.minimum(sides, 1 + more), SPACING), str(folder / "a.mha"))
    row = CaseRow("a", "in.mha", "done", "a.mha")
    return row, Input(folder / "in.mha", "a", True), sides


@pytest.mark.parametrize("with_sides", [False, True])
def test_the_sides_of_a_mask_are_found_again(
    with_sides: bool, predictor: Predictor, tmp_path: Path
) -> None:
    row, item, phantom = volume_case(tmp_path, more=int(with_sides))
    config = with_overrides(Config(), {"infer.sides": with_sides})
    case = redraw(row, item, predictor, tmp_path, config)
    assert case.pictures is not None
    drawn = lines(case.pictures)
    assert len(drawn) == 4
    assert all(set(each) == {"left", "right"} for each in drawn.values())
    for number, each in drawn.items():
        for side, name in ((LEFT, "left"), (RIGHT, "right")):
            row_of_first = np.flatnonzero(phantom[number - 1] == side)[0]
            x, y = row_of_first % 76, row_of_first // 76
            assert each[name].startswith(f"M{x} {y}")


def test_classes_that_are_no_lung_have_lines_of_their_own(tmp_path: Path) -> None:
    run = write_classes(tmp_path / "run", (60, 76), {"soft": 189, "lung": 25, "airways": 0})
    row, item, sides = volume_case(tmp_path)
    labels = (sides > 0).astype(np.uint8)
    labels[3, 20:26, 36:40] = 2
    sitk.WriteImage(image_of(labels, SPACING), str(tmp_path / "a.mha"))
    case = redraw(row, item, Predictor(run / "model.onnx"), tmp_path, Config())
    assert case.pictures is not None
    assert [k for k, each in lines(case.pictures).items() if "other" in each] == [4]


def test_a_mask_of_another_geometry_is_not_drawn(predictor: Predictor, tmp_path: Path) -> None:
    row, item, sides = volume_case(tmp_path)
    sitk.WriteImage(image_of(sides, SPACING, (5.0, 0.0, 0.0)), str(tmp_path / "a.mha"))
    case = redraw(row, item, predictor, tmp_path, Config())
    assert case.pictures is None
    assert "has not the geometry of its CT: " in case.detail


class Written:
    """Stands for the record of what this program wrote."""

    def __init__(self, folder: Path, is_own: bool) -> None:
        """Take the folder of the output, and whether its page is the program's own."""
        self.folder, self.written, self.is_own = folder, self, is_own

    def owns(self, name: str) -> bool:
        return self.is_own and name == "gallery.html"


def test_only_cases_without_pictures_are_drawn_for_the_page(
    predictor: Predictor, tmp_path: Path
) -> None:
    row, item = image_case(tmp_path)
    failed = CaseRow("b", "b.png", "failed", None, detail="is damaged")
    finish_gallery([failed, row], [item], predictor, tmp_path, Config())
    page = tmp_path / "gallery.html"
    ((key, _),) = read_pictures(page)
    assert f'data-case="{key}"' in page.read_text()
    assert "is damaged" in page.read_text()
    assert "there are no pictures" not in page.read_text()
    assert not (tmp_path / STAGE).exists()
    # The next call takes the pictures from the page, and needs no input for them.
    begin_gallery(Written(tmp_path, True), Config(), resume=True)  # type: ignore[arg-type]
    assert [path.name for path in (tmp_path / STAGE).iterdir()] == [f"{key}.json"]
    finish_gallery([failed, row], [], predictor, tmp_path, Config())
    assert [name for name, _ in read_pictures(page)] == [key]
    begin_gallery(Written(tmp_path, True), Config(), resume=True)  # type: ignore[arg-type]
    begin_gallery(Written(tmp_path, True), Config(), resume=False)  # type: ignore[arg-type]
    assert not (tmp_path / STAGE).exists()


@pytest.mark.parametrize(
    ("is_own", "resume", "stays"), [(True, True, False), (False, True, True), (True, False, True)]
)
def test_without_a_gallery_an_old_page_of_the_program_goes(
    is_own: bool, resume: bool, stays: bool, tmp_path: Path
) -> None:
    without = with_overrides(Config(), {"infer.gallery": "none"})
    assert (gallery_files(without), gallery_files(Config())) == ([], ["gallery.html"])
    writing: Any = Written(tmp_path, is_own)
    begin_gallery(writing, without, resume=resume)  # no page, no error
    (tmp_path / "gallery.html").write_text("old")
    begin_gallery(writing, without, resume=resume)
    assert (tmp_path / "gallery.html").exists() == stays
