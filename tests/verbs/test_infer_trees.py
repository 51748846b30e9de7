"""`infer` and `prepare` on exports of a PACS: each series is a case that can be traced."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - its documented name
from pydicom.dataset import FileDataset
from typer.testing import Result

from lungseg.system.tables import read_csv
from tests.support.dicom_files import Change, nothing, write_series
from tests.support.networks import write_run
from tests.support.phantoms import SIDE
from tests.support.places import SHARED_DATA
from tests.support.volumes import image_of, phantom_arrays

Cli = Callable[..., Result]
CASES = SHARED_DATA.with_name("cases")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    write_run(tmp_path / "run", SIDE)
    return tmp_path / "run"


def write_ct(folder: Path, change: Change = nothing) -> list[Path]:
    def grow(ct: FileDataset, index: int) -> None:
        ct.PixelSpacing = [5.0, 5.0]
        change(ct, index)

    return write_series(folder, phantom_arrays()[0], grow, step=20.0)


def rows_of(folder: Path) -> dict[str, dict[str, Any]]:
    return {row["case"]: row for row in json.loads((folder / "cases.json").read_text())}


def shared(name: str) -> Path:
    if not (CASES / name).exists():
        pytest.skip(f"the case (shared/cases/{name}) is not here")
    return CASES / name


def test_every_series_of_an_export_is_a_case(run: Path, tmp_path: Path, lungseg: Cli) -> None:
    export, out = tmp_path / "export", tmp_path / "out"
    for patient in ("PAT1", "PAT2"):
        write_ct(export / patient / "STUDY" / "SERIES")
    (export / "PAT2" / "report.pdf").write_bytes(b"x")
    result = lungseg("infer", "--run", run, export, "-o", out)
    assert result.exit_code == 0, result.stderr
    assert "left out (neither an image nor a volume): PAT2/report.pdf" in result.stderr
    rows = rows_of(out)
    assert {name: row["input"] for name, row in rows.items()} == {
        "PAT1_STUDY_SERIES": "PAT1/STUDY/SERIES",
        "PAT2_STUDY_SERIES": "PAT2/STUDY/SERIES",
    }
    assert {path.name for path in out.glob("*.nii.gz")} == {row["mask"] for row in rows.values()}
    assert "SECRET" not in (out / "cases.csv").read_text()


def test_case_24_is_found_at_any_depth(run: Path, tmp_path: Path, lungseg: Cli) -> None:
    folder = shared("24-nested-folders")
    result = lungseg("infer", "--run", run, folder / "export", "-o", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    assert set(rows_of(tmp_path / "out")) == {"PAT1_STUDY_SERIES"}
    folders = ("--images", folder / "png", "--masks", folder / "pngm")
    result = lungseg("prepare", *folders, "-o", tmp_path / "prepared")
    assert result.exit_code == 0, result.stderr
    assert (tmp_path / "prepared" / "images" / "P1_a.png").is_file()


def test_an_output_in_the_export_is_read_neither_before_nor_after(
    run: Path, tmp_path: Path, lungseg: Cli
) -> None:
    write_ct(tmp_path / "export" / "P" / "S")
    out = tmp_path / "export" / "P" / "masks"
    for flags in ((), ("--overwrite",), ("--resume",)):
        result = lungseg("infer", "--run", run, tmp_path / "export", "-o", out, *flags)
        assert result.exit_code == 0, result.stderr
        assert set(rows_of(out)) == {"P_S"}
    # Masks of a version without a list of what it wrote are recognised by being the output.
    (out / ".lungseg.jsonl").unlink()
    assert lungseg("infer", "--run", run, tmp_path / "export", "-o", out, "--resume").exit_code == 0
    assert set(rows_of(out)) == {"P_S"}


def test_what_is_too_deep_to_be_opened_fails_and_the_rest_is_done(
    run: Path, tmp_path: Path, lungseg: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_ct(tmp_path / "export" / "P" / "S")
    monkeypatch.chdir(tmp_path / "export")
    for _ in range(21):  # of 200 letters each: longer than the 4,096 bytes of a path
        Path("d" * 200).mkdir()
        os.chdir("d" * 200)
    os.chdir(tmp_path)
    result = lungseg("infer", "--run", run, "export", "-o", "out")
    assert (result.exit_code, "File name too long" in result.stderr) == (4, True), result.stderr
    [done, failed] = sorted(rows_of(tmp_path / "out").values(), key=lambda row: str(row["status"]))
    assert (done["case"], failed["status"]) == ("P_S", "failed")
    result = lungseg("label", "export", "-o", "labelled")
    assert (result.exit_code, "File name too long" in result.stderr) == (4, True), result.stderr


def test_a_series_in_several_folders_is_one_mask_and_is_made_again_if_one_changes(
    run: Path, tmp_path: Path, lungseg: Cli
) -> None:
    paths = write_ct(tmp_path / "whole")
    for index, path in enumerate(paths):
        part = tmp_path / "export" / "S" / f"{index % 2}"
        part.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, part)
    arguments = ("infer", "--run", run, tmp_path / "whole", tmp_path / "export", "-o")
    settings = ("-s", "infer.dicom_seg=true")
    result = lungseg(*arguments, tmp_path / "out", *settings)
    assert result.exit_code == 0, result.stderr
    one, other = (
        sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "out" / f"{name}.nii.gz")))
        for name in ("whole", "S")
    )
    np.testing.assert_array_equal(one, other)
    assert (tmp_path / "out" / "S.dcm").is_file()
    assert "in 2 folders: 0, 1" in rows_of(tmp_path / "out")["S"]["detail"]
    changed = tmp_path / "export" / "S" / "1" / paths[1].name
    changed.write_bytes(changed.read_bytes()[:-2] + b"\x01\x02")
    result = lungseg(*arguments, tmp_path / "out", *settings, "--resume")
    assert (result.exit_code, "because the input changed: 1" in result.stderr) == (0, True)


def test_prepare_takes_series_in_folders_and_names_no_patient(tmp_path: Path, lungseg: Cli) -> None:
    mask = image_of(phantom_arrays()[1], (5.0, 5.0, 20.0), (-20.0, 10.0, 5.0))
    for patient in ("P1", "P2"):

        def of_patient(ct: FileDataset, index: int, patient: str = patient) -> None:
            ct.PatientID = f"SECRET-{patient}"

        folder = tmp_path / "ct" / patient / "S"
        for index, path in enumerate(write_ct(folder, of_patient)):
            (folder / f"{index // 4}").mkdir(exist_ok=True)
            path.rename(folder / f"{index // 4}" / path.name)
        (tmp_path / "masks" / patient).mkdir(parents=True)
        sitk.WriteImage(mask, str(tmp_path / "masks" / patient / "S.nii.gz"))
    folders = ("--images", tmp_path / "ct", "--masks", tmp_path / "masks")
    out = tmp_path / "out"
    result = lungseg("prepare", *folders, "-o", out, "-s", "data.image_size=[32,32]")
    assert result.exit_code == 0, result.stderr
    rows = read_csv(out / "manifest.csv")
    lungs = int(phantom_arrays()[1].any(axis=(1, 2)).sum())
    assert len(rows) >= 2 * lungs > 8
    found = {(row["case"][:5], row["source_image"]) for row in rows}
    assert found == {("P1_S_", "P1/S"), ("P2_S_", "P2/S")}
    groups = {row["group"] for row in rows}
    assert len(groups) == 2
    assert all(group.startswith("patient_") for group in groups)
    assert "SECRET" not in (out / "manifest.csv").read_text()


# DICOM-SEG.


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        (("PatientName",), "no DICOM-SEG: the series has no PatientName"),
        (("PatientID",), "no DICOM-SEG: the series has no PatientID"),
        (("StudyInstanceUID",), "no DICOM-SEG: the series has no StudyInstanceUID"),
        (
            ("FrameOfReferenceUID", "StudyDate", "AccessionNumber"),
            "no DICOM-SEG: the series has no",
        ),
    ],
)
def test_a_stripped_header_costs_the_dicom_seg_and_not_the_mask(
    missing: tuple[str, ...], said: str, run: Path, tmp_path: Path, lungseg: Cli
) -> None:
    def strip(ct: FileDataset, index: int) -> None:
        for name in missing:
            delattr(ct, name)

    write_ct(tmp_path / "ct" / "stripped", strip)
    write_ct(tmp_path / "ct" / "whole")
    arguments = ("infer", "--run", run, tmp_path / "ct", "-o", tmp_path / "out")
    result = lungseg(*arguments, "-s", "infer.dicom_seg=true")
    assert (result.exit_code, f"stripped: {said}" in result.stderr) == (0, True), result.stderr
    rows = rows_of(tmp_path / "out")
    assert [rows[name]["status"] for name in ("stripped", "whole")] == ["done", "done"]
    assert rows["stripped"]["detail"].startswith(said)
    assert rows["stripped"]["lung_volume_ml"] == rows["whole"]["lung_volume_ml"] > 0
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"stripped.nii.gz", "whole.nii.gz", "whole.dcm"} <= written
    assert "stripped.dcm" not in written


def test_case_28_has_its_mask_and_measures(run: Path, tmp_path: Path, lungseg: Cli) -> None:
    folder = shared("28-dicom-seg-of-stripped-headers/dcm")
    arguments = ("infer", "--run", run, folder, "-o", tmp_path / "out")
    assert lungseg(*arguments, "-s", "infer.dicom_seg=true").exit_code == 0
    row = rows_of(tmp_path / "out")["dcm"]
    assert (row["status"], row["mask"], row["lung_volume_ml"] > 0) == ("done", "dcm.nii.gz", True)
    assert "no DICOM-SEG: the series has no PatientName" in row["detail"]
