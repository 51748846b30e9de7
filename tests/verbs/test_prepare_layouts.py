"""A made sample of each layout goes through `prepare` and `split`, with the masks it has."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from typer.testing import Result

from lungseg.config.loading import check_config
from lungseg.config.pairing import PairingName
from lungseg.config.schema import Config
from lungseg.errors import DataError, UsageError
from lungseg.imaging.layouts import LAYOUTS
from lungseg.imaging.pixels import read_pixels
from lungseg.system.tables import read_csv
from lungseg.verbs.prepare import prepare
from lungseg.verbs.split import split
from tests.support.dicom_files import write_series
from tests.support.phantoms import tiny, write_phantoms
from tests.support.places import REPOSITORY
from tests.support.rtstructs import outlines, write_rtstruct
from tests.support.volumes import phantom_volume

SLICES, PATIENTS = 3, 3
Lungs = dict[str, np.ndarray]  # the mask of each case, `(D, H, W)`
Sample = Callable[[Path], Lungs]


def config(pairing: Any, **data: Any) -> Config:
    given = tiny()
    given["data"] |= {"pairing": pairing, **data}
    # The patients of volumes are known.
    given["split"]["group_regex"] = r"(patient\d+)_" if pairing == "original" else None
    return check_config(given, "test")


def patients() -> Iterator[tuple[int, Any, Any]]:
    """Yield the number, the CT and the lungs of each phantom patient."""
    for seed in range(PATIENTS):
        yield seed, *phantom_volume(SLICES, seed=seed)


def write(image: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))


def labelled(lungs: Any, left: int, right: int, other: int = 0) -> Any:
    """Return lungs with a label for each half of the image, and a strip of another at the edge."""
    mask = sitk.GetArrayFromImage(lungs)
    labels = np.zeros_like(mask)
    half = mask.shape[2] // 2
    labels[..., half:], labels[..., :half] = left * mask[..., half:], right * mask[..., :half]
    labels[:, :3, :3] = other
    image = sitk.GetImageFromArray(labels)
    image.CopyInformation(lungs)
    return image


def array(image: Any) -> np.ndarray:
    return np.asarray(sitk.GetArrayFromImage(image)) > 0


def nnunet(root: Path) -> Lungs:
    found = {}
    for seed, ct, lungs in patients():
        write(ct, root / f"imagesTr/chest_{seed:03}_0000.nii.gz")
        write(labelled(lungs, 2, 3, other=1), root / f"labelsTr/chest_{seed:03}.nii.gz")
        found[f"chest_{seed:03}"] = array(lungs)
    labels = {"background": 0, "heart": 1, "lung_left": 2, "lung_right": 3}
    content = {"channel_names": {"0": "CT"}, "labels": labels, "file_ending": ".nii.gz"}
    (root / "dataset.json").write_text(json.dumps(content))
    shutil.copy(root / "imagesTr/chest_000_0000.nii.gz", root / "imagesTr/chest_000_0001.nii.gz")
    return found


def decathlon(root: Path) -> Lungs:
    found = {}
    for seed, ct, lungs in patients():
        name = f"lung_{seed:03}.nii.gz"
        write(ct, root / "imagesTr" / name)
        write(labelled(lungs, 1, 1, other=2), root / "labelsTr" / name)
        for folder in ("imagesTr", "labelsTr"):  # as macOS leaves them in the archive
            (root / folder / f"._{name}").write_bytes(b"\0\5\x16\7")
        found[f"lung_{seed:03}"] = array(lungs)
    labels = {"0": "background", "1": "Lung", "2": "cancer"}
    content = {"modality": {"0": "CT"}, "labels": labels, "numTraining": PATIENTS}
    (root / "dataset.json").write_text(json.dumps(content))
    return found


def totalsegmentator(root: Path) -> Lungs:
    found = {}
    for seed, ct, lungs in patients():
        subject, mask = root / f"s{seed:04}", array(lungs)
        write(ct, subject / "ct.nii.gz")
        organs = {name: np.zeros(mask.shape, np.uint8) for name in ("heart", "lung_vessels")}
        for number, name in enumerate(("upper_lobe_left", "lower_lobe_left", "middle_lobe_right")):
            organs[f"lung_{name}"] = np.zeros(mask.shape, np.uint8)
            organs[f"lung_{name}"][:, number::3] = mask[:, number::3]
        organs["heart"][:, :5] = organs["lung_vessels"][:, 5:9] = 1
        for name, values in organs.items():
            image = sitk.GetImageFromArray(values)
            image.CopyInformation(lungs)
            write(image, subject / f"segmentations/{name}.nii.gz")
        found[f"s{seed:04}"] = mask
    (root / "meta.csv").write_text("image_id;age\n")
    return found


def luna16(root: Path) -> Lungs:
    found = {}
    for seed, ct, lungs in patients():
        name = f"1.3.6.1.4.1.14519.5.2.1.6279.{seed}"
        write(ct, root / f"subset{seed % 2}" / f"{name}.mhd")
        write(labelled(lungs, 3, 4, other=5), root / f"seg-lungs-LUNA16/{name}.mhd")
        found[name] = array(lungs)
    return found


def covid(root: Path) -> Lungs:
    found = {}
    for seed, ct, lungs in patients():
        name = f"coronacases_{seed:03}.nii.gz"
        write(ct, root / "COVID-19-CT-Seg_20cases" / name)
        write(labelled(lungs, 1, 2), root / "Lung_Mask" / name)
        write(labelled(lungs, 1, 0), root / "Infection_Mask" / name)
        found[f"coronacases_{seed:03}"] = array(lungs)
    return found


def lctsc(root: Path) -> Lungs:
    found = {}
    for seed, ct, lungs in patients():
        name = f"LCTSC-Train-S1-{seed:03}"
        study, mask = root / name / "study", array(lungs)

        def of_patient(slice_: Any, index: int, name: str = name) -> None:
            slice_.PatientID = name
            slice_.PixelSpacing = [5.0, 5.0]

        series = write_series(study / "ct", sitk.GetArrayFromImage(ct), of_patient)
        reader = sitk.ImageSeriesReader()
        reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(study / "ct")))
        grid = reader.Execute()
        left, right = mask.copy(), mask.copy()
        left[..., : mask.shape[2] // 2], right[..., mask.shape[2] // 2 :] = False, False
        body = np.ones_like(mask)
        rois = {"Esophagus": outlines(grid, body), "Lung_R": outlines(grid, right)}
        rois["Lung_L"] = outlines(grid, left)
        write_rtstruct(study / "rt" / "1-1.dcm", rois, series[0])
        found[f"{name}_study_ct"] = mask
    return found


def original(root: Path) -> Lungs:
    write_phantoms(root / "raw", PATIENTS, SLICES)
    found = {}
    for number, image in enumerate(sorted((root / "raw/images").iterdir())):
        part, mask = ("train", "valid", "test")[number % 3], root / "raw/masks" / image.name
        for folder, path in (("images", image), ("masks", mask)):
            (root / part / folder).mkdir(parents=True, exist_ok=True)
            shutil.move(path, root / part / folder / image.name)
        found[f"{part}_{image.stem}"] = read_pixels(root / part / "masks" / image.name)[None] > 0
    shutil.rmtree(root / "raw")
    return found


def suffixes(root: Path) -> Lungs:
    found = {}
    for seed, ct, lungs in patients():
        write(ct, root / f"p{seed}_ct.nii.gz")
        write(lungs, root / f"p{seed}_lung_mask.nii.gz")
        found[f"p{seed}"] = array(lungs)
    return found


def numbered(root: Path) -> Lungs:
    found = {}
    for seed, ct, lungs in patients():
        write(ct, root / f"image_{seed}.nii.gz")
        write(lungs, root / f"mask_{seed}.nii.gz")
        found[str(seed)] = array(lungs)
    return found


PATTERNS = {"images": "image_(.+)", "masks": "mask_(.+)"}
# The layout, what writes a sample, and how often `prepare` finds what.
SAMPLES: dict[str, tuple[Any, Sample, dict[str, int]]] = {
    "nnunet": ("nnunet", nnunet, {"labels_mapped": PATIENTS, "orphan_image": 1}),
    "decathlon": ("nnunet", decathlon, {"labels_mapped": PATIENTS}),
    "totalsegmentator": (
        "totalsegmentator",
        totalsegmentator,
        {"structures_taken": PATIENTS, "unsupported_file": 1},
    ),
    "luna16": ("luna16", luna16, {"labels_mapped": PATIENTS}),
    "covid19-ct-seg": (
        "covid19-ct-seg",
        covid,
        {"labels_merged": PATIENTS, "not_in_layout": PATIENTS},
    ),
    "lctsc": ("lctsc", lctsc, {"structures_taken": PATIENTS}),
    "original": ("original", original, {}),
    "suffix": ("suffix", suffixes, {}),
    "patterns": (PATTERNS, numbered, {}),
}


def check_masks(prepared: Path, lungs: Lungs) -> None:
    """Check that the masks are those of the phantoms, and that no slice is missing."""
    count = 0
    for case, mask in lungs.items():
        for k, plane in enumerate(mask):
            name = case if len(mask) == 1 else f"{case}_z{k + 1:04d}"
            written = read_pixels(prepared / "masks" / f"{name}.png") > 0
            np.testing.assert_array_equal(written, plane)
            count += 1
    assert count == len(list((prepared / "masks").iterdir()))


def test_each_layout_has_a_sample_and_is_explained() -> None:
    assert {"stem", *LAYOUTS} == {*get_args(PairingName)}
    assert {pairing for pairing, _, _ in SAMPLES.values() if pairing != PATTERNS} == {*LAYOUTS}
    page = (REPOSITORY / "docs/how-to/use-a-public-data-set.md").read_text()
    assert all(f"`{name}`](#" in page for name in LAYOUTS)


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_goes_through_prepare_and_split(name: str, tmp_path: Path) -> None:
    pairing, make, findings = SAMPLES[name]
    root = tmp_path / "data"
    root.mkdir()
    lungs = make(root)
    result = prepare(config(pairing), root, root, tmp_path / "prepared")
    assert result.count() == findings
    check_masks(tmp_path / "prepared", lungs)
    split(config(pairing), tmp_path / "prepared", tmp_path / "dataset")
    rows = read_csv(tmp_path / "dataset" / "split.csv")
    assert {row["part"] for row in rows} == {"train", "valid", "test"}
    assert len(rows) == sum(map(len, lungs.values()))
    assert len({row["group"] for row in rows}) == PATIENTS


def small(root: Path, image: str, mask: str, labels: tuple[int, int] = (1, 1)) -> Path:
    """Write one patient, whose mask has another label at the edge; return the folder."""
    ct, lungs = phantom_volume(SLICES)
    write(ct, root / image)
    write(labelled(lungs, *labels, other=5), root / mask)
    return root


def test_the_labels_of_a_config_come_before_those_of_a_layout(tmp_path: Path) -> None:
    name = "1.2.3.mhd"
    root = small(tmp_path / "data", f"subset0/{name}", f"seg-lungs-LUNA16/{name}", (3, 4))
    given = config("luna16", labels={"lung": [4]})
    detail = prepare(given, root, root, tmp_path / "out").issues[0].detail
    assert "label 3 (3360.7 mL) is background; label 4 (2870.4 mL) is lung" in detail


def test_a_dataset_json_without_lung_is_an_error_unless_the_config_says_more(
    tmp_path: Path,
) -> None:
    root = small(tmp_path / "data", "imagesTr/lung_001.nii.gz", "labelsTr/lung_001.nii.gz")
    labels = {"0": "background", "1": "cancer", "5": "Lungs-GTV"}
    (root / "dataset.json").write_text(json.dumps({"labels": labels}))
    with pytest.raises(DataError, match=r"dataset\.json: none of its labels is lung") as caught:
        prepare(config("nnunet"), root, root, tmp_path / "out")
    assert r"cancer [1], Lungs-GTV [5]. If one is, set data.labels" in str(caught.value)
    named = config("nnunet", structures={"lung": "cancer"})
    detail = prepare(named, root, root, tmp_path / "named").issues[0].detail
    assert "label 1 (6231.1 mL) is lung; label 5 (79.7 mL) is background" in detail
    result = prepare(config("nnunet", labels={"lung": [1]}), root, root, tmp_path / "given")
    assert result.issues[0].detail == detail
    (root / "dataset.json").write_text("{")
    with pytest.raises(DataError, match=r"dataset\.json: its labels cannot be read"):
        prepare(config("nnunet"), root, root, tmp_path / "damaged")


def test_regions_of_a_dataset_json_are_lists_of_labels(tmp_path: Path) -> None:
    root = small(tmp_path / "data", "imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz", (1, 2))
    labels = {"background": 0, "lungs": [1, 2], "lesion": 2, "heart": 5}
    (root / "dataset.json").write_text(json.dumps({"labels": labels}))
    detail = prepare(config("nnunet"), root, root, tmp_path / "out").issues[0].detail
    assert [part.split()[-1] for part in detail.split("; ")] == ["lung", "lung", "background"]


def test_data_sets_with_different_labels_are_not_mixed(tmp_path: Path) -> None:
    for number, code in (("1", 1), ("2", 2)):
        root = tmp_path / "raw" / f"Dataset00{number}"
        small(root, "imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz", (code, code))
        (root / "dataset.json").write_text(json.dumps({"labels": {"lung": code}}))
    with pytest.raises(DataError, match="give different labels to the lungs"):
        prepare(config("nnunet"), tmp_path / "raw", tmp_path / "raw", tmp_path / "out")


def test_organs_on_different_grids_fail_as_one_case(tmp_path: Path) -> None:
    root = tmp_path / "data"
    totalsegmentator(root)
    path = root / "s0001/segmentations/lung_lower_lobe_left.nii.gz"
    image = sitk.ReadImage(str(path))
    image.SetOrigin((50.0, 0.0, 0.0))
    sitk.WriteImage(image, str(path))
    result = prepare(config("totalsegmentator"), root, root, tmp_path / "out")
    assert result.slices == (PATIENTS - 1) * SLICES
    (failed,) = [issue for issue in result.issues if issue.severity == "failed"]
    assert (failed.case, "on another grid than the other organs" in failed.detail) == (
        "s0001",
        True,
    )


def test_slices_without_contours_are_left_out_and_counted(tmp_path: Path) -> None:
    ct, lungs = phantom_volume(6)
    series = write_series(tmp_path / "ct/p1", sitk.GetArrayFromImage(ct))
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path / "ct/p1")))
    mask = array(lungs)
    mask[2:4] = False
    shapes = outlines(reader.Execute(), mask)
    write_rtstruct(tmp_path / "rt/p1.dcm", {"Lungs": shapes, "Heart": []}, series[0])
    result = prepare(config("stem"), tmp_path / "ct", tmp_path / "rt", tmp_path / "out")
    assert result.count() == {"structures_taken": 1, "unlabelled_slices": 1}
    assert result.issues[1].detail == "2 of 6 slices are not labelled"
    assert result.slices == 4


def test_the_error_names_the_layout_that_fits(
    tmp_path: Path, lungseg: Callable[..., Result]
) -> None:
    root = small(tmp_path / "data", "imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz", (1, 1))
    out = ("-o", tmp_path / "out")
    result = lungseg("prepare", "--images", root / "imagesTr", "--masks", root / "labelsTr", *out)
    assert result.exit_code == 3
    assert "layout fits what is there: -s data.pairing=nnunet pairs 1." in _line(result)
    with pytest.raises(UsageError, match=r"its own mask.*data\.pairing=nnunet pairs 1\."):
        prepare(config("stem"), root, root, tmp_path / "out")
    with pytest.raises(DataError, match=r"data\.pairing=luna16\b.*data\.pairing=nnunet pairs 1\."):
        prepare(config("luna16"), root, root, tmp_path / "out")
    with pytest.raises(DataError) as caught:
        prepare(config("nnunet"), root / "imagesTr", root / "imagesTr", tmp_path / "out")
    assert "Another layout" not in str(caught.value)


def test_the_command_needs_one_folder_if_the_layout_has_both(
    tmp_path: Path, lungseg: Callable[..., Result]
) -> None:
    root = small(tmp_path / "data", "imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz", (1, 1))
    settings = ("-s", "data.pairing=nnunet", "-s", "data.labels={lung: [1]}")
    given = ("prepare", "--images", root, "-o", tmp_path / "out", *settings)
    result = lungseg(*given, "--dry-run")
    assert (result.exit_code, "1 pair would be prepared" in _line(result)) == (0, True)
    assert lungseg(*given).exit_code == 0
    assert len(list((tmp_path / "out/images").iterdir())) == SLICES
    without = lungseg("prepare", "--images", root, "-o", tmp_path / "other")
    assert (without.exit_code, "use --masks" in _line(without)) == (2, True)


def _line(result: Result) -> str:
    return " ".join(result.stderr.split())
