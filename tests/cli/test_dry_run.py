"""A dry run fails where the run itself would fail, and writes nothing."""

import json
from collections.abc import Callable
from pathlib import Path

from typer.testing import Result

Cli = Callable[..., Result]


def test_train_checks_the_data_set(raw: Path, tmp_path: Path, lungseg: Cli) -> None:
    result = lungseg("train", "--dry-run", "--data", raw, "--run", tmp_path / "run")
    assert (result.exit_code, "expected train/images" in result.stderr) == (3, True)


def test_train_checks_the_run_folder(dataset: Path, trained_run: Path, lungseg: Cli) -> None:
    result = lungseg("train", "--dry-run", "--data", dataset, "--run", trained_run)
    assert (result.exit_code, "not empty" in result.stderr) == (2, True)
    result = lungseg("train", "--dry-run", "--data", dataset, "--run", trained_run, "--resume")
    assert (result.exit_code, "would be trained on" in result.stderr) == (0, True)


def test_train_checks_the_value_that_chooses_the_epoch(
    dataset: Path, tmp_path: Path, lungseg: Cli
) -> None:
    colours = "background: [0, 0, 0], left lung: [9, 9, 9], right lung: [255, 255, 255]"
    lesions = "augment.online.lesion.p=0"
    classes = f"data.rgb_map={{{colours}}}"
    given = ("--data", dataset, "--run", tmp_path / "run", "-s", classes, "-s", lesions)
    for dry in ([], ["--dry-run"]):
        result = lungseg("train", *given, "-s", "train.monitor=val_dice_lung", *dry)
        assert (result.exit_code, "val_dice_left_lung, val_dice_r" in result.stderr) == (2, True)
    assert not (tmp_path / "run").exists()
    result = lungseg("train", *given, "-s", "train.monitor=val_dice_left_lung", "--dry-run")
    assert (result.exit_code, "would be trained on" in result.stderr) == (0, True)


def test_infer_checks_the_run_and_the_output(
    raw: Path, trained_run: Path, tmp_path: Path, lungseg: Cli
) -> None:
    images, out = raw / "images", tmp_path / "out"
    result = lungseg("infer", "--dry-run", "--run", tmp_path / "no", images, "-o", out)
    assert (result.exit_code, "no such run folder (--run)" in result.stderr) == (2, True)
    result = lungseg("infer", "--dry-run", "--run", trained_run, images, "-o", raw)
    assert (result.exit_code, "its own input" in result.stderr) == (2, True)
    result = lungseg("infer", "--dry-run", "--run", trained_run, images, "-o", out)
    assert (result.exit_code, "20 inputs would be segmented" in result.stderr) == (0, True)
    assert not out.exists()


def test_prepare_checks_the_output(raw: Path, tmp_path: Path, lungseg: Cli) -> None:
    folders = ("--images", raw / "images", "--masks", raw / "masks")
    result = lungseg("prepare", "--dry-run", *folders, "-o", raw)
    assert (result.exit_code, "its own input" in result.stderr) == (2, True)
    result = lungseg("prepare", "--dry-run", *folders, "-o", tmp_path / "out")
    assert (result.exit_code, "20 pairs would be prepared" in result.stderr) == (0, True)


def test_json_says_what_would_be_done(
    raw: Path, dataset: Path, trained_run: Path, tmp_path: Path, lungseg: Cli
) -> None:
    out, images = tmp_path / "out", raw / "images"
    (tmp_path / "masks").symlink_to(raw / "masks")
    dry = ("--dry-run", "--json")
    said = lungseg("prepare", *dry, "--images", images, "--masks", tmp_path / "masks", "-o", out)
    assert json.loads(said.stdout) == {"output": str(out), "pairs": 20, "issues": []}
    said = lungseg("train", *dry, "--data", dataset, "--run", out)
    counts = {part: len([*(dataset / part / "images").iterdir()]) for part in ("train", "valid")}
    document = json.loads(said.stdout)
    assert (document["run"], document["network"]) == (str(out), "resunet")
    assert {part: document["slices"][part] for part in counts} == counts
    said = lungseg("infer", *dry, "--run", trained_run, images, "-o", out)
    inputs = json.loads(said.stdout)["inputs"]
    expected = {(path.stem, str(path)) for path in images.iterdir()}
    assert {(each["case"], each["path"]) for each in inputs} == expected
    assert not out.exists()


def test_prepare_lists_its_findings_in_json(raw: Path, tmp_path: Path, lungseg: Cli) -> None:
    folders = ("--images", raw / "images", "--masks", tmp_path)
    (tmp_path / "patient01_slice01.png").symlink_to(raw / "masks" / "patient01_slice01.png")
    said = lungseg("prepare", "--dry-run", "--json", *folders, "-o", tmp_path / "out")
    document = json.loads(said.stdout)
    assert document["pairs"] == 1
    assert {issue["code"] for issue in document["issues"]} == {"orphan_image"}
