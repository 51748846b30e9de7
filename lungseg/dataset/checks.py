"""What is wrong with a pair of image and mask, and rows of issues.csv."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lungseg.config.schema import Config
from lungseg.dataset.similarity import similar_pairs
from lungseg.errors import DataError
from lungseg.imaging.findings import Finding
from lungseg.imaging.folders import Pair
from lungseg.imaging.masks import decode_mask, resize_labels
from lungseg.imaging.pixels import Labels, read_pixels, resize_image, to_slice

ISSUE_COLUMNS = ("severity", "code", "case", "file", "detail")


# More pairs than this say the same thing: the slices are neighbours of one volume.
MAX_REPORTED_PAIRS = 200


def read_pair(
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


def find_duplicates(rows: list[dict[str, object]], at_least: float) -> list[dict[str, str]]:
    """Return a row of issues.csv for each pair of source images that are equal or look alike."""
    originals = [row for row in rows if row["source"] == row["case"]]
    found = []
    for i, j, similarity in similar_pairs([str(row["phash"]) for row in originals], at_least):
        first, second = originals[i], originals[j]
        same = first["sha256"] == second["sha256"]
        detail = f"like {first['case']} (similarity {similarity:.3f})"
        if same:
            detail = f"the same pixels as {first['case']}"
        finding = Finding("exact_duplicate" if same else "near_duplicate", "warning", detail)
        found.append(issue_row(finding, str(second["case"]), Path(str(second["source_image"]))))
        if len(found) == MAX_REPORTED_PAIRS:
            detail = f"the list ends after {MAX_REPORTED_PAIRS} pairs"
            found.append(issue_row(Finding("more_duplicates", "warning", detail), "", Path()))
            break
    return found


def file_of_finding(finding: Finding, pair: Pair) -> Path:
    """Return the file a finding is about; a damaged one is named in the detail itself."""
    about_mask = "mask" in finding.code or str(pair.mask) in finding.detail
    return pair.mask if about_mask else pair.image


def issue_row(finding: Finding, case: str, path: Path) -> dict[str, str]:
    """Return a finding as a row of issues.csv."""
    return {
        "severity": finding.severity,
        "code": finding.code,
        "case": case,
        "file": path.name,
        "detail": finding.detail,
    }


def say_issue(row: dict[str, str]) -> str:
    """Return a row of issues.csv as one line for the console."""
    return f"{row['file']}: {row['code']}: {row['detail']}"
