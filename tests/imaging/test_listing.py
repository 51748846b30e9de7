"""What is read of a folder and what is not, entry by entry; the keys that each layout gives."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from lungseg.config.pairing import PairPatterns
from lungseg.config.schema import DataConfig
from lungseg.errors import DataError
from lungseg.imaging import trees
from lungseg.imaging.folders import Input, Pair, list_images
from lungseg.imaging.layouts import LAYOUTS, Layout, Place, case_name, layout_of, shared_part
from lungseg.imaging.pairing import labels_of
from lungseg.imaging.trees import list_tree


def fill(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


def listed(root: Path, **options: Any) -> list[str]:
    return [item.place for item in list_tree(root, **options).items]


def test_hidden_files_are_passed_over_and_those_behind_them_are_read(tmp_path: Path) -> None:
    fill(tmp_path, ".a.png", ".b.mha", "c.png", "d/.e.png", "d/f.mha")
    listing = list_tree(tmp_path)
    assert [item.place for item in listing.items] == ["c.png", "d/f.mha"]
    assert listing.findings == []
    assert [path.name for path in list_images(tmp_path)[0]] == ["c.png"]


def test_folders_behind_one_that_cannot_be_listed_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, "a/1.png", "b/x/2.png", "c/3.png")
    real = trees._kinds

    def kinds(folder: Path) -> dict[Path, int | None]:
        if folder.name == "x":
            raise OSError(errno.EACCES, "Permission denied")
        return real(folder)

    monkeypatch.setattr(trees, "_kinds", kinds)
    fill(tmp_path, "c/y/z/4.png")
    listing = list_tree(tmp_path)
    assert [item.place for item in listing.items] == ["a/1.png", "c/3.png", "c/y/z/4.png"]
    [item] = listing.unreadable
    assert (item.name, item.within, item.is_volume) == ("b_x", ("b",), True)


def test_links_behind_one_that_is_read_already_are_followed(tmp_path: Path) -> None:
    fill(tmp_path, "in/a/1.png", "else/2.png")
    (tmp_path / "in" / "b").symlink_to(tmp_path / "in" / "a")
    (tmp_path / "in" / "c").symlink_to(tmp_path / "else")
    (tmp_path / "in" / "d").symlink_to(tmp_path / "in")
    listing = list_tree(tmp_path / "in")
    assert [item.place for item in listing.items] == ["a/1.png", "c/2.png"]
    found = {finding.path.name: finding.detail for finding in listing.findings if finding.path}
    assert found == dict.fromkeys("bd", trees.READ_ALREADY)
    assert {finding.code for finding in listing.findings} == {"folder_left_out"}


def test_a_folder_that_is_left_out_is_not_said(tmp_path: Path) -> None:
    fill(tmp_path, "a/1.png", "out/2.png", "b/3.png")
    listing = list_tree(tmp_path, [tmp_path / "out", None])
    assert [item.place for item in listing.items] == ["a/1.png", "b/3.png"]
    assert listing.findings == []


def test_the_voxels_of_an_mhd_are_no_input_and_not_said(tmp_path: Path) -> None:
    fill(tmp_path, "a.mhd", "a.raw", "b.ZRAW", "c.txt", "d/a.raw")
    listing = list_tree(tmp_path, series=False)
    assert [item.place for item in listing.items] == ["a.mhd"]
    found = [(f.path.relative_to(tmp_path).as_posix(), f.code) for f in listing.findings if f.path]
    assert found == [("c.txt", "unsupported_file"), ("d/a.raw", "unsupported_file")]


def test_dicom_files_are_masks_where_they_are_no_slices(tmp_path: Path) -> None:
    fill(tmp_path, "a.dcm", "p/b.dcm")
    assert listed(tmp_path, series=False) == ["a.dcm", "p/b.dcm"]
    assert listed(tmp_path, top_series=False) == ["a.dcm"]  # the other is no DICOM
    assert listed(tmp_path) == []


def test_entries_have_the_modes_that_they_are_looked_at_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, "s10", "s2")
    (tmp_path / "broken").symlink_to(tmp_path / "nowhere")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    modes = trees._kinds(tmp_path)
    assert [path.name for path in modes] == ["broken", "circle", "s2", "s10"]
    assert [modes[tmp_path / name] for name in ("broken", "circle")] == [0, 0]
    assert all(modes[tmp_path / name] for name in ("s2", "s10"))
    real = Path.stat

    def stat(path: Path, **options: Any) -> os.stat_result:
        if path.name in refused:
            raise OSError(errno.EACCES, "Permission denied")
        return real(path, **options)

    monkeypatch.setattr(Path, "stat", stat)
    refused = {"s2", "broken", "circle"}
    assert trees._kinds(tmp_path)[tmp_path / "s2"] is None
    assert trees._kinds(tmp_path)[tmp_path / "s10"]
    refused = {"s2", "s10", "broken", "circle"}
    with pytest.raises(OSError, match="Permission denied"):
        trees._kinds(tmp_path)


def place(path: str, *, one_tree: bool = False, root: str = "root", volume: bool = True) -> Place:
    *within, _ = path.split("/")
    return Place(Input(Path(path), path, volume, tuple(within)), root, one_tree)


def images(name: Any, where: Place) -> list[tuple[str, ...]]:
    return [*LAYOUTS[name].images(where)]


def mask(name: Any, where: Place) -> tuple[str, ...] | None:
    return LAYOUTS[name].masks(where)


def test_suffixes_are_stripped_and_tell_masks_in_one_folder() -> None:
    assert images("suffix", place("p/1_ct.mha")) == [("p", "1")]
    assert mask("suffix", place("p/1_lung_mask.mha")) == ("p", "1")
    assert mask("suffix", place("p/1_ct.mha", one_tree=True)) is None
    assert mask("suffix", place("p/1_seg.mha", one_tree=True)) == ("p", "1")


def test_nnunet_has_its_folders_and_its_first_channel() -> None:
    assert images("nnunet", place("t/imagesTr/a_0000.nii")) == [("t", "a_0000"), ("t", "a")]
    assert images("nnunet", place("imagesTr/a.nii")) == [("a",)]
    assert images("nnunet", place("a.nii", root="imagesTr")) == [("a",)]
    assert images("nnunet", place("labelsTr/a.nii")) == []
    assert mask("nnunet", place("t/labelsTr/a.nii")) == ("t", "a")
    assert mask("nnunet", place("imagesTr/a.nii")) is None


def test_organs_are_in_a_folder_beside_their_scan() -> None:
    name = "totalsegmentator"
    assert images(name, place("s1/CT.nii.gz")) == [("s1",)]
    assert images(name, place("s1/ct.nii.gz", volume=False)) == []
    assert images(name, place("s1/segmentations/ct.nii.gz")) == []
    assert images(name, place("s1/other.nii.gz")) == [("s1", "other")]
    assert images(name, place("s1/other.nii.gz", one_tree=True)) == []
    assert mask(name, place("s1/segmentations/lung.nii.gz")) == ("s1",)
    assert mask(name, place("s1/segmentations/lung.png", volume=False)) is None
    assert mask(name, place("s1/lung.nii.gz")) == ("s1",)
    assert mask(name, place("s1/lung.nii.gz", one_tree=True)) is None


def test_luna16_has_its_masks_in_a_folder_for_them() -> None:
    inside = place("seg-lungs-LUNA16/1.mhd", one_tree=True)
    assert (images("luna16", inside), mask("luna16", inside)) == ([], ("1",))
    scan = place("subset0/1.mhd", one_tree=True)
    assert (images("luna16", scan), mask("luna16", scan)) == ([("1",)], None)
    assert mask("luna16", place("1.mhd")) == ("1",)
    picture = place("seg-lungs-LUNA16/1.png", volume=False)
    assert (images("luna16", picture), mask("luna16", picture)) == ([], None)
    assert images("luna16", place("1.png", volume=False)) == []


def test_covid19_ct_seg_has_masks_of_the_lung_and_others() -> None:
    name = "covid19-ct-seg"
    lung = place("Lung_Mask/1.nii", one_tree=True)
    assert (images(name, lung), mask(name, lung)) == ([], ("1",))
    other = place("Infection_Mask/1.nii")
    assert (images(name, other), mask(name, other)) == ([], None)
    scan = place("scans/1.nii", one_tree=True)
    assert (images(name, scan), mask(name, scan)) == ([("1",)], None)
    assert mask(name, place("1.nii")) == ("1",)
    assert mask(name, place("1.nii", one_tree=True)) is None
    assert mask(name, place("Lung_Mask/1.png", volume=False)) is None
    assert images(name, place("1.png", volume=False)) == []


def test_the_original_has_two_folders_in_each_part() -> None:
    assert images("original", place("p/images/1.png")) == [("p", "1")]
    assert images("original", place("p/masks/1.png")) == []
    assert mask("original", place("p/masks/1.png")) == ("p", "1")
    assert mask("original", place("p/images/1.png")) is None


@pytest.mark.parametrize(
    ("pattern", "key"),
    [
        (None, ("p", "q", "ct_1_a")),
        ("ct_", ("p", "q", "1_a")),
        ("mr_", None),
        (r"ct_(\d)_(.)", ("p", "q", "1", "a")),
        (r"ct_(\d)", None),  # all of the name has to match
        (r"ct_(\d)_(.)(z)?", ("p", "q", "1", "a", "")),
        ("q/ct_", ("p", "1_a")),
        (r"p/(.)/ct_(.*)", ("q", "1_a")),
    ],
)
def test_a_pattern_gives_the_part_that_is_shared(
    pattern: str | None, key: tuple[str, ...] | None
) -> None:
    assert shared_part(pattern, place("p/q/ct_1_a.nii.gz").item) == key


def test_patterns_of_images_alone_leave_the_rest_to_the_masks() -> None:
    layout = layout_of(PairPatterns(images="_ct"))
    assert layout is not None
    assert layout.images(place("1_ct.mha")) == [("1",)]
    assert layout.images(place("1.mha")) == []
    assert layout.masks(place("1_ct.mha")) is None
    assert layout.masks(place("1.mha")) == ("1",)
    assert layout_of("stem") is None
    assert layout_of("nnunet") is LAYOUTS["nnunet"]


def test_a_case_has_the_name_of_its_key_or_of_its_folder() -> None:
    item = place("p/1.mha").item
    layout = Layout("", lambda _: [], lambda _: None)
    assert case_name(layout, item, ("a", "", "b"), "root") == "a_b"
    assert case_name(layout, item, ("",), "root") == "root"
    assert case_name(LAYOUTS["lctsc"], item, ("a",), "root") == "p/1.mha"


@pytest.mark.parametrize(
    ("labels", "found"),
    [
        ('{"background": 0, "lung": 3}', [3]),
        ('{"0": "background", "4": "lung", "2": "left lung"}', [2, 4]),
        ('{"lung": [2, 1], "right lung": 2}', [1, 2]),
    ],
)
def test_the_labels_of_a_dataset_are_those_that_are_lung(
    labels: str, found: list[int], tmp_path: Path
) -> None:
    path = tmp_path / "dataset.json"
    path.write_text(f'{{"labels": {labels}}}')
    pair = Pair("a", tmp_path / "imagesTr" / "a", tmp_path / "labelsTr" / "a")
    data = DataConfig(pairing="nnunet")
    assert labels_of(data, [pair]) == {"lung": found}
    path.write_text('{"labels": {"heart": 1}}')
    with pytest.raises(DataError, match=r"none of its labels is lung by its name: heart \[1\]"):
        labels_of(data, [pair])
    for damaged in ("{}", "[]", "{", '{"labels": {"lung": "x"}}', '{"labels": 3}'):
        path.write_text(damaged)
        with pytest.raises(DataError, match="its labels cannot be read"):
            labels_of(data, [pair])
    path.unlink()
    assert labels_of(data, [pair]) == {}
    assert labels_of(DataConfig(pairing="luna16"), []) == {"lung": [3, 4]}
    given = DataConfig(pairing="luna16", labels={"lung": [7]})
    assert labels_of(given, []) == {"lung": [7]}
    assert labels_of(DataConfig(), [pair]) == {}
