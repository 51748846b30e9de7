"""The patients of masks: named as `lungseg split` does, as far as masks without images allow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath

from lungseg.config.datasets import SplitConfig
from lungseg.config.schema import Config
from lungseg.dataset.patients import named_groups, names_patients
from lungseg.system.tables import read_csv

# Nothing names the patients. `split` would now look for slices that look alike.
FILES = "files"
A_FILE = "A group is a file, because the patients are not named."


@dataclass(frozen=True)
class Naming:
    """The patient of each case, and what named them.

    Attributes:
        patients: case to patient.
        source: `split.group_csv`, `split.group_regex`, `manifest.csv`, `split.csv`, or `files` if
            nothing did and each file counts as one patient.
    """

    patients: dict[str, str]
    source: str


def rule_of(split: SplitConfig) -> str:
    """Return the config key that names the patients."""
    return "split.group_regex" if split.group_csv is None else "split.group_csv"


def name_patients(masks: Mapping[str, Path], config: Config) -> Naming:
    """Name the patient of each case.

    The patient comes from `split.group_csv`, from `split.group_regex`, or from the `manifest.csv`
    or `split.csv` that names the patient of every mask. Otherwise a case is its own patient.

    Args:
        masks: case to its mask file; the files lie in one folder.
        config: section `split` is used.

    Raises:
        UsageError: if the table or the expression gives some case no patient.
    """
    patients = named_groups(list(masks), config.split)
    if names_patients(config.split):
        return Naming(patients, rule_of(config.split))
    folder = next(iter(masks.values())).resolve().parent
    for listing in (folder.parent / "manifest.csv", folder.parent.parent / "split.csv"):
        listed = _listed_patients(listing, folder)
        found = {case: listed[path.name] for case, path in masks.items() if path.name in listed}
        if len(found) == len(masks):  # else some masks would pass for patients of their own
            return Naming(found, listing.name)
    return Naming(patients, FILES)


def _listed_patients(listing: Path, folder: Path) -> dict[str, str]:
    """Return the patient of each mask file in a folder that `prepare` or `split` has listed."""
    if not listing.is_file():
        return {}
    within = folder.relative_to(listing.parent)
    return {
        PurePath(row["mask"]).name: row["group"]
        for row in read_csv(listing, ("mask", "group"))
        if row["group"] and PurePath(row["mask"]).parent == within
    }
