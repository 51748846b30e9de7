"""`-v` says what `prepare`, `split`, `evaluate` and `infer` find, case by case."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - its documented name
from typer.testing import Result

from lungseg.system.tables import read_csv
from tests.support.networks import write_network
from tests.support.volumes import phantom_volume

Cli = Callable[..., Result]


@pytest.fixture
def said(lungseg: Cli, tmp_path: Path) -> Callable[..., list[str]]:
    """Return a function that returns the lines that only `-v` prints."""

    def lines(*arguments: object) -> list[str]:
        results = [
            lungseg(*arguments, "-o", tmp_path / f"{arguments[0]}_{k}", *more)
            for k, more in enumerate([(), ("-v",)])
        ]
        assert [result.exit_code for result in results] == [0, 0], results[1].stderr
        plain, verbose = (result.stderr.splitlines() for result in results)
        return [line.strip() for line in verbose if line not in plain]

    return lines


def test_prepare_lists_its_findings_and_split_the_patients(
    said: Callable[..., list[str]], raw: Path, config_file: Path, tmp_path: Path
) -> None:
    masks = tmp_path / "masks"
    masks.mkdir()
    for path in sorted((raw / "masks").iterdir()):
        (masks / path.name).write_bytes(path.read_bytes())
    empty = sorted((raw / "masks").iterdir())[0].name
    cv2.imwrite(str(masks / empty), np.zeros((64, 64), np.uint8))
    folders = ("--images", raw / "images", "--masks", masks)
    expected = f"warning: {empty}: empty_mask: the mask holds only background"
    assert expected in said("prepare", "-c", config_file, *folders)
    lines = said("split", "-c", config_file, "--input", tmp_path / "prepare_0")
    rows = read_csv(tmp_path / "split_1" / "split.csv")
    for part in ("train", "valid", "test"):
        patients = sorted({row["group"] for row in rows if row["part"] == part})
        assert f"split_1, {part}: {', '.join(patients)}" in lines


def test_evaluate_lists_the_dice_of_each_case(
    said: Callable[..., list[str]], trained_run: Path, dataset: Path, tmp_path: Path
) -> None:
    lines = said("evaluate", "--run", trained_run, "--data", dataset)
    rows = read_csv(tmp_path / "evaluate_0" / "per_case.csv")
    assert rows
    for row in rows:
        assert f"{row['case']}: lung Dice {float(row['dice']):.4f}" in lines


def test_infer_says_the_size_of_each_ct(said: Callable[..., list[str]], tmp_path: Path) -> None:
    scan, _ = phantom_volume(12, 64, 0)
    scan.SetSpacing((4.0, 5.0, 10.0))
    sitk.WriteImage(scan, str(tmp_path / "scan.mha"))
    run = write_network(tmp_path / "run", (64, 64))
    lines = said("infer", "--run", run, tmp_path / "scan.mha")
    (size,) = [line for line in lines if "slices of" in line]
    assert size.startswith("scan: 12 slices of 64 x 64 pixels, 10 x 5 x 4 mm, in ")
    (row,) = read_csv(tmp_path / "infer_0" / "cases.csv")
    remarks = [line.removeprefix("scan: ") for line in lines if line.startswith("scan: ")]
    assert all(remark in row["detail"] for remark in remarks if remark not in size)
