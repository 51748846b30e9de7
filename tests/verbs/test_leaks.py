"""A copy is recognised however it was moved, and a slice of an unknown patient by its looks."""

import logging
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from lungseg.config.loading import check_config
from lungseg.config.schema import Config
from lungseg.errors import DataError, UsageError
from lungseg.imaging.pixels import apply_window
from lungseg.system.tables import read_csv
from lungseg.verbs.prepare import prepare
from lungseg.verbs.split import split
from lungseg.verbs.train import count_slices
from tests.support.bodies import SIDE, bodies, body, write_layout, write_slices
from tests.support.places import SHARED_DATA

Image = np.ndarray


def config(**values: object) -> Config:
    return check_config({"data": {"image_size": [SIDE, SIDE]}, "split": values}, "test")


def moved(angle: float = 0, scale: float = 1) -> Callable[[Image], Image]:
    matrix = cv2.getRotationMatrix2D(((SIDE - 1) / 2, (SIDE - 1) / 2), angle, scale)
    return lambda image: cv2.warpAffine(image, matrix, (SIDE, SIDE))


COPIES: dict[str, Callable[[Image], Image]] = {
    "left_right": np.fliplr,
    "up_down": np.flipud,
    "quarter_turn": np.rot90,
    "shrunk_to_90": moved(scale=0.9),
    "shrunk_to_60": moved(scale=0.6),
    "turned_by_5": moved(5),
    "turned_by_30": moved(-30),
    "flipped_turned_shrunk": lambda image: moved(17, 0.8)(np.fliplr(image)),
    "darker": lambda image: (image * 0.7).astype(np.uint8),
}


