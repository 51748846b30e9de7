"""The shipped network's numbers: lung in mL, Dice of a patient, false lung per slice."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from lungseg.system.tables import write_json
from scripts.maintain.judge_model import Judged, by_patient, count, judge
from scripts.maintain.make_model import with_collections
from tests.support.volumes import image_of

SPACING = (2.0, 5.0, 10.0)  # a voxel of 0.1 mL


def volumes() -> tuple[np.ndarray, np.ndarray]:
    """Labels of four slices, one without lung and one unlabelled, and a mask."""
    truth, mask = np.zeros((4, 6, 6), np.uint8), np.zeros((4, 6, 6), np.uint8)
    truth[0, :2], truth[1, :1], truth[3] = 1, 3, 255
    mask[0, 1:3], mask[2, 5, :3], mask[3] = 1, 2, 1
    return truth, mask


def test_lung_is_counted_in_millilitres_without_unlabelled_slices() -> None:
    truth, mask = (image_of(values, SPACING) for values in volumes())
    found = count("a", "p", truth, mask)
    assert (found.slices, found.slices_without_lung) == (3, 1)
    assert (found.lung_ml, found.found_ml, found.both_ml) == (1.8, 1.5, 0.6)
    assert found.false_ml == 0.3


@pytest.mark.parametrize("moved", [{"spacing": (2.0, 5.0, 5.0)}, {"origin": (1.0, 0.0, 0.0)}])
def test_masks_on_another_grid_are_refused(moved: dict[str, tuple[float, ...]]) -> None:
    truth, mask = volumes()
    with pytest.raises(ValueError, match="a: mask and label lie on different grids"):
        count("a", "p", image_of(truth, SPACING), image_of(mask, **{"spacing": SPACING, **moved}))


def test_the_cts_of_a_patient_are_added_up(tmp_path: Path) -> None:
    for kind, index in (("truth", 0), ("masks", 1)):
        (tmp_path / kind).mkdir()
        whole = volumes()[index]
        parts = {"a": whole, "b": whole[:1], "c": whole[2:3] * 0}
        for case, values in parts.items():
            sitk.WriteImage(image_of(values, SPACING), str(tmp_path / kind / f"{case}.nii.gz"))
    patients = {"a": "p", "b": "p", "c": "q"}
    first, second = by_patient(judge(tmp_path / "masks", tmp_path / "truth", patients))
    # Labels 18 + 12, masks 15 + 12, both 6 + 6 voxels.
    assert first["dice"] == round(2 * 12 / (30 + 27), 4)
    assert first["false_ml"] == 0.3
    assert (first["kind"], first["slices"], first["lung_ml"]) == ("volume", 4, 3.0)
    assert second == {
        "patient": "q",
        "kind": "slices",
        "slices": 1,
        "slices_without_lung": 1,
        "lung_ml": 0,
        "found_ml": 0,
        "dice": None,
        "false_ml": 0,
    }


def test_a_patient_to_whose_label_lung_was_added_is_known(tmp_path: Path) -> None:
    # configs/label-corrections/ adds lung to lidc-0314, removes some of ct-heart, and has no
    # file for lidc-0001.
    cases = ["lidc-0001", "lidc-0314", "ct-heart-cropped-1.5mm-lps"]
    about = {case: {"patient": f"of {case}", "citation": "A. B (C). D"} for case in cases}
    (tmp_path / "labels").mkdir()
    write_json(tmp_path / "labels" / "labels.json", about)
    judged = [Judged(case, f"of {case}", 2, 0, 1, 1, 1, 0) for case in cases]
    rows = with_collections(judged, tmp_path)
    assert [row["lung_added"] for row in rows] == [False, True, False]
    assert [row["collection"] for row in rows] == ["C"] * 3
