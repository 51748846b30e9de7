"""Masks of any tool and format are compared as they are, and nothing is dropped or resized."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from typer.testing import Result

from lungseg.config.loading import check_config
from lungseg.config.schema import Config
from lungseg.errors import DataError, UsageError
from lungseg.evaluation import metrics
from lungseg.imaging.dicom.series import read_dicom
from lungseg.system.tables import read_csv
from lungseg.system.written import Written
from lungseg.verbs.evaluate import evaluate_folders
from tests.support.dicom_files import write_series
from tests.support.volumes import image_of

SIDE = 48
Cli = Callable[..., Result]


def disc(radius: float, at: tuple[int, int] = (24, 24)) -> np.ndarray:
    y, x = np.ogrid[:SIDE, :SIDE]
    return np.asarray((y - at[0]) ** 2 + (x - at[1]) ** 2 < radius**2, np.uint8)


def ball(radius: float) -> np.ndarray:
    z, y, x = np.ogrid[:12, :SIDE, :SIDE]
    return np.asarray(((z - 6) * 3) ** 2 + (y - 24) ** 2 + (x - 24) ** 2 < radius**2, np.uint8)


def volume(labels: np.ndarray, spacing: tuple[float, ...] = (0.8, 0.8, 2.5)) -> sitk.Image:
    return image_of(labels, spacing, (-20.0, 10.0, 5.0))


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path, Path]:
    pred, truth = tmp_path / "pred", tmp_path / "truth"
    pred.mkdir()
    truth.mkdir()
    return pred, truth, tmp_path / "out"


def write_mask(path: Path, radius: float) -> None:
    """Write a disc as a mask, in a new folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), disc(radius) * 255)


def test_masks_may_lie_in_a_folder_a_patient(folders: tuple[Path, Path, Path]) -> None:
    pred, truth, out = folders
    for name in ("P1/a", "P2/a", "b"):
        write_mask(truth / f"{name}.png", 10)
    write_mask(pred / "P1" / "a.png", 10)
    write_mask(pred / "P2_a.png", 10)  # as infer names it
    write_mask(pred / "b.png", 10)
    write_mask(pred / "P3" / "a.png", 10)
    result = evaluate_folders(Config(), pred, truth, out, images=truth)
    rows = {row["case"]: row for row in read_csv(out / "per_case.csv")}
    assert {case: float(row["dice"]) for case, row in rows.items()} == dict.fromkeys(
        ("b", "P1_a", "P2_a"), 1
    )
    assert result.summary["extra_predictions"] == ["P3/a.png"]
    assert (result.summary["problems"], result.summary["remarks"]) == ([], [])


def test_a_folder_within_the_other_is_not_part_of_it(folders: tuple[Path, Path, Path]) -> None:
    _, truth, out = folders
    write_mask(truth / "a.png", 10)
    write_mask(truth / "theirs" / "a.png", 12)
    evaluate_folders(Config(), truth / "theirs", truth, out)
    assert {row["case"] for row in read_csv(out / "per_case.csv")} == {"a"}


def test_two_masks_of_one_name_in_two_folders_are_refused(
    folders: tuple[Path, Path, Path],
) -> None:
    pred, truth, out = folders
    for path in (pred / "P1_a.png", pred / "P1" / "a.png", truth / "P1_a.png"):
        write_mask(path, 10)
    with pytest.raises(DataError, match=r"P1_a\.png and P1/a\.png share one stem"):
        evaluate_folders(Config(), pred, truth, out)


def test_overlays_of_infer_are_no_predictions(folders: tuple[Path, Path, Path]) -> None:
    pred, truth, out = folders
    for path in (truth / "a.png", pred / "a.png", pred / "overlays" / "a.png"):
        write_mask(path, 10)
    Written(pred, "infer").save()
    result = evaluate_folders(Config(), pred, truth, out)
    assert result.summary["extra_predictions"] == []


