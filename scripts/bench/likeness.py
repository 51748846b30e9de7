"""Measure how well the likeness of slices finds copies and neighbours, for docs/likeness.md.

The patients are put in order by a hash of their name. Every second one is for tuning, the others
are for the figures in the page. Writes results/likeness.json.

Example:
    python -m scripts.bench.likeness --data ../shared/data
    python -m scripts.bench.likeness --data ../shared/data --half tuning    # prints only
"""

import csv
import hashlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import typer
from numpy.typing import NDArray

import lungseg.dataset.similarity as similarity_module
from lungseg.config.schema import Config
from lungseg.dataset.likeness import Looks, describe
from lungseg.dataset.patients import assign_patients
from lungseg.dataset.similarity import similar_across, similar_pairs
from lungseg.dataset.slices import Slice
from lungseg.imaging.framing import frame_slice
from lungseg.imaging.pixels import apply_window, fit_image, read_slice
from lungseg.imaging.volume_files import read_ct
from lungseg.system.environment import describe_hardware, ordered_map

RESULTS = Path(__file__).parent / "results" / "likeness.json"
# Slices of LungSegDB with neighbouring numbers may be one patient's.
ONE_PATIENT = {"18": "17", "20": "17", "153": "152", "168": "165"}
GAPS = {"under 4 mm": (0.1, 3.99), "4 to 6.4 mm": (4.0, 6.41), "8 to 12 mm": (8.0, 12.01)}
PER_PATIENT = 4  # slices of which copies are made

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Real:
    """A real slice: its patient, its volume and place in mm (0 for a single slice), its pixels."""

    patient: str
    volume: str
    z: float
    image: Image


def read_volume(path: Path, patient: str, name: str) -> Iterator[Real]:
    """Yield the slices of a volume as `prepare` makes them."""
    import SimpleITK as sitk  # noqa: N813 - its documented name

    data = Config().data
    ct = read_ct(path).canonical
    spacing = ct.GetSpacing()[2]
    for k, hu in enumerate(sitk.GetArrayFromImage(ct)):
        image = fit_image(apply_window(hu, data.window), frame_slice(hu.shape, data))
        yield Real(patient, name, k * spacing, image)


def read_all(data: Path) -> Iterator[Real]:
    """Yield every slice of the folder, whose README says what is in it."""
    open_ct = data / "open-ct"
    volumes = [
        *sorted((open_ct / "volumes").glob("*.nii.gz")),
        *sorted((data / "volumes").glob("*.nii.gz")),
    ]
    for path in [*volumes, data / "dicom-lidc-1011", data / "dicom-petct-a0001"]:
        name = path.name.partition(".")[0]
        # The two volumes of acrin-flt-breast-001 are of one patient.
        patient = "acrin-flt-breast-001" if name.startswith("acrin-flt-breast-001") else name
        yield from read_volume(path, patient, name)
    for table in sorted((open_ct / "slices").glob("*/slices.csv")):
        for row in csv.DictReader(table.open()):
            yield from read_volume(table.parent / row["file"], row["patient"], "")
    for path in sorted((open_ct / "slices" / "few").glob("*.nii.gz")):
        yield from read_volume(path, path.name.removesuffix(".nii.gz").rsplit("_", 1)[0], "")
    for path in sorted((data / "lungsegdb-mini" / "images").glob("*.png")):
        image = read_slice(path, Config().data)
        yield Real(f"lsdb-{ONE_PATIENT.get(path.stem, path.stem)}", "", 0.0, image)


def halves(slices: list[Real]) -> dict[str, list[str]]:
    """Deal the patients to the halves, those with volumes first, so that both halves have some."""

    def order(patient: str) -> str:
        return hashlib.sha256(patient.encode()).hexdigest()

    with_volume = {s.patient for s in slices if s.volume}
    from_png = {s.patient for s in slices if s.patient.startswith("lsdb")}
    dealt: dict[str, list[str]] = {"tuning": [], "final": []}
    for kind in (with_volume, {s.patient for s in slices} - with_volume - from_png, from_png):
        patients = sorted(kind, key=order)
        dealt["tuning"] += patients[::2]
        dealt["final"] += patients[1::2]
    return dealt


def moved(angle: float, scale: float) -> Callable[[Image], Image]:
    """Return a function that turns an image about its centre and shrinks it; outside is black."""

    def move(image: Image) -> Image:
        side = image.shape[0]
        matrix = cv2.getRotationMatrix2D(((side - 1) / 2, (side - 1) / 2), angle, scale)
        return np.asarray(
            cv2.warpAffine(image, matrix, (side, side), flags=cv2.INTER_LINEAR), np.uint8
        )

    return move


