"""`lungseg infer`: images and folders -> masks at their own size, overlays on request.

`OUT` holds one mask per input, named by its stem, `overlays/` on request, and `cases.csv`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lungseg import console
from lungseg.config import Config
from lungseg.errors import DataError, UsageError
from lungseg.files import refuse_nonempty, write_csv
from lungseg.images import list_images, read_pixels, resize_image, to_slice, write_png
from lungseg.masks import encode_mask
from lungseg.pictures import outline
from lungseg.runtime import Predictor, model_path, to_labels
from lungseg.workers import batches, ordered_map

CASE_COLUMNS = (
    "case", "input", "status", "mask", "height", "width", "lung_pixels", "lung_fraction", "detail",
)  # fmt: skip


@dataclass(frozen=True)
class InferResult:
    """What `infer` made.

    Attributes:
        output: the folder written.
        cases: rows of `cases.csv`, one an input.
    """

    output: Path
    cases: list[dict[str, object]]

    @property
    def failed(self) -> list[dict[str, object]]:
        """The cases without a mask."""
        return [case for case in self.cases if case["status"] == "failed"]


@dataclass(frozen=True)
class _Loaded:
    path: Path
    image: NDArray[np.uint8]
    network_input: NDArray[np.uint8]
    remarks: str
    problem: str = ""


def infer(
    config: Config,
    inputs: Sequence[Path],
    output: Path,
    run: Path | None = None,
    model: Path | None = None,
    overwrite: bool = False,
) -> InferResult:
    """Predict the mask of each image.

    Memory holds a few images, however many there are. A mask is written as soon as it is known,
    whole or not at all; an input that fails does not stop the others.

    Args:
        config: section `infer` is used; all about the slices comes with the model.
        inputs: image files, and folders whose image files are taken.
        output: folder for the masks.
        run: run folder, or
        model: ONNX file with its `model.json` beside it.
        overwrite: write into an `output` that is not empty; files of the same name are replaced.

    Raises:
        UsageError: for a missing input or model, or an `output` that holds something.
        DataError: for a damaged model, or no image in the inputs.
    """
    paths = collect(inputs)
    refuse_nonempty(output, overwrite)
    predictor = Predictor(model_path(run, model), config.infer.threads)
    console.detail(f"{predictor.path}: {predictor.provider}")
    try:
        output.mkdir(parents=True, exist_ok=True)
        if config.infer.overlay:
            (output / "overlays").mkdir(exist_ok=True)
    except OSError as problem:
        raise DataError(f"{output}: cannot be made: {problem.strerror or problem}.") from None

    def load(path: Path) -> _Loaded:
        nothing = np.zeros((0, 0), dtype=np.uint8)
        if path in clashes:
            return _Loaded(path, nothing, nothing, "", f"same name as {clashes[path].name}")
        try:
            image, findings = to_slice(read_pixels(path), predictor.data)
        except DataError as problem:
            return _Loaded(path, nothing, nothing, "", str(problem))
        remarks = "; ".join(f.detail for f in findings)
        return _Loaded(path, image, resize_image(image, predictor.data.image_size), remarks)

    clashes = _clashes(paths)
    cases: list[dict[str, object]] = []
    with console.progress(len(paths), "infer") as bar:
        for batch in batches(ordered_map(load, paths), config.infer.batch_size):
            cases += _predict(predictor, batch, output, config.infer.overlay)
            bar.advance(len(batch))
    write_csv(output / "cases.csv", CASE_COLUMNS, cases)
    return InferResult(output, cases)


def collect(inputs: Iterable[Path]) -> list[Path]:
    """List the image files among and in the inputs, each once, in natural order a folder.

    Raises:
        UsageError: for a path that does not exist.
        DataError: where there is no image at all.
    """
    paths: dict[Path, None] = {}
    for given in inputs:
        if given.is_dir():
            found, rest = list_images(given)
            if rest:
                console.detail(f"{given}: {len(rest)} entries that are no images are passed over")
            paths.update(dict.fromkeys(found))
        elif given.exists():
            paths[given] = None
        else:
            raise UsageError(f"{given}: there is no such file or folder.")
    if not paths:
        names = ", ".join(str(given) for given in inputs)
        raise DataError(f"{names}: holds no PNG, JPG, TIF or BMP image.")
    return list(paths)


def _clashes(paths: Iterable[Path]) -> dict[Path, Path]:
    """Return the inputs whose stem an earlier one has, in whatever case: one mask, one case."""
    first: dict[str, Path] = {}
    found = {}
    for path in paths:
        earlier = first.setdefault(path.stem.casefold(), path)
        if earlier != path:
            found[path] = earlier
    return found


def _predict(
    predictor: Predictor, batch: Sequence[_Loaded], output: Path, overlay: bool
) -> list[dict[str, object]]:
    good = [item for item in batch if not item.problem]
    probabilities = predictor.probabilities([item.network_input for item in good]) if good else ()
    labels = {
        item.path: to_labels(one, (item.image.shape[0], item.image.shape[1]))
        for item, one in zip(good, probabilities, strict=True)
    }
    rows: list[dict[str, object]] = []
    for item in batch:
        row: dict[str, object] = {"case": item.path.stem, "input": item.path.name}
        if item.problem:
            console.warn(f"{item.path.name}: {item.problem}")
            rows.append({**row, "status": "failed", "detail": item.problem})
            continue
        mask = labels[item.path]
        name = f"{item.path.stem}.png"
        write_png(output / name, encode_mask(mask, predictor.data.rgb_map))
        if overlay:
            write_png(output / "overlays" / name, outline(item.image, mask))
        lung = int(cv2.countNonZero(mask))
        detail = "; ".join(filter(None, [item.remarks, "" if lung else "no lung was found"]))
        rows.append(
            {
                **row,
                "status": "done",
                "mask": name,
                "height": mask.shape[0],
                "width": mask.shape[1],
                "lung_pixels": lung,
                "lung_fraction": f"{lung / mask.size:.6f}",
                "detail": detail,
            }
        )
    return rows
