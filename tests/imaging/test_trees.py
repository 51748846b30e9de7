"""Folders are searched at any depth; each input has a name of its own, and the rest is said."""

import logging
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import FileDataset

from lungseg.errors import DataError
from lungseg.imaging.folders import Input
from lungseg.imaging.inputs import collect, find_clashes, pair_trees
from lungseg.imaging.trees import list_tree
from lungseg.imaging.volume_files import read_ct
from lungseg.system.tables import write_json
from tests.support.dicom_files import write_enhanced, write_series

HU = np.random.default_rng(1).integers(-1000, 400, (6, 8, 8)).astype(np.int16)


def fill(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


def names_of(items: list[Input]) -> list[str]:
    return [item.name for item in items]


def left_out(root: Path) -> dict[str, str]:
    """Return the reason for each thing that is not read."""
    findings = list_tree(root).findings
    return {f.path.relative_to(root).as_posix(): f.detail for f in findings if f.path}


# Names.


def test_a_tree_of_patients_studies_and_series(tmp_path: Path) -> None:
    for patient in ("PAT2", "PAT10"):
        write_series(tmp_path / patient / "STUDY" / "SERIES", HU)
    fill(tmp_path, "PAT2/scan.nii.gz", "PAT2/STUDY/a.png", "top.mha", "DICOMDIR", "PAT2/notes.txt")
    items = collect([tmp_path])
    assert [(item.name, item.place, item.is_volume) for item in items] == [
        ("top", "top.mha", True),
        ("PAT2_scan", "PAT2/scan.nii.gz", True),
        ("PAT2_STUDY_a", "PAT2/STUDY/a.png", False),
        ("PAT2_STUDY_SERIES", "PAT2/STUDY/SERIES", True),
        ("PAT10_STUDY_SERIES", "PAT10/STUDY/SERIES", True),
    ]
    assert left_out(tmp_path) == dict.fromkeys(
        ("DICOMDIR", "PAT2/notes.txt"), "neither an image nor a volume"
    )


def test_the_names_of_flat_folders_have_no_folder_in_them(tmp_path: Path) -> None:
    fill(tmp_path, "a.png", "ct.nii.gz")
    for folder in ("first", "second"):
        write_series(tmp_path / folder, HU)
    assert names_of(collect([tmp_path])) == ["a", "ct", "first", "second"]
    assert names_of(collect([tmp_path / "second", tmp_path / "a.png"])) == ["second", "a"]


def test_dicom_files_need_no_suffix_and_may_lie_beside_folders(tmp_path: Path) -> None:
    for path in write_series(tmp_path / "p" / "s", HU):
        path.rename(path.with_suffix(""))
    write_series(tmp_path / "p", HU)
    assert names_of(collect([tmp_path])) == ["p", "p_s"]


@pytest.mark.parametrize(
    ("files", "names"),
    [
        (("a_b/c.png", "a/b_c.png"), ["a_b_c", "a_b_c_2"]),
        (("a_b/c.mha", "a/b_c.nii", "a_b_c.nrrd"), ["a_b_c", "a_b_c_2", "a_b_c_3"]),
        (("a_b/c.png", "a/b_c.png", "a_b_c_2.png"), ["a_b_c", "a_b_c_2", "a_b_c_3"]),
        (("P/x.png", "p/x.png"), ["P_x", "p_x_2"]),
    ],
)
def test_names_that_collide_after_joining_are_numbered(
    tmp_path: Path, files: tuple[str, ...], names: list[str]
) -> None:
    items = collect([fill(tmp_path, *files)])
    assert sorted(names_of(items), key=str.casefold) == names
    assert len({item.path for item in items}) == len(files)
    assert find_clashes(items) == {}


def test_folders_of_one_name_that_are_given_get_the_names_of_their_parents(tmp_path: Path) -> None:
    for patient in ("P1", "P2"):
        fill(tmp_path / patient / "CT", "scan.mha", f"{patient}.mha")
    items = collect([tmp_path / "P1" / "CT", tmp_path / "P2" / "CT"])
    assert names_of(items) == ["P1", "P1_CT_scan", "P2", "P2_CT_scan"]
    # What is given twice is one input.
    assert names_of(collect([tmp_path, tmp_path / "P1", tmp_path / "P1/CT/scan.mha"])) == names_of(
        collect([tmp_path])
    )


def test_files_of_one_folder_that_share_a_stem_still_clash(tmp_path: Path) -> None:
    fill(tmp_path, "p/a.png", "p/A.nii.gz", "q/a.png")
    clashes = find_clashes(collect([tmp_path]))
    assert clashes == {tmp_path / "p" / "A.nii.gz": tmp_path / "p" / "a.png"}


def test_a_name_too_long_for_a_file_is_shortened_and_stays_its_own(tmp_path: Path) -> None:
    deep = Path(*["ü" * 40] * 12)
    items = collect([fill(tmp_path, f"{deep}/a/x.png", f"{deep}/b/x.png", f"{'n' * 200}.png")])
    for item in items[1:]:
        assert len(item.name.encode()) < 200
        assert item.name.startswith("ü" * 39)
        assert item.name.endswith("_x")
    assert len(set(names_of(items))) == 3
    assert items[0].name == "n" * 200  # directly in the folder, so the name is a person's


# What is left out.


def test_links_are_followed_once_and_never_in_a_circle(tmp_path: Path) -> None:
    root = fill(tmp_path / "root", "real/deep/x.png", "z.png")
    fill(tmp_path / "elsewhere", "y.png", "more/w.png")
    for link, target in {
        "a_circle": root,
        "real/deep/circle": root / "real",
        "above": tmp_path,
        "alias": root / "real" / "deep",  # its name sorts before that of the folder itself
        "out": tmp_path / "elsewhere",
        "out_again": tmp_path / "elsewhere" / "more",
    }.items():
        (root / link).symlink_to(target)
    (root / "itself").symlink_to("itself")
    assert names_of(collect([root])) == ["z", "out_y", "out_more_w", "real_deep_x"]
    told = left_out(root)
    assert told.pop("itself") == "neither an image nor a volume"
    assert set(told) == {"a_circle", "real/deep/circle", "above", "alias", "out_again"}
    assert all("a link to a folder" in reason for reason in told.values())


def test_hidden_folders_outputs_and_empty_folders_are_not_read_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fill(tmp_path, "p/x.png", ".git/y.png", "p/.cache/y.png", "p/masks/x.png", "mask.nii.gz")
    (tmp_path / "p" / "masks" / ".lungseg.jsonl").touch()
    write_json(tmp_path / ".lungseg.mask.nii.gz.json", {})
    (tmp_path / "p" / "none").mkdir()
    fill(tmp_path / "out", "x.nii.gz")
    os.mkfifo(tmp_path / "p" / "pipe")  # reading it would never end
    (tmp_path / "p" / "gone").symlink_to("nowhere")
    with caplog.at_level(logging.INFO, logger="lungseg"):
        assert names_of(collect([tmp_path], leave_out=tmp_path / "out")) == ["p_x"]
    assert caplog.messages == [
        f"{tmp_path}: left out (hidden folders are not read): .git, p/.cache",
        f"{tmp_path}: left out (the output of a command is no input): mask.nii.gz, p/masks",
        f"{tmp_path}: left out (neither an image nor a volume): p/gone, p/pipe",
        f"{tmp_path}: left out (empty folders): p/none",
    ]


def test_a_folder_with_nothing_in_it_at_any_depth_is_an_error(tmp_path: Path) -> None:
    fill(tmp_path, "a/b/notes.txt")
    with pytest.raises(DataError, match=r"holds no PNG.* at any depth"):
        collect([tmp_path])


def test_a_folder_that_cannot_be_opened_is_an_input_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The folder that is looked into after the locked one is read as well.
    fill(tmp_path, "p1/locked/x.png", "p2/x.png", "p2/deep/y.png")
    original = os.listdir

    def listdir(path: Path) -> list[str]:
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return original(path)

    monkeypatch.setattr(os, "listdir", listdir)
    items = collect([tmp_path])
    assert [(item.name, item.is_volume) for item in items] == [
        ("p2_x", False),
        ("p2_deep_y", False),
        ("p1_locked", True),
    ]
    pairs, findings = pair_trees(tmp_path, fill(tmp_path / "masks", "p2/x.png", "p2/deep/y.png"))
    assert [pair.case for pair in pairs] == ["p2_x", "p2_deep_y"]
    assert [(case, f.severity) for case, f in findings] == [("p1_locked", "failed")]


def test_an_entry_that_cannot_be_looked_at_fails_and_the_others_are_read(tmp_path: Path) -> None:
    fill(tmp_path, "p/a.png")
    (tmp_path / "p" / "b").symlink_to("x" * 300)  # longer than a name can be
    (tmp_path / "p" / ".c").symlink_to("x" * 300)
    assert [(item.name, item.is_volume) for item in collect([tmp_path])] == [
        ("p_a", False),
        ("p_b", True),
    ]


# Series in several folders.


def scatter(folder: Path, parts: list[int]) -> Path:
    """Write a series and move each slice into the folder `part<n>` that is given for it."""
    for path, part in zip(write_series(folder, HU), parts, strict=True):
        target = folder / f"part{part}" / path.name
        target.parent.mkdir(exist_ok=True)
        path.rename(target)
    return folder


@pytest.mark.parametrize("parts", [[1, 1, 1, 2, 2, 2], [1, 2, 1, 2, 1, 2], [1, 2, 3, 4, 5, 6]])
def test_a_series_in_several_folders_is_one_volume(tmp_path: Path, parts: list[int]) -> None:
    scatter(tmp_path / "P" / "S", parts)
    write_series(tmp_path / "P" / "S" / "part1" / "other", HU)
    one, other = collect([tmp_path])
    assert (one.name, one.path, len(one.files)) == ("P_S", tmp_path / "P" / "S", 6)
    assert (other.name, other.files) == ("P_S_part1_other", ())
    ct = read_ct(one.path, files=one.files)
    np.testing.assert_array_equal(ct.hu, HU)
    [finding] = ct.findings
    assert finding.code == "scattered_series"
    assert finding.detail.endswith(", ".join(f"part{n}" for n in sorted(set(parts))))


def test_half_a_series_may_lie_in_the_folder_of_the_other_half(tmp_path: Path) -> None:
    for path in write_series(tmp_path / "S", HU)[3:]:
        (tmp_path / "S" / "rest").mkdir(exist_ok=True)
        path.rename(tmp_path / "S" / "rest" / path.name)
    [item] = collect([tmp_path])
    assert (item.name, len(item.files)) == ("S", 6)


def test_each_other_series_of_these_folders_is_an_input(tmp_path: Path) -> None:
    scatter(tmp_path / "S", [1, 1, 1, 2, 2, 2])
    for prefix in ("b", "c"):
        write_series(tmp_path / "S" / "part2", HU[:4], prefix=prefix)
    items = collect([tmp_path])
    assert {item.name: len(item.files) for item in items} == {
        "S": 6,
        "S_part2": 4,
        "S_part2_2": 4,
    }
    for item in items:
        assert len(read_ct(item.path, files=item.files).hu) == len(item.files)


def test_copies_of_a_series_are_read_one_by_one(tmp_path: Path) -> None:
    write_series(tmp_path / "P1" / "S", HU)
    shutil.copytree(tmp_path / "P1", tmp_path / "P2")
    items = collect([tmp_path])
    assert [(item.name, item.files) for item in items] == [("P1_S", ()), ("P2_S", ())]
    [finding] = list_tree(tmp_path).findings
    assert (finding.code, finding.severity) == ("several_folders", "warning")
    assert "slices at the same positions" in finding.detail


def test_parts_with_a_gap_between_them_are_not_one_volume(tmp_path: Path) -> None:
    def gap(ct: FileDataset, index: int) -> None:
        ct.ImagePositionPatient = [-20.0, 10.0, 2.5 * (index if index < 3 else index + 20)]

    for path in write_series(tmp_path / "S", HU, gap):
        part = tmp_path / "S" / ("low" if read_ct(path).image.GetOrigin()[2] < 10 else "high")
        part.mkdir(exist_ok=True)
        path.rename(part / path.name)
    assert names_of(collect([tmp_path])) == ["S_high", "S_low"]
    [finding] = list_tree(tmp_path).findings
    assert finding.detail.startswith("2 folders have its series UID")


# Pairs.


def paired(images: Path, masks: Path) -> dict[str, tuple[str, str]]:
    return {
        pair.case: (
            pair.image.relative_to(images).as_posix(),
            pair.mask.relative_to(masks).as_posix(),
        )
        for pair in pair_trees(images, masks)[0]
    }


def test_images_and_masks_in_a_folder_a_patient_are_paired(tmp_path: Path) -> None:
    images = fill(tmp_path / "i", "p1/a.png", "p2/a.tif", "b.png", "p1/x/ct.nii.gz", "p2/only.png")
    masks = fill(tmp_path / "m", "p1/a.png", "p2/a.png", "b.png", "p1/x/ct.mha", "a.png")
    write_series(images / "p3" / "study" / "series", HU)
    fill(masks, "p3/study/series.nii.gz")
    assert paired(images, masks) == {
        "b": ("b.png", "b.png"),
        "p1_a": ("p1/a.png", "p1/a.png"),
        "p2_a": ("p2/a.tif", "p2/a.png"),
        "p1_x_ct": ("p1/x/ct.nii.gz", "p1/x/ct.mha"),
        "p3_study_series": ("p3/study/series", "p3/study/series.nii.gz"),
    }
    findings = {(case, f.code) for case, f in pair_trees(images, masks)[1]}
    assert findings == {("p2_only", "orphan_image"), ("a", "orphan_mask")}


def test_masks_with_the_names_of_cases_are_paired_as_infer_wrote_them(tmp_path: Path) -> None:
    images = fill(tmp_path / "i", "p1/a.png", "a_b/c.png", "a/b_c.png")
    write_series(images / "p3" / "study", HU)
    masks = fill(tmp_path / "m", "p1_a.png", "p3_study.nii.gz", "a_b_c.png")
    # Which of two images a_b_c.png belongs to is not known.
    assert paired(images, masks) == {
        "p1_a": ("p1/a.png", "p1_a.png"),
        "p3_study": ("p3/study", "p3_study.nii.gz"),
    }
    fill(masks, "a/b_c.png")
    assert paired(images, masks)["a_b_c"] == ("a/b_c.png", "a/b_c.png")
    assert len(paired(images, masks)) == 3


def test_masks_in_the_folder_of_the_images_are_no_images(tmp_path: Path) -> None:
    images = fill(tmp_path, "a.png", "p/b.png", "masks/a.png", "masks/p/b.png")
    assert set(paired(images, images / "masks")) == {"a", "p_b"}
    assert pair_trees(images, images / "masks")[1] == []


def test_a_series_in_several_folders_is_paired_and_read_as_one(tmp_path: Path) -> None:
    scatter(tmp_path / "i" / "p1", [1, 1, 1, 2, 2, 2])
    [pair] = pair_trees(tmp_path / "i", fill(tmp_path / "m", "p1.nii.gz"))[0]
    assert (pair.case, pair.image, len(pair.files)) == ("p1", tmp_path / "i" / "p1", 6)


def test_the_one_dicom_file_of_a_folder_is_paired_with_the_mask_of_its_name(
    tmp_path: Path,
) -> None:
    images = fill(tmp_path / "i", "p1/notes.txt", "p1/.scan2.dcm", "p2/scan.mha", "p4/a.png")
    for place in ("p1/Scan", "p2/scan", "p3/scan", "p4/other"):
        write_enhanced(images / f"{place}.dcm", HU)
    masks = fill(tmp_path / "m", "p1/scan.nii.gz", "p2/scan.nii.gz", "p4/a.png", "p4/x.nii.gz")
    fill(masks, "p3.nii.gz", "p3/scan.nii.gz")
    assert paired(images, masks) == {
        "p1": ("p1", "p1/scan.nii.gz"),
        "p2_scan": ("p2/scan.mha", "p2/scan.nii.gz"),  # which has its place
        "p3": ("p3", "p3.nii.gz"),
        "p4_a": ("p4/a.png", "p4/a.png"),
    }
    said = {(case, f.code) for case, f in pair_trees(images, masks)[1] if "left" in f.severity}
    assert said == {
        ("p1_notes", "unsupported_file"),
        ("p2", "orphan_image"),
        ("p3_scan", "orphan_mask"),
        ("p4", "orphan_image"),
        ("p4_x", "orphan_mask"),
    }


def test_a_mask_with_the_name_of_one_slice_of_several_is_not_that_of_the_series(
    tmp_path: Path,
) -> None:
    write_series(tmp_path / "i" / "p1", HU)
    masks = fill(tmp_path / "m", "p1/0000.nii.gz")
    assert (tmp_path / "i" / "p1" / "0000.dcm").exists()
    assert paired(tmp_path / "i", masks) == {}
