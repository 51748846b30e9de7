"""Which files belong to a case, and what a single file as output must be."""

from pathlib import Path

import pytest

from lungseg.config.loading import with_overrides
from lungseg.config.schema import Config
from lungseg.errors import DataError, UsageError
from lungseg.imaging.folders import Input
from lungseg.inference.mask_file import input_for, mask_alone, names_a_file
from lungseg.inference.output_files import files_of, make_folders, written_for
from lungseg.inference.rows import CaseRow
from lungseg.system import console

VOLUME, IMAGE = Input(Path("in/a.mha"), "a", True), Input(Path("in/b.png"), "b", False)


def test_an_image_has_a_mask_an_overlay_and_a_probability() -> None:
    assert files_of(IMAGE) == ["b.png", "overlays/b.png", "probabilities/b.png"]


def test_a_volume_has_a_mask_of_any_suffix_films_and_contours() -> None:
    found = files_of(VOLUME)
    assert len(found) == len(set(found))
    for name in ("a.nii.gz", "a.nii", "a.mha", "a.nrrd", "a.dcm"):
        assert {name, f"probabilities/{name}"} <= set(found)
    pictures = {name for name in found if name.startswith("overlays/")}
    assert pictures == {"overlays/a.png", "overlays/a.gif", "overlays/a.mp4"}
    assert "rtstruct/a.dcm" in found


def test_only_files_that_are_there_were_written(tmp_path: Path) -> None:
    for name in ("overlays", "probabilities", "rtstruct", "c.mha"):
        (tmp_path / name).mkdir()
    there = ["a.mha", "a.dcm", "rtstruct/a.dcm", "probabilities/a.mha"]
    there += [f"overlays/a.{suffix}" for suffix in ("png", "gif", "mp4")]
    for name in (*there, "b.mha", "other.mha"):
        (tmp_path / name).touch()
    rows = [
        CaseRow("b", "b.mha", "failed", None),
        CaseRow("a", "a.mha", "done", "a.mha"),
        CaseRow("c", "c.mha", "done", "c.mha"),  # a folder
        CaseRow("d", "d.mha", "done", "d.mha"),
    ]
    assert written_for(rows, tmp_path) == there


@pytest.mark.parametrize("overlay", [True, False])
def test_folders_are_made_as_they_are_needed(overlay: bool, tmp_path: Path) -> None:
    config = with_overrides(Config(), {"infer.overlay": overlay})
    for _ in range(2):
        make_folders(tmp_path / "x" / "y", config)
    assert [path.name for path in (tmp_path / "x" / "y").iterdir()] == ["overlays"] * overlay
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="file: cannot be made: File exists"):
        make_folders(tmp_path / "file", config)


@pytest.mark.parametrize(
    ("name", "is_file"),
    [("m.png", True), ("m.nii.gz", True), ("m.mha", True), ("out", False), ("m.txt", False)],
)
def test_an_output_with_the_suffix_of_a_mask_is_a_file(
    name: str, is_file: bool, tmp_path: Path
) -> None:
    assert names_a_file(tmp_path / name) == is_file
    (tmp_path / name).mkdir()
    assert not names_a_file(tmp_path / name)


@pytest.mark.parametrize(
    ("item", "name", "stem", "suffix"),
    [
        (VOLUME, "lungs.nii.gz", "lungs", ".nii.gz"),
        (VOLUME, "lungs.v2.MHA", "lungs.v2", ".MHA"),
        (IMAGE, "mask.PNG", "mask", ".PNG"),
    ],
)
def test_the_input_takes_name_and_suffix_of_the_file(
    item: Input, name: str, stem: str, suffix: str, tmp_path: Path
) -> None:
    found = input_for([item], tmp_path / name)
    assert (found.name, found.suffix, found.path) == (stem, suffix, item.path)


def test_a_link_stands_for_the_file_that_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "link.png").symlink_to(tmp_path / "mask.nrrd")
    assert input_for([VOLUME], tmp_path / "link.png").suffix == ".nrrd"


@pytest.mark.parametrize(
    ("items", "name", "said"),
    [
        ([VOLUME, IMAGE], "m.mha", "is one file, but there are 2 inputs"),
        ([VOLUME], "m.png", "the mask of a CT volume is written as .nii.gz, "),
        ([VOLUME], "m.dcm", "the mask of a CT volume is written as"),
        ([IMAGE], "m.jpg", "the mask of an image is written as .png. "),
        ([IMAGE], "m.mha", "the mask of an image is written as .png. "),
    ],
)
def test_a_file_of_another_format_is_refused(items: list[Input], name: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        input_for(items, Path(name))


def test_what_is_written_beside_masks_is_left_out_and_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[str] = []
    monkeypatch.setattr(console, "warn", said.append)
    plain = with_overrides(Config(), {"infer.sides": True})
    found = mask_alone(plain)
    assert said == []
    assert found == with_overrides(plain, {"infer.gallery": "none"})
    changes = {"infer.overlay": True, "infer.rtstruct": True, "infer.probabilities": True}
    assert mask_alone(with_overrides(plain, changes)) == found
    assert said == [
        "the output is one file, so infer.overlay, infer.probabilities, infer.rtstruct have no "
        "effect. Give a folder."
    ]
