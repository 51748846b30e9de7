"""Rows of cases.csv."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lungseg.errors import DataError
from lungseg.inference.inputs import Input
from lungseg.system import console
from lungseg.system.files import UNDECODED
from lungseg.system.tables import read_csv, write_csv, write_json

Row = dict[str, object]


COLUMNS = (
    "case", "input", "status", "mask", "height", "width", "slices", "lung_pixels", "lung_fraction",
    "detail",
)  # fmt: skip


TEXT_COLUMNS = ("case", "input", "status", "mask", "detail")


@contextmanager
def case_log(output: Path, rows: list[Row]) -> Iterator[Callable[[list[Row]], None]]:
    """Yield a function that keeps rows, and writes them at once for a later `--resume`."""
    from lungseg.inference.measure import MEASURE_COLUMNS

    columns = (*COLUMNS, *MEASURE_COLUMNS)
    write_cases(output, rows)
    path = output / "cases.csv"
    with path.open("a", newline="", encoding="utf-8", errors=UNDECODED) as stream:
        writer = csv.DictWriter(stream, columns, lineterminator="\n")

        def log(new: list[Row]) -> None:
            rows.extend(new)
            writer.writerows(new)
            stream.flush()

        yield log


def write_cases(output: Path, rows: Sequence[Row]) -> None:
    """Write cases.csv and cases.json."""
    from lungseg.inference.measure import MEASURE_COLUMNS

    write_csv(output / "cases.csv", (*COLUMNS, *MEASURE_COLUMNS), rows)
    write_json(output / "cases.json", [_typed(row) for row in rows])


def _typed(row: Row) -> Row:
    """Return a row with numbers as numbers, the same whether it is new or was read from CSV."""
    typed: Row = {}
    for key, value in row.items():
        text = str(value)
        if key in TEXT_COLUMNS:
            typed[key] = value
        elif text in ("True", "False"):
            typed[key] = text == "True"
        elif text:
            number = float(text)
            typed[key] = int(number) if text.isdecimal() else number
    return typed


def read_done(output: Path) -> dict[str, Row]:
    """Return the rows of an earlier call whose masks are there."""
    path = output / "cases.csv"
    if not path.exists():
        return {}
    rows = read_csv(path, ("case", "status", "mask"))
    return {
        row["case"]: dict(row)
        for row in rows
        if row["status"] == "done" and (output / row["mask"]).is_file()
    }


def clash_row(item: Input, clashes: dict[Path, Path]) -> Row:
    """Return the row of an input whose name another input already has."""
    return failed_row(item, DataError(None, f"same name as {clashes[item.path].name}"))


def failed_row(item: Input, problem: DataError) -> Row:
    """Return the row of an input that could not be segmented, and warn."""
    detail = str(problem)
    console.warn(detail if problem.concerns(item.path) else f"{item.path.name}: {detail}")
    return {"case": item.name, "input": item.path.name, "status": "failed", "detail": detail}
