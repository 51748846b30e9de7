"""One rule for stems and their clashes, whoever pairs files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from lungseg.errors import DataError
from lungseg.evaluation.folders import pair_masks
from lungseg.imaging.folders import by_stem, pair_folders, stem_of
from lungseg.imaging.inputs import collect, find_clashes, pair_trees
from lungseg.imaging.trees import list_tree


def fill(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"x")
    return folder


def only_findings(found: list[Any]) -> list[Any]:
    """Return findings without the names of their cases."""
    return [each[1] if isinstance(each, tuple) else each for each in found]


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("a.png", "a"),
        ("a.b.PNG", "a.b"),
        ("a.nii.gz", "a"),
        ("A.NII.GZ", "A"),
        ("a.b.mha", "a.b"),
        ("notes.txt", "notes"),
    ],
)
def test_the_stem_of_a_file_ends_before_its_suffix(name: str, stem: str) -> None:
    assert stem_of(Path(name)) == stem


def test_the_stem_of_a_folder_is_its_name_however_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fill(tmp_path / "scan.1")
    assert stem_of(folder) == "scan.1"
    monkeypatch.chdir(folder)
    assert stem_of(Path()) == "scan.1"
    os.symlink(folder, tmp_path / "patient_7")
    assert stem_of(tmp_path / "patient_7") == "patient_7"


def test_stems_are_compared_without_their_case() -> None:
    paths = [Path(name) for name in ("b.png", "A.nii.gz", "a.mha", "B.tif", "c.png")]
    groups, clashes = by_stem(paths)
    assert {stem: [path.name for path in group] for stem, group in groups.items()} == {
        "b": ["b.png", "B.tif"],
        "a": ["A.nii.gz", "a.mha"],
        "c": ["c.png"],
    }
    assert clashes == [groups["b"], groups["a"]]


@pytest.mark.parametrize(("pair", "suffix"), [(pair_folders, ".png"), (pair_trees, ".nii.gz")])
def test_a_pair_may_differ_in_capital_letters_and_that_is_reported(
    tmp_path: Path, pair: Any, suffix: str
) -> None:
    images = fill(tmp_path / "images", f"Case{suffix}", f"same{suffix}")
    masks = fill(tmp_path / "masks", f"case{suffix}", f"same{suffix}")
    pairs, findings = pair(images, masks)[:2]
    assert [(p.case, p.mask.name) for p in pairs] == [
        ("Case", f"case{suffix}"),
        ("same", f"same{suffix}"),
    ]
    assert [(f.code, f.severity, f.path) for f in only_findings(findings)] == [
        ("stem_case", "warning", images / f"Case{suffix}")
    ]


@pytest.mark.parametrize(
    ("pair", "one", "two"), [(pair_folders, ".png", ".tif"), (pair_trees, ".nii.gz", ".mha")]
)
def test_none_of_the_files_that_share_a_stem_is_used_and_each_is_reported(
    tmp_path: Path, pair: Any, one: str, two: str
) -> None:
    images = fill(tmp_path / "images", f"a{one}", f"A{two}")
    masks = fill(tmp_path / "masks", f"a{one}")
    pairs, findings = pair(images, masks)[:2]
    assert pairs == []
    assert {(f.code, f.severity, f.path) for f in only_findings(findings)} == {
        ("duplicate_stem", "failed", images / f"a{one}"),
        ("duplicate_stem", "failed", images / f"A{two}"),
    }


def test_inputs_of_one_stem_clash_with_the_first(tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", "a.png", "A.nii.gz", "b.png")
    clashes = find_clashes(collect([folder]))
    assert clashes == {folder / "A.nii.gz": folder / "a.png"}


def test_masks_to_score_pair_without_their_case_and_all_clashes_are_named(tmp_path: Path) -> None:
    truth = fill(tmp_path / "truth", "Case.nii.gz", "b.png")
    predictions = fill(tmp_path / "pred", "case.mha", "B.tif", "more.png")
    pairing = pair_masks(predictions, truth)
    assert {c.name: c.prediction and c.prediction.name for c in pairing.cases} == {
        "Case": "case.mha",
        "b": "B.tif",
    }
    assert pairing.extra == ["more.png"]
    fill(predictions, "b.png", "CASE.nii")
    with pytest.raises(DataError) as caught:
        pair_masks(predictions, truth)
    assert caught.value.path == predictions
    assert "B.tif and b.png" in caught.value.what
    assert "CASE.nii and case.mha" in caught.value.what


def test_a_folder_without_dicom_is_no_volume(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "ct.mha").touch()
    assert [item.path for item in list_tree(tmp_path).items] == [tmp_path / "ct.mha"]