def through(low: float, high: float) -> Callable[[Image], Image]:
    """Return a function that shows an image through another grey window, as fractions of it."""
    table = np.clip((np.arange(256) / 255 - low) / (high - low) * 255, 0, 255).astype(np.uint8)
    return lambda image: np.asarray(cv2.LUT(image, table), np.uint8)


def copies() -> dict[str, list[Callable[[Image], Image]]]:
    """Return the kinds of copies."""
    turns = {f"turn by {a} degrees": [moved(a, 1), moved(-a, 1)] for a in (5, 10, 15, 20, 25, 30)}
    shrinks = {f"shrink to {s:.0%}": [moved(0, s)] for s in (0.9, 0.8, 0.7, 0.6, 0.5)}
    shift = np.array([[1, 0, 40], [0, 1, 30]], np.float32)
    return {
        "flip": [lambda i: i[:, ::-1].copy(), lambda i: i[::-1].copy()],
        "turn by 90, 180, 270 degrees": [lambda i, k=k: np.rot90(i, k).copy() for k in (1, 2, 3)],  # type: ignore[misc]
        **shrinks,
        **turns,
        "flip, turn by 17 degrees, shrink to 80%": [lambda i: moved(17, 0.8)(i[:, ::-1].copy())],
        "narrower grey window": [through(0.2, 0.9)],
        "wider grey window": [through(-0.3, 1.3)],
        "mediastinal grey window": [through(0.6, 0.93)],
        "JPEG of quality 50": [
            lambda i: np.asarray(cv2.imdecode(cv2.imencode(".jpg", i, [1, 50])[1], 0), np.uint8)
        ],
        "shift by 40 and 30 of 512 pixels": [
            lambda i: np.asarray(cv2.warpAffine(i, shift, i.shape[::-1]), np.uint8)
        ],
        "cropped to 77%": [lambda i: i[60:452, 60:452].copy()],
    }


def measure(slices: list[Real]) -> dict[str, Any]:
    """Measure copies, neighbours, false alarms and groups of some patients' slices."""
    split = Config().split
    texts = list(ordered_map(lambda s: describe(s.image), slices))
    looks = Looks.read(texts)
    i, j = np.triu_indices(len(slices), 1)
    similarity = looks.similarities(i, looks, j)
    patient, volume = (np.array([getattr(s, key) for s in slices]) for key in ("patient", "volume"))
    z = np.array([s.z for s in slices])

    def share(values: NDArray[np.float32]) -> dict[str, Any]:
        return {
            "pairs": len(values),
            "found": int((values >= split.patient_similarity).sum()),
            "patient_similarity": round(float((values >= split.patient_similarity).mean()), 6),
            "leak_similarity": round(float((values >= split.leak_similarity).mean()), 6),
            "5th_percentile": round(float(np.quantile(values, 0.05)), 3),
        }

    result: dict[str, Any] = {"copies": {}, "neighbours": {}}
    rng = np.random.default_rng(0)
    chosen = np.concatenate([
        rng.choice(found, min(PER_PATIENT, len(found)), replace=False)
        for name in sorted(set(patient))
        for found in [np.flatnonzero(patient == name)]
    ])  # fmt: skip
    for kind, functions in copies().items():
        values = []
        for function in functions:
            made = Looks.read([describe(function(slices[k].image)) for k in chosen])
            values.append(looks.similarities(chosen, made, np.arange(len(chosen))))
        result["copies"][kind] = share(np.concatenate(values))
    together = (volume[i] == volume[j]) & (volume[i] != "")
    gap = np.abs(z[i] - z[j])
    for kind, (low, high) in GAPS.items():
        result["neighbours"][kind] = share(similarity[together & (gap >= low) & (gap <= high)])
    other = patient[i] != patient[j]
    result["different patients"] = {
        **share(similarity[other]),
        "highest": round(float(similarity[other].max()), 3),
        "highest of": sorted(
            {
                patient[i[other]][similarity[other].argmax()],
                patient[j[other]][similarity[other].argmax()],
            }
        ),
    }
    # The most similar slices of two patients are those at one level.
    best: dict[tuple[str, str], float] = {}
    for a, b, value in zip(patient[i[other]], patient[j[other]], similarity[other], strict=True):
        key = (min(a, b), max(a, b))
        best[key] = max(best.get(key, 0.0), float(value))
    result["different patients, most similar slices"] = share(
        np.array(list(best.values()), np.float32)
    )
    result["groups"] = group(slices, texts)
    similarity_module.ALL_PAIRS = 0  # look for candidates first, as among many slices
    found = sum(len(rows) for rows, _, _ in similar_pairs(looks, split.patient_similarity))
    alike = int((similarity >= split.patient_similarity).sum())
    result["search"] = {"pairs": alike, "found": found}
    return result


