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
from lungseg.imaging.folders import IMAGE_SUFFIXES, volume_suffix
from lungseg.imaging.masks import decode_mask
from lungseg.imaging.pixels import read_pixels, to_slice
from lungseg.imaging.volume_files import read_label_volume
from lungseg.imaging.volumes import LabelVolume, match
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

    Raises:
        DataError: where two files of one folder share a stem, or `truth` holds no mask.
    """
    true, guessed = _masks_in(truth), _masks_in(predictions)
    if not true:
        raise DataError(truth, "holds no mask (PNG, TIF, NIfTI, MHA, NRRD or DICOM-SEG).")
    pictures = _masks_in(existing_folder(images, "images")) if images else {}
    cases = [
        Case(stem, true[stem], guessed.get(stem), pictures.get(stem))
        for stem in sorted(true, key=natural_key)
    ]
    return cases, [path.name for stem, path in guessed.items() if stem not in true]


def _masks_in(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        suffix = volume_suffix(path) or path.suffix.lower()
        if path.name.startswith(".") or not path.is_file():
            continue
        if volume_suffix(path) is None and suffix not in IMAGE_SUFFIXES:
            continue
        stem = path.name[: -len(suffix)]
        if stem in found:
            raise DataError(
                folder, f"{found[stem].name} and {path.name} share one stem; keep one of them."
            )
        found[stem] = path
    return found


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
        except DataError as error:
            problem = str(error)
    if isinstance(truth, LabelVolume) and isinstance(guess, LabelVolume):
        guess, truth, differences = match(guess, truth)
        if differences:
            problem = "prediction and truth differ in geometry: " + "; ".join(differences)
    true, scale = _plain(truth)
    predicted, other_scale = _plain(guess) if guess is not None else (np.zeros_like(true), scale)
    if not problem and predicted.shape != true.shape:
        problem = f"prediction is {_size(predicted)}, truth {_size(true)}; nothing is resized"
    if problem:
        predicted = np.zeros_like(true)
    merged = len(config.data.rgb_map) == 2
    for name, labels in (("truth", true), ("prediction", predicted)):
        if labels.max(initial=0) >= len(config.data.rgb_map):
            if not merged:
                raise DataError(
                    case.truth,
                    f"{name} holds label {labels.max()}, but data.rgb_map has "
                    f"{len(config.data.rgb_map)} classes.",
                )
            remarks.append(f"{name}: labels up to {labels.max()} taken together as foreground")
    if merged:
        true, predicted = (true > 0).astype(np.uint8), (predicted > 0).astype(np.uint8)
    return Loaded(true, predicted, scale if scale.spacing else other_scale, remarks, problem)


def _read_mask(path: Path, config: Config) -> tuple[LabelVolume | Labels, list[str]]:
    if volume_suffix(path):
        return read_label_volume(path), []
    try:
        labels, findings = decode_mask(read_pixels(path), config.data.rgb_map)
    except DataError as problem:
        if problem.path is not None:
            raise
        raise DataError(path, f"{problem.what}.") from None
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
