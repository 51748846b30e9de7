"""`lungseg prepare`: raw images and masks -> checked, resized slices and a manifest.

`PREPARED` holds `images/`, `masks/` (both PNG), `manifest.csv` (a row a slice), `issues.csv` (a row
a finding) and `dataset_statistics.png`.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import Counter
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lungseg import console
from lungseg.augment import Augmenter, draw_seed
from lungseg.config import Config
from lungseg.errors import DataError
from lungseg.files import existing_folder, staged_folder, write_csv, write_text
from lungseg.images import (
    Finding,
    Labels,
    Pair,
    pair_folders,
    read_pixels,
    resize_image,
    to_slice,
    volume_suffix,
    write_png,
)
from lungseg.masks import decode_mask, encode_mask, resize_labels
from lungseg.pictures import plot_dataset_statistics
from lungseg.prepare_volumes import VolumeSlice, cut, pair_volumes, patient_group
from lungseg.similarity import perceptual_hash, similar_pairs
from lungseg.workers import ordered_map

MANIFEST_COLUMNS = (
    "case", "source", "augmentation", "group", "image", "mask", "source_image", "source_mask",
    "source_height", "source_width", "lung_fraction", "mean_grey", "sha256", "phash",
)  # fmt: skip
ISSUE_COLUMNS = ("severity", "code", "case", "file", "detail")
# More pairs than this say the same thing: the slices are neighbours of one volume.
MAX_REPORTED_PAIRS = 200


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
        writer = _Writer(config, staged, augmenter)
        plain = [pair for pair in pairs if not is_volume(pair)]
        volumes = [pair for pair in pairs if is_volume(pair)]
        results = chain(
            ordered_map(partial(_prepare_pair, writer=writer), plain, config.prepare.workers),
            # One volume at a time in memory; its slices share the threads.
            (_prepare_volume(pair, salt, writer) for pair in volumes),
        )
        for result in console.track(results, len(pairs), "prepare"):
            rows += result.rows
            histogram += result.grey_histogram
            issues += [
                _issue(f, result.pair.case, _file_of(f, result.pair)) for f in result.findings
            ]
        if not rows:
            raise DataError(
                f"{images}: none of the {len(pairs)} pairs can be used. First finding: "
                f"{_say(next(row for row in issues if row['severity'] in ('failed', 'left_out')))}."
            )
        issues += _duplicates(rows, config.prepare.near_duplicate)
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
    issues = [_issue(finding, path.stem, path) for path, finding in (*unpaired, *others)]
    if not pairs and not volumes:
        reason = f" First finding: {_say(issues[0])}." if issues else " Both folders are empty."
        raise DataError(
            f"{images} and {masks}: no image and mask share a stem (PNG, JPG, TIF, BMP; DICOM "
            f"folder, NIfTI, MHA, NRRD).{reason}"
        )
    return [*pairs, *volumes], issues


def is_volume(pair: Pair) -> bool:
    """Whether a pair is of volumes, to be cut into slices."""
    return pair.image.is_dir() or volume_suffix(pair.image) is not None


@dataclass(frozen=True)
class _Writer:
    """Writes prepared slices, and their augmented copies."""

    config: Config
    output: Path
    augmenter: Augmenter | None

    def write(
        self,
        pair: Pair,
        source: str,
        group: str,
        image: NDArray[np.uint8],
        labels: Labels,
        size: tuple[int, int],
    ) -> list[dict[str, object]]:
        """Write a slice and its copies; return their manifest rows."""
        versions = [(source, "", image, labels)]
        for copy in range(self.config.prepare.copies):
            assert self.augmenter is not None
            # The seed hangs on the name, so adding cases does not change the copies of the others.
            name_hash = int.from_bytes(hashlib.sha256(source.encode()).digest()[:4], "big")
            seed = draw_seed(self.config.seed, name_hash, copy)
            moved = self.augmenter(image, labels, seed)
            versions.append((f"{source}_aug{copy + 1:02d}", f"seed {seed}", *moved))
        return [
            {
                **_write_case(
                    pair, case, source, how, pixels, mask, size, self.config, self.output
                ),
                "group": group,
            }
            for case, how, pixels, mask in versions
        ]


def _unreadable(pair: Pair, problem: DataError) -> _Prepared:
    finding = Finding("unreadable", "failed", str(problem).removesuffix("."))
    return _Prepared(pair, [], [finding], np.zeros(256, dtype=np.int64))


def _histogram(image: NDArray[np.uint8]) -> NDArray[np.int64]:
    counts = cv2.calcHist([image], [0], None, [256], [0, 256])
    return np.asarray(counts.ravel(), dtype=np.int64)


def _prepare_pair(pair: Pair, writer: _Writer) -> _Prepared:
    """Check, resize and write a pair of images."""
    try:
        image, labels, size, findings = _read_pair(pair, writer.config)
    except DataError as problem:
        return _unreadable(pair, problem)
    if any(finding.severity in ("failed", "left_out") for finding in findings):
        return _Prepared(pair, [], findings, np.zeros(256, dtype=np.int64))
    rows = writer.write(pair, pair.case, "", image, labels, size)
    return _Prepared(pair, rows, findings, _histogram(image))


def _prepare_volume(pair: Pair, salt: str, writer: _Writer) -> _Prepared:
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
    results = ordered_map(one, slices, writer.config.prepare.workers)
    for new_rows, counts in console.track(results, count, pair.case, "slice"):
        rows += new_rows
        histogram += counts
    return _Prepared(pair, rows, findings, histogram)


def _read_pair(
    pair: Pair, config: Config
) -> tuple[NDArray[np.uint8], Labels, tuple[int, int], list[Finding]]:
    """Read, check and resize one pair; what stands against it is among the findings."""
    image, findings = to_slice(read_pixels(pair.image), config.data)
    size = (image.shape[0], image.shape[1])
    mask = read_pixels(pair.mask)
    try:
        labels, more = decode_mask(mask, config.data.rgb_map)
    except DataError as problem:
        findings.append(Finding("mask_colours", "failed", str(problem)))
        return image, np.zeros(size, np.uint8), size, findings
    findings += more
    if labels.shape != size:
        sizes = f"image {size[0]} x {size[1]}, mask {labels.shape[0]} x {labels.shape[1]}"
        if config.prepare.match_mask_size:
            detail = f"{sizes}: the mask was resized onto the image"
            findings.append(Finding("size_mismatch", "repaired", detail))
        else:
            detail = f"{sizes}; prepare.match_mask_size: true resizes the mask onto the image"
            findings.append(Finding("size_mismatch", "failed", detail))
    contrast = float(image.std())
    if contrast < config.prepare.blank_contrast:
        detail = f"grey values deviate by {contrast:.2f} only"
        findings.append(Finding("blank_image", "left_out", detail))
    if not labels.any():
        findings.append(Finding("empty_mask", "warning", "the mask holds background alone"))
    elif (labels > 0).mean() > 0.7:
        detail = f"{(labels > 0).mean():.0%} of the slice is foreground: is the mask inverted?"
        findings.append(Finding("large_mask", "warning", detail))
    wanted = config.data.image_size
    if size[0] * wanted[1] != size[1] * wanted[0]:
        detail = f"{size[0]} x {size[1]} was stretched to {wanted[0]} x {wanted[1]}"
        findings.append(Finding("aspect_changed", "warning", detail))
    return resize_image(image, wanted), resize_labels(labels, wanted), size, findings


def _write_case(
    pair: Pair,
    case: str,
    source: str,
    augmentation: str,
    image: NDArray[np.uint8],
    labels: Labels,
    size: tuple[int, int],
    config: Config,
    output: Path,
) -> dict[str, object]:
    name = f"{case}.png"
    write_png(output / "images" / name, image)
    write_png(output / "masks" / name, encode_mask(labels, config.data.rgb_map))
    return {
        "case": case,
        "source": source,
        "augmentation": augmentation,
        "image": f"images/{name}",
        "mask": f"masks/{name}",
        "source_image": pair.image.name,
        "source_mask": pair.mask.name,
        "source_height": size[0],
        "source_width": size[1],
        "lung_fraction": f"{(labels > 0).mean():.6f}",
        "mean_grey": f"{image.mean():.3f}",
        "sha256": hashlib.sha256(image.tobytes()).hexdigest(),
        "phash": perceptual_hash(image),
    }


def _duplicates(rows: list[dict[str, object]], at_least: float) -> list[dict[str, str]]:
    originals = [row for row in rows if row["source"] == row["case"]]
    found = []
    for i, j, similarity in similar_pairs([str(row["phash"]) for row in originals], at_least):
        first, second = originals[i], originals[j]
        same = first["sha256"] == second["sha256"]
        detail = f"like {first['case']} (similarity {similarity:.3f})"
        if same:
            detail = f"the same pixels as {first['case']}"
        finding = Finding("exact_duplicate" if same else "near_duplicate", "warning", detail)
        found.append(_issue(finding, str(second["case"]), Path(str(second["source_image"]))))
        if len(found) == MAX_REPORTED_PAIRS:
            detail = f"the list ends after {MAX_REPORTED_PAIRS} pairs"
            found.append(_issue(Finding("more_duplicates", "warning", detail), "", Path()))
            break
    return found


def _file_of(finding: Finding, pair: Pair) -> Path:
    """Return the file a finding is about; a damaged one is named in the detail itself."""
    about_mask = "mask" in finding.code or str(pair.mask) in finding.detail
    return pair.mask if about_mask else pair.image


def _issue(finding: Finding, case: str, path: Path) -> dict[str, str]:
    return {
        "severity": finding.severity,
        "code": finding.code,
        "case": case,
        "file": path.name,
        "detail": finding.detail,
    }


def _say(row: dict[str, str]) -> str:
    return f"{row['file']}: {row['code']}: {row['detail']}"
