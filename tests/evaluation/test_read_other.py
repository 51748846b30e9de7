"""The scores of an earlier evaluation, `--against`, are compared whole or not at all."""

from pathlib import Path

import pytest

from lungseg.errors import DataError
from lungseg.evaluation.results import read_other


def test_a_row_that_was_cut_short_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "per_case.csv"
    path.write_text("case,class,dice,hd95\na,lung,0.91,4.0\nb,lung,0.9")
    with pytest.raises(DataError, match=r"per_case\.csv: line 3: .* 3 of 4 cells"):
        read_other(path)
    path.write_text("case,class,dice,hd95\na,lung,0.91,4.0\nb,lung,0.9,\n")
    other = read_other(tmp_path)
    assert other is not None
    assert other.scores_of("lung", "dice") == {"a": 0.91, "b": 0.9}
    assert other.scores_of("lung", "hd95") == {"a": 4.0}