def test_pairs_by_stem_across_formats(folders: tuple[Path, Path, Path]) -> None:
    pred, truth, out = folders
    cv2.imwrite(str(pred / "a.tif"), disc(12) * 255)
    cv2.imwrite(str(truth / "a.png"), disc(14) * 255)
    cv2.imwrite(str(pred / "b.bmp"), disc(10))
    cv2.imwrite(str(truth / "b.png"), disc(10) * 255)
    result = evaluate_folders(Config(), pred, truth, out)
    rows = {row["case"]: row for row in read_csv(out / "per_case.csv")}
    expected = metrics.dice(metrics.count(disc(14) > 0, disc(12) > 0))
    assert float(rows["a"]["dice"]) == pytest.approx(expected)
    assert float(rows["b"]["dice"]) == 1.0
    assert rows["a"]["distance_unit"] == rows["a"]["volume_unit"] == "pixels"
    assert result.summary["remarks"]
    assert set(result.summary["baselines"]) == {"all_background"}
    assert {"report.html", "evaluation.json", "evaluation.csv", "per_case.csv"} == {
        path.name for path in out.iterdir() if not path.name.startswith(".")
    }


def test_missing_and_unusable_predictions_count_as_empty(
    folders: tuple[Path, Path, Path], lungseg: Cli
) -> None:
    pred, truth, out = folders
    for name in ("good", "missing", "small", "broken"):
        cv2.imwrite(str(truth / f"{name}.png"), disc(12) * 255)
    cv2.imwrite(str(pred / "good.png"), disc(12) * 255)
    cv2.imwrite(str(pred / "small.png"), disc(12)[:40, :40] * 255)
    (pred / "broken.png").write_bytes(b"broken")
    cv2.imwrite(str(pred / "extra.png"), disc(12) * 255)
    result = lungseg("evaluate", "--pred", pred, "--truth", truth, "-o", out, "--json")
    assert result.exit_code == 4
    summary = json.loads(result.stdout)
    assert summary["overall"]["lung"]["dice"]["mean"] == 0.25
    assert summary["overall"]["lung"]["hd95"]["worst"][0][1] == pytest.approx(np.hypot(SIDE, SIDE))
    problems = {p["case"]: p["detail"] for p in summary["problems"]}
    assert problems["missing"] == "there is no prediction"
    assert problems["small"] == "prediction is 40 x 40, truth 48 x 48; nothing is resized"
    assert "broken.png" in problems["broken"]
    assert summary["extra_predictions"] == ["extra.png"]
    assert summary["flags"] == {"not_comparable": 3}
    assert "extra.png" in result.stderr
    left_out = lungseg(
        "evaluate", "--pred", pred, "--truth", truth, "-o", out, "--overwrite", "--json",
        "-s", "evaluate.missing=leave_out",
    )  # fmt: skip
    assert json.loads(left_out.stdout)["overall"]["lung"]["dice"]["mean"] == 1.0
    assert left_out.exit_code == 4


def test_volumes_are_measured_in_millimetres_and_millilitres(
    folders: tuple[Path, Path, Path],
) -> None:
    pred, truth, out = folders
    big, small = ball(18), ball(15)
    sitk.WriteImage(volume(small), str(pred / "case.nii.gz"))
    sitk.WriteImage(volume(big), str(truth / "case.mha"))
    evaluate_folders(Config(), pred, truth, out)
    [row] = read_csv(out / "per_case.csv")
    assert (row["distance_unit"], row["volume_unit"]) == ("mm", "mL")
    voxel = 0.8 * 0.8 * 2.5 / 1000
    difference = (int(small.sum()) - int(big.sum())) * voxel
    assert float(row["volume_difference"]) == pytest.approx(difference, rel=1e-5)
    overlap = sitk.LabelOverlapMeasuresImageFilter()
    overlap.Execute(volume(big), volume(small))
    assert float(row["dice"]) == pytest.approx(overlap.GetDiceCoefficient())
    assert 0 < float(row["hd95"]) < 10


def test_other_axis_orders_are_no_difference(folders: tuple[Path, Path, Path]) -> None:
    pred, truth, out = folders
    labels = np.zeros((12, SIDE, SIDE), np.uint8)
    labels[2:7, 5:30, 10:22] = 1
    sitk.WriteImage(volume(labels), str(truth / "case.nii.gz"))
    turned = sitk.DICOMOrient(volume(labels), "RAS")
    assert turned.GetDirection() != volume(labels).GetDirection()
    sitk.WriteImage(turned, str(pred / "case.nrrd"))
    evaluate_folders(Config(), pred, truth, out)
    assert float(read_csv(out / "per_case.csv")[0]["dice"]) == 1.0


