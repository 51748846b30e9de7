"""CT volumes with mask volumes are cut into slices; patients stay together and nameless."""

import hashlib
import hmac
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from pydicom.dataset import FileDataset

from lungseg.config.loading import check_config
from lungseg.config.schema import Config
from lungseg.errors import DataError, UsageError
from lungseg.imaging.pixels import apply_window, read_pixels
from lungseg.system.tables import read_csv
from lungseg.verbs.prepare import prepare
from lungseg.verbs.split import split
from tests.support.dicom_files import write_series
from tests.support.phantoms import tiny
from tests.support.places import SHARED_DATA
from tests.support.volumes import phantom_volume

SLICES = 8


def config(**prepare: object) -> Config:
    return check_config({**tiny(), "prepare": prepare}, "test")


def phantom(seed: int) -> tuple[sitk.Image, sitk.Image]:
    return phantom_volume(SLICES, seed=seed, spacing=(0.8, 0.8, 2.5), origin=(-20.0, 10.0, 5.0))


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    images, masks = tmp_path / "images", tmp_path / "masks"
    images.mkdir()
    masks.mkdir()
    return images, masks


def test_slices_are_those_of_the_volumes(folders: tuple[Path, Path], tmp_path: Path) -> None:
    images, masks = folders
    scan, lungs = phantom(0)
    sitk.WriteImage(sitk.DICOMOrient(scan, "RAS"), str(images / "a.nii.gz"))
    sitk.WriteImage(lungs, str(masks / "a.mha"))
    result = prepare(config(), images, masks, tmp_path / "out")
    assert result.slices == SLICES
    assert result.issues == []
    hu, labels = sitk.GetArrayFromImage(scan), sitk.GetArrayFromImage(lungs)
    for k in range(SLICES):
        name = f"a_z{k + 1:04d}.png"
        expected = apply_window(hu[k], (-1000, 400))
        np.testing.assert_array_equal(read_pixels(tmp_path / "out" / "images" / name), expected)
        mask = read_pixels(tmp_path / "out" / "masks" / name)
        np.testing.assert_array_equal(mask > 0, labels[k] > 0)


