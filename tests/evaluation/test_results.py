"""Another evaluation's `per_case.csv` that is damaged is named, not a crash."""

from pathlib import Path

import pytest

from lungseg.errors import DataError
from lungseg.evaluation.results import read_other


def test_a_damaged_score_of_the_other_evaluation_is_named(tmp_path: Path) -> None:
    (tmp_path / "per_case.csv").write_text(
        "case,class,dice,hd95\na,lung,0.5,high\nb,lung,,2\nc,left,0.25,3\n"
    )
    other = read_other(tmp_path)
    assert other is not None
    assert other.scores_of("lung", "dice") == {"a": 0.5}
    with pytest.raises(DataError, match="case a, column hd95: expected a number, found 'high'"):
        other.scores_of("lung", "hd95")
