"""`lungseg infer`: images and CT volumes -> masks in the same geometry, overlays, measurements.

The output folder holds one mask per input, named by its stem: for an image a PNG in the colours of
`rgb_map`, for a volume the format of the input (NIfTI for DICOM). It also holds `cases.csv`,
`cases.json`, `gallery.html` and, on request, `overlays/`. If there is one input, the output may be
its mask file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lungseg.config.schema import Config
from lungseg.errors import DataError, UsageError
from lungseg.imaging.folders import Input
from lungseg.imaging.inputs import collect, find_clashes
from lungseg.inference.cases import map_cases, predict_volume
from lungseg.inference.flags import flag_all_empty, summary
from lungseg.inference.gallery_page import (
    begin_gallery,
    compile_gallery_ahead,
    finish_gallery,
    gallery_files,
    old_gallery,
)
from lungseg.inference.images import image_batches, predict_images
from lungseg.inference.mask_file import input_for, mask_alone, names_a_file
from lungseg.inference.origins import origin_of
from lungseg.inference.output_files import files_of, make_folders, written_for
from lungseg.inference.predictor import Predictor, check_sides, model_paths
from lungseg.inference.rows import (
    CaseRow,
    case_log,
    failed_row,
    holds_cases,
    in_words,
    read_done,
    write_cases,
)
from lungseg.system import console
from lungseg.system.in_place import Output, open_output
from lungseg.system.one_file import check_file, open_file
from lungseg.system.outputs import check_output
from lungseg.system.shipped import as_run, choose_run

Log = Callable[[list[CaseRow]], None]

TABLES = ("cases.csv", "cases.json")
ALSO = "skip finished inputs with --resume (resume=True), "


@dataclass(frozen=True)
class InferResult:
    """The result of `infer`.

    Attributes:
        output: the folder or the mask file written.
        cases: the rows of `cases.csv`, one per input.
    """

    output: Path
    cases: list[CaseRow]

    @property
    def failed(self) -> list[CaseRow]:
        """The cases without a mask."""
        return [case for case in self.cases if case.failed]

    @property
    def flagged(self) -> list[CaseRow]:
        """The cases that a person should look at."""
        return [case for case in self.cases if case.flags]


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

    A few images or one volume are in memory at a time. Each mask is written as soon as it is
    predicted, whole or not at all. If an input fails, the others are still segmented.

    Args:
        config: section `infer` is used; size and window of the slices come with the model.
        inputs: one or several image files, volumes, and folders of both at any depth. A folder of
            DICOM is one volume.
        output: folder for the masks; or, for one input, its mask file (`.png` for an image, one of
            `.nii.gz`, `.nii`, `.mha` and `.nrrd` for a volume), which is then all that is written.
        run: run folder, or `"shipped"`. Without `run` and `model` it is `train.run` if the config
            sets it, otherwise the shipped network.
        model: ONNX file with its `model.json` beside it.
        overwrite: replace an `output` that `infer` wrote.
        resume: add to an `output` that `infer` wrote. A mask is kept if it was made from the same
            input, model and settings, or if it was changed since. Other masks are made again.
        scheduler: address of a Dask scheduler. Its workers must see the same files.

    Raises:
        UsageError: if an input or model is missing, or `output` may not be written.
        DataError: if a model is damaged, or the inputs hold nothing to segment.

    Examples:
        >>> config = lungseg.load_config("lung.yaml")
        >>> result = lungseg.infer(config, ["scan.mha", "raw/images"], "masks", run="demo/run")
        >>> len(result.cases), len(result.failed)
        (21, 0)
    """
    given = [inputs] if isinstance(inputs, (str, Path)) else inputs
    output = Path(output)
    if run is None and model is None:
        run = choose_run(config)
    items, paths, read = check(
        [Path(path) for path in given],
        output,
        run=None if run is None else as_run(run),
        model=None if model is None else Path(model),
        overwrite=overwrite,
        resume=resume,
    )
    if not names_a_file(output):
        compile_gallery_ahead(config)
    predictor = Predictor(paths, config.infer.threads, config.infer.device, config.infer.flips)
    if any(item.is_volume for item in items):
        check_sides(predictor, config.infer)
    together = f", {len(predictor)} networks together" if len(predictor) > 1 else ""
    console.note(f"device: {predictor.provider.removesuffix('ExecutionProvider')}{together}")
    if names_a_file(output):
        rows: list[CaseRow] = []
        with open_file(output, read, overwrite=overwrite) as target:
            alone = mask_alone(config)
            _segment(items, predictor, paths, scheduler, target.parent, alone, rows.extend)
        return InferResult(output, rows)
    with open_output(
        output, "infer", read, overwrite=overwrite, resume=resume, also=ALSO
    ) as writing:
        if holds_cases(output):
            writing.adopt([*TABLES, *old_gallery(output)])
        tables = [*TABLES, *gallery_files(config)]
        writing.refuse_foreign(tables)
        done = _keep(read_done(output), items, predictor, config, writing) if resume else {}
        items_left = [item for item in items if item.name not in done]
        writing.claim([*tables, *(name for item in items_left for name in files_of(item))])
        if overwrite:
            writing.clear()
        make_folders(output, config)
        begin_gallery(writing, config, resume=resume)
        rows = list(done.values())
        with case_log(output, rows) as write_rows:

            def log(new: list[CaseRow]) -> None:
                write_rows(new)
                writing.note(written_for(new, output))

            remaining = _refuse_clashes(items_left, log)
            _segment(remaining, predictor, paths, scheduler, output, config, log)
        order = {item.name: position for position, item in enumerate(items)}
        rows.sort(key=lambda row: order.get(row.case, len(order)))
        rows = flag_all_empty(rows)
        write_cases(output, rows)
        finish_gallery(rows, items, predictor, output, config)
    if flagged := summary(rows):
        console.warn(flagged)
    return InferResult(output, rows)


