"""JSON and CSV files, and CSV tables whose rows are frozen dataclasses.

The columns of a table are the fields of its row, in their order. A field without a default is a
column that a file must have. None is an empty cell. Other values are written by `str`.

    @dataclass(frozen=True)
    class Row:
        case: str
        dice: float = decimals(4)
        kind: str = field(metadata={"column": "class"})
        left: Measures | None = field(default=None, metadata={"prefix": "left_"})

`decimals` fixes the digits of a float. `column` is the name of a column that cannot be the field's.
A field that is a dataclass itself stands for the columns of its own fields, with `prefix` before
each. A mapping stands for a column per key; rows with one are written but not read.
"""

from __future__ import annotations

import csv
import io
import json
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, field, fields, is_dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, Union, get_args, get_origin, get_type_hints

from lungseg.errors import DataError
from lungseg.system.files import UNDECODED, write_text

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Row = TypeVar("Row", bound="DataclassInstance")

# By the type of a column: the function that reads a cell, and what the cell should hold.
PARSERS: dict[Any, tuple[Any, str]] = {
    str: (str, "text"),
    int: (int, "a whole number"),
    float: (float, "a number"),
    bool: ({"True": True, "False": False}.__getitem__, "True or False"),
}


def write_json(path: Path, document: object) -> None:
    """Write indented JSON, whole or not at all."""
    write_text(path, json.dumps(document, indent=2, default=str) + "\n")


def read_json(path: Path) -> Any:
    """Read JSON.

    Raises:
        DataError: if the file is missing or holds something else.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(path, "there is no such file.") from None
    except (OSError, ValueError, RecursionError) as problem:
        raise DataError(path, f"expected JSON, but it cannot be read: {problem}.") from None


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """Write a CSV with a header, whole or not at all."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def read_csv(path: Path, needed: Iterable[str] = ()) -> list[dict[str, str]]:
    """Read a CSV with a header.

    Raises:
        DataError: if it cannot be read, or a `needed` column is absent.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig", errors=UNDECODED) as stream:
            reader = csv.DictReader(stream)
            rows = list(reader)
            columns = list(reader.fieldnames or [])
    except FileNotFoundError:
        raise DataError(path, "there is no such file.") from None
    except (OSError, ValueError, csv.Error) as problem:
        raise DataError(path, f"expected CSV, but it cannot be read: {problem}.") from None
    missing = [name for name in needed if name not in columns]
    if missing:
        raise DataError(
            path, f"expected the columns {', '.join(needed)}; it has {', '.join(columns)}."
        )
    return rows


def decimals(digits: int, default: Any = MISSING) -> Any:
    """Declare a float field of a dataclass that is written with this number of decimals."""
    metadata = {"format": f".{digits}f"}
    if default is MISSING:
        return field(metadata=metadata)
    return field(default=default, metadata=metadata)


def columns_of(kind: type[DataclassInstance], prefix: str = "") -> list[str]:
    """Return the columns of a row type, with `prefix` before each."""
    columns = []
    for each, inner, _ in _typed_fields(kind):
        name = prefix + _name(each, inner)
        columns += columns_of(inner, name) if is_dataclass(inner) else [name]
    return columns


def to_record(row: DataclassInstance) -> dict[str, Any]:
    """Return the values of a row by column, without those that are None."""
    return {column: value for column, value, _ in _entries(row)}


def cells_of(row: DataclassInstance) -> dict[str, str]:
    """Return the cells of a row by column as they are written, without those that are empty."""
    return {column: format(value, form) for column, value, form in _entries(row)}


def _entries(row: DataclassInstance, prefix: str = "") -> Iterator[tuple[str, Any, str]]:
    """Yield the column, the value and its format for each value of a row that is not None."""
    for each in fields(row):
        value = getattr(row, each.name)
        form = each.metadata.get("format", "")
        if is_dataclass(value):
            yield from _entries(value, prefix + _name(each, value))  # type: ignore[arg-type]
        elif isinstance(value, Mapping):
            yield from ((f"{prefix}{key}", entry, form) for key, entry in value.items())
        elif value is not None:
            yield prefix + _name(each, value), value, form


def write_rows(path: Path, kind: type[Row], rows: Iterable[Row]) -> None:
    """Write a table, whole or not at all; without rows it holds only the header."""
    write_csv(path, columns_of(kind), map(cells_of, rows))


def read_rows(path: Path, kind: type[Row]) -> list[Row]:
    """Read a table into rows of a dataclass with fields of `str`, `bool`, `int` and `float`.

    A field may also be `| None`: an empty cell is None. In a column with a default, an empty cell
    is the default. A nested dataclass that may be None is None if all its cells are empty. Columns
    that are no field are ignored.

    Raises:
        DataError: if the file cannot be read, lacks a column without a default, or has a cell of
            another type; the message names the line and the column.
    """
    texts = read_csv(path, _needed(kind))
    # The header is line 1; a cell that holds a line break makes the number too small.
    return [_row(path, line, kind, cells) for line, cells in enumerate(texts, 2)]


def _needed(kind: type[DataclassInstance], prefix: str = "") -> list[str]:
    """Return the columns without a default."""
    needed = []
    for each, inner, _ in _typed_fields(kind):
        if each.default is MISSING:
            name = prefix + _name(each, inner)
            needed += _needed(inner, name) if is_dataclass(inner) else [name]
    return needed


def _row(
    path: Path, line: int, kind: type[Row], cells: Mapping[str, str | None], prefix: str = ""
) -> Row:
    values: dict[str, Any] = {}
    for each, inner, optional in _typed_fields(kind):
        name = prefix + _name(each, inner)
        if is_dataclass(inner):
            empty = optional and not any(cells.get(column) for column in columns_of(inner, name))
            values[each.name] = None if empty else _row(path, line, inner, cells, name)
            continue
        text = cells.get(name)
        if not text and each.default is not MISSING:
            values[each.name] = each.default
        elif text == "" and optional:
            values[each.name] = None
        else:
            values[each.name] = _value(path, line, name, inner, text)
    return kind(**values)


def _value(path: Path, line: int, column: str, kind: type[Any], text: str | None) -> Any:
    parse, expected = PARSERS[kind]
    try:
        if text is None:  # the line has too few cells
            raise ValueError
        return parse(text)
    except (ValueError, KeyError):
        found = "no cell" if text is None else repr(text)
        raise DataError(
            path, f"line {line}, column {column}: expected {expected}, found {found}."
        ) from None


@lru_cache(maxsize=32)
def _typed_fields(kind: type[DataclassInstance]) -> list[tuple[Field[Any], type[Any], bool]]:
    """Return each field, its type without None, and whether it may be None."""
    hints = get_type_hints(kind)
    typed = []
    for each in fields(kind):
        hint = hints[each.name]
        optional = get_origin(hint) in (Union, types.UnionType)
        if optional:
            (hint,) = (part for part in get_args(hint) if part is not types.NoneType)
        typed.append((each, hint, optional))
    return typed


def _name(each: Field[Any], content: Any) -> str:
    """Return the column of a field, or the prefix of its columns if it has several."""
    if is_dataclass(content):
        return str(each.metadata.get("prefix", ""))
    return str(each.metadata.get("column", each.name))
