"""`gallery.html` of an output of `infer`: also the cases whose masks are of an earlier call."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lungseg.config.schema import Config
from lungseg.imaging.folders import Input
from lungseg.inference.gallery import GALLERY, gallery_case, remove_stage, take_over
from lungseg.inference.predictor import Predictor
from lungseg.inference.rows import CaseRow
from lungseg.reporting.gallery import TEMPLATE, is_gallery, write_gallery
from lungseg.reporting.pages import compile_ahead
from lungseg.system.in_place import Output


def gallery_files(config: Config) -> list[str]:
    """Return the page if it is asked for."""
    return [] if config.infer.gallery == "none" else [GALLERY]


def compile_gallery_ahead(config: Config) -> None:
    """Begin to compile the page's template, if it is asked for, while the network is opened."""
    if gallery_files(config):
        compile_ahead(TEMPLATE)


def old_gallery(output: Path) -> list[str]:
    """Return the page if there is one; another file of its name is someone else's."""
    return [GALLERY] if is_gallery(output / GALLERY) else []


def begin_gallery(writing: Output, config: Config, *, resume: bool) -> None:
    """Look for pictures of an earlier call, and remove those that do not count any more.

    Args:
        writing: the output. Without a gallery, its old one is removed if it is the program's,
            because it would show other masks than are there.
        config: section `infer` is used.
        resume: whether earlier masks stay.
    """
    output = writing.folder
    if not resume:
        remove_stage(output)
    elif gallery_files(config):
        take_over(output)
    elif (output / GALLERY).is_file() and writing.written.owns(GALLERY):
        (output / GALLERY).unlink()


def finish_gallery(
    rows: Sequence[CaseRow],
    items: Sequence[Input],
    predictor: Predictor,
    output: Path,
    config: Config,
) -> None:
    """Write the page, and draw the masks that stay from an earlier call and have no pictures.

    Args:
        rows: the rows of `cases.csv`.
        items: the inputs of this call.
        predictor: knows the classes and how images are read.
        output: folder of the masks.
        config: section `infer` is used.

    Raises:
        DataError: if the page cannot be written.
    """
    if gallery_files(config):
        inputs = {item.name: item for item in items}
        cases = [gallery_case(row, output, config.infer) for row in rows]
        lacking = [
            index for index, case in enumerate(cases) if not case.failed and not case.pictures
        ]
        if lacking:
            # Imported here because plain images do not need SimpleITK.
            from lungseg.inference.redraw import redraw

            for index in lacking:
                row = rows[index]
                cases[index] = redraw(row, inputs.get(row.case), predictor, output, config)
        write_gallery(output / GALLERY, cases)
    remove_stage(output)
