"""`lungseg evaluate --pred DIR --truth DIR`: any tool's masks against the truth, without a model.

Masks are paired by stem, whatever their format: PNG, TIF, BMP, JPG, NIfTI, MHA, NRRD, DICOM-SEG.
Nothing is resized or resampled.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungseg import console
from lungseg.baselines import BASELINES
from lungseg.config import Config
from lungseg.configfile import dump_config
from lungseg.errors import DataError, UsageError
from lungseg.evaluation import Evaluation, Row, Scored, finish, read_other
from lungseg.files import existing_folder, natural_key, refuse_nonempty
from lungseg.images import IMAGE_SUFFIXES, read_pixels, to_slice, volume_suffix
from lungseg.masks import decode_mask
from lungseg.metrics import pixel_accuracy
from lungseg.pictures import Picture, two_outlines
from lungseg.scoring import Labels, Scale, score_classes
from lungseg.volumes import LabelVolume, match, read_label_volume
from lungseg.workers import ordered_map


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


def evaluate_folders(
    config: Config,
    predictions: Path | None,
    truth: Path | None,
    output: Path,
    images: Path | None = None,
    overwrite: bool = False,
    against: Path | None = None,
) -> Evaluation:
    """Score a folder of predicted masks against a folder of true ones.

    A truth without a usable prediction (missing, unreadable, of another size or geometry) is scored
    as an empty prediction and listed among `problems`, so leaving out hard cases does not raise a
    score; `evaluate.missing: leave_out` changes that. Predictions without a truth are listed.

    Args:
        config: sections `evaluate`, `data.rgb_map` and `split.group_regex` (the patient) are used.
        predictions: folder of predicted masks.
        truth: folder of true masks.
        output: folder for the results.
        images: folder of the images, for the grey-threshold baseline and the report's pictures.
        overwrite: replace an `output` that is not empty.
        against: results of another evaluation of the same cases, to compare with.

    Raises:
        UsageError: for a missing folder, or an `output` that holds something.
        DataError: where no case can be compared, or a true mask cannot be read.
    """
    predictions = existing_folder(predictions, "predicted masks", "--pred")
    truth = existing_folder(truth, "true masks", "--truth")
    refuse_nonempty(output, overwrite)
    other = read_other(against)
    cases, extra = pair_masks(predictions, truth, images)
    if not any(case.prediction for case in cases):
        raise DataError(f"{predictions}: holds no mask with the stem of one in {truth}.")
    if extra:
        console.warn(
            f"{len(extra)} predictions have no truth and are not scored: {_some(sorted(extra))}"
        )
    classes = list(config.data.rgb_map)
    rows: list[Row] = []
    problems: list[dict[str, str]] = []
    remarks: list[dict[str, str]] = []

    def work(case: Case) -> tuple[Case, Loaded, list[Row]]:
        loaded = load(case, config)
        return case, loaded, _score(case, loaded, classes, config)

    results = ordered_map(work, cases, config.evaluate.workers)
    for case, loaded, case_rows in console.track(results, len(cases), "evaluate", "case"):
        remarks += [{"case": case.name, "detail": remark} for remark in loaded.remarks]
        if loaded.problem:
            problems.append({"case": case.name, "detail": loaded.problem})
            if config.evaluate.missing == "leave_out":
                continue
        rows += case_rows
    if len(problems) == len(cases):
        raise DataError(
            f"{predictions}: none of the {len(cases)} cases can be compared. First: "
            f"{problems[0]['case']}: {problems[0]['detail']}"
        )
    if problems:
        counted = "left out" if config.evaluate.missing == "leave_out" else "scored as empty"
        names = _some([f"{p['case']} ({p['detail']})" for p in problems])
        console.warn(f"{len(problems)} cases could not be compared and are {counted}: {names}")
    if remarks:
        console.note(
            f"{len(remarks)} masks were read with an assumption, the first: {remarks[0]['case']}: "
            f"{remarks[0]['detail']}"
        )
    if len({row["distance_unit"] for row in rows}) > 1:
        raise DataError(
            f"{truth}: pixel size is known for some cases only, and millimetres and pixels cannot "
            "share a mean. Score volumes and plain images in separate folders."
        )
    by_name = {case.name: case for case in cases}
    head = {
        "predictions": predictions.name,
        "truth": truth.name,
        "problems": problems,
        "extra_predictions": sorted(extra),
        "remarks": remarks,
    }
    scored = Scored(
        head,
        rows,
        classes,
        lambda name: _draw(by_name[name], load(by_name[name], config), config),
        config=dump_config(config),
    )
    return finish(config, scored, output, None, other)


def pair_masks(
    predictions: Path, truth: Path, images: Path | None = None
) -> tuple[list[Case], list[str]]:
    """Pair masks by stem, in natural order; return the cases, and predictions without a truth.

    Raises:
        DataError: where two files of one folder share a stem, or `truth` holds no mask.
    """
    true, guessed = _masks_in(truth), _masks_in(predictions)
    if not true:
        raise DataError(f"{truth}: holds no mask (PNG, TIF, NIfTI, MHA, NRRD or DICOM-SEG).")
    pictures = _masks_in(existing_folder(images, "images", "--images")) if images else {}
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
                f"{folder}: {found[stem].name} and {path.name} share one stem; keep one of them."
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
                    f"{case.truth}: {name} holds label {labels.max()}, but data.rgb_map has "
                    f"{len(config.data.rgb_map)} classes."
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
        text = str(problem)
        raise DataError(text if str(path) in text else f"{path}: {text}.") from None
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


def _score(case: Case, loaded: Loaded, classes: list[str], config: Config) -> list[Row]:
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


def _draw(case: Case, loaded: Loaded, config: Config) -> Picture:
    truth, guess = loaded.truth, loaded.prediction
    if truth.ndim == 3:
        # The slice with the most wrong pixels says most.
        worst = int((truth != guess).sum(axis=(1, 2)).argmax())
        return two_outlines(None, truth[worst], guess[worst])
    return two_outlines(_image(case, loaded, config), truth, guess)


def _some(names: list[str] | Mapping[str, Any], most: int = 3) -> str:
    listed = list(names)
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more
