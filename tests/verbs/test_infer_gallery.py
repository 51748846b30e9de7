"""`infer` writes gallery.html beside the masks; nothing of anyone else is lost by it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - its documented name
from typer.testing import Result

from lungseg.config.schema import Config
from lungseg.inference import cases as cases_module
from lungseg.inference.gallery import STAGE
from lungseg.reporting.gallery import read_pictures
from lungseg.reporting.overlays import Picture
from lungseg.system.tables import read_csv
from lungseg.verbs import infer as infer_module
from lungseg.verbs.infer import infer
from tests.support.networks import write_classes, write_network
from tests.support.phantoms import write_phantoms
from tests.support.volumes import image_of, phantom_volume

Cli = Callable[..., Result]
SIDE = 64


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    """Return a folder of two phantom scans and an image."""
    folder = tmp_path / "in"
    folder.mkdir()
    for seed in range(2):
        scan, _ = phantom_volume(16, SIDE, seed)
        sitk.WriteImage(scan, str(folder / f"scan{seed}.mha"))
    write_phantoms(tmp_path / "raw", patients=1, slices=1, side=SIDE)
    shutil.copy(next((tmp_path / "raw" / "images").iterdir()), folder / "image.png")
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_network(tmp_path / "run", (SIDE, SIDE))


@pytest.fixture
def segment(run: Path, inputs: Path, tmp_path: Path, lungseg: Cli) -> Cli:
    """Return a function that segments the inputs into `out`."""

    def call(*more: object) -> Result:
        return lungseg("infer", "--run", run, inputs, "-o", tmp_path / "out", *more)

    return call


def shown(out: Path) -> dict[str, Any]:
    """Return the pictures on the page by the name of their case."""
    html = (out / "gallery.html").read_text()
    pictures = {key: json.loads(text) for key, text in read_pictures(out / "gallery.html")}
    return {
        name: pictures[key]
        for key, name in (
            (key, html.split(f'data-case="{key}"')[1].split('data-title="')[1].split('"')[0])
            for key in pictures
        )
    }


def slices(out: Path, case: str, view: int = 0) -> list[Any]:
    return list(shown(out)[case]["views"][view]["slices"])


def test_the_page_shows_what_the_table_and_the_masks_say(segment: Cli, tmp_path: Path) -> None:
    result = segment()
    assert result.exit_code == 0, result.stderr
    out = tmp_path / "out"
    assert "3 masks, gallery.html and cases.csv" in result.stderr.replace("\n", "")
    assert not (out / STAGE).exists()
    rows = {row["case"]: row for row in read_csv(out / "cases.csv")}
    pictures = shown(out)
    assert set(pictures) == {"scan0", "scan1", "image"} == set(rows)
    assert (pictures["scan0"]["hu"], pictures["image"]["hu"]) == (True, False)
    for case in ("scan0", "scan1"):
        assert rows[case]["flags"]  # this network is never certain
        mask = sitk.GetArrayFromImage(sitk.ReadImage(str(out / f"{case}.mha")))
        axial = slices(out, case)
        assert len(axial) == 16
        for entry in axial:
            assert bool(entry["lines"]) == bool(mask[entry["n"] - 1].any()), entry["n"]
    html = (out / "gallery.html").read_text()
    for column in ("lung_volume_ml", "left_volume_ml", "right_volume_ml", "quality_certainty"):
        value = rows["scan1"].get(column) or rows["scan1"].get(column.removeprefix("quality_"))
        assert f'data-value="{float(value or "nan")}' in html, column


def test_none_writes_no_page_and_takes_an_outdated_one_away(segment: Cli, tmp_path: Path) -> None:
    page = tmp_path / "out" / "gallery.html"
    assert segment("-s", "infer.gallery=none").exit_code == 0
    assert not page.exists()
    assert segment("--resume").exit_code == 0
    assert page.exists()
    assert segment("--resume", "-s", "infer.gallery=none").exit_code == 0
    assert not page.exists()


def test_a_page_of_someone_else_is_not_written_over(segment: Cli, tmp_path: Path) -> None:
    page = tmp_path / "out" / "gallery.html"
    assert segment("-s", "infer.gallery=none").exit_code == 0
    page.write_text("mine")
    result = segment("--resume")
    assert (result.exit_code, "gallery.html" in result.stderr) == (2, True)
    assert segment("--resume", "-s", "infer.gallery=none").exit_code == 0
    assert page.read_text() == "mine"
    page.unlink()
    assert segment("--resume").exit_code == 0
    page.write_text(page.read_text() + "<!-- a note of mine -->")
    assert segment("--resume").exit_code == 2
    assert segment("--overwrite").exit_code == 2


def test_a_resumed_page_keeps_the_pictures_it_has(
    segment: Cli, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert segment().exit_code == 0
    before = shown(tmp_path / "out")
    scan, _ = phantom_volume(8, SIDE, 5)
    sitk.WriteImage(scan, str(inputs / "new.mha"))

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("it was drawn again")

    monkeypatch.setattr("lungseg.inference.redraw.redraw", refuse)
    assert segment("--resume").exit_code == 0
    after = shown(tmp_path / "out")
    assert set(after) == {*before, "new"}
    assert {name: after[name] for name in before} == before
    assert "drawn" not in segment("--resume").stderr


def test_a_page_that_an_interruption_left_unwritten_is_written_by_the_next_call(
    segment: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict = cases_module.predict_volume
    calls = []

    def interrupted(*given: Any) -> Any:
        calls.append(given)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return predict(*given)

    monkeypatch.setattr(infer_module, "predict_volume", interrupted)
    assert segment().exit_code == 130
    assert not (tmp_path / "out" / "gallery.html").exists()
    assert len(list((tmp_path / "out" / STAGE).iterdir())) == 2
    result = segment("--resume")
    assert (result.exit_code, "is drawn for" in result.stderr) == (0, False)
    assert set(shown(tmp_path / "out")) == {"scan0", "scan1", "image"}
    assert not (tmp_path / "out" / STAGE).exists()


@pytest.mark.parametrize(("sides", "label"), [("false", 1), ("true", 1), ("true", 2)])
def test_a_mask_corrected_by_hand_is_shown_as_it_is_now(
    sides: str, label: int, segment: Cli, tmp_path: Path
) -> None:
    with_sides = ("-s", f"infer.sides={sides}")
    assert segment(*with_sides).exit_code == 0
    out = tmp_path / "out"
    mask = sitk.ReadImage(str(out / "scan0.mha"))
    labels = sitk.GetArrayFromImage(mask)
    assert labels.any()
    labels[:] = 0
    labels[8, 10:20, 12:30] = label
    changed = sitk.GetImageFromArray(labels)
    changed.CopyInformation(mask)
    sitk.WriteImage(changed, str(out / "scan0.mha"))
    untouched = slices(out, "scan1")
    result = segment("--resume", *with_sides)
    assert (result.exit_code, "scan0: its mask" in result.stderr) == (0, True)
    with_lines = {entry["n"]: entry["lines"] for entry in slices(out, "scan0") if entry["lines"]}
    assert list(with_lines) == [9]
    (path,) = with_lines[9].values()
    assert path.startswith("M12 10l")
    assert slices(out, "scan1") == untouched


def test_an_image_whose_mask_was_corrected_is_shown_as_it_is_now(
    segment: Cli, tmp_path: Path
) -> None:
    import cv2

    assert segment().exit_code == 0
    mask: Picture = np.zeros((SIDE, SIDE), np.uint8)
    mask[20:30, 7:40] = 255
    cv2.imwrite(str(tmp_path / "out" / "image.png"), mask)
    assert segment("--resume").exit_code == 0
    (entry,) = slices(tmp_path / "out", "image")
    assert entry["lines"]["lung"].startswith("M7 20l")


def test_a_mask_that_cannot_be_shown_says_why(segment: Cli, tmp_path: Path) -> None:
    assert segment().exit_code == 0
    out = tmp_path / "out"
    other = sitk.Image(9, 9, 9, sitk.sitkUInt8)
    sitk.WriteImage(other, str(out / "scan0.mha"))
    assert segment("--resume").exit_code == 0
    assert set(shown(out)) == {"scan1", "image"}
    assert "there are no pictures: " in (out / "gallery.html").read_text()
    assert "has not the geometry of its CT" in (out / "gallery.html").read_text()


def test_full_shows_every_slice_also_of_masks_that_stay(lungseg: Cli, tmp_path: Path) -> None:
    run = write_classes(tmp_path / "run", (48, 48), {"background": 190, "lung": 20})
    hu = np.full((40, 48, 48), 60, np.int16)
    for columns in (slice(6, 20), slice(28, 42)):
        hu[8:32, 12:36, columns] = -900
    (tmp_path / "in").mkdir()
    sitk.WriteImage(image_of(hu, (8.0, 8.0, 6.0)), str(tmp_path / "in" / "scan.mha"))
    out = tmp_path / "out"
    arguments = ("infer", "--run", run, tmp_path / "in", "-o", out)
    assert lungseg(*arguments).exit_code == 0
    assert read_csv(out / "cases.csv")[0]["flags"] == ""
    few = [entry["n"] for entry in slices(out, "scan")]
    assert len(few) == 12
    assert 9 <= min(few) <= max(few) <= 32
    assert len(slices(out, "scan", 1)) == 6
    assert lungseg(*arguments, "--resume", "-s", "infer.gallery=full").exit_code == 0
    assert [entry["n"] for entry in slices(out, "scan")] == list(range(40, 0, -1))
    again = tmp_path / "again"
    assert lungseg(*arguments[:-1], again, "-s", "infer.gallery=full").exit_code == 0
    # What is drawn from the mask's file is what is drawn while the mask is made.
    assert shown(again) == shown(out)


def test_a_mask_file_alone_has_no_page(
    run: Path, inputs: Path, tmp_path: Path, tiny_config: Config
) -> None:
    infer(tiny_config, inputs / "scan0.mha", tmp_path / "alone" / "lungs.mha", run=run)
    names = {path.name for path in (tmp_path / "alone").iterdir()}
    assert {name for name in names if not name.startswith(".lungseg.lungs.mha")} == {"lungs.mha"}


def test_a_stage_that_leads_elsewhere_is_not_followed(segment: Cli, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "mine").write_text("mine")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / STAGE).symlink_to(elsewhere)
    assert segment().exit_code == 0
    assert [path.name for path in elsewhere.iterdir()] == ["mine"]