def test_a_geometry_that_differs_is_told_not_resampled(folders: tuple[Path, Path, Path]) -> None:
    pred, truth, out = folders
    for name in ("good", "moved"):
        sitk.WriteImage(volume(ball(15)), str(truth / f"{name}.nii.gz"))
    sitk.WriteImage(volume(ball(15)), str(pred / "good.nii.gz"))
    sitk.WriteImage(volume(ball(15), (0.9, 0.8, 2.5)), str(pred / "moved.nii.gz"))
    result = evaluate_folders(Config(), pred, truth, out)
    [problem] = result.summary["problems"]
    assert problem["case"] == "moved"
    assert "spacing (0.9, 0.8, 2.5) against (0.8, 0.8, 2.5)" in problem["detail"]
    assert result.summary["overall"]["lung"]["dice"]["mean"] == 0.5


def test_left_and_right_labels_are_lung_and_said(folders: tuple[Path, Path, Path]) -> None:
    pred, truth, out = folders
    sides = ball(15)
    sides[..., 24:] *= 2
    sitk.WriteImage(volume(sides), str(pred / "case.nii.gz"))
    sitk.WriteImage(volume(ball(15)), str(truth / "case.nii.gz"))
    result = evaluate_folders(Config(), pred, truth, out)
    assert result.summary["overall"]["lung"]["dice"]["mean"] == 1.0
    assert "labels taken together as lung: 1 (" in result.summary["remarks"][0]["detail"]
    three = {"background": [0, 0, 0], "right": [255, 0, 0], "left": [0, 0, 255]}
    config = check_config({"data": {"rgb_map": three}}, "test")
    result = evaluate_folders(config, pred, pred, out, overwrite=True)
    assert set(result.summary["overall"]) >= {"right", "left"}


def test_a_grey_per_lung_is_lung_and_said(folders: tuple[Path, Path, Path]) -> None:
    pred, truth, out = folders
    lungs = disc(9, (24, 12)) + disc(9, (24, 36)) * 2
    cv2.imwrite(str(truth / "a.png"), np.array([0, 127, 255], np.uint8)[lungs])
    cv2.imwrite(str(pred / "a.png"), np.array([0, 255, 255], np.uint8)[lungs])
    result = evaluate_folders(Config(), pred, truth, out)
    assert result.summary["overall"]["lung"]["dice"]["mean"] == 1.0
    assert "grey values taken together" in result.summary["remarks"][0]["detail"]


@pytest.mark.parametrize("suffix", ["nii.gz", "png"])
def test_only_the_labels_of_the_config_are_scored(
    suffix: str, folders: tuple[Path, Path, Path]
) -> None:
    pred, truth, out = folders
    labels = np.where(ball(15), 3, 0).astype(np.uint8)
    labels[:, :4, :4] = 5
    white = 255 if suffix == "png" else 1  # what this program writes
    for folder, values in ((truth, labels), (pred, ball(15) * np.uint8(white))):
        if suffix == "png":
            cv2.imwrite(str(folder / "case.png"), values[6])
        else:
            sitk.WriteImage(volume(values), str(folder / "case.nii.gz"))
    config = check_config({"data": {"labels": {"lung": [3]}}}, "test")
    result = evaluate_folders(config, pred, truth, out)
    assert result.summary["overall"]["lung"]["dice"]["mean"] == 1.0
    # Another tool's prediction has the labels of the truth.
    result = evaluate_folders(config, truth, truth, out, overwrite=True)
    assert result.summary["overall"]["lung"]["dice"]["mean"] == 1.0


