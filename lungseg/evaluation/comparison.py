"""Comparison with another evaluation of the same cases (`--against`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lungseg.config.schema import Config
from lungseg.errors import DataError, UsageError
from lungseg.evaluation.cases import CaseScore
from lungseg.evaluation.summary import compare, why_no_interval
from lungseg.system import console
from lungseg.system.tables import read_csv

# Without these columns nobody can tell whether two scores may be compared.
NEEDED = ("case", "class", "dice", "distance_unit", "volume_unit", "truth_pixels")


@dataclass(frozen=True)
class OtherEvaluation:
    """An earlier evaluation to compare with.

    Attributes:
        path: its `per_case.csv`.
        cells: the rows of that file by case and class.
    """

    path: Path
    cells: dict[tuple[str, str], dict[str, str]]

    def scores_of(self, class_name: str, metric: str) -> dict[str, float]:
        """Return one score of a class for each case that has it.

        Raises:
            DataError: if a cell holds no number.
        """
        scores = {}
        for (case, name), row in self.cells.items():
            if name == class_name and row.get(metric):
                try:
                    scores[case] = float(row[metric])
                except ValueError:
                    raise DataError(
                        self.path,
                        f"case {case}, column {metric}: expected a number, found {row[metric]!r}.",
                    ) from None
        return scores

    def check_alike(self, rows: Sequence[CaseScore]) -> None:
        """Check that common cases have the same truth and the same units in both evaluations.

        Raises:
            DataError: if a case has another true mask there, or scores in other units.
        """
        for row in rows:
            cells = self.cells.get((row.case, row.class_name))
            if cells is None:
                continue
            for unit in ("distance_unit", "volume_unit"):
                here = getattr(row.scores, unit)
                if cells[unit] != here:
                    raise DataError(
                        self.path,
                        f"case {row.case}: its {unit} is {cells[unit]} there and {here} here. "
                        "Scores in different units cannot be compared.",
                    )
            if self._has_other_truth(row, cells):
                raise DataError(
                    self.path,
                    f"case {row.case}, {row.class_name}: its true mask is not the one that is used "
                    f"here ({cells['truth_pixels']} pixels there, {row.scores.truth_pixels} here). "
                    "Scores can be compared only if they come from the same true masks, of the "
                    "same size.",
                )

    def _has_other_truth(self, row: CaseScore, cells: dict[str, str]) -> bool:
        if cells["truth_pixels"] != str(row.scores.truth_pixels):
            return True
        known = cells.get("truth_sha256")  # version 0.1 wrote none
        # A DICOM-SEG is put onto the grid of its prediction. If there is none, its grid differs.
        unmatched = "not_comparable" in (cells.get("flag"), row.scores.flag)
        return bool(known) and not unmatched and known != row.scores.truth_sha256


def read_other(folder: Path | None) -> OtherEvaluation | None:
    """Read the scores of another evaluation from its folder or its `per_case.csv`.

    Raises:
        UsageError: if there is no `per_case.csv`.
        DataError: if it is damaged.
    """
    if folder is None:
        return None
    path = folder / "per_case.csv" if folder.is_dir() else folder
    if not path.is_file():
        raise UsageError(f"{path}: there is no such file (--against); lungseg evaluate writes it.")
    rows = read_csv(path, NEEDED)
    for line, row in enumerate(rows, 2):
        cells = sum(cell is not None for cell in row.values())
        if cells < len(row):
            raise DataError(path, f"line {line}: holds {cells} of {len(row)} cells.")
    return OtherEvaluation(path, {(row["case"], row["class"]): row for row in rows})


def compare_with(
    other: OtherEvaluation,
    rows: Sequence[CaseScore],
    classes: Sequence[str],
    config: Config,
    group_is: str | None = None,
) -> dict[str, Any]:
    """Compare each score of each class with the other evaluation's.

    Args:
        other: the other evaluation, whose scores are subtracted.
        rows: the scores of this one, of the method `model`.
        classes: names of the classes without the background.
        config: gives the number of bootstrap resamples and the seed.
        group_is: as for `lungseg.system.wording.counted`.

    Raises:
        DataError: if the two have no case in common, or differ in truth or units.
    """
    other.check_alike(rows)
    groups = {row.case: row.group for row in rows}
    comparison: dict[str, Any] = {"other": str(other.path)}
    for class_name in classes:
        records = {row.case: row.scores.metrics for row in rows if row.class_name == class_name}
        compared = {}
        for metric in next(iter(records.values())):
            values = {case: scores[metric] for case, scores in records.items()}
            others = other.scores_of(class_name, metric)
            if values.keys() & others.keys():
                compared[metric] = compare(
                    values, others, groups, config.evaluate.bootstrap, config.seed
                )
        if not compared:
            raise DataError(other.path, "has no case in common with what is scored here.")
        comparison[class_name] = compared
    common = {row.case for row in rows} & {case for case, _ in other.cells}
    patients = len({groups[case] for case in common})
    comparison["no_interval"] = why_no_interval(patients, config.evaluate.bootstrap, group_is)
    in_one_only = {row.case for row in rows} ^ {case for case, _ in other.cells}
    if in_one_only:
        console.warn(
            f"{len(in_one_only)} cases are in only one of the two evaluations and are not "
            f"compared; the first is {sorted(in_one_only)[0]}"
        )
        comparison["not_compared"] = sorted(in_one_only)
    return comparison
