"""What is wrong with a pair of image and mask, and the rows of issues.csv."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lungseg.config.schema import Config
from lungseg.dataset.likeness import Looks
from lungseg.dataset.similarity import similar_pairs
from lungseg.dataset.slices import ManifestRow
from lungseg.errors import DataError
from lungseg.imaging.findings import Finding, Severity
from lungseg.imaging.folders import Pair
from lungseg.imaging.framing import SQUARE, frame_slice
from lungseg.imaging.masks import decode_mask, fit_labels, resize_labels
from lungseg.imaging.pixels import Labels, fit_image, read_pixels, to_slice, unseen_values

# A longer list of similar pairs adds nothing.
MAX_REPORTED_PAIRS = 200


@dataclass(frozen=True, slots=True)
class IssueRow:
    """A row of `issues.csv`: a finding, its case, and the name of the file it is about."""

    severity: Severity
    code: str
    case: str
    file: str
    detail: str

    @classmethod
    def of(cls, finding: Finding, case: str) -> IssueRow:
        """Return the row of a finding."""
        file = finding.path.name if finding.path else ""
        return cls(finding.severity, finding.code, case, file, finding.detail)

    def __str__(self) -> str:
        """Return the row as one line for the console."""
        return f"{self.file}: {self.code}: {self.detail}"


def read_pair(
    pair: Pair, config: Config
) -> tuple[NDArray[np.uint8], Labels, tuple[int, int], list[Finding]]:
    """Read, check and resize one pair.

    Returns:
        The image and its labels at the configured size, the image's own height and width, and the
        findings. If one of them is `failed` or `left_out`, the pair must not be used.

    Raises:
        DataError: if one of the files cannot be read.
    """
    image, findings = to_slice(read_pixels(pair.image), config.data, pair.image)
    size = (image.shape[0], image.shape[1])
    mask, data = read_pixels(pair.mask), config.data
    try:
        labels, mask_findings = decode_mask(mask, data.rgb_map, pair.mask, data.labels)
    except DataError as problem:
        detail = problem.what.removesuffix(".")
        findings.append(Finding("mask_colours", "failed", detail, pair.mask))
        return image, np.zeros(size, np.uint8), size, findings
    findings += mask_findings
    if labels.shape != size:
        sizes = f"image {size[0]} x {size[1]}, mask {labels.shape[0]} x {labels.shape[1]}"
        if config.prepare.match_mask_size:
            detail = f"{sizes}: the mask was resized onto the image"
            findings.append(Finding("size_mismatch", "repaired", detail, pair.image))
        else:
            detail = f"{sizes}; prepare.match_mask_size: true resizes the mask onto the image"
            findings.append(Finding("size_mismatch", "failed", detail, pair.image))
    findings += _look_at(pair, image, labels, config)
    spacing = config.data.pixel_spacing or SQUARE
    framing = frame_slice(size, config.data, spacing)
    labels = fit_labels(resize_labels(labels, size), framing)
    return fit_image(image, framing), labels, size, findings


def _look_at(pair: Pair, image: NDArray[np.uint8], labels: Labels, config: Config) -> list[Finding]:
    """Return what the pixels of a readable pair suggest: a blank image, an empty mask."""
    findings = []
    contrast = float(image.std())
    if contrast < config.prepare.blank_contrast:
        detail = f"the standard deviation of the grey values is only {contrast:.2f}"
        findings.append(Finding("blank_image", "left_out", detail, pair.image))
    foreground = float((labels > 0).mean())
    if not foreground:
        unseen = unseen_values(pair.mask)
        detail = "the mask holds only background" + (f"; {unseen}" if unseen else "")
        findings.append(Finding("empty_mask", "warning", detail, pair.mask))
    elif foreground > 0.7:
        detail = f"{foreground:.0%} of the slice is foreground: is the mask inverted?"
        findings.append(Finding("large_mask", "warning", detail, pair.mask))
    (height, width), wanted = image.shape[:2], config.data.image_size
    if not config.data.square_pixels and height * wanted[1] != width * wanted[0]:
        detail = f"{height} x {width} was stretched to {wanted[0]} x {wanted[1]}"
        findings.append(Finding("aspect_changed", "warning", detail, pair.image))
    return findings


def find_duplicates(rows: Sequence[ManifestRow], at_least: float) -> list[IssueRow]:
    """Return one issue per pair of source slices whose similarity is `at_least` or more.

    Slices of one CT are often alike, so there only equal pixels are an issue.
    """
    originals = [row for row in rows if not row.is_copy]
    looks = Looks.read([row.likeness for row in originals])
    issues = []
    pairs = (zip(*block, strict=True) for block in similar_pairs(looks, at_least))
    for i, j, similarity in chain.from_iterable(pairs):
        first, second = originals[i], originals[j]
        if first.source_image == second.source_image and first.sha256 != second.sha256:
            continue
        code, detail = "near_duplicate", f"like {first.case} (similarity {similarity:.3f})"
        if first.sha256 == second.sha256:
            code, detail = "exact_duplicate", f"the same pixels as {first.case}"
        finding = Finding(code, "warning", detail, Path(second.source_image))
        issues.append(IssueRow.of(finding, second.case))
        if len(issues) == MAX_REPORTED_PAIRS:
            detail = f"the list ends after {MAX_REPORTED_PAIRS} pairs"
            issues.append(IssueRow.of(Finding("more_duplicates", "warning", detail, None), ""))
            break
    return issues
