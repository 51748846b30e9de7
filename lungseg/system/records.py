"""Table rows as frozen dataclasses: their columns, their cells, and reading them back.

The columns of a table are the fields of its row, in their order. A field that is a dataclass itself
stands for the columns of its own fields. `field(metadata={"column": NAME})` renames a column, and
`field(metadata={"prefix": TEXT})` puts a text before the columns of a nested dataclass. None is an
empty cell.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import Field, fields, is_dataclass
from types import NoneType
from typing import Any, TypeVar, get_args, get_type_hints

Row = TypeVar("Row")

PARSERS: dict[Any, Any] = {
    str: str,
    int: int,
    float: float,
    bool: {"True": True, "False": False}.__getitem__,
}


def columns_of(kind: type[Any], prefix: str = "") -> list[str]:
    """Return the columns of a row type, those of nested dataclasses in their place."""
    columns = []
    for each, inner, _ in _typed_fields(kind):
        if is_dataclass(inner):
            columns += columns_of(inner, prefix + _prefix(each))
        else:
            columns.append(prefix + _column(each))
    return columns


def to_record(row: Any, prefix: str = "") -> dict[str, Any]:
    """Return the values of a row by column, without those that are None.

    A mapping among the fields stands for one column per key.
    """
    record: dict[str, Any] = {}
    for each in fields(row):
        value = getattr(row, each.name)
        if is_dataclass(value):
            record |= to_record(value, prefix + _prefix(each))
        elif isinstance(value, Mapping):
            record |= {f"{prefix}{key}": entry for key, entry in value.items()}
        elif value is not None:
            record[prefix + _column(each)] = value
    return record


def from_record(kind: type[Row], texts: Mapping[str, str], prefix: str = "") -> Row:
    """Read a row back from the texts of a CSV file; an absent column counts as empty cells.

    A nested dataclass that may be None is None if all its cells are empty.

    Raises:
        ValueError: if a cell does not hold what its column holds.
    """
    values: dict[str, Any] = {}
    for each, inner, optional in _typed_fields(kind):
        if is_dataclass(inner):
            inner_prefix = prefix + _prefix(each)
            names = columns_of(inner, inner_prefix)
            empty = optional and not any(texts.get(name) for name in names)
            values[each.name] = None if empty else from_record(inner, texts, inner_prefix)
            continue
        column = prefix + _column(each)
        text = texts.get(column) or ""
        try:
            values[each.name] = None if optional and not text else PARSERS[inner](text)
        except (ValueError, KeyError):
            raise ValueError(f"column {column}: {text!r} is no {inner.__name__}") from None
    return kind(**values)


def _typed_fields(kind: type[Any]) -> Iterator[tuple[Field[Any], type[Any], bool]]:
    """Yield each field, its type without None, and whether it may be None."""
    hints = get_type_hints(kind)
    for each in fields(kind):
        options = get_args(hints[each.name]) or (hints[each.name],)
        inner = next(option for option in options if option is not NoneType)
        yield each, inner, NoneType in options


def _column(each: Field[Any]) -> str:
    return str(each.metadata.get("column", each.name))


def _prefix(each: Field[Any]) -> str:
    return str(each.metadata.get("prefix", ""))
