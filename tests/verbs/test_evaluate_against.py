"""`--against` compares scores of the same truth in the same units, and makes no number up."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from typer.testing import Result

from lungseg.config.schema import Config
from lungseg.errors import DataError
from lungseg.imaging.pixels import read_pixels
from lungseg.system.tables import read_csv, write_csv
from lungseg.verbs.evaluate import evaluate_folders
from tests.support.volumes import image_of


def write_masks(folder: Path, shift: int = 0, cases: int = 4) -> Path:
    """Write squares as PNG, moved to the right by `shift` pixels."""
    folder.mkdir()
    for case in range(cases):
        mask = np.zeros((32, 32), np.uint8)
        mask[8 : 20 + case, 8 + shift : 20 + shift] = 255
        cv2.imwrite(str(folder / f"c{case}.png"), mask)
    return folder


def write_volumes(folder: Path, masks: Path) -> Path:
    """Write the same masks as volumes of one slice with pixels of 2 mm."""
    folder.mkdir()
    for path in masks.iterdir():
        labels = (read_pixels(path) > 0).astype(np.uint8)
        sitk.WriteImage(image_of(labels[None], (2.0, 2.0, 2.0)), str(folder / f"{path.stem}.mha"))
    return folder


def test_scores_of_another_truth_are_refused(
    tmp_path: Path, lungseg: Callable[..., Result]
) -> None:
    truth, moved = write_masks(tmp_path / "truth"), write_masks(tmp_path / "moved", shift=1)
    evaluate_folders(Config(), truth, moved, tmp_path / "first")
    # The moved masks have as many pixels, so only their hash tells them apart.
    result = lungseg(
        "evaluate", "--pred", truth, "--truth", truth, "-o", tmp_path / "second",
        "--against", tmp_path / "first",
    )  # fmt: skip
    assert result.exit_code == 3
    assert "case c0, lung: its true mask is not the one that is used here" in result.stderr
    assert not (tmp_path / "second").exists()


def test_a_truth_of_another_shape_is_another_truth(tmp_path: Path) -> None:
    for name, shape in {"wide": (4, 9), "square": (6, 6)}.items():
        (tmp_path / name).mkdir()
        cv2.imwrite(str(tmp_path / name / "a.png"), np.full(shape, 255, np.uint8))
    evaluate_folders(Config(), tmp_path / "wide", tmp_path / "wide", tmp_path / "first")
    square = tmp_path / "square"
    with pytest.raises(DataError, match="its true mask is not the one"):
        evaluate_folders(Config(), square, square, tmp_path / "out", against=tmp_path / "first")


def test_scores_in_other_units_are_refused(tmp_path: Path) -> None:
    truth = write_masks(tmp_path / "truth")
    volumes = write_volumes(tmp_path / "volumes", truth)
    evaluate_folders(Config(), truth, truth, tmp_path / "pixels")
    with pytest.raises(DataError, match="its distance_unit is pixels there and mm here"):
        evaluate_folders(Config(), volumes, volumes, tmp_path / "mm", against=tmp_path / "pixels")


def test_a_table_of_version_0_1_is_compared_by_the_size_of_the_truth(tmp_path: Path) -> None:
    truth = write_masks(tmp_path / "truth")
    evaluate_folders(Config(), truth, truth, tmp_path / "first")
    table = tmp_path / "first" / "per_case.csv"
    rows = [{k: v for k, v in row.items() if k != "truth_sha256"} for row in read_csv(table)]
    write_csv(table, list(rows[0]), rows)
    found = evaluate_folders(Config(), truth, truth, tmp_path / "second", against=table)
    assert found.summary["against"]["lung"]["dice"]["equal"] == 4
    rows[2]["truth_pixels"] = "1"
    write_csv(table, list(rows[0]), rows)
    with pytest.raises(DataError, match="case c2"):
        evaluate_folders(Config(), truth, truth, tmp_path / "third", against=table)


def test_a_missing_prediction_is_still_compared(tmp_path: Path) -> None:
    truth, pred = write_masks(tmp_path / "truth"), write_masks(tmp_path / "pred")
    evaluate_folders(Config(), truth, truth, tmp_path / "first")
    (pred / "c1.png").unlink()
    found = evaluate_folders(Config(), pred, truth, tmp_path / "second", against=tmp_path / "first")
    assert found.summary["against"]["lung"]["dice"]["lower"] == 1


def test_few_patients_have_no_interval_and_the_reason_is_there(tmp_path: Path) -> None:
    for patients, reason in ((4, "it needs at least 5 groups, not 4"), (5, None)):
        truth = write_masks(tmp_path / f"truth{patients}", cases=patients)
        pred = write_masks(tmp_path / f"pred{patients}", shift=1, cases=patients)
        evaluate_folders(Config(), truth, truth, tmp_path / f"best{patients}")
        found = evaluate_folders(
            Config(), pred, truth, tmp_path / f"out{patients}",
            against=tmp_path / f"best{patients}",
        )  # fmt: skip
        html = (tmp_path / f"out{patients}" / "report.html").read_text()
        assert found.summary.get("no_interval") == reason
        assert found.summary["against"].get("no_interval") == reason
        for summary in (found.summary["overall"], found.summary["against"]):
            assert (summary["lung"]["dice"]["ci95"] is None) == (reason is not None)
        assert html.count("95% interval: it needs at least 5 groups, not 4") == 4 * (
            reason is not None
        )
