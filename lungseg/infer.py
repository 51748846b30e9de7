"""`lungseg infer`: images and CT volumes -> masks in the same geometry, overlays, measurements.

`OUT` holds one mask per input, named by its stem (PNG in the `rgb_map`'s colours for images; for
volumes the format that came in, NIfTI for DICOM), `overlays/` on request, and `cases.csv`.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lungseg import console
from lungseg.config import Config
from lungseg.errors import DataError, UsageError
from lungseg.files import read_csv, refuse_nonempty, write_csv
from lungseg.images import (
    apply_window,
    list_images,
    pad_to_square,
    read_pixels,
    resize_image,
    to_slice,
    volume_suffix,
    write_png,
)
from lungseg.masks import encode_mask
from lungseg.pictures import contact_sheet, outline
from lungseg.runtime import Predictor, model_paths, to_labels
from lungseg.workers import batches, ordered_map

Row = dict[str, object]

COLUMNS = (
    "case", "input", "status", "mask", "height", "width", "slices", "lung_pixels", "lung_fraction",
    "detail",
)  # fmt: skip
SHEET_SLICES = 12


@dataclass(frozen=True)
class Input:
    """One thing to segment: an image file, or a volume (a file, or a folder of DICOM)."""

    path: Path
    name: str
    is_volume: bool


@dataclass(frozen=True)
class InferResult:
    """What `infer` made.

    Attributes:
        output: the folder written.
        cases: rows of `cases.csv`, one an input.
    """

    output: Path
    cases: list[Row]

    @property
    def failed(self) -> list[Row]:
        """The cases without a mask."""
        return [case for case in self.cases if case["status"] == "failed"]


def infer(
    config: Config,
    inputs: Sequence[Path],
    output: Path,
    run: Path | None = None,
    model: Path | None = None,
    overwrite: bool = False,
    resume: bool = False,
) -> InferResult:
    """Predict the mask of each image and volume.

    Memory holds a few images, or one volume, however many there are. A mask is written as soon as
    it is known, whole or not at all; an input that fails does not stop the others.

    Args:
        config: section `infer` is used; all about the slices comes with the model.
        inputs: image files, volumes, and folders of them; a folder of DICOM is one volume.
        output: folder for the masks.
        run: run folder, or
        model: ONNX file with its `model.json` beside it.
        overwrite: write into an `output` that is not empty; files of the same name are replaced.
        resume: write into an `output` that is not empty, and leave out what is done there.

    Raises:
        UsageError: for a missing input or model, or an `output` that holds something.
        DataError: for a damaged model, or nothing to segment in the inputs.
    """
    items = collect(inputs)
    refuse_nonempty(output, overwrite or resume, also="--resume to leave out what is done, or ")
    predictor = Predictor(model_paths(run, model), config.infer.threads, config.infer.device)
    together = f", {len(predictor)} networks together" if len(predictor) > 1 else ""
    console.note(f"device: {predictor.provider.removesuffix('ExecutionProvider')}{together}")
    try:
        output.mkdir(parents=True, exist_ok=True)
        if config.infer.overlay:
            (output / "overlays").mkdir(exist_ok=True)
    except OSError as problem:
        raise DataError(f"{output}: cannot be made: {problem.strerror or problem}.") from None
    done = _done_before(output) if resume else {}
    rows: list[Row] = list(done.values())
    if done:
        console.note(f"{len(done)} cases are done already")
    open_items = [item for item in items if item.name not in done]
    clashes = _clashes(open_items)
    with _case_log(output, rows) as log:
        images = [item for item in open_items if not item.is_volume]
        volumes = [item for item in open_items if item.is_volume]
        if images:
            with console.progress(len(images), "infer") as bar:
                for batch in _image_batches(images, clashes, predictor, config):
                    log(_predict_images(predictor, batch, output, config.infer.overlay))
                    bar.advance(len(batch))
        for item in volumes:
            if item.path in clashes:
                log([_failed(item, f"same name as {clashes[item.path].name}")])
            else:
                log([_predict_volume(predictor, item, output, config)])
    order = {item.name: position for position, item in enumerate(items)}
    rows.sort(key=lambda row: order.get(str(row["case"]), len(order)))
    _write_cases(output, rows)
    return InferResult(output, rows)


def collect(inputs: Iterable[Path]) -> list[Input]:
    """List what there is to segment, each once, in natural order a folder.

    Raises:
        UsageError: for a path that does not exist.
        DataError: where there is nothing at all.
    """
    found: dict[Path, Input] = {}
    for given in inputs:
        if given.is_dir():
            items = _in_folder(given)
            if not items:
                folders = sorted(entry for entry in given.iterdir() if entry.is_dir())
                items = [i for folder in folders if (i := _dicom_folder(folder)) is not None]
        elif given.exists():
            items = [_file(given)]
        else:
            raise UsageError(f"{given}: there is no such file or folder.")
        found.update({item.path: item for item in items})
    if not found:
        names = ", ".join(str(given) for given in inputs)
        raise DataError(
            f"{names}: holds no PNG, JPG, TIF or BMP image and no DICOM, NIfTI, MHA or NRRD volume."
        )
    return list(found.values())


def _file(path: Path) -> Input:
    suffix = volume_suffix(path)
    if suffix:
        return Input(path, path.name[: -len(suffix)], True)
    return Input(path, path.stem, False)


def _in_folder(folder: Path) -> list[Input]:
    images, others = list_images(folder)
    items = [_file(path) for path in images]
    volumes = [_file(path) for path in others if path.is_file()]
    loose = [v for v in volumes if not v.is_volume or v.path.suffix.lower() == ".dcm"]
    items += [v for v in volumes if v not in loose]
    if loose and (series := _dicom_folder(folder)) is not None:
        items.append(series)
    elif loose:
        console.detail(f"{folder}: {len(loose)} files that are no images are passed over")
    return items


def _dicom_folder(folder: Path) -> Input | None:
    from lungseg.dicom import series_in

    return Input(folder, folder.resolve().name, True) if series_in(folder) else None


def _clashes(items: Iterable[Input]) -> dict[Path, Path]:
    """Return the inputs whose name an earlier one has, in whatever case: one mask, one case."""
    first: dict[str, Path] = {}
    found = {}
    for item in items:
        earlier = first.setdefault(item.name.casefold(), item.path)
        if earlier != item.path:
            found[item.path] = earlier
    return found


@contextmanager
def _case_log(output: Path, rows: list[Row]) -> Iterator[Callable[[list[Row]], None]]:
    """Yield a function that keeps rows, and writes them at once for a later `--resume`."""
    from lungseg.measure import MEASURE_COLUMNS

    columns = (*COLUMNS, *MEASURE_COLUMNS)
    _write_cases(output, rows)
    with (output / "cases.csv").open("a", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns, lineterminator="\n")

        def log(new: list[Row]) -> None:
            rows.extend(new)
            writer.writerows(new)
            stream.flush()

        yield log


def _write_cases(output: Path, rows: Sequence[Row]) -> None:
    from lungseg.measure import MEASURE_COLUMNS

    write_csv(output / "cases.csv", (*COLUMNS, *MEASURE_COLUMNS), rows)


def _done_before(output: Path) -> dict[str, Row]:
    """Return the rows of an earlier call whose masks are there."""
    path = output / "cases.csv"
    if not path.exists():
        return {}
    rows = read_csv(path, ("case", "status", "mask"))
    return {
        row["case"]: dict(row)
        for row in rows
        if row["status"] == "done" and (output / row["mask"]).is_file()
    }


def _failed(item: Input, problem: str) -> Row:
    console.warn(problem if str(item.path) in problem else f"{item.path.name}: {problem}")
    return {"case": item.name, "input": item.path.name, "status": "failed", "detail": problem}


@dataclass(frozen=True)
class _Loaded:
    item: Input
    image: NDArray[np.uint8]
    network_input: NDArray[np.uint8]
    remarks: str
    problem: str = ""


def _image_batches(
    items: Sequence[Input], clashes: dict[Path, Path], predictor: Predictor, config: Config
) -> Iterator[list[_Loaded]]:
    nothing = np.zeros((0, 0), dtype=np.uint8)

    def load(item: Input) -> _Loaded:
        if item.path in clashes:
            problem = f"same name as {clashes[item.path].name}"
            return _Loaded(item, nothing, nothing, "", problem)
        try:
            image, findings = to_slice(read_pixels(item.path), predictor.data)
        except DataError as problem:
            return _Loaded(item, nothing, nothing, "", str(problem))
        remarks = "; ".join(f.detail for f in findings)
        return _Loaded(item, image, resize_image(image, predictor.data.image_size), remarks)

    return batches(ordered_map(load, items), config.infer.batch_size)


def _predict_images(
    predictor: Predictor, batch: Sequence[_Loaded], output: Path, overlay: bool
) -> list[Row]:
    good = [loaded for loaded in batch if not loaded.problem]
    probabilities = predictor.probabilities([g.network_input for g in good]) if good else ()
    labels = {
        loaded.item.path: to_labels(one, (loaded.image.shape[0], loaded.image.shape[1]))
        for loaded, one in zip(good, probabilities, strict=True)
    }
    rows: list[Row] = []
    for loaded in batch:
        if loaded.problem:
            rows.append(_failed(loaded.item, loaded.problem))
            continue
        mask = labels[loaded.item.path]
        name = f"{loaded.item.name}.png"
        write_png(output / name, encode_mask(mask, predictor.data.rgb_map))
        if overlay:
            write_png(output / "overlays" / name, outline(loaded.image, mask))
        lung = int(cv2.countNonZero(mask))
        detail = "; ".join(filter(None, [loaded.remarks, "" if lung else "no lung was found"]))
        rows.append(
            {
                "case": loaded.item.name,
                "input": loaded.item.path.name,
                "status": "done",
                "mask": name,
                "height": mask.shape[0],
                "width": mask.shape[1],
                "slices": 1,
                "lung_pixels": lung,
                "lung_fraction": f"{lung / mask.size:.6f}",
                "detail": detail,
            }
        )
    return rows


def _predict_volume(predictor: Predictor, item: Input, output: Path, config: Config) -> Row:
    import SimpleITK as sitk  # noqa: N813 - its documented name

    from lungseg.measure import measure
    from lungseg.postprocess import label_sides, tidy
    from lungseg.volumes import read_ct, write_volume

    settings = config.infer
    try:
        ct = read_ct(item.path, item.name, settings.series_uid)
    except DataError as problem:
        return _failed(item, str(problem))
    for finding in ct.findings:
        console.warn(f"{item.name}: {finding.code}: {finding.detail}")
    canonical = ct.canonical()
    hu = sitk.GetArrayViewFromImage(canonical)
    labels = np.zeros(hu.shape, dtype=np.uint8)
    with console.progress(len(hu), item.name, "slice") as bar:
        for positions in batches(range(len(hu)), settings.batch_size):
            slices = [_network_input(hu[k], predictor) for k in positions]
            for k, one in zip(positions, predictor.probabilities(slices), strict=True):
                labels[k] = _to_slice_size(one, hu.shape[1:])
            bar.advance(len(positions))
    steps: list[str] = []
    lungs = sitk.GetImageFromArray((labels > 0).astype(np.uint8))
    lungs.CopyInformation(canonical)
    lungs, steps = tidy(lungs, settings)
    sides, more = label_sides(lungs)
    measured = measure(canonical, sides)
    mask = sides if settings.sides else lungs
    name = f"{item.name}{ct.suffix}"
    write_volume(ct.restore(sitk.GetArrayFromImage(mask)), output / name)
    found = sitk.GetArrayViewFromImage(mask)
    if settings.overlay:
        write_png(output / "overlays" / f"{item.name}.png", _sheet(hu, found, predictor))
    lung = int(np.count_nonzero(found))
    if not lung:
        console.warn(f"{item.name}: no lung was found in the whole volume")
        steps.append("no lung was found")
    remarks = [finding.detail for finding in ct.findings]
    return {
        "case": item.name,
        "input": item.path.name,
        "status": "done",
        "mask": name,
        "height": hu.shape[1],
        "width": hu.shape[2],
        "slices": hu.shape[0],
        "lung_pixels": lung,
        "lung_fraction": f"{lung / found.size:.6f}",
        "detail": "; ".join([*remarks, *steps, *(more if settings.sides else [])]),
        **measured,
    }


def _network_input(hu: NDArray[Any], predictor: Predictor) -> NDArray[np.uint8]:
    """Window a slice, pad it to a square (patients are not stretched), resize it."""
    data = predictor.data
    resized = resize_image(pad_to_square(apply_window(hu, data.window)), data.image_size)
    return np.repeat(resized[..., None], 3, axis=2) if data.channels == 3 else resized


def _to_slice_size(probabilities: NDArray[np.float32], size: tuple[int, ...]) -> NDArray[np.uint8]:
    """Undo `_network_input` for a prediction: labels at the slice's own size."""
    side = max(size)
    top, left = (side - size[0]) // 2, (side - size[1]) // 2
    labels = to_labels(probabilities, (side, side))
    return labels[top : top + size[0], left : left + size[1]]


def _sheet(hu: NDArray[Any], labels: NDArray[Any], predictor: Predictor) -> NDArray[np.uint8]:
    """Draw evenly spaced slices, from head to feet, with the lungs outlined."""
    positions = np.unique(np.linspace(len(hu) - 1, 0, min(SHEET_SLICES, len(hu))).round())[::-1]
    chosen = [int(k) for k in positions]
    pictures = [
        outline(apply_window(hu[k], predictor.data.window), np.asarray(labels[k])) for k in chosen
    ]
    captions = [f"slice {k + 1} of {len(hu)}" for k in chosen]
    return contact_sheet(pictures, captions, columns=4)
