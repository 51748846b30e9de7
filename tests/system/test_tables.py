"""Tables whose rows are dataclasses: written as `str` writes values, read back as their types."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lungseg.errors import DataError
from lungseg.system.tables import columns_of, decimals, read_rows, to_record, write_rows


@dataclass(frozen=True, kw_only=True)
class Row:
    case: str
    slices: int
    dice: float = decimals(3)
    volume: float
    flat: bool
    distance: float | None
    note: str = "none"


ROW = Row(case="a,b", slices=3, dice=2 / 3, volume=0.1, flat=True, distance=None)


def test_columns_are_the_fields_and_cells_keep_their_format(tmp_path: Path) -> None:
    write_rows(tmp_path / "t.csv", Row, [ROW])
    assert (tmp_path / "t.csv").read_bytes() == (
        b'case,slices,dice,volume,flat,distance,note\n"a,b",3,0.667,0.1,True,,none\n'
    )


def test_a_table_without_rows_holds_its_header(tmp_path: Path) -> None:
    write_rows(tmp_path / "t.csv", Row, [])
    assert (tmp_path / "t.csv").read_text().split() == [",".join(columns_of(Row))]
    assert read_rows(tmp_path / "t.csv", Row) == []


@given(
    st.builds(
        Row,
        case=st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0")),
        dice=st.integers(0, 1000).map(lambda n: n / 1000),
        volume=st.floats(allow_nan=False),
        distance=st.none() | st.floats(allow_nan=False),
        note=st.just("x"),
    )
)
def test_rows_are_read_back_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, row: Row
) -> None:
    path = tmp_path_factory.mktemp("tables") / "t.csv"
    write_rows(path, Row, [row])
    assert read_rows(path, Row) == [row]


def test_columns_with_a_default_may_be_missing_or_empty(tmp_path: Path) -> None:
    columns = "case,slices,dice,volume,flat,distance"
    (tmp_path / "t.csv").write_text(f"{columns},other\nx,1,0.5,2,False,4,y\n")
    [row] = read_rows(tmp_path / "t.csv", Row)
    assert row == Row(case="x", slices=1, dice=0.5, volume=2.0, flat=False, distance=4.0)
    assert row.note == "none"
    assert isinstance(row.volume, float)
    (tmp_path / "t.csv").write_text(f"{columns},note\nx,1,nan,2,False,,\n")
    [row] = read_rows(tmp_path / "t.csv", Row)
    assert (row.note, row.distance) == ("none", None)
    assert math.isnan(row.dice)


def test_a_column_without_a_default_is_needed(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("case,slices\nx,1\n")
    with pytest.raises(DataError, match="expected the columns case, slices, dice, volume, flat"):
        read_rows(tmp_path / "t.csv", Row)


@pytest.mark.parametrize(
    ("cells", "column"),
    [
        ("x,one,0.5,2,False,4", "slices"),
        ("x,1,half,2,False,4", "dice"),
        ("x,1,0.5,,False,4", "volume"),
        ("x,1,0.5,2,no,4", "flat"),
        ("x,1,0.5,2,False,far", "distance"),
        ("x,1,0.5", "volume"),
    ],
)
def test_a_cell_of_another_type_is_named_with_its_line(
    tmp_path: Path, cells: str, column: str
) -> None:
    path = tmp_path / "t.csv"
    path.write_text(f"case,slices,dice,volume,flat,distance\nx,1,0.5,2,False,4\n{cells}\n")
    with pytest.raises(DataError, match=f"line 3, column {column}: expected") as caught:
        read_rows(path, Row)
    assert caught.value.path == path


@dataclass(frozen=True)
class Lung:
    volume: float
    mean: float | None = None


@dataclass(frozen=True)
class Case:
    kind: str = field(metadata={"column": "class"})
    left: Lung = field(metadata={"prefix": "left_"})
    right: Lung | None = field(default=None, metadata={"prefix": "right_"})


CASES = [Case("a", Lung(1.5), Lung(2.0, -8.0)), Case("b", Lung(0.0, 3.0))]


def test_a_nested_row_is_a_group_of_columns(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    write_rows(path, Case, CASES)
    assert path.read_text() == (
        "class,left_volume,left_mean,right_volume,right_mean\na,1.5,,2.0,-8.0\nb,0.0,3.0,,\n"
    )
    assert read_rows(path, Case) == CASES
    assert to_record(CASES[1]) == {"class": "b", "left_volume": 0.0, "left_mean": 3.0}


def test_a_damaged_cell_of_a_nested_row_is_named(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("class,left_volume,right_volume,right_mean\na,1,,-8\n")
    with pytest.raises(DataError, match="line 2, column right_volume: expected a number, found ''"):
        read_rows(path, Case)
    path.write_text("class,left_volume\na,\n")
    with pytest.raises(DataError, match="line 2, column left_volume: expected a number, found ''"):
        read_rows(path, Case)
    path.write_text("class,left_mean\na,1\n")
    with pytest.raises(DataError, match="expected the columns class, left_volume;"):
        read_rows(path, Case)
