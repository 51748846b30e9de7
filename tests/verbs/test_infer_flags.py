"""Flags are in the tables, on the console and in the result, and do not change the exit code."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from typer.testing import Result

from lungseg.config.schema import Config
from lungseg.system.tables import read_csv, read_json
from lungseg.verbs.infer import infer
from tests.support.networks import write_network
from tests.support.volumes import image_of

Cli = Callable[..., Result]
SIDE = 48


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_network(tmp_path / "run", (SIDE, SIDE))


def write_scan(path: Path, *, lungs: bool) -> Path:
    """Write a body with a bubble of 2.6 mL, with or without lungs."""
    path.parent.mkdir(exist_ok=True)
    hu = np.full((12, SIDE, SIDE), 60, np.int16)
    hu[6, 40, 20:22] = -900
    if lungs:
        hu[2:10, 12:36, 6:20] = hu[2:10, 12:36, 28:42] = -900
    sitk.WriteImage(image_of(hu, (8.0, 8.0, 20.0)), str(path))
    return path


def test_a_call_without_any_lung_ends_well_and_names_its_cases(
    run: Path, tmp_path: Path, lungseg: Cli
) -> None:
    for name in ("a", "b"):
        write_scan(tmp_path / "in" / f"{name}.mha", lungs=False)
    result = lungseg("infer", "--run", run, tmp_path / "in", "-o", tmp_path / "out")
    assert result.exit_code == 0
    said = " ".join(result.stderr.split())
    assert "2 of 2 cases are flagged" in said
    named = "(no_lung, much_dropped, low_certainty, all_empty)"
    assert f"a {named}; b {named}" in said
    assert "Flags: no_lung 2, much_dropped 2, low_certainty 2, all_empty 2" in said
    for rows in (read_csv(tmp_path / "out" / "cases.csv"), read_json(tmp_path / "out/cases.json")):
        flags = "no_lung much_dropped low_certainty all_empty"
        assert [row["flags"] for row in rows] == [flags] * 2
        assert all("no lung was found" in row["detail"] for row in rows)


def test_a_case_with_lung_that_is_added_takes_all_empty_away(run: Path, tmp_path: Path) -> None:
    write_scan(tmp_path / "in" / "a.mha", lungs=False)
    first = infer(Config(), [tmp_path / "in"], tmp_path / "out", run=run)
    assert ["all_empty" in case.flags.split() for case in first.flagged] == [True]
    write_scan(tmp_path / "in" / "b.mha", lungs=True)
    second = infer(Config(), [tmp_path / "in"], tmp_path / "out", run=run, resume=True)
    flags = {case.case: case.flags.split() for case in second.cases}
    assert "no_lung" in flags["a"]
    assert "no_lung" not in flags["b"]
    assert "all_empty" not in flags["a"] + flags["b"]
    assert "all_empty" not in read_csv(tmp_path / "out" / "cases.csv")[0]["flags"]


def test_the_flags_of_a_scan_are_in_its_row_and_its_detail(run: Path, tmp_path: Path) -> None:
    # Black and white are -1000 and 400 HU, so this network gives 60 HU a probability of 0.24.
    scan = write_scan(tmp_path / "scan.mha", lungs=True)
    [case] = infer(Config(), [scan], tmp_path / "out", run=run).cases
    assert "low_certainty" in case.flags.split()
    assert case.quality is not None
    certainty = case.quality.certainty
    assert certainty is not None
    assert certainty < 0.95
    assert f"the network's certainty is {certainty:.2f} only" in case.detail


@pytest.mark.parametrize(("grey", "flags"), [(0, ""), (100, "low_certainty"), (255, "all_empty")])
def test_an_image_can_be_uncertain_and_all_images_empty(
    grey: int, flags: str, run: Path, tmp_path: Path
) -> None:
    image = np.full((SIDE, SIDE), 255, np.uint8)
    image[10:30, 10:30] = grey
    cv2.imwrite(str(tmp_path / "a.png"), image)
    [case] = infer(Config(), [tmp_path / "a.png"], tmp_path / "out", run=run).cases
    assert case.flags == flags
