"""What the commands print tells a newcomer what happened and what is assumed."""

import logging
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import Result

from lungseg.config.loading import check_config
from lungseg.verbs.evaluate import evaluate_folders
from lungseg.verbs.split import split
from tests.support.phantoms import tiny

Cli = Callable[..., Result]


def test_split_warns_if_likeness_stands_in_for_the_patients(
    prepared: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = tiny()
    with caplog.at_level(logging.WARNING, logger="lungseg"):
        split(check_config(data, "test"), prepared, tmp_path / "named")
        assert "unknown" not in caplog.text
        likeness = {"patient_similarity": 0.95, "neighbour_similarity": 0.95}
        data["split"] = {**data["split"], "group_regex": None, "allow_leakage": True, **likeness}
        split(check_config(data, "test"), prepared, tmp_path / "unnamed")
    assert "the patients of 20 of 20 slices are unknown" in caplog.text
    assert "split.group_regex or split.group_csv" in caplog.text


@pytest.mark.parametrize(("expression", "noted"), [(None, True), ("^(.)", False)])
def test_evaluate_notes_that_each_file_counts_as_a_patient(
    expression: str | None, noted: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mask = np.zeros((32, 32), np.uint8)
    mask[8:20, 8:20] = 255
    for folder in ("pred", "truth"):
        (tmp_path / folder).mkdir()
        cv2.imwrite(str(tmp_path / folder / "a.png"), mask)
    config = check_config({"split": {"group_regex": expression}}, "test")
    with caplog.at_level(logging.INFO, logger="lungseg"):
        evaluate_folders(config, tmp_path / "pred", tmp_path / "truth", tmp_path / "out")
    first = [(each.levelname, each.getMessage()) for each in caplog.records][:1]
    assert (
        any(
            level == "WARNING" and "each file counts as one patient" in said
            for level, said in first
        )
        == noted
    )
    assert ("A group is a file, because" in (tmp_path / "out" / "report.html").read_text()) == noted


def test_prepare_says_that_the_finding_shown_is_the_first(tmp_path: Path, lungseg: Cli) -> None:
    for folder in ("ct", "lungs"):
        (tmp_path / folder).mkdir()
    rng = np.random.default_rng(0)
    for name in ("a", "b", "c"):
        slice_ = rng.integers(0, 255, (32, 32), np.uint8)
        cv2.imwrite(str(tmp_path / "ct" / f"{name}.png"), slice_)
    cv2.imwrite(str(tmp_path / "lungs" / "a.png"), (slice_ > 128).astype(np.uint8) * 255)
    result = lungseg(
        "prepare", "--images", tmp_path / "ct", "--masks", tmp_path / "lungs",
        "-o", tmp_path / "out", "-s", "data.image_size=[32, 32]",
    )  # fmt: skip
    assert "2 x orphan_image (left_out), the first: b.png" in result.stderr


def test_infer_counts_masks_and_names_the_overlays(
    raw: Path, trained_run: Path, tmp_path: Path, lungseg: Cli
) -> None:
    image = next((raw / "images").iterdir())
    out = tmp_path / "out"
    result = lungseg("infer", "--run", trained_run, image, "-o", out, "--overlay")
    assert f"{out}: 1 mask, overlays, gallery.html and cases.csv" in result.stderr.replace("\n", "")
