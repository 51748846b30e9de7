"""TODO."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lungseg.errors import DataError
from lungseg.system.files import UNDECODED, write_text


def write_json(path: Path, document: object) -> None:
    """Write indented JSON, whole or not at all."""
    write_text(path, json.dumps(document, indent=2, default=str) + "\n")


def read_json(path: Path) -> Any:
    """Read JSON.

    Raises:
        DataError: where the file is missing or holds something else.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(path, "there is no such file.") from None
    except (OSError, ValueError, RecursionError) as problem:
        raise DataError(path, f"expected JSON, but it cannot be read: {problem}.") from None


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """Write a CSV with a header, whole or not at all."""
    import io

    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def read_csv(path: Path, needed: Iterable[str] = ()) -> list[dict[str, str]]:
    """Read a CSV with a header.

    Raises:
        DataError: where it cannot be read, or a `needed` column is absent.
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
