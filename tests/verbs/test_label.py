"""Labels by a threshold: which parts of a CT are lung, and what is written where."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - its documented name
from typer.testing import Result

from lungseg.errors import DataError, UsageError
from lungseg.evaluation import metrics
from lungseg.imaging.pixels import read_pixels
from lungseg.inference import threshold
from lungseg.phantom.dataset import write_phantom_volumes
from lungseg.system.tables import read_csv
from lungseg.verbs import label as verb
from lungseg.verbs.label import label

Cli = Callable[..., Result]


@pytest.fixture(scope="module")
def ct(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with images/ and masks/ of one phantom, patient01.nii.gz."""
    folder = tmp_path_factory.mktemp("ct")
    write_phantom_volumes(folder, patients=1, slices=12, size=128)
    return folder


@pytest.fixture(scope="module")
def volume(ct: Path) -> Path:
    return ct / "images" / "patient01.nii.gz"


def labels_of(path: Path) -> np.ndarray:
    return np.asarray(sitk.GetArrayFromImage(sitk.ReadImage(str(path))))


def test_lungs_of_a_phantom_are_found(ct: Path, volume: Path, tmp_path: Path) -> None:
    result = label([volume], tmp_path / "out")
    lungs = labels_of(tmp_path / "out" / "masks" / "patient01.nii.gz")
    truth = labels_of(ct / "masks" / "patient01.nii.gz")
    assert metrics.dice(metrics.count(truth > 0, lungs > 0)) > 0.95
    voxel_ml = (360 / 128) ** 2 * (280 / 10) / 1000
    (case,) = result.cases
    assert (case.case, case.source, case.slices) == ("patient01", volume, 12)
    assert case.lung_ml == pytest.approx(lungs.sum() * voxel_ml, abs=0.1)


def test_a_part_of_a_volume_is_kept_with_the_labels_of_the_whole(
    volume: Path, tmp_path: Path
) -> None:
    label([volume], tmp_path / "whole")
    # Labelled alone, this slice would get other labels.
    label([volume], tmp_path / "part", slices=slice(1, 2))
    for kind in ("images", "masks"):
        whole = sitk.ReadImage(str(tmp_path / "whole" / kind / "patient01.nii.gz"))
        part = sitk.ReadImage(str(tmp_path / "part" / kind / "patient01.nii.gz"))
        cut = whole[:, :, 1:2]
        np.testing.assert_array_equal(
            sitk.GetArrayFromImage(part), sitk.GetArrayFromImage(cut), strict=True
        )
        assert part.GetOrigin() == pytest.approx(cut.GetOrigin())
        assert kind == "images" or sitk.GetArrayFromImage(part).any()


@pytest.fixture
def chest() -> tuple[np.ndarray, np.ndarray]:
    """Return HU of a body in air with two boxes for lungs, and where these are."""
    hu = np.full((10, 60, 80), -1000, np.int16)
    hu[:, 5:55, 5:75] = 40
    lungs = np.zeros(hu.shape, dtype=bool)
    lungs[:, 15:45, 12:36] = lungs[:, 15:45, 44:68] = True
    hu[lungs] = -800
    return hu, lungs


def labels_of_array(hu: np.ndarray) -> np.ndarray:
    image = sitk.GetImageFromArray(hu)
    image.SetSpacing((2.0, 2.0, 6.0))
    return np.asarray(sitk.GetArrayFromImage(threshold.label_lungs(image))) > 0


def test_a_vessel_is_lung_and_the_air_around_the_patient_is_not(
    chest: tuple[np.ndarray, np.ndarray],
) -> None:
    hu, lungs = chest
    hu[:, 28:30, 20:22] = 40  # a vessel that runs through all slices
    np.testing.assert_array_equal(labels_of_array(hu), lungs)


def test_an_airway_that_opens_into_the_lungs_is_not_lung(
    chest: tuple[np.ndarray, np.ndarray],
) -> None:
    hu, lungs = chest
    hu[:, 24:36, 36:44] = -1000  # 29 mL between the lungs
    found = labels_of_array(hu)
    assert not found[:, 24:36, 36:44].any()
    # The wall of the airway, 3 pixels, goes with it.
    lungs[:, :, 33:47] = found[:, :, 33:47] = False
    np.testing.assert_array_equal(found, lungs)


