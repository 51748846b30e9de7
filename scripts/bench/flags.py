"""Measure how often each quality flag is raised for a fault and for a good mask.

Phantom patients are segmented by a network that knows the truth, apart from blurred edges. Then a
fault is put into the scan or into what the network finds, in a random place and of a random size.
The table goes into docs/measures.md.

Example:
    python -m scripts.bench.flags
"""

import datetime
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import SimpleITK as sitk  # noqa: N813 - its documented name

from lungseg.config.schema import Config, DataConfig
from lungseg.errors import DataError
from lungseg.imaging.folders import Input
from lungseg.imaging.volume_files import ct_from_image
from lungseg.inference.flags import FLAGS, flag_all_empty
from lungseg.inference.origins import Origin
from lungseg.inference.predictor import Predictor
from lungseg.inference.rows import CaseRow, done_row
from lungseg.inference.volumes import segment_ct
from lungseg.phantom.drawing import FIELD_OF_VIEW_MM, make_slice
from lungseg.phantom.patient import make_patient
from lungseg.system.files import write_text
from lungseg.system.tables import read_json, write_json

RESULTS = Path(__file__).parent / "results" / "flags.json"
PAGE = Path(__file__).parents[2] / "docs" / "measures.md"
BEGIN, END = "<!-- begin: scripts.bench.flags -->\n", "<!-- end: scripts.bench.flags -->"

PATIENTS = 60
FIRST_SEED = 5000
SIDE, SLICES, HEIGHT_MM = 160, 48, 280.0
MUSCLE_HU, NOISE_HU = 55, 20
SPACING = np.array([FIELD_OF_VIEW_MM / SIDE, FIELD_OF_VIEW_MM / SIDE, HEIGHT_MM / SLICES])

Array = np.ndarray[Any, Any]
Fault = Callable[["Scan", np.random.Generator], "Scan"]


class Scan:
    """A phantom patient: HU, the true lungs, the network's probability of lung, the voxel size."""

    def __init__(self, hu: Array, lungs: Array, p: Array, spacing: Array) -> None:
        """Keep the arrays `(D, H, W)`, from the feet to the head; `spacing` is (x, y, z) in mm."""
        self.hu, self.lungs, self.p, self.spacing = hu, lungs, p, spacing

    def but(self, **changes: Array) -> "Scan":
        """Return a copy with other arrays."""
        return Scan(**{**vars(self), **changes})

    @property
    def left(self) -> Array:
        """The true left lung; the other one is the right lung."""
        columns = np.nonzero(self.lungs)[2]
        middle = (columns.min() + columns.max()) // 2
        return np.asarray(self.lungs & (np.arange(self.lungs.shape[2]) > middle))


class Drawn:
    """A network that finds what it is told to."""

    def __init__(self, p: Array) -> None:
        """Keep the probability of lung, `(D, H, W)`."""
        self.data, self._p, self._next = DataConfig(image_size=p.shape[1:]), p, 0
        self.usual_certainty = None  # as of a model that does not say what is usual
        self.workers = 1  # because slices are answered in the order in which they come

    def probabilities(self, slices: Sequence[Array]) -> Array:
        """Return the class probabilities of the next slices."""
        p = self._p[self._next : self._next + len(slices)]
        self._next += len(slices)
        return np.stack([1 - p, p], axis=-1).astype(np.float32)


def draw(seed: int) -> Scan:
    """Draw a patient whose lungs end within the scan."""
    patient, rng = make_patient(seed), np.random.default_rng(seed)
    pairs = [make_slice(patient, (k + 0.5) / SLICES, SIDE) for k in range(SLICES)][::-1]
    hu = np.stack([pair[0] for pair in pairs])
    lungs = np.stack([pair[1] for pair in pairs]) > 0
    for k in (0, 1, -2, -1):
        noise = rng.normal(MUSCLE_HU, NOISE_HU, hu[k].shape)
        hu[k] = np.where(lungs[k], noise, hu[k])
        lungs[k] = False
    # Edges are blurred and lie up to a pixel off.
    planes = [cv2.GaussianBlur(plane.astype(np.float32), (0, 0), 0.7) for plane in lungs]
    shifted = np.stack([np.roll(plane, rng.integers(-1, 2), axis=1) for plane in planes])
    return Scan(hu, lungs, np.clip(shifted, 0.002, 0.998), SPACING)


