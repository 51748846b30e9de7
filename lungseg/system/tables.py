"""JSON and CSV files, and CSV tables whose rows are dataclasses.

A table's columns are the fields of its row's dataclass, in their order. A field without a default
is a column that a file must have. Cells are written as `str` writes the value, None as an empty
cell; `decimals` fixes the digits of a float:

    @dataclass(frozen=True)
    class Row:
        case: str
        dice: float = decimals(4)
        note: str = ""
"""

from __future__ import annotations

import csv
import io
import json
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, Field, field, fields
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, Union, get_args, get_origin, get_type_hints

from lungseg.errors import DataError
from lungseg.system.files import UNDECODED, write_text

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Record = TypeVar("Record", bound="DataclassInstance")


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
    """Declare a dataclass's float field that is written with so many decimals."""
    metadata = {"format": f".{digits}f"}
    if default is MISSING:
        return field(metadata=metadata)
    return field(default=default, metadata=metadata)


def columns_of(kind: type[DataclassInstance]) -> list[str]:
    """Return the columns of a table whose rows are of this dataclass."""
    return [column.name for column in fields(kind)]


def cells_of(row: DataclassInstance) -> dict[str, str]:
    """Return the row's cells, by column, as they are written."""
    return {column.name: _cell(column, getattr(row, column.name)) for column in fields(row)}


def _cell(column: Field[Any], value: object) -> str:
    return "" if value is None else format(value, column.metadata.get("format", ""))


def write_rows(path: Path, kind: type[Record], rows: Iterable[Record]) -> None:
    """Write a table, whole or not at all; without rows it holds the header alone."""
    write_csv(path, columns_of(kind), map(cells_of, rows))


def read_rows(path: Path, kind: type[Record]) -> list[Record]:
    """Read a table into rows of a dataclass with fields of `str`, `bool`, `int` and `float`.

    A field may also be `| None`: an empty cell is None. In a column with a default, an empty cell
    is the default. Columns that are no field are ignored.

    Raises:
        DataError: if the file cannot be read, lacks a column without a default, or has a cell of
            another type; the message names the line.
    """
    needed = [column.name for column in fields(kind) if _default_of(column) is MISSING]
    # The header is line 1; a cell that holds a line break makes the number too small.
    return [_row(path, line, kind, cells) for line, cells in enumerate(read_csv(path, needed), 2)]


def _row(path: Path, line: int, kind: type[Record], cells: Mapping[str, str | None]) -> Record:
    values = {}
    for column, parse in _parsers(kind):
        text = cells.get(column.name)
        default = _default_of(column)
        if not text and default is not MISSING:
            values[column.name] = default
            continue
        try:
            if text is None:
                raise ValueError
            values[column.name] = parse(text)
        except ValueError:
            raise DataError(path, f"line {line}: {column.name} is damaged: {text!r}.") from None
    return kind(**values)


def _default_of(column: Field[Any]) -> Any:
    if column.default_factory is not MISSING:
        return column.default_factory()
    return column.default


@lru_cache(maxsize=32)
def _parsers(
    kind: type[DataclassInstance],
) -> list[tuple[Field[Any], Callable[[str], object]]]:
    hints = get_type_hints(kind)
    return [(column, _parser(hints[column.name])) for column in fields(kind)]


def _parser(hint: Any) -> Callable[[str], object]:
    """Return the function that turns a cell into a value of this type."""
    if get_origin(hint) in (Union, types.UnionType):
        (inner,) = (_parser(part) for part in get_args(hint) if part is not type(None))
        return lambda text: inner(text) if text else None
    if hint is bool:
        return _bool
    return hint if hint in (int, float) else str


def _bool(text: str) -> bool:
    if text not in ("True", "False"):
        raise ValueError
    return text == "True"