def test_a_mask_on_another_grid_is_resampled_and_said(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    images, masks = folders
    scan, lungs = phantom(1)
    sitk.WriteImage(scan, str(images / "a.nii.gz"))
    fine = sitk.Expand(lungs, [2, 2, 1], sitk.sitkNearestNeighbor)
    sitk.WriteImage(fine, str(masks / "a.nii.gz"))
    result = prepare(config(), images, masks, tmp_path / "out")
    assert result.count() == {"mask_resampled": 1}
    assert "spacing (0.4, 0.4, 2.5) against (0.8, 0.8, 2.5)" in result.issues[0].detail
    labels = sitk.GetArrayFromImage(lungs)
    mask = read_pixels(tmp_path / "out" / "masks" / "a_z0004.png")
    assert np.mean((mask > 0) == (labels[3] > 0)) > 0.99
    fine.SetOrigin((9000.0, 0.0, 0.0))
    sitk.WriteImage(fine, str(masks / "a.nii.gz"))
    with pytest.raises(DataError, match="lie outside its image"):
        prepare(config(), images, masks, tmp_path / "other")


def write_moved(
    folders: tuple[Path, Path],
    origin: tuple[float, float, float] | None = None,
    spacing: tuple[float, float, float] | None = None,
    size: int = SLICES,
) -> None:
    """Write a scan, and its mask of the first slices with another origin or spacing."""
    images, masks = folders
    scan, lungs = phantom(0)
    sitk.WriteImage(scan, str(images / "a.nii.gz"))
    mask = lungs[:, :, :size]
    mask.SetOrigin(origin or mask.GetOrigin())
    mask.SetSpacing(spacing or mask.GetSpacing())
    sitk.WriteImage(mask, str(masks / "a.nii.gz"))


@pytest.mark.parametrize(
    ("origin", "spacing", "size"),
    [
        ((0.0, 0.0, 0.0), None, SLICES),  # as saving through numpy leaves it
        (None, (1.0, 1.0, 1.0), SLICES),
        ((-20.0, 10.0, 12.5), None, SLICES),  # three slices further up
        ((-20.0, 10.0, 15.0), None, 5),  # of another size as well
    ],
)
def test_a_mask_that_loses_labels_outside_its_image_is_refused(
    folders: tuple[Path, Path],
    tmp_path: Path,
    origin: tuple[float, float, float] | None,
    spacing: tuple[float, float, float] | None,
    size: int,
) -> None:
    write_moved(folders, origin, spacing, size)
    with pytest.raises(DataError, match=r"looks as if it was lost|lie outside") as caught:
        prepare(config(), *folders, tmp_path / "out")
    assert ("give it the image's spacing" in str(caught.value)) == (size == SLICES)


def test_a_mask_that_shrank_within_its_image_is_refused(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    scan, lungs = phantom_volume(SLICES, spacing=(2.0, 2.0, 3.0), origin=(-20.0, 10.0, 5.0))
    lungs.SetSpacing((1.0, 1.0, 1.0))
    sitk.WriteImage(scan, str(folders[0] / "a.nii.gz"))
    sitk.WriteImage(lungs, str(folders[1] / "a.nii.gz"))
    with pytest.raises(DataError, match="looks as if it was lost: spacing"):
        prepare(config(), *folders, tmp_path / "out")


def test_lost_labels_are_counted(folders: tuple[Path, Path], tmp_path: Path) -> None:
    _, lungs = phantom(0)
    labels = sitk.GetArrayFromImage(lungs)
    at_the_rim = int(labels[0].sum())
    labels[0] = 0
    labels[0].ravel()[: at_the_rim // 100] = 1
    write_moved(folders)
    moved = sitk.GetImageFromArray(labels)
    moved.CopyInformation(lungs)
    moved.SetOrigin((-20.0, 10.0, 2.5))  # a slice further down
    sitk.WriteImage(moved, str(folders[1] / "a.nii.gz"))
    result = prepare(config(), *folders, tmp_path / "out")
    lost = f"{at_the_rim // 100} of {labels.sum()} labelled voxels"
    assert lost in next(row.detail for row in result.issues if row.code == "mask_resampled")


def test_a_label_that_no_voxel_of_the_image_meets_is_refused(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    _, lungs = phantom(0)
    fine = sitk.GetArrayFromImage(sitk.Expand(lungs, [2, 2, 3], sitk.sitkNearestNeighbor))
    fine[3, 5, 5] = 2  # between the slices of the scan
    mask = sitk.GetImageFromArray(fine)
    mask.CopyInformation(sitk.Expand(lungs, [2, 2, 3], sitk.sitkNearestNeighbor))
    write_moved(folders)
    sitk.WriteImage(mask, str(folders[1] / "a.nii.gz"))
    with pytest.raises(DataError, match="label 2 would be lost, because its 1 voxels"):
        prepare(config(), *folders, tmp_path / "out")


def test_only_the_labels_of_the_config_are_lung_and_must_lie_in_the_image(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    _, lungs = phantom(0)
    labels = sitk.GetArrayFromImage(lungs) * np.uint8(4)
    labels[:, :4] = 5
    above = np.full((4, *labels.shape[1:]), 9, np.uint8)  # the mask reaches far above the scan
    mask = sitk.GetImageFromArray(np.concatenate([labels, above]))
    mask.SetSpacing(lungs.GetSpacing())
    mask.SetOrigin(lungs.GetOrigin())
    write_moved(folders)
    sitk.WriteImage(mask, str(folders[1] / "a.nii.gz"))
    wanted = check_config({**tiny(), "data": {**tiny()["data"], "labels": {"lung": [4]}}}, "test")
    result = prepare(wanted, *folders, tmp_path / "out")
    assert set(result.count()) == {"labels_mapped", "mask_resampled"}
    written = read_pixels(tmp_path / "out" / "masks" / "a_z0004.png")
    np.testing.assert_array_equal(written > 0, labels[3] == 4)


@pytest.mark.parametrize(
    ("label", "where", "said"),
    [
        (5, "spine", "5 is the trachea"),
        (2, "trachea", "as the air in the trachea"),
        (2, "spine", "as bone or contrast medium"),
        (9, "lungs", "more than lungs alone have"),
    ],
)
def test_a_label_that_may_not_be_lung_is_refused_without_the_config(
    folders: tuple[Path, Path], tmp_path: Path, label: int, where: str, said: str
) -> None:
    scan, lungs = phantom(0)
    hu, labels = sitk.GetArrayFromImage(scan), sitk.GetArrayFromImage(lungs)
    if label == 5:
        labels *= 3
    if where == "lungs":
        labels[4].ravel()[np.flatnonzero(labels[4])[:9]] = np.arange(1, 10)
    else:
        labels[4, 2:5, 2:5] = label
        hu[4, 2:5, 2:5] = -1000 if where == "trachea" else 400
    for values, folder in zip((hu, labels), folders, strict=True):
        image = sitk.GetImageFromArray(values)
        image.CopyInformation(scan)
        sitk.WriteImage(image, str(folder / "a.nii.gz"))
    with pytest.raises(DataError, match=said):
        prepare(config(), *folders, tmp_path / "out")
    lung = [each for each in range(1, 10) if where == "lungs" or each != label]
    wanted = {**tiny(), "data": {**tiny()["data"], "labels": {"lung": lung}}}
    result = prepare(check_config(wanted, "test"), *folders, tmp_path / "out")
    assert result.count() == {"labels_mapped": 1}


def test_a_mask_that_is_not_where_the_lungs_are_is_said(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    scan, lungs = phantom(0)
    turned = sitk.GetImageFromArray(np.rot90(sitk.GetArrayFromImage(lungs), axes=(1, 2)))
    turned.CopyInformation(scan)
    sitk.WriteImage(scan, str(folders[0] / "a.nii.gz"))
    sitk.WriteImage(turned, str(folders[1] / "a.nii.gz"))
    [issue] = prepare(config(), *folders, tmp_path / "out").issues
    assert (issue.severity, issue.code) == ("warning", "mask_without_air")


def test_a_finding_names_the_volume_it_is_about(folders: tuple[Path, Path], tmp_path: Path) -> None:
    images, masks = folders
    scan, lungs = phantom(0)
    sitk.WriteImage(scan, str(images / "case.mha"))
    sitk.WriteImage(lungs * 3, str(masks / "case.nii.gz"))
    sitk.WriteImage(scan, str(images / "alone.nii.gz"))
    prepare(config(), images, masks, tmp_path / "out")
    rows = {row["code"]: row for row in read_csv(tmp_path / "out" / "issues.csv")}
    assert rows["labels_merged"]["file"] == "case.nii.gz"
    assert rows["orphan_image"]["case"] == "alone"


def test_slices_without_lung_are_kept_in_the_stated_ratio(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    images, masks = folders
    scan, lungs = phantom(0)
    labels = sitk.GetArrayFromImage(lungs)
    labels[:4] = 0
    half = sitk.GetImageFromArray(labels)
    half.CopyInformation(lungs)
    sitk.WriteImage(scan, str(images / "a.nii.gz"))
    sitk.WriteImage(half, str(masks / "a.nii.gz"))
    for ratio, kept in ((0.0, 4), (0.5, 6), (5.0, 8)):
        result = prepare(
            config(empty_slices=ratio), images, masks, tmp_path / "out", overwrite=True
        )
        assert result.slices == kept
    assert prepare(config(), images, masks, tmp_path / "b").count()["empty_slices"] == 1


def test_neighbours_in_a_ct_are_no_duplicates_but_equal_slices_and_another_ct_are(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    images, masks = folders
    scan, lungs = phantom(0)
    hu, labels = sitk.GetArrayFromImage(scan), sitk.GetArrayFromImage(lungs)
    for name, slices in {
        "a": [hu[4], hu[4] + 8, hu[2], hu[4]],  # the second is like the first, the last equal
        "b": [hu[4] + 16, hu[6]],  # the first is like three slices of the other CT
    }.items():
        for folder, arrays in ((images, slices), (masks, [labels[4]] * len(slices))):
            image = sitk.GetImageFromArray(np.stack(arrays))
            image.SetSpacing(scan.GetSpacing())
            sitk.WriteImage(image, str(folder / f"{name}.nii.gz"))
    result = prepare(config(), images, masks, tmp_path / "out")
    found = sorted(
        (row.code, row.case, row.detail.split(" (")[0].removeprefix("the same pixels as "))
        for row in result.issues
        if "duplicate" in row.code
    )
    assert found == [
        ("exact_duplicate", "a_z0004", "a_z0001"),
        ("near_duplicate", "b_z0001", "like a_z0001"),
        ("near_duplicate", "b_z0001", "like a_z0002"),
        ("near_duplicate", "b_z0001", "like a_z0004"),
    ]


def write_patients(folders: tuple[Path, Path]) -> None:
    """Write four DICOM series of two patients."""
    images, masks = folders
    for number in range(4):
        scan, lungs = phantom(number // 2)

        def patient(ct: FileDataset, index: int, number: int = number) -> None:
            ct.PatientID = f"SECRET-{number // 2}"

        write_series(images / f"scan{number}", sitk.GetArrayFromImage(scan), patient)
        sitk.WriteImage(lungs, str(masks / f"scan{number}.nii.gz"))


def groups_of(prepared: Path) -> dict[str, str]:
    return {row["case"][:5]: row["group"] for row in read_csv(prepared / "manifest.csv")}


def test_series_of_one_patient_are_one_group_and_the_name_is_nowhere(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    write_patients(folders)
    prepare(config(copies=1), *folders, tmp_path / "out")
    groups = groups_of(tmp_path / "out")
    assert groups["scan0"] == groups["scan1"] != groups["scan2"] == groups["scan3"]
    assert all(group.startswith("patient_") for group in groups.values())
    text = "".join(path.read_text() for path in (tmp_path / "out").glob("*.[ct][sx][vt]"))
    assert "SECRET" not in text
    grouped = check_config({**tiny(), "split": {"fractions": [0.5, 0, 0.5]}}, "test")
    [result] = split(grouped, tmp_path / "out", tmp_path / "dataset")
    sides = {s.group: part for part, slices in result.parts.items() for s in slices}
    assert sorted(sides.values()) == ["test", "train"]


def test_a_prepared_folder_does_not_hold_what_tells_its_patients(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    write_patients(folders)
    prepare(config(), *folders, tmp_path / "out")
    group = groups_of(tmp_path / "out")["scan0"]
    # Whoever has the folder can try every text in it as the key to a likely PatientID.
    files = [path.read_text().split() for path in (tmp_path / "out").glob("*.[ct][sx][vt]")]
    for key in {"", *(word for words in files for word in words)}:
        tries = (
            hashlib.sha256((key + "SECRET-0").encode()).hexdigest(),
            hmac.digest(key.encode(), b"SECRET-0", "sha256").hex(),
        )
        assert group.removeprefix("patient_") not in (each[:12] for each in tries)
    prepare(config(), *folders, tmp_path / "again")
    assert groups_of(tmp_path / "again")["scan0"] != group


def test_with_a_key_a_patient_has_one_name_in_every_prepare(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    write_patients(folders)
    names = []
    for number, key in enumerate(("0123456789abcdef", "0123456789abcdef\n", "another key of mine")):
        (tmp_path / "key").write_text(key)
        out = tmp_path / f"out{number}"
        prepare(config(patient_key=str(tmp_path / "key")), *folders, out)
        names.append(groups_of(out))
    assert names[0] == names[1]
    assert names[0]["scan0"] != names[2]["scan0"]
    (tmp_path / "key").write_text("too short")
    for key, error in (("key", "16 random characters or more, not 9"), ("gone", "cannot be read")):
        with pytest.raises(UsageError, match=error):
            prepare(config(patient_key=str(tmp_path / key)), *folders, tmp_path / "none")


def test_images_and_volumes_go_together_and_bad_volumes_are_listed(
    folders: tuple[Path, Path], tmp_path: Path, raw: Path
) -> None:
    images, masks = folders
    for kind, folder in (("images", images), ("masks", masks)):
        name = "patient01_slice02.png"
        (folder / name).write_bytes((raw / kind / name).read_bytes())
    scan, lungs = phantom(0)
    for stem in ("good", "cut", "alone"):
        sitk.WriteImage(scan, str(images / f"{stem}.nii.gz"))
        if stem != "alone":
            sitk.WriteImage(lungs, str(masks / f"{stem}.nii.gz"))
    (images / "cut.nii.gz").write_bytes(b"\x1f\x8b broken")
    result = prepare(config(), images, masks, tmp_path / "out")
    assert result.slices == SLICES + 1
    found = {row.file: (row.code, row.severity) for row in result.issues}
    assert found["cut.nii.gz"] == ("unreadable", "failed")
    assert found["alone.nii.gz"] == ("orphan_image", "left_out")


def test_the_real_right_lung_gets_its_mask(tmp_path: Path, folders: tuple[Path, Path]) -> None:
    source = SHARED_DATA / "mha-right-lung"
    if not source.is_dir():
        pytest.skip("the real volume (shared/data/mha-right-lung) is not here")
    images, masks = folders
    (images / "a.mha").write_bytes((source / "3DCT_lung_baseline_small.mha").read_bytes())
    (masks / "a.mha").write_bytes((source / "3DCT_lung_baseline_mask.mha").read_bytes())
    result = prepare(Config(), images, masks, tmp_path / "out")
    assert "mask_resampled" in result.count()
    rows = read_csv(tmp_path / "out" / "manifest.csv")
    lung = []
    for row in rows:
        image = read_pixels(tmp_path / "out" / row["image"])
        mask = read_pixels(tmp_path / "out" / row["mask"]) > 0
        lung.append(image[mask])
    # On the right grid the mask covers air: dark in a window from -1000 to 400 HU.
    assert np.median(np.concatenate(lung)) < 40
