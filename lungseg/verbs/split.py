"""`lungseg split`: slices -> train, valid and test, by patient, with a leakage audit.

`DATASET` holds `train|valid|test/{images,masks}` and `split.csv`; with folds, `fold_1`, `fold_2`
and so on, each of which is such a data set.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lungseg.config.schema import Config
from lungseg.dataset.appearance import copy_appearance
from lungseg.dataset.patients import (
    assign_patients,
    names_patients,
    share_out,
    warn_of_few_patients,
    warn_of_unknown_patients,
)
from lungseg.dataset.reading import is_layout, read_layout, read_manifest
from lungseg.dataset.similarity import Likeness, most_alike_pairs, report_leaks
from lungseg.dataset.slices import Slice
from lungseg.dataset.writing import write_dataset
from lungseg.system import console
from lungseg.system.files import existing_folder, natural_key
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
            parts are kept as they are and audited. `split.group_csv` and `split.group_regex` name
            its patients, too.
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
        parts = read_layout(source, config)
        if names_patients(config.split):
            parts = {part: assign_patients(each, config.split)[0] for part, each in parts.items()}
        plans = {"": (parts, [])}
    else:
        slices, merged = assign_patients(read_manifest(source, config.data), config.split)
        plans = {name: (parts, merged) for name, parts in share_out(slices, config).items()}
    first_parts, _ = next(iter(plans.values()))
    warn_of_unknown_patients([s for each in first_parts.values() for s in each])
    results = []
    slices = [s for parts, _ in plans.values() for part in parts.values() for s in part]
    read = (source, config.split.group_csv, *(path for s in slices for path in (s.image, s.mask)))
    with staged_output(output, "split", read, overwrite=overwrite) as staged:
        for name, (parts, merged) in plans.items():
            warn_of_few_patients(parts["test"], "test")
            for part, each in parts.items():
                groups = sorted({s.group for s in each}, key=natural_key)
                console.detail(f"{name or output.name}, {part}: {', '.join(groups)}")
            audit = most_alike_pairs(parts, config.split)
            report_leaks(audit, config.split)
            write_dataset(staged / name, parts, config.split.hard_links)
            copy_appearance(source, staged / name)
            results.append(SplitResult(output / name, parts, audit, merged))
    return results
