"""`lungseg prepare`: raw images and masks -> checked, resized slices and a manifest.

`PREPARED` holds `images/`, `masks/` (both PNG), `manifest.csv` (one row per slice), `issues.csv`
(one row per finding), `slices.json` (how they were made) and `dataset_statistics.png`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lungseg.config.loading import with_overrides
from lungseg.config.schema import Config
from lungseg.dataset.appearance import write_appearance
from lungseg.dataset.augmentation import Augmenter
from lungseg.dataset.checks import IssueRow, find_duplicates, read_pair
from lungseg.dataset.cutting import VolumeSlice, cut_volume, patient_group, patient_key
from lungseg.dataset.slices import ManifestRow
from lungseg.dataset.writing import SliceWriter, copy_mark
from lungseg.errors import DataError, UsageError, one_of_many
from lungseg.imaging.findings import Finding
from lungseg.imaging.folders import Pair, volume_suffix
from lungseg.imaging.masks import fit_labels
from lungseg.imaging.pairing import find_pairs, labels_of, suggest
from lungseg.imaging.pixels import fit_image
from lungseg.reporting.plots import plot_dataset_statistics
from lungseg.system import console
from lungseg.system.environment import ordered_map
from lungseg.system.files import existing_folder
from lungseg.system.outputs import staged_output
from lungseg.system.tables import write_rows


@dataclass(frozen=True)
class PrepareResult:
    """What `prepare` wrote.

    Attributes:
        output: the folder written.
        slices: number of source slices kept.
        copies: number of augmented copies.
        issues: the rows of `issues.csv`.
    """

    output: Path
    slices: int
    copies: int
    issues: list[IssueRow]

    @property
    def failed(self) -> int:
        """Cases that were damaged or contradictory."""
        return len({issue.case for issue in self.issues if issue.severity == "failed"})

    def count(self) -> dict[str, int]:
        """Findings by code, the most frequent first."""
        return dict(Counter(issue.code for issue in self.issues).most_common())


@dataclass(frozen=True)
class _Prepared:
    """A pair after `prepare`; it has no rows if it was not used."""

    pair: Pair
    rows: list[ManifestRow]
    findings: list[Finding]
    grey_histogram: NDArray[np.int64]


@dataclass(frozen=True)
class _Slices:
    """All slices that were written, and the issues of those that were not."""

    rows: list[ManifestRow]
    issues: list[IssueRow]
    grey_histogram: NDArray[np.int64]


def prepare(
    config: Config,
    images: str | Path,
    masks: str | Path,
    output: str | Path,
    *,
    overwrite: bool = False,
) -> PrepareResult:
    """Check, resize and write the pairs of two folders.

    Memory grows only by the rows of the manifest, which take some 500 bytes per slice.

    Args:
        config: sections `data`, `prepare` and `augment` are used.
        images: folder of raw images, at any depth.
        masks: folder of raw masks, paired with the images as `data.pairing` says. It may be that
            of the images, unless they are paired by stem.
        output: folder to write; appears whole, or not at all.
        overwrite: replace an `output` that `prepare` wrote.

    Raises:
        UsageError: if a folder is missing, or `output` may not be written.
        DataError: if no usable pair is left.

    Examples:
        >>> config = lungseg.load_config("lung.yaml")
        >>> result = lungseg.prepare(config, "raw/images", "raw/masks", "work/prepared")
        >>> result.slices, result.failed
        (20, 0)
    """
    images, masks, output = Path(images), Path(masks), Path(output)
    pairs, issues = plan(config, images, masks)
    config = with_overrides(config, {"data.labels": labels_of(config.data, pairs)})
    read = (images, masks, *(path for pair in pairs for path in (pair.image, pair.mask)))
    with staged_output(output, "prepare", read, overwrite=overwrite) as staged:
        slices = write_slices(config, pairs, staged)
        issues += slices.issues
        if not slices.rows:
            first = next(issue for issue in issues if issue.severity in ("failed", "left_out"))
            raise DataError(
                images, f"none of the {len(pairs)} pairs can be used. First finding: {first}."
            )
        issues += find_duplicates(slices.rows, config.prepare.near_duplicate)
        originals = sum(not row.is_copy for row in slices.rows)
        result = PrepareResult(output, originals, len(slices.rows) - originals, issues)
        write_tables(config, staged, result, slices)
    return result


def write_slices(config: Config, pairs: Sequence[Pair], staged: Path) -> _Slices:
    """Check, resize and write each pair into `images/` and `masks/` of a new folder."""
    (staged / "images").mkdir()
    (staged / "masks").mkdir()
    classes = list(config.data.rgb_map)
    augmenter = Augmenter(config.augment.offline, classes) if config.prepare.copies else None
    writer = SliceWriter(config, staged, augmenter, copy_mark(pair.case for pair in pairs))
    key = patient_key(config.prepare.patient_key)
    plain = [pair for pair in pairs if not is_volume(pair)]
    volumes = [pair for pair in pairs if is_volume(pair)]
    results = chain(
        ordered_map(partial(_prepare_pair, writer=writer), plain, config.prepare.threads),
        # One volume at a time in memory; its slices share the threads.
        (_prepare_volume(pair, key, writer) for pair in volumes),
    )
    rows: list[ManifestRow] = []
    issues: list[IssueRow] = []
    histogram = np.zeros(256, dtype=np.int64)
    for result in console.track(results, len(pairs), "prepare"):
        rows += result.rows
        found = [IssueRow.of(finding, result.pair.case) for finding in result.findings]
        for issue in found:
            console.detail(f"{issue.severity}: {issue}")
        issues += found
        histogram += result.grey_histogram
    if config.prepare.patient_key is None and any(pair.image.is_dir() for pair in volumes):
        console.note(
            "the names of DICOM patients are from a random key, so a patient who is prepared again "
            "gets another name. Set prepare.patient_key to keep the names."
        )
    return _Slices(rows, issues, histogram)


def write_tables(config: Config, staged: Path, result: PrepareResult, slices: _Slices) -> None:
    """Write `manifest.csv`, `issues.csv`, `slices.json` and the plot of the statistics."""
    write_rows(staged / "manifest.csv", ManifestRow, slices.rows)
    write_rows(staged / "issues.csv", IssueRow, result.issues)
    write_appearance(staged, config.data)
    originals = [row for row in slices.rows if not row.is_copy]
    sizes = Counter(f"{row.source_height} x {row.source_width}" for row in originals)
    plot_dataset_statistics(
        staged / "dataset_statistics.png",
        {"slices": result.slices, "augmented copies": result.copies, **result.count()},
        dict(sizes.most_common()),
        [row.lung_fraction for row in originals],
        slices.grey_histogram,
    )


def plan(
    config: Config, images: str | Path, masks: str | Path
) -> tuple[list[Pair], list[IssueRow]]:
    """Return the pairs of two folders and the issues of files without a pair; reads no image.

    Raises:
        UsageError: if a folder is missing, or if both are the same and are paired by stem.
        DataError: if there is no pair; the message names the layout that fits, if one does.
    """
    images = existing_folder(images, "images")
    masks = existing_folder(masks, "masks")
    pairing = config.data.pairing
    pairs, findings = find_pairs(images, masks, pairing)
    if pairs and pairing == "stem" and images.samefile(masks):
        raise UsageError(
            f"{images}: is the folder of the images and of the masks, so each file would be its "
            "own mask. Put the masks into a folder of their own, under the names of their images."
            f"{suggest(images, masks, pairing)}"
        )
    issues = [IssueRow.of(finding, case) for case, finding in findings]
    if not pairs:
        reason = f" First finding: {issues[0]}." if issues else " Both folders are empty."
        name = pairing if isinstance(pairing, str) else "{...}"
        how = "share a name" if pairing == "stem" else f"are paired by data.pairing={name}"
        raise DataError(
            f"{images} and {masks}",
            f"no image and mask {how}, at any depth (PNG, JPG, TIF, BMP; DICOM folder, "
            f"NIfTI, MHA, NRRD).{suggest(images, masks, pairing)}{reason}",
        )
    return pairs, issues


def is_volume(pair: Pair) -> bool:
    """Whether a pair is of volumes, to be cut into slices."""
    return pair.image.is_dir() or volume_suffix(pair.image) is not None


def _unreadable(pair: Pair, problem: DataError) -> _Prepared:
    path = pair.mask if problem.concerns(pair.mask) else pair.image
    finding = Finding("unreadable", "failed", str(problem).removesuffix("."), path)
    return _Prepared(pair, [], [finding], np.zeros(256, dtype=np.int64))


def _histogram(image: NDArray[np.uint8]) -> NDArray[np.int64]:
    counts = cv2.calcHist([image], [0], None, [256], [0, 256])
    return np.asarray(counts.ravel(), dtype=np.int64)


def _prepare_pair(pair: Pair, writer: SliceWriter) -> _Prepared:
    """Check, resize and write a pair of images."""
    try:
        with one_of_many(pair.image):
            image, labels, size, findings = read_pair(pair, writer.config)
    except DataError as problem:
        return _unreadable(pair, problem)
    if any(finding.severity in ("failed", "left_out") for finding in findings):
        return _Prepared(pair, [], findings, np.zeros(256, dtype=np.int64))
    rows = writer.write(pair, pair.case, "", image, labels, size)
    return _Prepared(pair, rows, findings, _histogram(image))


def _prepare_volume(pair: Pair, key: bytes, writer: SliceWriter) -> _Prepared:
    """Cut a pair of volumes into slices, resize and write them."""
    try:
        with one_of_many(pair.image):
            slices, count, findings = cut_volume(pair, writer.config)
            group = patient_group(pair, key)
    except DataError as problem:
        return _unreadable(pair, problem)

    def write_slice(piece: VolumeSlice) -> tuple[list[ManifestRow], NDArray[np.int64]]:
        image = fit_image(piece.image, piece.framing)
        labels = fit_labels(piece.labels, piece.framing)
        size = (piece.labels.shape[0], piece.labels.shape[1])
        return writer.write(pair, piece.case, group, image, labels, size), _histogram(image)

    rows: list[ManifestRow] = []
    histogram = np.zeros(256, dtype=np.int64)
    results = ordered_map(write_slice, slices, writer.config.prepare.threads)
    for new_rows, counts in console.track(results, count, pair.case, "slice"):
        rows += new_rows
        histogram += counts
    return _Prepared(pair, rows, findings, histogram)