def some_lungs(scan: Scan, missed: Array) -> Scan:
    """Let the network miss a part of the lungs."""
    return scan.but(p=np.where(missed, 0.002, scan.p))


def below(mask: Array, axis: int, share: float) -> Array:
    """Return the voxels before the place where a mask has this share of its extent."""
    held = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
    end = held[0] + share * (held[-1] - held[0] + 1)
    index = np.arange(mask.shape[axis]).reshape([-1 if a == axis else 1 for a in range(3)])
    return np.broadcast_to(index < end, mask.shape)


def wrong_spacing(scan: Scan, rng: np.random.Generator) -> Scan:
    """State voxels whose sides are 0.1 to 0.6 or 1.6 to 5 times as long."""
    return scan.but(spacing=scan.spacing * rng.choice([rng.uniform(0.1, 0.6), rng.uniform(1.6, 5)]))


def one_lung(scan: Scan, rng: np.random.Generator) -> Scan:
    """Miss a whole lung."""
    near = np.arange(SIDE) > np.nonzero(scan.left)[2].min() - 1
    return some_lungs(scan, near if rng.random() < 0.5 else ~near)


def part_of_one_lung(scan: Scan, rng: np.random.Generator) -> Scan:
    """Miss 55% to 85% of the height of a lung."""
    lung = scan.left if rng.random() < 0.5 else scan.lungs & ~scan.left
    reach = np.any(lung, axis=(0, 1))
    return some_lungs(scan, below(lung, 0, rng.uniform(0.55, 0.85)) & reach)


def front_of_both(scan: Scan, rng: np.random.Generator) -> Scan:
    """Miss the front of both lungs, 40% to 70% of their depth."""
    return some_lungs(scan, below(scan.lungs, 1, rng.uniform(0.4, 0.7)))


def nothing(scan: Scan, rng: np.random.Generator) -> Scan:
    """Find no lung."""
    return some_lungs(scan, np.ones_like(scan.lungs))


def cropped(scan: Scan, rng: np.random.Generator) -> Scan:
    """Cut the scan off within the lungs, at one of its six sides."""
    axis, share = int(rng.integers(3)), rng.uniform(0.05, 0.4)
    if rng.random() < 0.5:
        share = 1 - share
    inside = below(scan.lungs, axis, share)
    keep = np.flatnonzero(inside.any(axis=tuple(a for a in range(3) if a != axis)))
    start, stop = (0, keep[-1]) if share > 0.5 else (keep[-1], scan.hu.shape[axis])
    cut = tuple(slice(start, stop) if a == axis else slice(None) for a in range(3))
    return scan.but(hu=scan.hu[cut], lungs=scan.lungs[cut], p=scan.p[cut])


def specks(scan: Scan, rng: np.random.Generator) -> Scan:
    """Find 10 to 19 balls of 2 to 6 mL outside the lungs."""
    z, y, x = np.indices(scan.hu.shape)
    p = scan.p.copy()
    far = cv2.dilate(scan.lungs.max(axis=0).astype(np.uint8), np.ones((25, 25), np.uint8)) == 0
    places = np.argwhere(far)
    centres: list[Array] = []
    count = int(rng.integers(10, 20))
    while len(centres) < count:
        centre = np.array([rng.integers(4, len(p) - 4), *places[rng.integers(len(places))]])
        if all((np.abs(centre - other) * SPACING[::-1]).max() > 25 for other in centres):
            centres.append(centre)
    for c in centres:
        offsets = [(a - b) * mm for a, b, mm in zip((z, y, x), c, SPACING[::-1], strict=True)]
        radius = (rng.uniform(2000, 6000) * 0.75 / np.pi) ** (1 / 3)
        p[sum(offset**2 for offset in offsets) < radius**2] = 0.97
    return scan.but(p=p)


def room_air(scan: Scan, rng: np.random.Generator) -> Scan:
    """Find a slab of the air in front of the patient, of 15% to 60% of the lungs' size."""
    share = rng.uniform(0.15, 0.6)
    p = scan.p.copy()
    rows = max(1, round(share * np.count_nonzero(scan.lungs) / (len(p) * (SIDE - 20))))
    p[:, 1 : 1 + rows, 10:-10] = 0.97
    return scan.but(p=p)


def uncertain(scan: Scan, rng: np.random.Generator) -> Scan:
    """Find the lungs with a probability of 0.55 to 0.88."""
    return scan.but(p=np.where(scan.p > 0.5, rng.uniform(0.55, 0.88), scan.p))