def dicom_seg(folder: Path, labels: np.ndarray) -> sitk.Image:
    """Write a DICOM-SEG of `labels`, empty slices left out, and return the series it refers to."""
    import highdicom
    from pydicom import dcmread
    from pydicom.sr.codedict import codes
    from pydicom.uid import generate_uid

    paths = write_series(folder.parent / "series", np.zeros(labels.shape, np.int16))
    sources = [dcmread(path) for path in paths]
    description = highdicom.seg.SegmentDescription(
        segment_number=1, segment_label="lung", segmented_property_category=codes.SCT.Organ,
        segmented_property_type=codes.SCT.Lung,
        algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.MANUAL,
    )  # fmt: skip
    made = highdicom.seg.Segmentation(
        source_images=sources, pixel_array=labels,
        segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[description], series_instance_uid=generate_uid(), series_number=2,
        sop_instance_uid=generate_uid(), instance_number=1, manufacturer="none",
        manufacturer_model_name="none", software_versions="0", device_serial_number="0",
        omit_empty_frames=True,
    )  # fmt: skip
    made.save_as(folder / "case.dcm")
    return read_dicom(folder.parent / "series")[0]


def test_a_dicom_seg_is_put_back_on_the_grid_it_came_from(
    folders: tuple[Path, Path, Path],
) -> None:
    pred, truth, out = folders
    labels = np.zeros((12, SIDE, SIDE), np.uint8)
    labels[3:8, 10:30, 12:25] = 1
    true = sitk.GetImageFromArray(labels)
    true.CopyInformation(dicom_seg(pred, labels))
    sitk.WriteImage(true, str(truth / "case.nii.gz"))
    result = evaluate_folders(Config(), pred, truth, out)
    assert result.summary["problems"] == []
    assert result.summary["overall"]["lung"]["dice"]["mean"] == 1.0
    assert result.rows[0].scores.distance_unit == "mm"


