"""Another evaluation's `per_case.csv` that is damaged is named, not a crash."""

from pathlib import Path

import pytest

from lungseg.errors import DataError
from lungseg.evaluation.comparison import read_other

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
