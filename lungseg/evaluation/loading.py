"""The masks of one case: read from any format, on one grid, as class indices."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungseg.config.schema import Config
from lungseg.errors import DataError
from lungseg.evaluation.cases import ClassIndices
from lungseg.evaluation.metrics import PixelSize
from lungseg.imaging.dicom.contours import frame_of_reference, is_rtstruct
from lungseg.imaging.folders import stem_of, volume_suffix
from lungseg.imaging.labels import UNLABELLED, map_labels, merge_labels
from lungseg.imaging.masks import decode_mask
from lungseg.imaging.pixels import read_pixels
from lungseg.imaging.structures import read_structures
from lungseg.imaging.volume_files import read_ct, read_label_volume
from lungseg.imaging.volumes import LabelVolume, match_grids


@dataclass(frozen=True)
class Case:
    """A true mask, its patient, and the prediction and image of the same name if there are any."""

    name: str
    truth: Path
    prediction: Path | None
    image: Path | None = None
    patient: str = ""


@dataclass(frozen=True)
class LoadedMasks:
    """The two masks of a case on one grid.

    Attributes:
        truth: class indices `(H, W)` or `(D, H, W)`.
        prediction: class indices of the same shape; all background if there is a `problem`.
        pixel_size: from one of the files, if it holds the pixel size.
        remarks: what was assumed or repaired in reading.
        problem: why the prediction cannot be compared; an empty text if it can.
    """

    truth: ClassIndices
    prediction: ClassIndices
    pixel_size: PixelSize
    remarks: list[str]
    problem: str = ""


def load_masks(case: Case, config: Config) -> LoadedMasks:
    """Read the masks of a case and bring them onto one grid, if that is possible.

    Raises:
        DataError: if the true mask cannot be read, or a mask holds a label without a class.
        UsageError: if the truth is an RTSTRUCT and pydicom is not installed.
    """
    prediction, prediction_remarks, problem = _read_prediction(case, config)
    truth, truth_remarks, unlabelled = _read_truth(case, prediction, config)
    if isinstance(truth, LabelVolume) and isinstance(prediction, LabelVolume):
        prediction, truth, differences = match_grids(prediction, truth)
        if differences:
            problem = "prediction and truth differ in geometry: " + "; ".join(differences)
    true, pixel_size = _to_indices(truth)
    predicted = np.zeros_like(true)
    if prediction is not None:
        predicted, predicted_size = _to_indices(prediction)
        pixel_size = pixel_size if pixel_size.spacing else predicted_size
    if not problem and predicted.shape != true.shape:
        problem = f"prediction is {size_of(predicted)}, truth {size_of(true)}; nothing is resized"
    if problem:
        predicted = np.zeros_like(true)
    if unlabelled is not None:
        predicted = np.where(unlabelled, 0, predicted).astype(predicted.dtype)
    remarks = [
        *(f"truth: {remark}" for remark in truth_remarks),
        *(f"prediction: {remark}" for remark in prediction_remarks),
    ]
    return LoadedMasks(true, predicted, pixel_size, remarks, problem)


def _read_truth(
    case: Case, prediction: LabelVolume | ClassIndices | None, config: Config
) -> tuple[LabelVolume | ClassIndices, list[str], NDArray[np.bool_] | None]:
    """Return the truth, remarks about it, and where it does not say what is lung.

    Contours are drawn in the slices of the case's CT, or else of the prediction. The slices that
    have none between others that have some are not scored.
    """
    if not is_rtstruct(case.truth):
        truth, remarks = _read_mask(case.truth, config, own=False)
        return truth, remarks, None
    scan, drawn_in = _grid(case, prediction)
    frame = frame_of_reference(drawn_in)
    drawn, findings = read_structures(case.truth, scan, config.data, frame)
    labels = drawn.labels
    unlabelled = labels == UNLABELLED
    remarks = [finding.detail for finding in findings]
    if unlabelled.any():
        count = int(unlabelled.any(axis=(1, 2)).sum())
        remarks.append(f"{count} slices between contours have none and are not scored")
    known = drawn.with_labels(np.where(unlabelled, 0, labels).astype(np.uint8))
    return known, remarks, unlabelled if len(labels) > 1 else None


def _grid(case: Case, prediction: LabelVolume | ClassIndices | None) -> tuple[Any, Path]:
    """Return the slices, a SimpleITK image, in which the contours of a case lie, and their file."""
    if case.image is not None and volume_suffix(case.image):
        return read_ct(case.image).image, case.image
    if case.prediction and isinstance(prediction, LabelVolume) and not prediction.sparse:
        return prediction.image, case.prediction  # a DICOM-SEG may lack the slices without lung
    raise DataError(
        case.truth,
        "is an RTSTRUCT, whose contours are drawn in the slices of its CT. There is neither a "
        "prediction as a volume of all slices nor a CT: name a folder of CT volumes with --images.",
    )


def _read_prediction(
    case: Case, config: Config
) -> tuple[LabelVolume | ClassIndices | None, list[str], str]:
    """Return the prediction, remarks about it, and the reason if there is none."""
    if case.prediction is None:
        return None, [], "there is no prediction"
    try:
        mask, remarks = _read_mask(case.prediction, config, own=True)
    except DataError as problem:
        return None, [], str(problem)
    stem = stem_of(case.prediction)
    end = case.name[-len(stem) :]  # names of folders may lie before it
    if end != stem and end.casefold() == stem.casefold():
        remarks.append(f"paired with {case.prediction.name}, which differs in capital letters")
    return mask, remarks, ""


def _read_mask(
    path: Path, config: Config, own: bool
) -> tuple[LabelVolume | ClassIndices, list[str]]:
    """Read a mask as class indices; `own` as in `map_labels`."""
    data = config.data
    if is_rtstruct(path):
        raise DataError(path, "is an RTSTRUCT, which is read as a true mask only (--truth).")
    if volume_suffix(path):
        volume = read_label_volume(path)
        mapped, findings = map_labels(volume, data, path, own=own)
        merged, more = merge_labels(mapped, data, path)
        return merged, [finding.detail for finding in (*findings, *more)]
    labels, findings = decode_mask(read_pixels(path), data.rgb_map, path, data.labels, own=own)
    return labels, [finding.detail for finding in findings]


def _to_indices(mask: LabelVolume | ClassIndices) -> tuple[ClassIndices, PixelSize]:
    """Return class indices and pixel size; a volume of one slice becomes that slice."""
    if not isinstance(mask, LabelVolume):
        return mask, PixelSize()
    if mask.labels.shape[0] == 1:
        return mask.labels[0], PixelSize(mask.spacing[1:])
    return mask.labels, PixelSize(mask.spacing)


def size_of(labels: ClassIndices) -> str:
    """Return the shape as text: `512 x 512`."""
    return " x ".join(str(side) for side in labels.shape)
