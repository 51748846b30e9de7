"""Masks of any tool, paired with the truth."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungseg.config.schema import Config
from lungseg.errors import DataError, UsageError
from lungseg.evaluation.cases import BASELINES, Labels, Scale, score_classes
from lungseg.evaluation.metrics import pixel_accuracy
from lungseg.evaluation.results import Row
from lungseg.imaging.folders import IMAGE_SUFFIXES, by_stem, stem_of, volume_suffix
from lungseg.imaging.masks import merge_labels, read_mask
from lungseg.imaging.pixels import read_pixels, to_slice
from lungseg.imaging.volume_files import read_label_volume
from lungseg.imaging.volumes import LabelVolume, match_grids
from lungseg.reporting.overlays import Picture, two_outlines
from lungseg.system.files import existing_folder, natural_key


@dataclass(frozen=True)
class Case:
    """A truth, and the prediction of the same name if there is one."""

    name: str
    truth: Path
    prediction: Path | None
    image: Path | None = None


@dataclass(frozen=True)
class Loaded:
    """A case's masks on one grid.

    Attributes:
        truth: class indices `(H, W)` or `(D, H, W)`.
        prediction: class indices of the same shape; all background where `problem` says why.
        scale: pixel size, where a file knows it.
        remarks: what was assumed or repaired in reading.
        problem: why the prediction could not be compared.
    """

    truth: Labels
    prediction: Labels
    scale: Scale
    remarks: list[str]
    problem: str = ""


def pair_masks(
    predictions: Path, truth: Path, images: Path | None = None
) -> tuple[list[Case], list[str]]:
    """Pair masks by stem, in natural order; return the cases, and predictions without a truth.

    A case has its truth's stem. Upper and lower case count as the same.

    Raises:
        DataError: if files of one folder share a stem, or `truth` holds no mask.
    """
    true, guessed = _masks_in(truth), _masks_in(predictions)
    if not true:
        raise DataError(truth, "holds no mask (PNG, TIF, NIfTI, MHA, NRRD or DICOM-SEG).")
    pictures = _masks_in(existing_folder(images, "images", "--images")) if images else {}
    cases = [
        Case(stem_of(path), path, guessed.get(stem), pictures.get(stem))
        for stem, path in sorted(true.items(), key=lambda item: natural_key(stem_of(item[1])))
    ]
    return cases, [path.name for stem, path in guessed.items() if stem not in true]


def _masks_in(folder: Path) -> dict[str, Path]:
    """Return a folder's images and volumes by their folded stem."""
    files = (path for path in sorted(folder.iterdir()) if not path.name.startswith("."))
    groups, clashes = by_stem(
        path
        for path in files
        if path.is_file() and (volume_suffix(path) or path.suffix.lower() in IMAGE_SUFFIXES)
    )
    if clashes:
        names = "; ".join(" and ".join(path.name for path in clash) for clash in clashes)
        raise DataError(folder, f"{names} share one stem; keep one of them.")
    return {stem: group[0] for stem, group in groups.items()}


def load(case: Case, config: Config) -> Loaded:
    """Read the masks of a case and bring them onto one grid, if they are on one.

    Raises:
        DataError: where the true mask cannot be read.
    """
    truth, true_remarks = _read_mask(case.truth, config)
    remarks = [f"truth: {remark}" for remark in true_remarks]
    problem = "" if case.prediction else "there is no prediction"
    guess: LabelVolume | Labels | None = None
    if case.prediction:
        try:
            guess, more = _read_mask(case.prediction, config)
            remarks += [f"prediction: {remark}" for remark in more]
            if stem_of(case.prediction) != case.name:
                remarks.append(
                    f"prediction: {case.prediction.name}, whose stem has other capital letters"
                )
        except DataError as error:
            problem = str(error)
    if isinstance(truth, LabelVolume) and isinstance(guess, LabelVolume):
        guess, truth, differences = match_grids(guess, truth)
        if differences:
            problem = "prediction and truth differ in geometry: " + "; ".join(differences)
    true, scale = _plain(truth)
    predicted, other_scale = _plain(guess) if guess is not None else (np.zeros_like(true), scale)
    if not problem and predicted.shape != true.shape:
        problem = f"prediction is {_size(predicted)}, truth {_size(true)}; nothing is resized"
    if problem:
        predicted = np.zeros_like(true)
    classes = len(config.data.rgb_map)
    true, truth_merged = merge_labels(true, classes, case.truth)
    predicted, guess_merged = merge_labels(predicted, classes, case.prediction or case.truth)
    remarks += [f"truth: {finding.detail}" for finding in truth_merged]
    remarks += [f"prediction: {finding.detail}" for finding in guess_merged]
    return Loaded(true, predicted, scale if scale.spacing else other_scale, remarks, problem)


