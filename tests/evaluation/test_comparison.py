"""Another evaluation's `per_case.csv` that is damaged is named, not a crash."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lungseg.config.loading import with_overrides
from lungseg.config.schema import Config
from lungseg.errors import DataError, UsageError
from lungseg.evaluation.cases import CaseScore, score_classes
from lungseg.evaluation.comparison import compare_with, read_other
from lungseg.evaluation.metrics import PixelSize

HEADER = "case,class,dice,distance_unit,volume_unit,truth_pixels,hd95\n"


def test_a_row_that_was_cut_short_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "per_case.csv"
    path.write_text(f"{HEADER}a,lung,0.91,pixels,pixels,9,4.0\nb,lung,0.9")
    with pytest.raises(DataError, match=r"per_case\.csv: line 3: .* 3 of 7 cells"):
        read_other(path)
    path.write_text(f"{HEADER}a,lung,0.91,pixels,pixels,9,4.0\nb,lung,0.9,pixels,pixels,9,\n")
    other = read_other(tmp_path)
    assert other is not None
    assert other.scores_of("lung", "dice") == {"a": 0.91, "b": 0.9}
    assert other.scores_of("lung", "hd95") == {"a": 4.0}


def test_a_damaged_score_of_the_other_evaluation_is_named(tmp_path: Path) -> None:
    (tmp_path / "per_case.csv").write_text(
        f"{HEADER}a,lung,0.5,pixels,pixels,9,high\nb,lung,,mm,mL,9,2\nc,left,0.25,mm,mL,9,3\n"
    )
    other = read_other(tmp_path)
    assert other is not None
    assert other.scores_of("lung", "dice") == {"a": 0.5}
    with pytest.raises(DataError, match="case a, column hd95: expected a number, found 'high'"):
        other.scores_of("lung", "hd95")


def row(case: str) -> CaseScore:
    """Return the score of a mask of 9 pixels against itself."""
    mask = np.zeros((5, 5), np.uint8)
    mask[1:4, 1:4] = 1
    scores = score_classes(mask, mask, ("background", "lung"), PixelSize(), (1,))["lung"]
    return CaseScore(
        case=case, group=case, class_name="lung", method="model", pixel_accuracy=1.0, scores=scores
    )


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ("pixels,pixels,9", None),
        ("pixels,pixels,8", r"case b, lung: .* \(8 pixels there, 9 here\)"),
        ("mm,pixels,9", "case b: its distance_unit is mm there and pixels here"),
        ("pixels,mL,9", "case b: its volume_unit is mL there and pixels here"),
    ],
)
def test_a_case_with_another_truth_or_unit_is_found_behind_one_that_is_absent(
    cells: str, said: str | None, tmp_path: Path
) -> None:
    (tmp_path / "per_case.csv").write_text(f"{HEADER}b,lung,0.91,{cells},4.0\n")
    other = read_other(tmp_path)
    assert other is not None
    if said is None:
        other.check_alike([row("a"), row("b")])
        return
    with pytest.raises(DataError, match=said):
        other.check_alike([row("a"), row("b")])


def test_cases_of_one_evaluation_alone_are_listed_and_left_out(tmp_path: Path) -> None:
    cells = "pixels,pixels,9,4.0\n"
    (tmp_path / "per_case.csv").write_text(
        f"{HEADER}z,lung,0.5,{cells}b,lung,0.75,{cells}c,lung,0.5,{cells}"
    )
    other = read_other(tmp_path)
    assert other is not None
    found = compare_with(other, [row(case) for case in "abc"], ["lung"], Config())
    assert found["not_compared"] == ["a", "z"]
    assert found["lung"]["dice"]["mean_difference"] == pytest.approx((0.25 + 0.5) / 2)
    with pytest.raises(DataError, match="has no case in common"):
        compare_with(other, [row("x")], ["lung"], Config())
    alike = compare_with(other, [row(case) for case in "zbc"], ["lung"], Config())
    assert "not_compared" not in alike


def test_the_other_evaluation_is_a_folder_or_a_file_or_none(tmp_path: Path) -> None:
    assert read_other(None) is None
    for missing in (tmp_path, tmp_path / "none.csv"):
        with pytest.raises(UsageError, match=r"\.csv: there is no such file \(--against\)"):
            read_other(missing)
    (tmp_path / "per_case.csv").write_text("case,class\n")
    with pytest.raises(DataError, match="dice"):
        read_other(tmp_path)


@pytest.mark.parametrize(
    ("digest", "flag", "refused"),
    [
        ("", "", False),
        ("SAME", "", False),
        ("other", "", True),
        ("other", "truth_empty", True),
        ("other", "not_comparable", False),
    ],
)
def test_a_truth_is_another_if_its_hash_is_known_and_differs(
    digest: str, flag: str, refused: bool, tmp_path: Path
) -> None:
    one = row("b")
    digest = one.scores.truth_sha256 if digest == "SAME" else digest
    (tmp_path / "per_case.csv").write_text(
        f"{HEADER.strip()},truth_sha256,flag\nb,lung,0.9,pixels,pixels,9,1,{digest},{flag}\n"
    )
    other = read_other(tmp_path)
    assert other is not None
    mine = replace(one, scores=replace(one.scores, flag="not_comparable"))
    other.check_alike([mine])
    if not refused:
        other.check_alike([one])
        return
    with pytest.raises(DataError, match="its true mask is not the one"):
        other.check_alike([one])


def test_a_comparison_says_the_patients_it_rests_on(tmp_path: Path) -> None:
    cells = "pixels,pixels,9,4.0\n"
    (tmp_path / "per_case.csv").write_text(
        HEADER + "".join(f"{case},lung,0.5,{cells}" for case in "abcdefx")
    )
    other = read_other(tmp_path)
    assert other is not None
    config = with_overrides(Config(), {"evaluate.bootstrap": 10})
    found = compare_with(other, [row(case) for case in "abcdey"], ["lung"], config)
    assert (found["other"], found["no_interval"]) == (str(tmp_path / "per_case.csv"), None)
    assert found["not_compared"] == ["f", "x", "y"]
    dice, hd95 = found["lung"]["dice"], found["lung"]["hd95"]
    assert (dice["patients"], dice["ci95"], dice["median_difference"]) == (5, [0.5, 0.5], 0.5)
    assert hd95["mean_difference"] == -4
    assert "iou" not in found["lung"]  # the other table has none
    one = [replace(row(case), group="anna") for case in "abcde"]
    few = compare_with(other, one, ["lung"], config, "A group is a file.")
    assert few["no_interval"] == "it needs at least 5 groups, not 1"