def test_a_dicom_seg_without_a_prediction_has_the_same_truth_as_with_one(
    folders: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    pred, truth, out = folders
    labels = np.zeros((12, SIDE, SIDE), np.uint8)
    labels[3:8, 10:30, 12:25] = 1
    grid = dicom_seg(truth, labels)
    shutil.copy(truth / "case.dcm", truth / "other.dcm")
    guess = sitk.GetImageFromArray(labels)
    guess.CopyInformation(grid)
    for name in ("case", "other"):
        sitk.WriteImage(guess, str(pred / f"{name}.nii.gz"))
    evaluate_folders(Config(), pred, truth, out)
    (pred / "other.nii.gz").unlink()  # so its truth stays on a grid without the empty slices
    result = evaluate_folders(Config(), pred, truth, tmp_path / "second", against=out)
    dice = result.summary["against"]["lung"]["dice"]
    assert (dice["lower"], dice["equal"]) == (1, 1)


def test_unusable_folders_are_refused(folders: tuple[Path, Path, Path]) -> None:
    pred, truth, out = folders
    with pytest.raises(DataError, match="holds no mask"):
        evaluate_folders(Config(), pred, truth, out)
    cv2.imwrite(str(truth / "a.png"), disc(12) * 255)
    with pytest.raises(DataError, match="no mask with the stem"):
        evaluate_folders(Config(), pred, truth, out)
    cv2.imwrite(str(pred / "a.png"), disc(12) * 255)
    cv2.imwrite(str(pred / "a.tif"), disc(12) * 255)
    with pytest.raises(DataError, match=r"a\.png and a\.tif share one stem"):
        evaluate_folders(Config(), pred, truth, out)
    (pred / "a.tif").unlink()
    sitk.WriteImage(volume(ball(9)), str(truth / "v.nii.gz"))
    sitk.WriteImage(volume(ball(9)), str(pred / "v.nii.gz"))
    with pytest.raises(DataError, match="cannot share a mean"):
        evaluate_folders(Config(), pred, truth, out)
    four = sitk.JoinSeries([volume(ball(9)), volume(ball(9))])
    sitk.WriteImage(four, str(truth / "v.nii.gz"))
    with pytest.raises(DataError, match=r"v\.nii\.gz: expected a volume of three dimensions"):
        evaluate_folders(Config(), pred, truth, out)
    with pytest.raises(UsageError, match="folder of predicted masks"):
        evaluate_folders(Config(), truth / "no", truth, out)
    assert not out.exists()


def test_images_bring_the_threshold_baseline_and_the_patient_comes_from_the_name(
    folders: tuple[Path, Path, Path], raw: Path
) -> None:
    _, _, out = folders
    config = check_config({"split": {"group_regex": r"^(patient\d+)_"}}, "test")
    result = evaluate_folders(config, raw / "masks", raw / "masks", out, images=raw / "images")
    assert result.summary["patients"] == 5
    assert result.summary["overall"]["lung"]["dice"]["mean"] == 1.0
    assert 0.5 < result.summary["baselines"]["grey_threshold"]["lung"]["dice"]["mean"] < 1


@pytest.mark.parametrize("named_by", ["split.group_csv", "split.csv", "manifest.csv", "files"])
def test_patients_are_found_as_split_finds_them(
    named_by: str, folders: tuple[Path, Path, Path], tmp_path: Path, lungseg: Cli
) -> None:
    pred, _, out = folders
    masks = tmp_path / "data" / "test" / "masks"
    if named_by == "manifest.csv":
        masks = tmp_path / "data" / "masks"
    masks.mkdir(parents=True)
    for case in ("a", "b", "c"):
        cv2.imwrite(str(masks / f"{case}.png"), disc(12) * 255)
        cv2.imwrite(str(pred / f"{case}.png"), disc(12) * 255)
    patients = tmp_path / "patients.csv"
    patients.write_text("case,who\na,one\nb,one\nc,two\n")
    within = masks.relative_to(tmp_path / "data")
    rows = [f"{case},{who},{within}/{case}.png" for case, who in zip("abc", "112", strict=True)]
    other = f"a,9,{within.parent}/other/a.png"  # of another part
    if named_by.endswith(("split.csv", "manifest.csv")):
        listing = "\n".join(["case,group,mask", *rows, other])
        (tmp_path / "data" / named_by).write_text(listing + "\n")
    settings = ["-s", f"split.group_csv={patients}", "-s", "split.group_column=who"]
    result = lungseg(
        "evaluate", "--pred", pred, "--truth", masks, "-o", out,
        *(settings if named_by == "split.group_csv" else []),
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    summary = json.loads((out / "evaluation.json").read_text())
    files = named_by == "files"
    assert summary["patients"] == (3 if files else 2)
    assert summary["patients_from"] == named_by
    assert ("each file counts as one patient" in result.stderr) == files
    html = (out / "report.html").read_text()
    assert ("A group is a file, because the patients are not named" in html) == files
    assert (f"The patients are named by {named_by}." in html) == (not files)


def test_two_evaluations_are_compared(
    folders: tuple[Path, Path, Path], tmp_path: Path, lungseg: Cli
) -> None:
    pred, truth, out = folders
    worse = tmp_path / "worse"
    worse.mkdir()
    for index in range(8):
        cv2.imwrite(str(truth / f"c{index}.png"), disc(14) * 255)
        cv2.imwrite(str(pred / f"c{index}.png"), disc(13.5 + 0.05 * index) * 255)
        cv2.imwrite(str(worse / f"c{index}.png"), disc(10 + 0.3 * index) * 255)
    evaluate_folders(Config(), worse, truth, tmp_path / "first")
    result = lungseg(
        "evaluate", "--pred", pred, "--truth", truth, "-o", out, "--against", tmp_path / "first"
    )
    assert result.exit_code == 0
    assert "Wilcoxon" in result.stderr
    difference: dict[str, Any] = json.loads((out / "evaluation.json").read_text())["against"]
    dice = difference["lung"]["dice"]
    assert (dice["higher"], dice["cases"]) == (8, 8)
    assert dice["wilcoxon"]["p"] == pytest.approx(0.0078125)
    assert "Against" in (out / "report.html").read_text()
    missing = lungseg("evaluate", "--pred", pred, "--truth", truth, "-o", "new", "--against", "no")
    assert (missing.exit_code, "no such file" in missing.stderr) == (2, True)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--pred", "a"),
        ("--truth", "a"),
        ("--pred", "a", "--truth", "b", "--run", "r"),
        ("--images", "a"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    arguments: tuple[str, ...], lungseg: Cli
) -> None:
    assert lungseg("evaluate", *arguments).exit_code == 2