def _read_mask(path: Path, config: Config) -> tuple[LabelVolume | Labels, list[str]]:
    if volume_suffix(path):
        return read_label_volume(path), []
    labels, findings = read_mask(path, config.data.rgb_map)
    return labels, [finding.detail for finding in findings]


def _plain(mask: LabelVolume | Labels) -> tuple[Labels, Scale]:
    """Return labels and scale; a volume of one slice becomes that slice."""
    if not isinstance(mask, LabelVolume):
        return mask, Scale()
    labels, spacing = mask.labels, mask.spacing
    if labels.shape[0] == 1:
        return labels[0], Scale(spacing[1:])
    return labels, Scale(spacing)


def _size(labels: Labels) -> str:
    return " x ".join(str(side) for side in labels.shape)


def score_case(case: Case, loaded: Loaded, classes: list[str], config: Config) -> list[Row]:
    """Score a prediction and the baselines against the truth; one row per class and method."""
    guesses: dict[str, NDArray[Any]] = {
        "model": loaded.prediction,
        "all_background": np.zeros_like(loaded.truth),
    }
    image = _image(case, loaded, config)
    if image is not None:
        guesses["grey_threshold"] = BASELINES["grey_threshold"](image)
    rows = []
    for method, guess in guesses.items():
        base: Row = {
            "case": case.name,
            "group": _group(case.name, config),
            "method": method,
            "pixel_accuracy": pixel_accuracy(loaded.truth, guess),
        }
        scores = score_classes(
            loaded.truth, guess, classes, loaded.scale, config.evaluate.tolerances
        )
        for row in scores:
            if method == "model" and loaded.problem:
                row["flag"] = "not_comparable"
            rows.append({**base, **row})
    return rows


def _image(case: Case, loaded: Loaded, config: Config) -> NDArray[np.uint8] | None:
    """Read the case's image if it is a plain one of the mask's size."""
    if case.image is None or volume_suffix(case.image) or loaded.truth.ndim != 2:
        return None
    image, _ = to_slice(read_pixels(case.image), config.data)
    if image.shape[:2] != loaded.truth.shape:
        raise UsageError(
            f"{case.image}: the image is {_size(image)}, its mask {_size(loaded.truth)}."
        )
    return image


def _group(case: str, config: Config) -> str:
    if config.split.group_regex is None:
        return case
    found = re.search(config.split.group_regex, case)
    if not found:
        raise UsageError(
            f"split.group_regex {config.split.group_regex!r} does not match the case {case!r}."
        )
    return found.group(1)


def draw_case(case: Case, loaded: Loaded, config: Config) -> Picture:
    """Draw truth and prediction of a case; of a volume, the slice with the most wrong pixels."""
    truth, guess = loaded.truth, loaded.prediction
    if truth.ndim == 3:
        # The slice with the most wrong pixels says most.
        worst = int((truth != guess).sum(axis=(1, 2)).argmax())
        return two_outlines(None, truth[worst], guess[worst])
    return two_outlines(_image(case, loaded, config), truth, guess)


def name_some(names: list[str] | Mapping[str, Any], most: int = 3) -> str:
    """Return the first names as text, and how many more there are."""
    listed = list(names)
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more
