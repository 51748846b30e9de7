"""What `infer`, `label` and `prepare` work on: the inputs in folders, and pairs of two folders."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from lungseg.errors import DataError, UsageError
from lungseg.imaging.findings import Finding
from lungseg.imaging.folders import Input, Pair, joined, pair_inputs, stem_of, volume_suffix
from lungseg.imaging.trees import list_tree
from lungseg.system import console
from lungseg.system.wording import some_of


def collect(inputs: Sequence[Path], leave_out: Path | None = None) -> list[Input]:
    """List the inputs, each once, those of a folder in natural order; say what is left out.

    Folders are searched at any depth. A folder that cannot be opened is an input, so that its
    error is reported as that of one.

    Args:
        inputs: files and folders.
        leave_out: a folder that is not looked into, because it will be written.

    Raises:
        UsageError: if a path does not exist.
        DataError: if no path holds an input.
    """
    found: dict[tuple[str, tuple[Path, ...]], Input] = {}
    for given in inputs:
        if given.is_dir():
            listing = list_tree(given, [leave_out])
            items = [*listing.items, *listing.unreadable]
            _say(listing.findings, given)
        elif given.exists():
            items = [Input(given, stem_of(given), volume_suffix(given) is not None)]
        else:
            raise UsageError(f"{given}: there is no such file or folder.")
        for item in items:
            found.setdefault((os.path.abspath(item.path), item.files), item)
    if not found:
        names = ", ".join(str(given) for given in inputs)
        raise DataError(
            names,
            "holds no PNG, JPG, TIF or BMP image and no DICOM, NIfTI, MHA or NRRD volume, at any "
            "depth.",
        )
    return name_apart(list(found.values()))


def _say(findings: Iterable[Finding], root: Path) -> None:
    """Log what is left out of a folder, one line for each reason."""
    reasons: dict[str, list[str]] = defaultdict(list)
    for finding in findings:
        if finding.severity == "warning" or finding.path is None:
            console.warn(f"{finding.path}: {finding.detail}")
        else:
            reasons[finding.detail].append(finding.path.relative_to(root).as_posix())
    for detail, names in reasons.items():
        console.note(f"{root}: left out ({detail}): {some_of(names)}")


def find_clashes(items: Iterable[Input]) -> dict[Path, Path]:
    """Find inputs that have the name of an earlier one.

    Returns:
        The path of each such input, with the path of the earlier one.
    """
    groups: dict[str, list[Input]] = defaultdict(list)
    for item in items:
        groups[item.name.casefold()].append(item)
    return {item.path: group[0].path for group in groups.values() for item in group[1:]}


def name_apart(items: Sequence[Input]) -> list[Input]:
    """Give inputs in different places that share a name names of their own.

    They get the names of more folders, `P1_scan` and `P2_scan`. If that does not help, as for
    `a_b/c` and `a/b_c`, they are numbered. Files of one folder that share a stem keep one name:
    these are a person's mistake.
    """
    groups: dict[str, dict[object, list[int]]] = defaultdict(lambda: defaultdict(list))
    where = [_place(item) for item in items]
    for index, item in enumerate(items):
        groups[item.name.casefold()][where[index]].append(index)
    names = [item.name for item in items]
    for places in groups.values():
        if len(places) > 1:
            first = [items[indices[0]] for indices in places.values()]
            for indices, name in zip(places.values(), _longer_names(first), strict=True):
                for index in indices:
                    names[index] = name
    taken: dict[str, object] = {}
    for index, place in enumerate(where):
        name, number = names[index], 1
        while taken.setdefault(name.casefold(), place) != place:
            number += 1
            name = f"{names[index]}_{number}"
        names[index] = name
    return [replace(item, name=name) for item, name in zip(items, names, strict=True)]


def _place(item: Input) -> object:
    """Return where an input is: a folder, and a stem, of which upper and lower case are one."""
    return os.path.dirname(os.path.abspath(item.path)), stem_of(item.path).casefold(), item.files


def _longer_names(items: Sequence[Input]) -> list[str]:
    """Return names with as many more folders as it takes to tell inputs apart, if it can."""
    parts = [(*Path(os.path.abspath(i.path)).parent.parts[1:], stem_of(i.path)) for i in items]
    for more in range(1, max(map(len, parts))):
        names = [
            joined(*each[-(len(item.within) + 1 + more) :])
            for item, each in zip(items, parts, strict=True)
        ]
        if len({name.casefold() for name in names}) == len(names):
            return names
    return [item.name for item in items]


def pair_trees(images: Path, masks: Path) -> tuple[list[Pair], list[tuple[str, Finding]]]:
    """Pair the images and CT volumes in a folder with masks, at any depth.

    A mask has the same place in its folder, without suffix. It may also have the name of the case,
    as `infer` writes it: `PAT1_STUDY_SERIES.nii.gz` for the DICOM files in `PAT1/STUDY/SERIES`. If
    a folder holds one DICOM file, `PAT1/scan.dcm`, the mask may be `PAT1/scan.nii.gz`.

    Returns:
        The pairs in natural order, images before volumes; and, each with the name of its case, a
        finding for each file or folder that has no partner, shares its stem with another or cannot
        be used.
    """
    scans = list_tree(images, [masks], top_series=False)
    labels = list_tree(masks, [images], series=False)
    findings = [
        (joined(*finding.path.relative_to(root).parts[:-1], stem_of(finding.path)), finding)
        for root, listing in ((images, scans), (masks, labels))
        for finding in listing.findings
        if finding.path is not None
    ]
    for item in (*scans.unreadable, *labels.unreadable):
        detail = "the folder cannot be opened"
        findings.append((item.name, Finding("unreadable", "failed", detail, item.path)))
    pairs: list[Pair] = []
    for kind in (False, True):
        found, others = pair_inputs(
            [item for item in name_apart(scans.items) if item.is_volume is kind],
            [item for item in labels.items if item.is_volume is kind],
            f"no {'volume' if kind else 'mask'} with this name in {masks}",
            f"no {'volume' if kind else 'image'} with this name in {images}",
        )
        pairs += found
        findings += others
    return pairs, findings