def _keep(
    done: dict[str, CaseRow],
    items: Sequence[Input],
    predictor: Predictor,
    config: Config,
    writing: Output,
) -> dict[str, CaseRow]:
    """Return the rows of masks that would be made alike now, or are not as they were written.

    A warning counts the others, which are made again, and those that stay though they differ.
    """
    kept, again, theirs = dict(done), Counter[str](), Counter[str]()
    for item in items:
        row = done.get(item.name)
        if row is None or not (reason := _reason_to_repeat(row, item, predictor, config)):
            continue
        if writing.written.owns(str(row.mask)):
            del kept[item.name]
            again[reason] += 1
        else:
            theirs[reason] += 1
    for reason, count in again.items():
        console.warn(f"masks that exist and are made again, because {reason}: {count}")
    for reason, count in theirs.items():
        console.warn(
            f"masks that are not as lungseg wrote them and stay, although {reason}: {count}"
        )
    if kept:
        console.note(f"{len(kept)} cases are done already")
    return kept


def _reason_to_repeat(row: CaseRow, item: Input, predictor: Predictor, config: Config) -> str:
    if row.origin is None:
        return "cases.csv does not say what they were made from"
    try:
        origin = origin_of(item, predictor.sha256, config.infer, predictor.name)
    except DataError:
        return "the input cannot be read any more"
    changed = origin.changed(row.origin)
    return f"the {' and the '.join(changed)} changed" if changed else ""


def check(
    inputs: Sequence[Path],
    output: Path,
    *,
    run: Path | None,
    model: Path | None,
    overwrite: bool,
    resume: bool,
) -> tuple[list[Input], list[Path], list[Path | None]]:
    """Check the paths of `infer`.

    Returns:
        The inputs; the ONNX files that predict together; every path that is read.
    """
    if resume and overwrite:
        raise UsageError("resume and overwrite exclude each other.")
    items = collect(inputs, output)
    networks = model_paths(run, model)
    read = [*inputs, *(item.path for item in items), run, *networks]
    if not names_a_file(output):
        check_output(output, "infer", read, overwrite=overwrite, resume=resume, also=ALSO)
        return items, networks, read
    if resume:
        raise UsageError(f"{output}: is one file, and only a folder of masks can be resumed.")
    check_file(output, read, overwrite=overwrite)
    return [input_for(items, output)], networks, read


def _refuse_clashes(items: Sequence[Input], log: Log) -> list[Input]:
    """Log the inputs whose mask would replace that of an earlier input; return the others."""
    clashes = find_clashes(items)
    for item in items:
        if item.path in clashes:
            name = clashes[item.path].name
            problem = DataError(
                None, f"its mask would have the same file name as that of {name}. Rename one."
            )
            log([failed_row(item, problem)])
    return [item for item in items if item.path not in clashes]


def _segment(
    items: Sequence[Input],
    predictor: Predictor,
    paths: Sequence[Path],
    scheduler: str | None,
    output: Path,
    config: Config,
    log: Log,
) -> None:
    """Segment the images in batches, then the volumes one after the other; or on a cluster."""
    if scheduler is not None:
        of_volumes = {item.name for item in items if item.is_volume}
        with console.progress(len(items), "infer", "case") as bar:
            for row in map_cases(scheduler, items, paths, output, config):
                log([row])
                bar.advance(1)
                if row.case in of_volumes:
                    console.note(in_words(row))
        return
    images = [item for item in items if not item.is_volume]
    if images:
        with console.progress(len(images), "infer") as bar:
            for batch in image_batches(images, predictor, config):
                log(predict_images(predictor, batch, output, config))
                bar.advance(len(batch))
    volumes = [item for item in items if item.is_volume]
    for number, item in enumerate(volumes, 1):
        if len(volumes) > 1:
            console.note(f"volume {number} of {len(volumes)}: {item.name}")
        row = predict_volume(predictor, item, output, config)
        log([row])
        console.note(in_words(row))
