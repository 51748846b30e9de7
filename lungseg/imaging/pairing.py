"""Pairs of images and masks in the layout that `data.pairing` names, for `prepare`."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lungseg.config.pairing import Pairing, class_of, structures_of
from lungseg.config.schema import DataConfig
from lungseg.errors import DataError, LungsegError
from lungseg.imaging.findings import Finding
from lungseg.imaging.folders import Input, Pair, stem_of
from lungseg.imaging.inputs import name_apart, pair_trees
from lungseg.imaging.layouts import LAYOUTS, Key, Layout, Place, case_name, layout_of
from lungseg.imaging.trees import list_tree

DATASET_JSON = "dataset.json"

Named = tuple[str, Finding]  # a finding with the name of its case
Groups = dict[tuple[bool, Key], list[Input]]


def find_pairs(
    images: Path, masks: Path, pairing: Pairing = "stem"
) -> tuple[list[Pair], list[Named]]:
    """Pair the images in a folder with the masks in another, or in the same one.

    Returns:
        The pairs, images before volumes; and, each with the name of its case, a finding for each
        file that is in no pair.

    Raises:
        UsageError: if contours are read and pydicom is not installed.
    """
    layout = layout_of(pairing)
    return pair_trees(images, masks) if layout is None else _pair(layout, images, masks)


@dataclass
class _Listing:
    """What is in the folders of images and masks.

    Attributes:
        images: what may be an image.
        masks: what may be a mask.
        found: findings of the folders.
        said: findings with the names of their cases.
    """

    images: list[Input]
    masks: list[Input]
    found: list[Finding]
    said: list[Named]


def _list(layout: Layout, images: Path, masks: Path, one_tree: bool) -> _Listing:
    scans = list_tree(images, [] if one_tree else [masks], top_series=layout.contours)
    listing = _Listing(scans.items, scans.items, [*scans.findings], [])
    unreadable = [*scans.unreadable]
    if layout.contours:
        listing.images = _by_series(scans.items, listing.said)
        listing.masks = _rtstructs(masks)
    elif not one_tree:
        other = list_tree(masks, [images], series=False)
        listing.masks = other.items
        listing.found += other.findings
        unreadable += other.unreadable
    for item in unreadable:
        detail = "the folder cannot be opened"
        listing.said.append((item.name, Finding("unreadable", "failed", detail, item.path)))
    return listing


def _pair(layout: Layout, images: Path, masks: Path) -> tuple[list[Pair], list[Named]]:
    one_tree = os.path.samefile(images, masks)
    listing = _list(layout, images, masks, one_tree)
    strangers: list[Input] = []
    mask_groups: Groups = {}
    for item in listing.masks:
        key = layout.masks(Place(item, _name(masks), one_tree))
        if key is not None:
            mask_groups.setdefault((item.is_volume, _folded(key)), []).append(item)
        elif not one_tree:
            strangers.append(item)
    used = {item.path for group in mask_groups.values() for item in group}
    groups: Groups = {}
    for item in (item for item in listing.images if item.path not in used):
        keys = layout.images(Place(item, _name(images), one_tree))
        if not keys:
            strangers.append(item)
            continue
        key = next((k for k in keys if (item.is_volume, _folded(k)) in mask_groups), keys[-1])
        named = replace(item, name=case_name(layout, item, key, _name(images)))
        groups.setdefault((item.is_volume, _folded(key)), []).append(named)
    pairs, said = _match(layout, groups, mask_groups, masks)
    listing.said += [_named(each) for each in listing.found if not _is_read(each, used)]
    detail = f"neither an image nor a mask in this layout ({layout.looks})"
    for item in strangers:
        said.append((item.name, Finding("not_in_layout", "left_out", detail, item.path)))
    return pairs, [*listing.said, *said]


def _match(
    layout: Layout, groups: Groups, mask_groups: Groups, masks: Path
) -> tuple[list[Pair], list[Named]]:
    """Return the pairs of the keys that have one image and one mask, and what is in none."""
    pairs: list[Pair] = []
    findings: list[Named] = []
    for key, group in sorted(groups.items(), key=lambda each: each[0][0]):  # images come first
        image, partners = group[0], mask_groups.get(key, [])
        if len(group) > 1:
            findings += _duplicates(group)
        elif not partners:
            detail = f"no mask of it in {masks} ({layout.looks})"
            findings.append((image.name, Finding("orphan_image", "left_out", detail, image.path)))
        elif len(found := _files_of_mask(layout, partners)) == 1:
            pairs.append(Pair(image.name, image.path, found[0], image.files, image.place))
    for key, group in mask_groups.items():
        found = _files_of_mask(layout, group)
        if len(found) > 1:
            findings += _duplicates(group)
        elif key not in groups:
            finding = Finding("orphan_mask", "left_out", "no image belongs to it", found[0])
            findings.append((group[0].name, finding))
    cases = name_apart([Input(p.image, p.case, p.image.is_dir(), files=p.files) for p in pairs])
    return [replace(p, case=c.name) for p, c in zip(pairs, cases, strict=True)], findings


def _files_of_mask(layout: Layout, group: Sequence[Input]) -> list[Path]:
    """Return the masks of a key: each file, or each folder with files of structures."""
    return [*dict.fromkeys(item.path.parent if layout.many else item.path for item in group)]


def _duplicates(group: Sequence[Input]) -> list[Named]:
    detail = f"these are one case by their names: {', '.join(item.place for item in group)}"
    return [(i.name, Finding("duplicate_stem", "failed", detail, i.path)) for i in group]


def _folded(key: Key) -> Key:
    """Return a key in which upper and lower case are one, as in names of files."""
    return tuple(part.casefold() for part in key)


def _name(folder: Path) -> str:
    return os.path.basename(os.path.abspath(folder))


def _named(finding: Finding) -> Named:
    return (stem_of(finding.path) if finding.path else "", finding)


def _is_read(finding: Finding, used: set[Path]) -> bool:
    """Whether what a listing left out is read after all."""
    path = finding.path
    return path is not None and (path in used or path.name == DATASET_JSON)


def _rtstructs(root: Path) -> list[Input]:
    from lungseg.imaging.dicom.contours import is_rtstruct

    found = []
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = Path(folder, name)
            if not name.startswith(".") and is_rtstruct(path):
                within = path.parent.relative_to(root).parts
                found.append(Input(path, stem_of(path), True, within))
    return found


def _by_series(items: Sequence[Input], said: list[Named]) -> list[Input]:
    """Return each DICOM series of a folder as an input of its own.

    Args:
        items: folders with one or several series, and files.
        said: folders that cannot be read are added here.
    """
    from lungseg.imaging.dicom.series import series_in

    found = []
    for item in items:
        if item.files or not item.path.is_dir():
            found.append(item)
            continue
        try:
            series = list(series_in(item.path).values())
        except DataError as problem:
            reason = problem.what.removesuffix(".")
            said.append((item.name, Finding("unreadable", "failed", reason, item.path)))
            continue
        alone = len(series) == 1
        found += [item] if alone else [replace(item, files=tuple(files)) for files in series]
    return found


def suggest(images: Path, masks: Path, pairing: Pairing) -> str:
    """Return a sentence that names the layouts in which images and masks are paired, if any."""
    counts = {}
    for name in ("stem", *LAYOUTS):
        if name == pairing or (name == "stem" and os.path.samefile(images, masks)):
            continue
        try:
            counts[name] = len(find_pairs(images, masks, name)[0])
        except (LungsegError, OSError):  # this layout cannot be tried here
            continue
    found = sorted((name for name in counts if counts[name]), key=lambda name: -counts[name])
    if not found:
        return ""
    first = f"-s data.pairing={found[0]} pairs {counts[found[0]]}"
    others = "".join(f", {name} {counts[name]}" for name in found[1:])
    return f" Another layout fits what is there: {first}{others}."


def labels_of(data: DataConfig, pairs: Sequence[Pair]) -> dict[str, list[int]]:
    """Return `data.labels` for the masks of a layout, if the config does not give them.

    For `luna16` they are known; for `nnunet` they are in `dataset.json`.

    Raises:
        DataError: if `dataset.json` cannot be read, names no label that has a class, or differs
            from that of other pairs.
    """
    layout, classes = layout_of(data.pairing), list(data.rgb_map)
    if data.labels or layout is None:
        return data.labels
    if layout.labels and len(classes) == 2:
        return {classes[1]: list(layout.labels)}
    if data.pairing != "nnunet":
        return data.labels
    files = {pair.mask.parent.parent / DATASET_JSON for pair in pairs}
    known = {path: _labels_in(path, data) for path in sorted(files) if path.is_file()}
    if len({json.dumps(labels) for labels in known.values()}) > 1:
        raise DataError(
            ", ".join(map(str, known)),
            "give different labels to the lungs. Prepare each data set by itself, or set "
            "data.labels.",
        )
    return next(iter(known.values()), data.labels)


def _labels_in(path: Path, data: DataConfig) -> dict[str, list[int]]:
    """Return the labels of each class in a `dataset.json` of nnU-Net or Decathlon."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        names = [_label(key, value) for key, value in content["labels"].items()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as problem:
        raise DataError(path, f"its labels cannot be read: {problem!r}.") from None
    patterns = structures_of(data.structures, data.rgb_map)
    labels: dict[str, list[int]] = {}
    for name, codes in names:
        wanted = class_of(name, patterns)
        if wanted is not None:
            labels[wanted] = sorted({*labels.get(wanted, []), *codes})
    if not labels:
        listed = ", ".join(f"{name} {codes}" for name, codes in names)
        raise DataError(
            path,
            f"none of its labels is {' or '.join(patterns)} by its name: {listed}. If one is, set "
            f"data.labels, for example {{{next(iter(patterns))}: [1]}}.",
        )
    return labels


def _label(key: str, value: Any) -> tuple[str, list[int]]:
    """Return name and numbers of a label: `lung: 1`, `lung: [1, 2]`, or Decathlon's `1: lung`."""
    if isinstance(value, str) and key.isdecimal():
        return value, [int(key)]
    return key, [int(each) for each in (value if isinstance(value, list) else [value])]