def group(slices: list[Real], texts: list[str]) -> dict[str, int]:
    """Group slices without names, and compare the groups with the patients."""
    nameless = [
        Slice(name, name, "", Path(), Path(), 0.2, name, text, named=False)
        for k, text in enumerate(texts)
        # Letters, because numbers that are close would count.
        for name in ["".join(chr(ord("a") + int(digit)) for digit in str(k))]
    ]
    grouped, _ = assign_patients(nameless, Config().split)
    patients_of: dict[str, set[str]] = {}
    for s, real in zip(grouped, slices, strict=True):
        patients_of.setdefault(s.group, set()).add(real.patient)
    return {
        "slices": len(slices),
        "patients": len({s.patient for s in slices}),
        "groups": len(patients_of),
        "groups of several patients": sum(len(patients) > 1 for patients in patients_of.values()),
    }


def speed(texts: list[str], first: int) -> dict[str, Any]:
    """Time the search for pairs in a list, and across two parts of it; in a process of its own."""
    before = peak_mib()
    started = time.perf_counter()
    looks = Looks.read(texts)
    limit = Config().split.patient_similarity
    pairs = sum(len(rows) for rows, _, _ in similar_pairs(looks, limit))
    grouped = time.perf_counter()
    for _ in similar_across(Looks(looks.numbers[:first]), Looks(looks.numbers[first:]), limit):
        pass
    return {
        "slices": len(texts),
        "pairs": pairs,
        "grouping_s": round(grouped - started, 1),
        "audit_s": round(time.perf_counter() - grouped, 1),
        "mib": peak_mib() - before,
    }


def peak_mib() -> int:
    """Return the most memory that this process has had, on Linux."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024


def many(slices: list[Real], count: int) -> Iterator[str]:
    """Yield the likeness of real slices that are bent at random, so that they look different."""
    rng = np.random.default_rng(0)
    rows, columns = np.indices((160, 160), dtype=np.float32)
    for k in range(count):
        small = cv2.resize(slices[k % len(slices)].image, (160, 160), interpolation=cv2.INTER_AREA)
        bend = [cv2.resize(a, (160, 160), interpolation=cv2.INTER_CUBIC)
                for a in rng.normal(0, 5, (2, 6, 6)).astype(np.float32)]  # fmt: skip
        bent = cv2.remap(small, columns + bend[0], rows + bend[1], cv2.INTER_LINEAR)
        yield describe(np.asarray(bent, np.uint8))


def table() -> str:
    """Return the table of docs/likeness.md from what was measured."""
    result = json.loads(RESULTS.read_text())
    lines = ["| pairs | number | 0.75 or more | 0.9 or more |", "|---|---|---|---|"]
    kinds = {f"copy: {kind}": row for kind, row in result["copies"].items()}
    kinds |= {
        f"slices of one volume {kind} apart": row for kind, row in result["neighbours"].items()
    }
    different = "different patients", "different patients, most similar slices"
    kinds |= {kind: result[kind] for kind in different}
    for kind, row in kinds.items():
        shares = (100 * row["patient_similarity"], 100 * row["leak_similarity"])
        lines.append(
            f"| {kind} | {row['pairs']:,} | " + " | ".join(f"{s:.4g}%" for s in shares) + " |"
        )
    return "\n".join(lines) + "\n"


def main(
    data: Annotated[Path, typer.Option(help="Folder of real CT, with a README.")],
    half: Annotated[str, typer.Option(help="tuning or final")] = "final",
) -> None:
    """Measure one half of the patients; write the result if it is the final one."""
    slices = list(read_all(data))
    dealt = halves(slices)
    started = time.perf_counter()
    for s in slices[:100]:
        describe(s.image)
    milliseconds = (time.perf_counter() - started) * 10
    result = {
        "half": half,
        "patients": dealt,
        **measure([s for s in slices if s.patient in dealt[half]]),
    }
    if half == "final":
        fresh = get_context("spawn")
        result["speed"] = []
        for count in (1000, 10_000):
            with fresh.Pool(1) as pool:
                texts = list(many(slices, count))
                result["speed"].append(pool.apply(speed, (texts, int(0.8 * count))))
        result["describe_ms"] = round(milliseconds, 1)
        result["hardware"] = describe_hardware()
        RESULTS.write_text(json.dumps(result, indent=1) + "\n")
        print(table())
    print(json.dumps({key: result[key] for key in result if key != "patients"}, indent=1))


if __name__ == "__main__":
    typer.run(main)
