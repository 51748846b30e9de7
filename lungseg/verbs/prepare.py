"""`lungseg prepare`: raw images and masks -> checked, resized slices and a manifest.

`PREPARED` holds `images/`, `masks/` (both PNG), `manifest.csv` (a row a slice), `issues.csv` (a row
a finding) and `dataset_statistics.png`.
"""

from __future__ import annotations

import secrets
from collections import Counter
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lungseg.config.schema import Config
from lungseg.dataset.augmentation import Augmenter
from lungseg.dataset.checks import (
    ISSUE_COLUMNS,
    file_of_finding,
    find_duplicates,
    issue_row,
    read_pair,
    say_issue,
)
from lungseg.dataset.cutting import VolumeSlice, cut, patient_group
from lungseg.dataset.writing import MANIFEST_COLUMNS, SliceWriter
from lungseg.errors import DataError
from lungseg.imaging.findings import Finding
from lungseg.imaging.folders import Pair, pair_folders, pair_volumes, volume_suffix
from lungseg.imaging.masks import resize_labels
from lungseg.imaging.pixels import resize_image
from lungseg.reporting.plots import plot_dataset_statistics
from lungseg.system import console
from lungseg.system.environment import ordered_map
from lungseg.system.files import existing_folder, staged_folder, write_text
from lungseg.system.tables import write_csv


@dataclass(frozen=True)
class PrepareResult:
    """What `prepare` made.

    Attributes:
        output: the folder written.
        slices: source slices kept.
        copies: augmented copies written beside them.
        issues: rows of `issues.csv`.
    """

    output: Path
    slices: int
    copies: int
    issues: list[dict[str, str]]

    @property
    def failed(self) -> int:
        """Cases that were damaged or contradictory."""
        return len({row["case"] for row in self.issues if row["severity"] == "failed"})

    def count(self) -> dict[str, int]:
        """Findings by code, the most frequent first."""
        return dict(Counter(row["code"] for row in self.issues).most_common())


@dataclass(frozen=True)
class _Prepared:
    pair: Pair
    rows: list[dict[str, object]]
    findings: list[Finding]
    grey_histogram: NDArray[np.int64]


def prepare(
    config: Config, images: Path | None, masks: Path | None, output: Path, overwrite: bool = False
) -> PrepareResult:
    """Check, resize and write the pairs of two folders.

    Memory does not grow with the number of slices, but for some 500 bytes of manifest each.

    Args:
        config: sections `data`, `prepare` and `augment` are used.
        images: folder of raw images.
        masks: folder of raw masks, paired with the images by stem.
        output: folder to write; appears whole, or not at all.
        overwrite: replace an `output` that is not empty.

    Raises:
        UsageError: for a missing folder, or an `output` that holds something.
        DataError: where no usable pair is left.
    """
    pairs, issues = plan(images, masks)
    rows: list[dict[str, object]] = []
    salt = secrets.token_hex(16)
    histogram = np.zeros(256, dtype=np.int64)
    with staged_folder(output, overwrite, (images, masks)) as staged:
        (staged / "images").mkdir()
        (staged / "masks").mkdir()
        augmenter = Augmenter(config.augment.offline) if config.prepare.copies else None
        writer = SliceWriter(config, staged, augmenter)
        plain = [pair for pair in pairs if not is_volume(pair)]
        volumes = [pair for pair in pairs if is_volume(pair)]
        results = chain(
            ordered_map(partial(_prepare_pair, writer=writer), plain, config.prepare.threads),
            # One volume at a time in memory; its slices share the threads.
            (_prepare_volume(pair, salt, writer) for pair in volumes),
        )
        for result in console.track(results, len(pairs), "prepare"):
            rows += result.rows
            histogram += result.grey_histogram
            issues += [
                issue_row(f, result.pair.case, file_of_finding(f, result.pair))
                for f in result.findings
            ]
        if not rows:
            first = next(row for row in issues if row["severity"] in ("failed", "left_out"))
            raise DataError(
                f"{images}: none of the {len(pairs)} pairs can be used. First finding: "
                f"{say_issue(first)}."
            )
        issues += find_duplicates(rows, config.prepare.near_duplicate)
        write_csv(staged / "manifest.csv", MANIFEST_COLUMNS, rows)
        write_csv(staged / "issues.csv", ISSUE_COLUMNS, issues)
        if any(pair.image.is_dir() for pair in volumes):
            # Kept, so that the owner of the data can tell which patient a group is.
            write_text(staged / "salt.txt", salt + "\n")
        originals = [row for row in rows if row["source"] == row["case"]]
        prepared = PrepareResult(output, len(originals), len(rows) - len(originals), issues)
        sizes = Counter(f"{row['source_height']} x {row['source_width']}" for row in originals)
        plot_dataset_statistics(
            staged / "dataset_statistics.png",
            {"slices": prepared.slices, "augmented copies": prepared.copies, **prepared.count()},
            dict(sizes.most_common()),
            [float(str(row["lung_fraction"])) for row in originals],
            histogram,
        )
    return prepared


