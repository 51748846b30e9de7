"""Which files a layout pairs, by their names alone."""

import json
from pathlib import Path
from typing import Any

import pytest

from lungseg.config.loading import check_config
from lungseg.config.schema import DataConfig
from lungseg.imaging.dicom.series import series_uid
from lungseg.imaging.folders import Input
from lungseg.imaging.layouts import shared_part, stripped
from lungseg.imaging.pairing import find_pairs, labels_of, suggest
from tests.support.dicom_files import write_series
from tests.support.rtstructs import write_rtstruct
from tests.support.volumes import phantom_arrays


def fill(root: Path, *names: str) -> Path:
    """Write empty files; return the folder."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    return root


def patterns(**given: str) -> Any:
    return check_config({"data": {"pairing": given}}, "test").data.pairing


def paired(images: Path, masks: Path, pairing: Any) -> dict[str, tuple[str, str]]:
    """Return image and mask of each case, relative to their folders."""
    pairs, _ = find_pairs(images, masks, pairing)
    return {
        pair.case: (
            pair.image.relative_to(images).as_posix(),
            pair.mask.relative_to(masks).as_posix(),
        )
        for pair in pairs
    }


def codes(images: Path, masks: Path, pairing: Any) -> set[tuple[str, str]]:
    return {
        (finding.code, finding.path.name)
        for _, finding in find_pairs(images, masks, pairing)[1]
        if finding.path
    }


@pytest.mark.parametrize(
    ("name", "rest"),
    [
        ("p1_lung_mask", "p1"),
        ("p1-seg", "p1"),
        ("image_1", "1"),
        ("MASK_1", "1"),
        ("p1.label", "p1"),
        ("mask", "mask"),
        ("p1_masked", "p1_masked"),
        ("ct_scan", "ct"),
        ("lung_001", "001"),
    ],
)
def test_words_that_say_what_a_file_is_are_stripped(name: str, rest: str) -> None:
    assert stripped(name) == rest


def test_suffixes_pair_within_a_folder_and_across_two(tmp_path: Path) -> None:
    root = fill(tmp_path / "one", "a/p1_ct.nii.gz", "a/p1_mask.nii.gz", "b/p1_mask.nii.gz")
    assert paired(root, root, "suffix") == {"a_p1": ("a/p1_ct.nii.gz", "a/p1_mask.nii.gz")}
    assert codes(root, root, "suffix") == {("orphan_mask", "p1_mask.nii.gz")}
    images, masks = fill(tmp_path / "i", "p1.png", "p2.png"), fill(tmp_path / "m", "p1_lungs.png")
    assert paired(images, masks, "suffix") == {"p1": ("p1.png", "p1_lungs.png")}
    assert codes(images, masks, "suffix") == {("orphan_image", "p2.png")}


def test_two_masks_of_an_image_are_refused(tmp_path: Path) -> None:
    root = fill(tmp_path, "p1_ct.png", "p1_mask.png", "p1_seg.png")
    assert paired(root, root, "suffix") == {}
    expected = {("duplicate_stem", "p1_mask.png"), ("duplicate_stem", "p1_seg.png")}
    assert codes(root, root, "suffix") == expected


def test_an_image_and_a_volume_are_no_pair(tmp_path: Path) -> None:
    root = fill(tmp_path, "p1_ct.nii.gz", "p1_mask.png")
    assert paired(root, root, "suffix") == {}


@pytest.mark.parametrize(
    ("pattern", "within", "name", "part"),
    [
        (r"image_(.+)", (), "image_7.png", ("7",)),
        (r"image_(.+)", (), "an_image_7.png", None),  # with a group the whole name must match
        (r"_mask$", (), "p1_mask.nii.gz", ("p1",)),
        (r"_mask$", (), "p1_mask_2.nii.gz", None),
        (r"(\d+)_(a|b)", ("p",), "3_b.png", ("p", "3", "b")),
        (r"(.+)/ct", ("p1",), "ct.png", ("p1",)),
        (r"/ct$", ("x", "p1"), "ct.png", ("x", "p1")),
        (None, ("p1",), "ct.png", ("p1", "ct")),
    ],
)
def test_a_pattern_finds_what_image_and_mask_share(
    pattern: str | None, within: tuple[str, ...], name: str, part: tuple[str, ...] | None
) -> None:
    assert shared_part(pattern, Input(Path(*within, name), name, False, within)) == part


def test_patterns_pair_in_one_folder_and_in_folders_per_patient(tmp_path: Path) -> None:
    root = fill(tmp_path / "a", "image_1.png", "mask_1.png", "image_2.png", "notes_1.png")
    both = patterns(images="image_(.+)", masks="mask_(.+)")
    assert paired(root, root, both) == {"1": ("image_1.png", "mask_1.png")}
    assert codes(root, root, both) == {
        ("orphan_image", "image_2.png"),
        ("not_in_layout", "notes_1.png"),
    }
    root = fill(tmp_path / "b", "p1/ct.mha", "p1/lungs.mha", "p2/ct.mha")
    assert paired(root, root, patterns(images="(.+)/ct", masks="(.+)/lungs")) == {
        "p1": ("p1/ct.mha", "p1/lungs.mha")
    }
    root = fill(tmp_path / "c", "p1.mha", "p1_mask.mha", "p2.mha")
    assert paired(root, root, patterns(masks="_mask$")) == {"p1": ("p1.mha", "p1_mask.mha")}
    root = fill(tmp_path / "d", "p1.mha", "p1_ct.mha", "p2.mha")
    assert paired(root, root, patterns(images="_ct$")) == {"p1": ("p1_ct.mha", "p1.mha")}


def test_nnunet_pairs_the_first_channel_and_decathlon_the_name(tmp_path: Path) -> None:
    root = fill(
        tmp_path,
        "imagesTr/a_0000.nii.gz",
        "imagesTr/a_0001.nii.gz",
        "imagesTr/b_0007.nii.gz",  # Decathlon's, whose name ends in a number
        "imagesTr/._b_0007.nii.gz",
        "imagesTs/c_0000.nii.gz",
        "labelsTr/a.nii.gz",
        "labelsTr/b_0007.nii.gz",
        "dataset.json",
    )
    expected = {
        "a": ("imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz"),
        "b_0007": ("imagesTr/b_0007.nii.gz", "labelsTr/b_0007.nii.gz"),
    }
    assert paired(root, root, "nnunet") == expected
    assert codes(root, root, "nnunet") == {
        ("orphan_image", "a_0001.nii.gz"),
        ("not_in_layout", "c_0000.nii.gz"),
    }
    assert set(paired(root / "imagesTr", root / "labelsTr", "nnunet")) == {"a", "b_0007"}
    assert set(paired(tmp_path.parent, tmp_path.parent, "nnunet")) == {
        f"{tmp_path.name}_a",
        f"{tmp_path.name}_b_0007",
    }


def test_the_labels_of_nnunet_are_found_from_its_two_folders(tmp_path: Path) -> None:
    root = fill(tmp_path, "imagesTr/a_0000.png", "labelsTr/a.png")
    (root / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "lungs": 2}}))
    pairs, _ = find_pairs(root / "imagesTr", root / "labelsTr", "nnunet")
    data = DataConfig(pairing="nnunet")
    assert labels_of(data, pairs) == {"lung": [2]}
    assert labels_of(DataConfig(pairing="original"), pairs) == {}
    assert labels_of(DataConfig(pairing="luna16"), pairs) == {"lung": [3, 4]}
    (root / "dataset.json").unlink()
    assert labels_of(data, pairs) == {}


def test_totalsegmentator_pairs_a_folder_of_organs(tmp_path: Path) -> None:
    organs = [f"segmentations/{name}.nii.gz" for name in ("lung_left", "lung_right", "heart")]
    root = fill(
        tmp_path / "one",
        "s1/ct.nii.gz",
        *(f"s1/{organ}" for organ in organs),
        "s2/ct.nii.gz",
        *(f"s3/{organ}" for organ in organs),
        "s1/mri.nii.gz",
    )
    assert paired(root, root, "totalsegmentator") == {"s1": ("s1/ct.nii.gz", "s1/segmentations")}
    assert codes(root, root, "totalsegmentator") == {
        ("orphan_image", "ct.nii.gz"),
        ("orphan_mask", "segmentations"),
        ("not_in_layout", "mri.nii.gz"),
    }
    alone = root / "s1"
    assert list(paired(alone, alone, "totalsegmentator")) == ["s1"]
    # As the program writes them, for CTs that lie elsewhere.
    images = fill(tmp_path / "ct", "p1.nii.gz")
    masks = fill(tmp_path / "out", "p1/lung_left.nii.gz", "p1/lung_right.nii.gz")
    assert paired(images, masks, "totalsegmentator") == {"p1": ("p1.nii.gz", "p1")}


def test_luna16_pairs_by_stem_in_whatever_folders(tmp_path: Path) -> None:
    root = fill(
        tmp_path / "a",
        "subset0/1.2.mhd",
        "subset0/1.2.raw",
        "subset1/1.3.mhd",
        "seg-lungs-LUNA16/1.2.mhd",
        "seg-lungs-LUNA16/1.2.zraw",
        "annotations.csv",
    )
    expected = {"1.2": ("subset0/1.2.mhd", "seg-lungs-LUNA16/1.2.mhd")}
    assert paired(root, root, "luna16") == expected
    assert codes(root, root, "luna16") == {
        ("orphan_image", "1.3.mhd"),
        ("unsupported_file", "annotations.csv"),
    }
    images, masks = fill(tmp_path / "b", "subset0/1.2.mhd"), fill(tmp_path / "c", "1.2.mhd")
    assert paired(images, masks, "luna16") == {"1.2": ("subset0/1.2.mhd", "1.2.mhd")}


def test_covid19_ct_seg_takes_the_masks_of_the_lung(tmp_path: Path) -> None:
    folders = ("Lung_Mask", "Infection_Mask", "Lung_and_Infection_Mask")
    name = "coronacases_001.nii.gz"
    root = fill(tmp_path, name, *(f"{folder}/{name}" for folder in folders))
    assert paired(root, root, "covid19-ct-seg") == {"coronacases_001": (name, f"Lung_Mask/{name}")}
    other = root / "Lung_and_Infection_Mask"
    assert paired(root, other, "covid19-ct-seg") == {"coronacases_001": (name, name)}


def test_the_original_has_images_and_masks_in_each_part(tmp_path: Path) -> None:
    root = fill(
        tmp_path / "Lung",
        "train/images/1.jpg",
        "train/masks/1.jpg",
        "test/images/1.jpg",
        "test/masks/1.jpg",
        "valid/images/2.jpg",
    )
    assert paired(root, root, "original") == {
        "test_1": ("test/images/1.jpg", "test/masks/1.jpg"),
        "train_1": ("train/images/1.jpg", "train/masks/1.jpg"),
    }
    assert codes(root, root, "original") == {("orphan_image", "2.jpg")}
    part = root / "train"
    assert list(paired(part / "images", part / "masks", "original")) == ["1"]


def test_contours_belong_to_the_series_that_they_name(tmp_path: Path) -> None:
    hu, _ = phantom_arrays(3)
    folder = tmp_path / "p1"
    first, second = (write_series(folder, hu, prefix=prefix) for prefix in "ab")
    write_series(tmp_path / "p2", hu)
    write_rtstruct(folder / "RS.dcm", {}, second[0])  # beside the slices
    write_rtstruct(tmp_path / "rt/RS", {}, first[0])  # without suffix, somewhere else
    write_rtstruct(tmp_path / "rt/other.dcm", {})  # names no series
    write_rtstruct(tmp_path / "rt/another.dcm", {})
    write_rtstruct(tmp_path / "rt/stranger.dcm", {}, write_series(tmp_path.parent / "x", hu)[0])
    pairs, findings = find_pairs(tmp_path, tmp_path, "lctsc")
    assert {pair.mask: sorted(pair.files) for pair in pairs} == {
        folder / "RS.dcm": sorted(second),
        tmp_path / "rt/RS": sorted(first),
    }
    assert {(pair.case, pair.image) for pair in pairs} == {("p1", folder), ("p1_2", folder)}
    assert {(finding.code, case) for case, finding in findings} == {
        ("orphan_image", "p2"),
        ("orphan_mask", "other"),
        ("orphan_mask", "another"),
        ("orphan_mask", "stranger"),
    }


def test_a_damaged_series_is_a_failed_case(tmp_path: Path) -> None:
    hu, _ = phantom_arrays(2)
    good = write_series(tmp_path / "p1", hu)
    bad = write_series(tmp_path / "p2", hu)
    bad[0].write_bytes(bad[0].read_bytes()[:4000])
    write_rtstruct(tmp_path / "rt/1.dcm", {}, good[0])
    pairs, findings = find_pairs(tmp_path, tmp_path, "lctsc")
    assert [pair.case for pair in pairs] == ["p1"]
    assert [(case, f.code, f.severity) for case, f in findings] == [("p2", "unreadable", "failed")]
    assert series_uid(tmp_path / "p2") == series_uid(tmp_path / "nowhere") == ""
    assert series_uid(tmp_path / "p2", [tmp_path / "rt/none.dcm"]) == ""


def test_case_and_place_do_not_hide_a_pair(tmp_path: Path) -> None:
    root = fill(tmp_path, "imagesTr/A_0000.nii.gz", "labelsTr/a.nii.gz")
    assert list(paired(root, root, "nnunet")) == ["A"]


def test_suggestions_are_in_the_order_of_what_they_pair(tmp_path: Path) -> None:
    root = fill(
        tmp_path,
        "p1_ct.png",
        "p1_mask.png",
        "p2_ct.png",
        "p2_mask.png",
        "images/a.png",
        "masks/a.png",
    )
    assert suggest(root, root, "stem") == (
        " Another layout fits what is there: -s data.pairing=suffix pairs 2, original 1."
    )
    assert suggest(root, root, "suffix") == (
        " Another layout fits what is there: -s data.pairing=original pairs 1."
    )
    empty = fill(tmp_path / "other", "a.txt")
    assert suggest(empty, empty, "stem") == ""