def wrong_hu(scan: Scan, rng: np.random.Generator) -> Scan:
    """Shift HU by 150 to 500, or multiply them by 0.4 to 0.75 or 1.3 to 2."""
    slope, shift = 1.0, 0.0
    if rng.random() < 0.5:
        shift = rng.uniform(150, 500) * rng.choice([-1, 1])
    else:
        slope = rng.choice([rng.uniform(0.4, 0.75), rng.uniform(1.3, 2.0)])
    return scan.but(hu=np.rint(scan.hu * slope + shift).astype(np.int16))


FAULTS: dict[str, Fault] = {
    "no_lung": nothing,
    "cut_off": cropped,
    "volume": wrong_spacing,
    "uneven_sides": part_of_one_lung,
    "missing_side": one_lung,
    "many_parts": specks,
    "much_dropped": room_air,
    "low_certainty": uncertain,
    "threshold_differs": front_of_both,
    "doubtful_hu": wrong_hu,
}


def row_of(scan: Scan) -> CaseRow:
    """Segment a scan as `lungseg infer` does; return its row."""
    image = sitk.GetImageFromArray(scan.hu)
    image.SetSpacing([float(mm) for mm in scan.spacing])
    found = segment_ct(cast(Predictor, Drawn(square(scan.p))), ct_from_image(image), Config())
    flags = [flag.code for flag in found.flags]
    item, origin = Input(Path("scan.mha"), "scan", True), Origin("", "", "")
    shape = (len(scan.hu), SIDE, SIDE)
    return done_row(item, "scan.mha", shape, found.lung_voxels, "", origin, flags=flags)


def square(p: Array) -> Array:
    """Pad slices to squares, as inference does."""
    height, width = p.shape[1:]
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    wide = ((0, 0), (top, side - height - top), (left, side - width - left))
    return np.pad(p, wide, constant_values=0.002)


def measure() -> dict[str, dict[str, int]]:
    """Return for each flag how often it was raised for its fault, and for good masks."""
    counts = {code: {"faults": 0, "found": 0, "good": 0, "false": 0} for code in FLAGS}
    for seed in range(FIRST_SEED, FIRST_SEED + PATIENTS):
        scan = draw(seed)
        good = row_of(scan)
        rows = {}
        for position, (code, fault) in enumerate(FAULTS.items()):
            try:
                rows[code] = row_of(fault(scan, np.random.default_rng([seed, position])))
            except DataError:  # values that are refused need no flag
                continue
            counts[code]["faults"] += 1
            counts[code]["found"] += code in rows[code].flags.split()
        for call, kind in (([rows["no_lung"]] * 3, "found"), ([good, rows["no_lung"]], "false")):
            row = flag_all_empty(call)[0]
            counts["all_empty"][kind] += "all_empty" in row.flags.split()
        counts["all_empty"]["faults"] += 1
        for code in FLAGS:
            counts[code]["good"] += 1
            counts[code]["false"] += code != "all_empty" and code in good.flags.split()
        sys.stdout.write(f"{seed}: good {good.flags or '-'}\n")
    return counts


def table(counts: dict[str, dict[str, int]]) -> str:
    """Return the table of the flags as Markdown."""
    lines = [
        "| flag | raised if | fault | found | raised for good masks |",
        "|---|---|---|---|---|",
    ]
    for code, meaning in FLAGS.items():
        fault = FAULTS[code].__doc__ if code in FAULTS else "Find no lung in three of three scans."
        n = counts[code]
        refused = n["good"] - n["faults"]
        lines.append(
            f"| `{code}` | {meaning} | {fault} | {n['found']} of {n['faults']}"
            f"{f'; {refused} were refused in reading' if refused else ''} "
            f"| {n['false']} of {n['good']} |"
        )
    return "\n".join(lines) + "\n"


def write_page(document: dict[str, Any]) -> None:
    """Write the table into the page, between its two marks."""
    before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    after = rest.split(END)[1]
    note = f"\nMeasured on {document['patients']} phantoms on {document['date']}.\n"
    write_text(PAGE, f"{before}{BEGIN}{table(document['flags'])}{note}{END}{after}")


if __name__ == "__main__":
    found = measure()
    date = datetime.date.today().isoformat()
    write_json(RESULTS, {"date": date, "patients": PATIENTS, "flags": found})
    write_page(read_json(RESULTS))
