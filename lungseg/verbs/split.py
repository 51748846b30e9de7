"""`lungseg split`: slices -> train, valid and test, by patient, with a leakage audit.

`DATASET` holds `train|valid|test/{images,masks}` and `split.csv`; with folds, `fold_1`, `fold_2`
and so on, each of which is such a data set.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lungseg.config.schema import Config
from lungseg.dataset.patients import assign_patients, share_out
from lungseg.dataset.reading import is_layout, read_layout, read_manifest
from lungseg.dataset.similarity import Likeness, most_alike_pairs, report_leaks
from lungseg.dataset.slices import Slice
from lungseg.dataset.writing import write_dataset
from lungseg.system import console
from lungseg.system.files import existing_folder
from lungseg.system.outputs import staged_output


@dataclass(frozen=True)
class SplitResult:
    """What `split` wrote.

    Attributes:
        folder: the data set.
        parts: part name to its slices.
        audit: for each two parts, the most similar pair of slices across them.
        merged: cases that were put into one group because they look alike.
    """

    folder: Path
    parts: Mapping[str, list[Slice]]
    audit: list[Likeness]
    merged: list[list[str]]


def split(
    config: Config, source: str | Path, output: str | Path, *, overwrite: bool = False
) -> list[SplitResult]:
    """Distribute the slices to train, valid and test; a group stays in one part.

    Args:
        config: section `split` and the seed are used.
        source: what `prepare` wrote, or a data set already in `train|valid|test` layout, whose
            parts are kept as they are and audited.
        output: the data set to write; appears whole, or not at all.
        overwrite: replace an `output` that `split` wrote.

    Returns:
        One result, or one per fold.

    Raises:
        UsageError: if a folder is missing, `output` may not be written, or the grouping does not
            fit the names.
        DataError: if the manifest is unusable, there are too few groups, or there is a leak.

    Examples:
        >>> config = lungseg.load_config("lung.yaml")
        >>> [result] = lungseg.split(config, "data/prepared", "work/dataset")
        >>> {part: len(slices) for part, slices in result.parts.items()}
        {'train': 12, 'valid': 4, 'test': 4}
    """
    source, output = existing_folder(source, "prepared slices"), Path(output)
    plans: dict[str, tuple[dict[str, list[Slice]], list[list[str]]]]
    if is_layout(source):
        plans = {"": (read_layout(source, config), [])}
    else:
        prepared = read_manifest(source)
        _warn_of_unnamed(prepared, config)
        slices, merged = assign_patients(prepared, config.split)
        plans = {name: (parts, merged) for name, parts in share_out(slices, config).items()}
    results = []
    slices = [s for parts, _ in plans.values() for part in parts.values() for s in part]
    read = (source, config.split.group_csv, *(path for s in slices for path in (s.image, s.mask)))
    with staged_output(output, "split", read, overwrite=overwrite) as staged:
        for name, (parts, merged) in plans.items():
            audit = most_alike_pairs(parts)
            report_leaks(audit, config.split)
            write_dataset(staged / name, parts, config.split.hard_links)
            results.append(SplitResult(output / name, parts, audit, merged))
    return results


def _warn_of_unnamed(slices: list[Slice], config: Config) -> None:
    """Warn if likeness has to stand in for the names of patients, as it can miss a patient."""
    unnamed = sum(not s.group for s in slices)
    if unnamed and config.split.group_regex is None and config.split.group_csv is None:
        console.warn(
            f"the patients of {unnamed} slices are not named: slices that look alike count as one "
            "patient's, which can miss a patient. Set split.group_regex or split.group_csv."
        )
