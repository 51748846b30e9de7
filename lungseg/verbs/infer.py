"""`lungseg infer`: images and CT volumes -> masks in the same geometry, overlays, measurements.

`OUT` holds one mask per input, named by its stem (PNG in the `rgb_map`'s colours for images; for
volumes the format that came in, NIfTI for DICOM), `overlays/` on request, and `cases.csv`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lungseg.config.schema import Config
from lungseg.errors import DataError
from lungseg.inference.cases import predict_volume
from lungseg.inference.images import image_batches, predict_images
from lungseg.inference.inputs import collect, find_clashes
from lungseg.inference.predictor import Predictor, model_paths
from lungseg.inference.rows import Row, case_log, clash_row, read_done, write_cases
from lungseg.system import console
from lungseg.system.files import refuse_nonempty


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
    inputs: str | Path | Sequence[str | Path],
    output: str | Path,
    *,
    run: str | Path | None = None,
    model: str | Path | None = None,
    overwrite: bool = False,
    resume: bool = False,
    scheduler: str | None = None,
) -> InferResult:
    """Predict the mask of each image and volume.

    Memory holds a few images, or one volume, however many there are. A mask is written as soon as
    it is known, whole or not at all; an input that fails does not stop the others.

    Args:
        config: section `infer` is used; all about the slices comes with the model.
        inputs: image files, volumes, and folders of them, or one of these; a folder of DICOM is one
            volume.
        output: folder for the masks.
        run: run folder, or
        model: ONNX file with its `model.json` beside it.
        overwrite: write into an `output` that is not empty; files of the same name are replaced.
        resume: write into an `output` that is not empty, and leave out what is done there.
        scheduler: address of a Dask scheduler whose workers, which see the same files, do the work.

    Raises:
        UsageError: for a missing input or model, or an `output` that holds something.
        DataError: for a damaged model, or nothing to segment in the inputs.

    Example:
        >>> config = lungseg.load_config("lung.yaml")
        >>> result = lungseg.infer(config, ["scan.mha", "raw/images"], "masks", run="demo/run")
        >>> len(result.cases), len(result.failed)
        (21, 0)
    """
    given = [inputs] if isinstance(inputs, (str, Path)) else inputs
    items = collect([Path(path) for path in given])
    output = Path(output)
    refuse_nonempty(output, overwrite or resume, also="--resume to leave out what is done, or ")
    paths = model_paths(None if run is None else Path(run), None if model is None else Path(model))
    predictor = Predictor(paths, config.infer.threads, config.infer.device, config.infer.flips)
    together = f", {len(predictor)} networks together" if len(predictor) > 1 else ""
    console.note(f"device: {predictor.provider.removesuffix('ExecutionProvider')}{together}")
    try:
        output.mkdir(parents=True, exist_ok=True)
        if config.infer.overlay:
            (output / "overlays").mkdir(exist_ok=True)
    except OSError as problem:
        raise DataError(output, f"cannot be made: {problem.strerror or problem}.") from None
    done = read_done(output) if resume else {}
    rows: list[Row] = list(done.values())
    if done:
        console.note(f"{len(done)} cases are done already")
    open_items = [item for item in items if item.name not in done]
    clashes = find_clashes(open_items)
    with case_log(output, rows) as log:
        log([clash_row(item, clashes) for item in open_items if item.path in clashes])
        open_items = [item for item in open_items if item.path not in clashes]
        if scheduler is not None:
            from lungseg.inference.cluster import map_cases

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
                for batch in image_batches(images, predictor, config):
                    log(predict_images(predictor, batch, output, config))
                    bar.advance(len(batch))
        for item in volumes:
            log([predict_volume(predictor, item, output, config)])
    order = {item.name: position for position, item in enumerate(items)}
    rows.sort(key=lambda row: order.get(str(row["case"]), len(order)))
    write_cases(output, rows)
    return InferResult(output, rows)