def test_two_files_of_one_stem_are_refused_before_any_work(tmp_path: Path) -> None:
    folder = tmp_path / "ct"
    folder.mkdir()
    for name in ("patient01.nii.gz", "Patient01.mha"):  # some file systems see one name
        (folder / name).write_bytes(b"never read")
    with pytest.raises(UsageError) as problem:
        label([folder], tmp_path / "out")
    assert all(str(path) in str(problem.value) for path in folder.iterdir())
    assert [path.name for path in tmp_path.iterdir()] == ["ct"]


def test_volumes_of_one_name_in_two_folders_get_names_of_their_own(
    volume: Path, tmp_path: Path
) -> None:
    for patient in ("p1", "p2"):
        (tmp_path / patient).mkdir()
        shutil.copy(volume, tmp_path / patient / "ct.nii.gz")
    names = ["p1_ct.nii.gz", "p2_ct.nii.gz"]
    label([tmp_path], tmp_path / "tree")
    label([tmp_path / "p1" / "ct.nii.gz", tmp_path / "p2"], tmp_path / "given")
    for output in ("tree", "given"):
        for kind in ("images", "masks"):
            assert sorted(p.name for p in (tmp_path / output / kind).iterdir()) == names


def test_images_beside_volumes_are_left_out_and_said(
    volume: Path, raw: Path, tmp_path: Path, lungseg: Cli
) -> None:
    shutil.copytree(volume.parent, tmp_path / "in" / "p1")
    shutil.copytree(raw / "images", tmp_path / "in" / "pictures")
    result = lungseg("label", tmp_path / "in", "-o", tmp_path / "out")
    assert (result.exit_code, "20 images are left out" in result.stderr) == (0, True), result.stderr
    assert [p.name for p in (tmp_path / "out" / "masks").iterdir()] == ["p1_patient01.nii.gz"]


def test_a_ct_that_cannot_be_used_does_not_stop_the_others(
    volume: Path, tmp_path: Path, lungseg: Cli
) -> None:
    bad = tmp_path / "bad.nii.gz"
    bad.write_bytes(b"no volume")
    result = lungseg("label", bad, volume, "-o", tmp_path / "out", "--json")
    assert result.exit_code == 4, result.stderr
    assert str(bad) in result.stderr
    document = json.loads(result.stdout)
    assert [case["case"] for case in document["cases"]] == ["patient01"]
    assert len(document["failed"]) == 1
    written = sorted(path.name for path in (tmp_path / "out").rglob("*.nii.gz"))
    assert written == ["patient01.nii.gz", "patient01.nii.gz"]