def plan(images: Path | None, masks: Path | None) -> tuple[list[Pair], list[dict[str, str]]]:
    """Return the pairs of two folders and the issues of what has no partner; reads no image."""
    images = existing_folder(images, "images", "--images")
    masks = existing_folder(masks, "masks", "--masks")
    volumes, unpaired, names = pair_volumes(images, masks)
    pairs, others = pair_folders(images, masks, names)
    issues = [issue_row(finding, path.stem, path) for path, finding in (*unpaired, *others)]
    if not pairs and not volumes:
        reason = (
            f" First finding: {say_issue(issues[0])}." if issues else " Both folders are empty."
        )
        raise DataError(
            f"{images} and {masks}: no image and mask share a stem (PNG, JPG, TIF, BMP; DICOM "
            f"folder, NIfTI, MHA, NRRD).{reason}"
        )
    return [*pairs, *volumes], issues


def is_volume(pair: Pair) -> bool:
    """Whether a pair is of volumes, to be cut into slices."""
    return pair.image.is_dir() or volume_suffix(pair.image) is not None


def _unreadable(pair: Pair, problem: DataError) -> _Prepared:
    finding = Finding("unreadable", "failed", str(problem).removesuffix("."))
    return _Prepared(pair, [], [finding], np.zeros(256, dtype=np.int64))


def _histogram(image: NDArray[np.uint8]) -> NDArray[np.int64]:
    counts = cv2.calcHist([image], [0], None, [256], [0, 256])
    return np.asarray(counts.ravel(), dtype=np.int64)


def _prepare_pair(pair: Pair, writer: SliceWriter) -> _Prepared:
    """Check, resize and write a pair of images."""
    try:
        image, labels, size, findings = read_pair(pair, writer.config)
    except DataError as problem:
        return _unreadable(pair, problem)
    if any(finding.severity in ("failed", "left_out") for finding in findings):
        return _Prepared(pair, [], findings, np.zeros(256, dtype=np.int64))
    rows = writer.write(pair, pair.case, "", image, labels, size)
    return _Prepared(pair, rows, findings, _histogram(image))


def _prepare_volume(pair: Pair, salt: str, writer: SliceWriter) -> _Prepared:
    """Cut a pair of volumes into slices, resize and write them."""
    try:
        slices, count, findings = cut(pair, writer.config)
        group = patient_group(pair, salt)
    except DataError as problem:
        return _unreadable(pair, problem)
    wanted = writer.config.data.image_size

    def one(piece: VolumeSlice) -> tuple[list[dict[str, object]], NDArray[np.int64]]:
        image, labels = resize_image(piece.image, wanted), resize_labels(piece.labels, wanted)
        size = (piece.labels.shape[0], piece.labels.shape[1])
        return writer.write(pair, piece.case, group, image, labels, size), _histogram(image)

    rows: list[dict[str, object]] = []
    histogram = np.zeros(256, dtype=np.int64)
    results = ordered_map(one, slices, writer.config.prepare.threads)
    for new_rows, counts in console.track(results, count, pair.case, "slice"):
        rows += new_rows
        histogram += counts
    return _Prepared(pair, rows, findings, histogram)
