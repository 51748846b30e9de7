"""`lungseg infer`: images and CT volumes -> masks in the same geometry, overlays, measurements.

`OUT` holds one mask per input, named by its stem (PNG in the `rgb_map`'s colours for images; for
volumes the format that came in, NIfTI for DICOM), `overlays/` on request, and `cases.csv`.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lungseg import console
from lungseg.config import Config
from lungseg.errors import DataError, UsageError
from lungseg.files import UNDECODED, read_csv, refuse_nonempty, write_csv, write_json
from lungseg.images import (
    list_images,
    read_pixels,
    resize_image,
    to_slice,
    volume_suffix,
    write_png,
)
from lungseg.masks import encode_mask
from lungseg.pictures import outline
from lungseg.runtime import Predictor, at_size, foreground_map, labels_of, model_paths
from lungseg.workers import batches, ordered_map

Row = dict[str, object]

COLUMNS = (
    "case", "input", "status", "mask", "height", "width", "slices", "lung_pixels", "lung_fraction",
    "detail",
)  # fmt: skip


TEXT_COLUMNS = ("case", "input", "status", "mask", "detail")


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
    scheduler: str | None = None,
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
        scheduler: address of a Dask scheduler whose workers, which see the same files, do the work.

    Raises:
        UsageError: for a missing input or model, or an `output` that holds something.
        DataError: for a damaged model, or nothing to segment in the inputs.
    """
    items = collect(inputs)
    refuse_nonempty(output, overwrite or resume, also="--resume to leave out what is done, or ")
    paths = model_paths(run, model)
    predictor = Predictor(paths, config.infer.threads, config.infer.device, config.infer.flips)
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
        log([_clash(item, clashes) for item in open_items if item.path in clashes])
        open_items = [item for item in open_items if item.path not in clashes]
        if scheduler is not None:
            from lungseg.cluster import map_cases

            with console.progress(len(open_items), "infer", "case") as bar:
                job = ([p.resolve() for p in paths], output.resolve(), config)
                for row in map_cases(scheduler, open_items, *job):
                    log([row])
                    bar.advance(1)
            open_items = []
        images = [item for item in open_items if not item.is_volume]
        volumes = [item for item in open_items if item.is_volume]
        if images:
            with console.progress(len(images), "infer") as bar:
                for batch in _image_batches(images, predictor, config):
                    log(_predict_images(predictor, batch, output, config))
                    bar.advance(len(batch))
        for item in volumes:
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
    from lungseg.dicom import holds_dicom

    return Input(folder, folder.resolve().name, True) if holds_dicom(folder) else None


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
    path = output / "cases.csv"
    with path.open("a", newline="", encoding="utf-8", errors=UNDECODED) as stream:
        writer = csv.DictWriter(stream, columns, lineterminator="\n")

        def log(new: list[Row]) -> None:
            rows.extend(new)
            writer.writerows(new)
            stream.flush()

        yield log


def _write_cases(output: Path, rows: Sequence[Row]) -> None:
    from lungseg.measure import MEASURE_COLUMNS

    write_csv(output / "cases.csv", (*COLUMNS, *MEASURE_COLUMNS), rows)
    write_json(output / "cases.json", [_typed(row) for row in rows])


def _typed(row: Row) -> Row:
    """Return a row with numbers as numbers, the same whether it is new or was read from CSV."""
    typed: Row = {}
    for key, value in row.items():
        text = str(value)
        if key in TEXT_COLUMNS:
            typed[key] = value
        elif text in ("True", "False"):
            typed[key] = text == "True"
        elif text:
            number = float(text)
            typed[key] = int(number) if text.isdecimal() else number
    return typed


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


def _clash(item: Input, clashes: dict[Path, Path]) -> Row:
    return _failed(item, f"same name as {clashes[item.path].name}")


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
    items: Sequence[Input], predictor: Predictor, config: Config
) -> Iterator[list[_Loaded]]:
    nothing = np.zeros((0, 0), dtype=np.uint8)

    def load(item: Input) -> _Loaded:
        try:
            image, findings = to_slice(read_pixels(item.path), predictor.data)
        except DataError as problem:
            return _Loaded(item, nothing, nothing, "", str(problem))
        remarks = "; ".join(f.detail for f in findings)
        return _Loaded(item, image, resize_image(image, predictor.data.image_size), remarks)

    return batches(ordered_map(load, items), config.infer.batch_size)


def _probabilities(
    predictor: Predictor, batch: Sequence[_Loaded], tiles: bool
) -> dict[Path, NDArray[np.float32]]:
    """Predict images, each at its own size."""
    sizes = {one.item.path: (one.image.shape[0], one.image.shape[1]) for one in batch}
    height, width = predictor.data.image_size
    large = [
        one
        for one in batch
        if tiles and one.image.shape[0] >= height and one.image.shape[1] >= width
    ]
    found = {one.item.path: predictor.tiled(one.image) for one in large}
    rest = [one for one in batch if one.item.path not in found]
    if rest:
        squares = predictor.probabilities([one.network_input for one in rest])
        for one, probabilities in zip(rest, squares, strict=True):
            found[one.item.path] = at_size(probabilities, sizes[one.item.path])
    return found


def _predict_images(
    predictor: Predictor, batch: Sequence[_Loaded], output: Path, config: Config
) -> list[Row]:
    settings = config.infer
    good = [loaded for loaded in batch if not loaded.problem]
    probabilities = _probabilities(predictor, good, settings.tiles)
    rows: list[Row] = []
    for loaded in batch:
        if loaded.problem:
            rows.append(_failed(loaded.item, loaded.problem))
            continue
        mask = labels_of(probabilities[loaded.item.path])
        name = f"{loaded.item.name}.png"
        write_png(output / name, encode_mask(mask, predictor.data.rgb_map))
        if settings.probabilities:
            (output / "probabilities").mkdir(exist_ok=True)
            certainty = foreground_map(probabilities[loaded.item.path])
            write_png(output / "probabilities" / name, certainty)
        if settings.overlay:
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
    # Imported here: images alone have no need of SimpleITK.
    from lungseg.infer_volumes import segment

    try:
        done = segment(predictor, item.path, item.name, output, config)
    except DataError as problem:
        return _failed(item, str(problem))
    width, height, depth = done.labels.GetSize()
    lung = round(float(done.measures["lung_voxels"]))
    return {
        "case": item.name,
        "input": item.path.name,
        "status": "done",
        "mask": f"{item.name}{done.ct.suffix}",
        "height": height,
        "width": width,
        "slices": depth,
        "lung_pixels": lung,
        "lung_fraction": f"{lung / (width * height * depth):.6f}",
        "detail": "; ".join(done.remarks),
        **{key: value for key, value in done.measures.items() if key != "lung_voxels"},
    }


def segment_case(item: Input, paths: Sequence[Path], output: Path, config: Config) -> Row:
    """Segment one input, by itself: what a worker of a cluster does. Returns its row."""
    settings = config.infer
    predictor = _loaded(tuple(paths), settings.threads, settings.device, settings.flips)
    if item.is_volume:
        return _predict_volume(predictor, item, output, config)
    (batch,) = _image_batches([item], predictor, config)
    (row,) = _predict_images(predictor, batch, output, config)
    return row


@lru_cache(maxsize=1)
def _loaded(paths: tuple[Path, ...], threads: int, device: str, flips: bool) -> Predictor:
    """Keep the networks between the cases of one worker."""
    return Predictor(paths, threads, device, flips)