@pytest.mark.parametrize("names", [None, r"^([a-z]\d+)"])
@pytest.mark.parametrize("copy", COPIES)
def test_the_audit_sees_a_copy_however_it_was_moved(
    copy: str, names: str | None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = np.ascontiguousarray(COPIES[copy](body(2)))
    parts = {"train": bodies(range(8)), "test": {**bodies((21, 22), "q"), "q2": made}}
    write_layout(tmp_path / "data", parts)
    checked = config(group_regex=names, allow_leakage=True)
    with caplog.at_level(logging.WARNING, logger="lungseg"):
        [result] = split(checked, tmp_path / "data", tmp_path / "out")
    [audit] = result.audit
    assert set(audit.cases) == {"p2", "q2"}
    assert "look like one patient's" in caplog.text
    assert "1 slices of test" in caplog.text
    if names is None:
        with pytest.raises(DataError, match="p2 and q2"):
            split(config(), tmp_path / "data", tmp_path / "other")


def test_a_fair_likeness_is_a_leak_if_a_patient_is_unknown_and_else_a_doubt(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mixed = cv2.addWeighted(body(2), 0.6, body(50), 0.4, 0)
    write_layout(tmp_path / "data", {"train": bodies(range(8)), "test": {"q2": mixed}})
    with pytest.raises(DataError, match=r"p2 and q2, similarity 0\.[78]"):
        split(config(), tmp_path / "data", tmp_path / "out")
    with caplog.at_level(logging.WARNING, logger="lungseg"):
        split(config(group_regex="(.*)"), tmp_path / "data", tmp_path / "out")
    assert "Was a patient named twice?" in caplog.text


def test_slices_of_different_patients_are_no_leak(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_layout(tmp_path / "data", {"train": bodies(range(8)), "test": bodies(range(21, 27))})
    with caplog.at_level(logging.WARNING, logger="lungseg"):
        [result] = split(config(), tmp_path / "data", tmp_path / "out")
    assert "look like" not in caplog.text.replace("look alike", "")
    assert result.audit[0].similarity < 0.75


def test_a_table_names_the_patients_of_a_data_set_in_parts(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_layout(tmp_path / "data", {"train": bodies((1, 2, 3)), "test": bodies((4, 5))})
    table = tmp_path / "patients.csv"
    table.write_text("case,group\np1,anna\np2,ben\np3,ben\np4,carl\np5,dora\n")
    split(config(group_csv=str(table)), tmp_path / "data", tmp_path / "out")
    rows = read_csv(tmp_path / "out" / "split.csv")
    assert {row["case"]: row["group"] for row in rows}["p3"] == "ben"
    # A split that is split again takes the new names.
    table.write_text("case,group\np1,anna\np2,ben\np3,ben\np4,anna\np5,dora\n")
    for source in ("data", "out"):
        with pytest.raises(DataError, match="look like one patient's") as leak:
            split(config(group_csv=str(table)), tmp_path / source, tmp_path / "again")
        assert "p1 and p4, similarity 1.000" in str(leak.value)
    with caplog.at_level(logging.WARNING, logger="lungseg"):
        named = {"split": {"group_csv": str(table)}, "train": {"monitor": "last"}}
        count_slices(check_config(named, "test"), tmp_path / "data", tmp_path / "run")
    assert "unknown" not in caplog.text
    assert "p1 and p4, similarity 1.000" in caplog.text


@pytest.mark.parametrize(
    ("rows", "error"),
    [
        ("p1,a\np2,\np3, \n", "names no group for 2 of 3 cases, the first is 'p2'"),
        ("p1,a\np2,b\np3,c\np1,b\n", "gives the case 'p1' two groups, 'a' and 'b'"),
    ],
)
def test_a_table_with_blank_or_several_patients_is_refused(
    rows: str, error: str, tmp_path: Path
) -> None:
    write_slices(tmp_path / "raw", bodies((1, 2, 3)))
    prepare(config(), tmp_path / "raw" / "images", tmp_path / "raw" / "masks", tmp_path / "in")
    (tmp_path / "patients.csv").write_text("case,group\n" + rows)
    with pytest.raises(UsageError, match=error):
        named = config(group_csv=str(tmp_path / "patients.csv"))
        split(named, tmp_path / "in", tmp_path / "out")


@pytest.mark.parametrize(("volume", "mm"), [("lidc-0001", 5), ("crlm-1006", 10)])
def test_slices_of_one_scan_are_one_patient(volume: str, mm: int, tmp_path: Path) -> None:
    source = SHARED_DATA / "open-ct" / "volumes" / f"{volume}.nii.gz"
    if not source.is_file():
        pytest.skip("the real volume (shared/data/open-ct) is not here")
    scan = sitk.ReadImage(str(source))
    assert scan.GetSpacing()[2] == mm
    hu = sitk.GetArrayFromImage(scan)[:25]
    # Names without numbers, so that only the looks tell.
    names = [f"{chr(97 + k)}" for k in np.random.default_rng(0).permutation(len(hu))]
    images = [apply_window(cv2.resize(each, (256, 256)), (-1000, 400)) for each in hu]
    write_slices(tmp_path / "raw", dict(zip(names, images, strict=True)))
    checked = check_config({"data": {"image_size": [256, 256]}}, "test")
    prepare(checked, tmp_path / "raw" / "images", tmp_path / "raw" / "masks", tmp_path / "in")
    with pytest.raises(DataError, match=r"1 group\(s\) of slices cannot fill 3 parts"):
        split(checked, tmp_path / "in", tmp_path / "out")


def test_files_that_were_added_or_replaced_and_other_folders_are_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_slices(tmp_path / "raw", bodies(range(6)))
    prepare(config(), tmp_path / "raw" / "images", tmp_path / "raw" / "masks", tmp_path / "in")
    named = config(group_regex="(.*)")
    split(named, tmp_path / "in", tmp_path / "data")
    first = read_csv(tmp_path / "data" / "split.csv")[0]
    other = next(r for r in read_csv(tmp_path / "data" / "split.csv") if r["part"] == "test")
    assert first["part"] == "train"

    def read_again() -> str:
        caplog.clear()
        with caplog.at_level(logging.WARNING, logger="lungseg"):
            count_slices(named, tmp_path / "data", tmp_path / "run")
        return caplog.text

    assert "images" not in read_again()
    # The patient of a test slice gets into training in three ways.
    (tmp_path / "data" / first["image"]).unlink()  # it is a hard link
    (tmp_path / "data" / first["image"]).write_bytes(
        (tmp_path / "data" / other["image"]).read_bytes()
    )
    write_slices(tmp_path / "data" / "train", {"new": body(50)})
    write_slices(tmp_path / "data" / "val", {"late": body(51)})
    said = read_again()
    assert "1 images are not in" in said
    assert "Run lungseg split again to use them" in said
    assert "new.png" in said
    assert "images have other pixels than" in said
    assert Path(first["image"]).name in said
    assert "val: its slices are not used" in said
    # The replaced slice is compared as it is now.
    assert f"{first['case']} and {other['case']}, similarity 1.000" in said
    (tmp_path / "in" / first["image"].removeprefix("train/")).write_bytes(
        (tmp_path / "data" / "train" / "images" / "new.png").read_bytes()
    )
    caplog.clear()
    with caplog.at_level(logging.WARNING, logger="lungseg"):
        split(named, tmp_path / "in", tmp_path / "data2")
    assert "1 of 6 images have other pixels than" in caplog.text


def test_unknown_patients_are_said_and_few_as_well(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_layout(tmp_path / "data", {"train": bodies(range(8)), "valid": bodies((9,)),
                                     "test": bodies(range(21, 25))})  # fmt: skip

    def said(names: str | None) -> str:
        caplog.clear()
        with caplog.at_level(logging.WARNING, logger="lungseg"):
            split(config(group_regex=names), tmp_path / "data", tmp_path / "out", overwrite=True)
            count_slices(config(group_regex=names), tmp_path / "data", tmp_path / "run")
        return caplog.text

    unnamed, named = said(None), said("(.*)")
    assert unnamed.count("the patients of 13 of 13 slices are unknown") == 2  # split and train
    assert unnamed.count("Name the patients: split.group_regex or split.group_csv") == 2
    assert "unknown" not in named
    assert "the test part has 4 patients" in named
    write_layout(tmp_path / "data", {"test": bodies((25,))})
    assert "the test part has" not in said("(.*)")
    # What split wrote says it as well, without the config.
    with caplog.at_level(logging.WARNING, logger="lungseg"):
        split(config(), tmp_path / "data", tmp_path / "out", overwrite=True)
        caplog.clear()
        count_slices(config(), tmp_path / "out", tmp_path / "run")
    assert "the patients of 14 of 14 slices are unknown" in caplog.text


def test_a_copy_never_takes_the_name_of_a_slice(tmp_path: Path) -> None:
    write_slices(tmp_path / "raw", {"X": body(1), "X_aug01": body(2), "x_AUG02": body(3)})
    settings = check_config(
        {"data": {"image_size": [SIDE, SIDE]}, "prepare": {"copies": 2}}, "test"
    )
    prepare(settings, tmp_path / "raw" / "images", tmp_path / "raw" / "masks", tmp_path / "in")
    rows = read_csv(tmp_path / "in" / "manifest.csv")
    assert len({row["case"].casefold() for row in rows}) == len(rows) == 9
    assert len(list((tmp_path / "in" / "images").iterdir())) == 9