def test_a_bug_in_one_ct_does_not_stop_the_others(
    volume: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lungseg: Cli
) -> None:
    other = tmp_path / "other.nii.gz"
    other.write_bytes(volume.read_bytes())
    original = threshold.label_lungs
    ways = iter([lambda _: 1 // 0, original])
    monkeypatch.setattr(verb, "label_lungs", lambda ct: next(ways)(ct))
    result = lungseg("label", other, volume, "-o", tmp_path / "out", "-v")
    assert result.exit_code == 4
    assert "this is a bug in lungseg, please report it: ZeroDivisionError" in result.stderr
    assert "in _label_one" in result.stderr  # the traceback
    assert [path.name for path in (tmp_path / "out" / "masks").iterdir()] == [volume.name]


def test_nothing_is_written_if_no_ct_can_be_used(tmp_path: Path) -> None:
    bad = tmp_path / "bad.nii.gz"
    bad.write_bytes(b"no volume")
    with pytest.raises(DataError, match=r"bad\.nii\.gz"):
        label([bad], tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["bad.nii.gz"]


def test_an_image_and_a_range_that_keeps_nothing_are_errors(
    raw: Path, volume: Path, tmp_path: Path
) -> None:
    image = next((raw / "images").iterdir())
    with pytest.raises(UsageError, match="this is an image"):
        label([image], tmp_path / "out")
    with pytest.raises(DataError, match="none of its 12 slices"):
        label([volume], tmp_path / "out", slices=slice(12, None))
    assert list(tmp_path.iterdir()) == []


def test_slices_that_are_no_range_are_refused(volume: Path, tmp_path: Path, lungseg: Cli) -> None:
    result = lungseg("label", volume, "-o", tmp_path / "out", "--slices", "3-7")
    assert (result.exit_code, "as in 0:39" in result.stderr) == (2, True)
    assert not (tmp_path / "out").exists()


def test_the_help_and_the_last_line_say_that_labels_are_no_ground_truth(
    volume: Path, tmp_path: Path, lungseg: Cli
) -> None:
    assert "no ground truth" in lungseg("label", "--help").stdout
    assert "no ground truth" in lungseg("label", volume, "-o", tmp_path / "out").stderr


def test_label_needs_no_network_runtime() -> None:
    code = "import sys, lungseg.verbs.label; print('onnxruntime' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("output", ["ct", "."])
def test_the_cts_are_never_replaced(
    output: str, volume: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / "work"
    (work / "ct").mkdir(parents=True)
    copy = work / "ct" / volume.name
    copy.write_bytes(volume.read_bytes())
    monkeypatch.chdir(tmp_path)
    for given in (work / "ct", copy):
        with pytest.raises(UsageError, match="would replace its own input"):
            label([given], work / output, overwrite=True)
    assert copy.read_bytes() == volume.read_bytes()


def test_if_no_ct_can_be_used_each_is_named(tmp_path: Path, lungseg: Cli) -> None:
    for name in ("a.mha", "b.nii.gz"):
        (tmp_path / name).write_bytes(b"no volume")
    result = lungseg("label", tmp_path / "a.mha", tmp_path / "b.nii.gz", "-o", tmp_path / "out")
    assert result.exit_code == 3
    assert ("a.mha: " in result.stderr, "b.nii.gz: " in result.stderr) == (True, True)
    assert not (tmp_path / "out").exists()


def test_corrections_by_hand_are_applied_and_slices_left_out_stay_out_of_prepare(
    volume: Path, lungseg: Cli, tmp_path: Path
) -> None:
    label([volume], tmp_path / "plain")
    folder = tmp_path / "corrections"
    folder.mkdir()
    (folder / "patient01.yaml").write_text(
        "steps:\n"
        "  - {why: a tumour, add: {slices: [5, 6], box: [0, 0, 9, 9]}}\n"
        "  - {why: motion, leave_out: {slices: [11, 12]}}\n"
    )
    output = tmp_path / "corrected"
    done = lungseg("label", volume, "-o", output, "--corrections", folder, "--overlay")
    assert done.exit_code == 0, done.output
    assert "200 voxels added: a tumour" in done.stderr
    plain, corrected = (
        labels_of(tmp_path / name / "masks" / "patient01.nii.gz") for name in ("plain", "corrected")
    )
    expected = plain.copy()
    expected[4:6, :10, :10] = 1
    expected[10:] = 255
    np.testing.assert_array_equal(corrected, expected)
    sheet = read_pixels(output / "overlays" / "patient01.png")
    assert sheet.shape[1] == 6 * 256
    again = ["-s", "prepare.empty_slices=9", "-s", "data.image_size=[64, 64]"]
    pair = ["--images", output / "images", "--masks", output / "masks"]
    done = lungseg("prepare", *pair, "-o", tmp_path / "prepared", *again)
    assert done.exit_code == 0, done.output
    cases = [row["case"] for row in read_csv(tmp_path / "prepared" / "manifest.csv")]
    assert cases == [f"patient01_z{k:04d}" for k in range(1, 11)]
    issues = {row["code"]: row for row in read_csv(tmp_path / "prepared" / "issues.csv")}
    assert issues["unlabelled_slices"]["detail"] == "2 of 12 slices are not labelled"
    assert "labels_merged" not in issues  # 255 is no label of the lung there


def test_corrections_of_a_ct_that_is_not_there_are_refused(volume: Path, tmp_path: Path) -> None:
    (tmp_path / "corrections").mkdir()
    (tmp_path / "corrections" / "patient02.yaml").write_text("steps: [{}]")
    with pytest.raises(UsageError, match=r"patient02\.yaml: there is no CT of this name"):
        label([volume], tmp_path / "out", corrections=tmp_path / "corrections")
    with pytest.raises(UsageError, match="corrections"):
        label([volume], tmp_path / "out", corrections=tmp_path / "missing")
