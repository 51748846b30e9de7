"""The rows of `cases.csv` and `cases.json`."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from lungseg.errors import DataError
from lungseg.imaging.folders import Input
from lungseg.inference.origins import Origin
from lungseg.system import console
from lungseg.system.files import UNDECODED, write_bytes
from lungseg.system.tables import (
    cells_of,
    columns_of,
    decimals,
    read_rows,
    to_record,
    write_json,
    write_rows,
)


@dataclass(frozen=True)
class PartMeasures:
    """Measurements of a part of the lungs: a third of a lung, a lung, or both lungs.

    docs/measures.md defines each number. All but the volume are None if there is no lung.

    Attributes:
        volume_ml: volume in mL; None if it is not known which lung is which.
        mean_hu: mean density in HU.
        below_950_share: share of the voxels below -950 HU, the emphysema index.
        below_910_share: share of the voxels below -910 HU.
        infiltrated_share: share of the voxels from -500 HU to below -100 HU, poorly aerated.
        collapsed_share: share of the voxels from -100 to 100 HU, not aerated.
    """

    volume_ml: float | None = None
    mean_hu: float | None = None
    below_950_share: float | None = None
    below_910_share: float | None = None
    infiltrated_share: float | None = None
    collapsed_share: float | None = None


@dataclass(frozen=True)
class LungMeasures(PartMeasures):
    """Measurements of one lung, or of both together, with those of its thirds.

    Attributes:
        p5_hu: 5th percentile of the density in HU.
        p15_hu: 15th percentile in HU, the lung density index Perc15 (Parr et al., 2008).
        p50_hu: median in HU.
        p95_hu: 95th percentile in HU.
        upper: the third next to the head; columns `upper_...`. The thirds are None if the first
            or the last slice holds lung, because the lung's height is unknown then.
        middle: the third between them; columns `middle_...`.
        lower: the third next to the feet; columns `lower_...`.
    """

    p5_hu: float | None = None
    p15_hu: float | None = None
    p50_hu: float | None = None
    p95_hu: float | None = None
    upper: PartMeasures | None = field(default=None, metadata={"prefix": "upper_"})
    middle: PartMeasures | None = field(default=None, metadata={"prefix": "middle_"})
    lower: PartMeasures | None = field(default=None, metadata={"prefix": "lower_"})


@dataclass(frozen=True)
class Measures:
    """Measurements of a CT volume; the columns of `cases.csv` that only volumes have.

    Attributes:
        lung: both lungs together; columns `lung_volume_ml` and so on.
        left: the left lung; columns `left_...`, empty if its side is not known.
        right: the right lung; columns `right_...`, empty likewise.
        slices_with_lung: number of slices that hold lung.
        touches_border: whether lung reaches the edge of the volume, so that part of it is missing.
    """

    lung: LungMeasures = field(metadata={"prefix": "lung_"})
    left: LungMeasures = field(metadata={"prefix": "left_"})
    right: LungMeasures = field(metadata={"prefix": "right_"})
    slices_with_lung: int
    touches_border: bool


@dataclass(frozen=True)
class Quality:
    """How far a mask can be trusted; docs/measures.md lists the flags that follow from it.

    Of an image only the certainty is known.

    Attributes:
        certainty: agreement of the network's mask with its own probabilities, 0 to 1. It is
            None if the network found no lung.
        threshold_dice: Dice of the mask and the lungs found by a threshold, as by
            `lungseg label`. It is None if neither found lung, or if slices are under 20 mm wide.
        dropped_share: share of the network's mask that was dropped in tidying.
        parts_found: number of connected parts of at least 1 mL before tidying.
        left_of_middle_share: share of the lung that lies to the left of the middle of the body.
        tissues_in_place: whether air, fat and soft tissue lie where they do in HU. It is None if
            the values are too few or too even to tell.
    """

    certainty: float | None = None
    threshold_dice: float | None = None
    dropped_share: float | None = None
    parts_found: int | None = None
    left_of_middle_share: float | None = None
    tissues_in_place: bool | None = None


@dataclass(frozen=True)
class CaseRow:
    """The result for one input; None is an empty cell.

    Attributes:
        case: name of the input without its suffix.
        input: path of the file or folder from the folder that was given.
        status: `done` or `failed`.
        mask: file name of the mask.
        height: height in pixels.
        width: width in pixels.
        slices: number of slices, 1 for an image.
        lung_pixels: number of pixels (of a volume: voxels) that are lung.
        lung_fraction: lung as a share of all pixels, rounded to 6 decimals.
        flags: codes of `lungseg.inference.flags`, separated by spaces: why a person should look at
            the mask.
        detail: why it failed, or what was assumed and repaired, and a sentence for each flag.
        measures: measurements of a volume; None for an image.
        quality: how far the mask can be trusted.
        origin: what the mask was made from; None if it is not known.
    """

    case: str
    input: str
    status: str
    mask: str | None
    height: int | None = None
    width: int | None = None
    slices: int | None = None
    lung_pixels: int | None = None
    lung_fraction: float | None = decimals(6, default=None)
    flags: str = ""
    detail: str = ""
    measures: Measures | None = None
    quality: Quality | None = None
    origin: Origin | None = None

    @property
    def failed(self) -> bool:
        """Whether there is no mask."""
        return self.status == "failed"


def in_words(row: CaseRow) -> str:
    """Return the result for an input in a line: volume, sides and flags, or why it failed."""
    if row.failed:
        return f"{row.case}: failed: {row.detail}"
    found = []
    if row.measures is not None:
        sides = {name: getattr(row.measures, name).volume_ml for name in ("left", "right")}
        known = [f"{name} {ml:.0f}" for name, ml in sides.items() if ml is not None]
        found.append(
            f"{row.measures.lung.volume_ml or 0:.0f} mL of lung "
            f"({', '.join(known) if known else 'left and right are not known'})"
        )
    flags = row.flags.replace(" ", ", ")
    return f"{row.case}: {'; '.join([*found, f'flags: {flags}' if flags else 'no flags'])}"


def done_row(
    item: Input,
    mask: str,
    shape: tuple[int, int, int],
    lung_pixels: int,
    detail: str,
    origin: Origin,
    measures: Measures | None = None,
    quality: Quality | None = None,
    flags: Sequence[str] = (),
) -> CaseRow:
    """Return the row of an input that was segmented.

    Args:
        item: the input.
        mask: file name of its mask.
        shape: slices, height and width of the mask.
        lung_pixels: number of its pixels that are lung.
        detail: what was assumed and repaired.
        origin: what the mask was made from.
        measures: measurements, for volumes.
        quality: how far the mask can be trusted.
        flags: codes of why a person should look at it.
    """
    slices, height, width = shape
    return CaseRow(
        case=item.name,
        input=item.place,
        status="done",
        mask=mask,
        height=height,
        width=width,
        slices=slices,
        lung_pixels=lung_pixels,
        lung_fraction=round(lung_pixels / (slices * height * width), 6),
        flags=" ".join(flags),
        detail=detail,
        measures=measures,
        quality=quality,
        origin=origin,
    )


def failed_row(item: Input, problem: DataError) -> CaseRow:
    """Return the row of an input that could not be segmented, and warn."""
    detail = str(problem)
    console.warn(detail if problem.concerns(item.path) else f"{item.place}: {detail}")
    return CaseRow(case=item.name, input=item.place, status="failed", mask=None, detail=detail)


@contextmanager
def case_log(output: Path, rows: list[CaseRow]) -> Iterator[Callable[[list[CaseRow]], None]]:
    """Yield a function that adds rows to `rows` and appends them to `cases.csv`.

    Each row is on disk at once, so that `--resume` can go on after an interruption.
    """
    write_cases(output, rows)
    path = output / "cases.csv"
    with path.open("a", newline="", encoding="utf-8", errors=UNDECODED) as stream:
        writer = csv.DictWriter(stream, columns_of(CaseRow), lineterminator="\n")

        def log(new: list[CaseRow]) -> None:
            rows.extend(new)
            writer.writerows(map(cells_of, new))
            stream.flush()

        yield log


def write_cases(output: Path, rows: Sequence[CaseRow]) -> None:
    """Write `cases.csv` and `cases.json`."""
    write_rows(output / "cases.csv", CaseRow, rows)
    write_json(output / "cases.json", [to_record(row) for row in rows])


def _drop_unfinished(path: Path) -> None:
    """Remove a last row without its line end: the program was killed while it wrote that row."""
    content = path.read_bytes()
    end = content.rfind(b"\n") + 1
    if 0 < end < len(content):
        write_bytes(path, content[:end])


def holds_cases(output: Path) -> bool:
    """Whether there is a `cases.csv` with the columns that this program writes."""
    try:
        with (output / "cases.csv").open(encoding="utf-8", errors=UNDECODED) as stream:
            return stream.readline().startswith("case,input,status,mask,")
    except OSError:
        return False


def read_done(output: Path) -> dict[str, CaseRow]:
    """Read the rows of an earlier call whose masks are still there, by case.

    Raises:
        DataError: if `cases.csv` is damaged.
    """
    path = output / "cases.csv"
    if not path.exists():
        return {}
    _drop_unfinished(path)
    return {
        row.case: row
        for row in read_rows(path, CaseRow)
        if row.status == "done" and row.mask and (output / row.mask).is_file()
    }
