"""Folders of masks of any tool: paired with the truth and scored."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813 - its documented name
from numpy.typing import NDArray

from lungseg.config.schema import Config
from lungseg.errors import DataError, UsageError
from lungseg.evaluation.baselines import score_methods
from lungseg.evaluation.cases import CaseScore
from lungseg.evaluation.drawing import draw_pair, draw_volume_pair
from lungseg.evaluation.loading import Case, LoadedMasks, load_masks, size_of
from lungseg.evaluation.naming import FILES, name_patients
from lungseg.imaging.folders import Input, volume_suffix
from lungseg.imaging.pixels import read_pixels, to_slice
from lungseg.imaging.trees import list_tree
from lungseg.imaging.volume_files import read_ct
from lungseg.reporting.report import DrawnCase
from lungseg.system import console
from lungseg.system.environment import ordered_map
from lungseg.system.files import existing_folder, natural_key
from lungseg.system.wording import some_of
from lungseg.system.written import is_output

# In an output of `infer`, what lies beside the masks.
EXTRA_FOLDERS = (("overlays",), ("probabilities",), ("rtstruct",))


@dataclass(frozen=True)
class Pairing:
    """Predicted masks and true ones, paired.

    Attributes:
        predictions: folder of predicted masks.
        truth: folder of true masks.
        cases: the true masks in natural order, each with its prediction if there is one.
        extra: names of the predictions without a truth.
        patients_from: what named the patients of the cases.
    """

    predictions: Path
    truth: Path
    cases: list[Case]
    extra: list[str]
    patients_from: str = FILES


@dataclass(frozen=True)
class CaseNote:
    """A sentence about one case."""

    case: str
    detail: str


@dataclass(frozen=True)
class FolderScores:
    """The scores of a folder of predictions.

    Attributes:
        rows: one row for each case, class and method.
        problems: the cases that could not be compared, and why.
        remarks: what was assumed or repaired in reading.
    """

    rows: list[CaseScore]
    problems: list[CaseNote]
    remarks: list[CaseNote]


def pair_masks(predictions: Path, truth: Path, images: Path | None = None) -> Pairing:
    """Pair predicted masks with true ones by stem, in folders of any depth.

    Args:
        predictions: folder of predicted masks.
        truth: folder of true masks.
        images: folder of the images, if there is one.

    A case has its truth's stem; below the top of a tree, with the names of its folders before it.
    A prediction may lie in the same folders, or have this name. Upper and lower case count as the
    same.

    Raises:
        DataError: if files share a name, or no case has both masks.
    """
    folders = [predictions, truth, *([existing_folder(images, "images")] if images else [])]
    guessed, true, *shown = (_masks_in(folder, folders) for folder in folders)
    if not true:
        raise DataError(
            truth,
            "holds no mask (PNG, TIF, NIfTI, MHA, NRRD, DICOM-SEG or RTSTRUCT), at any depth.",
        )
    pictures = shown[0] if shown else {}
    cases = [
        Case(item.name, item.path, _path_of(guessed.get(name)), _path_of(pictures.get(name)))
        for name, item in true.items()
    ]
    if not any(case.prediction for case in cases):
        raise DataError(predictions, f"holds no mask with the stem of one in {truth}.")
    extra = sorted(item.place for key, item in guessed.items() if key not in true)
    return Pairing(predictions, truth, cases, extra)


def with_patients(pairing: Pairing, config: Config) -> Pairing:
    """Name the patient of each case as `lungseg split` does; without a name a case is a patient.

    Raises:
        UsageError: if the expression or the table of `split` gives some case no patient.
    """
    named = name_patients({case.name: case.truth for case in pairing.cases}, config)
    cases = [replace(case, patient=named.patients[case.name]) for case in pairing.cases]
    return replace(pairing, cases=cases, patients_from=named.source)


def _path_of(item: Input | None) -> Path | None:
    return None if item is None else item.path


def _masks_in(folder: Path, leave_out: Sequence[Path]) -> dict[str, Input]:
    """Return the images and volumes in a folder, at any depth, by the folded names of their cases.

    Args:
        folder: the folder.
        leave_out: folders that are not looked into, because they hold something else.
    """
    listing = list_tree(folder, leave_out, series=False)
    for item in listing.unreadable:
        raise DataError(item.path, "cannot be opened.")
    extras = EXTRA_FOLDERS if is_output(folder) else ()
    items = [item for item in listing.items if item.within[:1] not in extras]
    groups: dict[str, list[Input]] = defaultdict(list)
    for item in sorted(items, key=lambda item: natural_key(item.name)):
        groups[item.name.casefold()].append(item)
    if clashes := [group for group in groups.values() if len(group) > 1]:
        names = "; ".join(" and ".join(item.place for item in clash) for clash in clashes)
        raise DataError(folder, f"{names} share one stem; keep one of them.")
    return {name: group[0] for name, group in groups.items()}


def score_pairs(cases: Sequence[Case], config: Config) -> FolderScores:
    """Score each case. `evaluate.missing` decides whether incomparable cases are left out."""

    def load_and_score(case: Case) -> tuple[Case, LoadedMasks, list[CaseScore]]:
        loaded = load_masks(case, config)
        return case, loaded, score_case(case, loaded, config)

    scores = FolderScores([], [], [])
    results = ordered_map(load_and_score, cases, config.evaluate.threads)
    for case, loaded, rows in console.track(results, len(cases), "evaluate", "case"):
        scores.remarks.extend(CaseNote(case.name, remark) for remark in loaded.remarks)
        if loaded.problem:
            scores.problems.append(CaseNote(case.name, loaded.problem))
        if not loaded.problem or config.evaluate.missing != "leave_out":
            scores.rows.extend(rows)
    return scores


def score_case(case: Case, loaded: LoadedMasks, config: Config) -> list[CaseScore]:
    """Score a prediction and the baselines against the truth; one row per class and method."""
    rows = []
    for scored in score_methods(
        loaded.truth,
        loaded.prediction,
        _image(case, loaded, config),
        list(config.data.rgb_map),
        loaded.pixel_size,
        config.evaluate.tolerances,
    ):
        scores = scored.scores
        if scored.method == "model" and loaded.problem:
            scores = replace(scores, flag="not_comparable")
        rows.append(
            CaseScore(
                case=case.name,
                group=case.patient or case.name,
                class_name=scored.class_name,
                method=scored.method,
                pixel_accuracy=scored.pixel_accuracy,
                scores=scores,
            )
        )
    return rows


def report_problems(pairing: Pairing, scores: FolderScores, config: Config) -> None:
    """Warn about predictions without a truth, cases that were not compared, and assumptions.

    Raises:
        DataError: if no case can be compared, or if the pixel size of only some cases is known.
    """
    extra = pairing.extra
    if extra:
        console.warn(f"{len(extra)} predictions have no truth and are not scored: {some_of(extra)}")
    if len(scores.problems) == len(pairing.cases):
        first = scores.problems[0]
        raise DataError(
            pairing.predictions,
            f"none of the {len(pairing.cases)} cases can be compared. First: {first.case}: "
            f"{first.detail}",
        )
    if scores.problems:
        fate = "left out" if config.evaluate.missing == "leave_out" else "scored as empty"
        names = some_of([f"{problem.case} ({problem.detail})" for problem in scores.problems])
        console.warn(f"{len(scores.problems)} cases could not be compared and are {fate}: {names}")
    if scores.remarks:
        remark = scores.remarks[0]
        console.note(
            f"{len(scores.remarks)} masks were read with an assumption, the first: {remark.case}: "
            f"{remark.detail}"
        )
    if len({row.scores.distance_unit for row in scores.rows}) > 1:
        raise DataError(
            pairing.truth,
            "pixel size is known for only some cases, and millimetres and pixels cannot "
            "share a mean. Score volumes and plain images in separate folders.",
        )


def _image(case: Case, loaded: LoadedMasks, config: Config) -> NDArray[np.uint8] | None:
    """Read the image of a case if it is a plain image of the mask's size."""
    if case.image is None or volume_suffix(case.image) or loaded.truth.ndim != 2:
        return None
    image, _ = to_slice(read_pixels(case.image), config.data)
    if image.shape[:2] != loaded.truth.shape:
        raise UsageError(
            f"{case.image}: the image is {size_of(image)}, its mask {size_of(loaded.truth)}."
        )
    return image


def draw_case(case: Case, config: Config) -> DrawnCase:
    """Draw truth and prediction of a case, on its image if there is one of their size."""
    loaded = load_masks(case, config)
    if loaded.truth.ndim == 3:
        hu = _read_hu(case, loaded)
        return draw_volume_pair(hu, loaded.truth, loaded.prediction, loaded.pixel_size.spacing)
    return draw_pair(_image(case, loaded, config), loaded.truth, loaded.prediction)


def _read_hu(case: Case, loaded: LoadedMasks) -> NDArray[Any] | None:
    """Return the CT of a case if it can be read and has the grid of the masks."""
    if case.image is None or not volume_suffix(case.image):
        return None
    try:
        ct = read_ct(case.image).canonical
    except DataError:
        return None  # it is scored without, and shown on black
    z_y_x = ct.GetSpacing()[::-1]
    known = loaded.pixel_size.spacing
    if ct.GetSize()[::-1] != loaded.truth.shape or (known and not np.allclose(known, z_y_x, 1e-2)):
        return None
    return np.asarray(sitk.GetArrayFromImage(ct))
