"""Make the lung labels of open CT that the shipped network is trained on.

DATA holds `open-ct/`, `volumes/` and the two DICOM patients. OUT gets `images/` and `masks/` for
`lungseg prepare`, `labels.json` (hash, patient, terms and citation of each case), `patients.csv`
for `split.group_csv`, and `labels.md`, the table in docs/labels.md. The corrections by hand are in
configs/label-corrections/, and so are the hashes, in frozen.json. The command exits with 1 if a
label differs from its hash there.

Example:
    python -m scripts.maintain.make_labels --data ../shared/data -o labels
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813 - its documented name

from lungseg.imaging.labels import UNLABELLED
from lungseg.inference.corrections import Step, read_corrections
from lungseg.system.tables import read_csv
from lungseg.verbs.label import LabelledCt, label

CORRECTIONS = Path(__file__).parents[2] / "configs" / "label-corrections"
FROZEN = CORRECTIONS / "frozen.json"
# For judging only: its mask is the output of a network with other terms.
HELD_BACK = "nsclc-radiogenomics-r01-001.nii.gz"
# What has no SOURCE file: patient, terms, citation.
OTHER_SOURCES = {
    "dicom-lidc-1011": (
        "LIDC-IDRI-1011",
        "CC BY 3.0 https://creativecommons.org/licenses/by/3.0/",
        "Armato SG III et al. Data From LIDC-IDRI. The Cancer Imaging Archive, 2015, "
        "doi:10.7937/K9/TCIA.2015.LO9QL9SX",
    ),
    "dicom-petct-a0001": (
        "Lung_Dx-A0001",
        "CC BY 4.0 https://creativecommons.org/licenses/by/4.0/",
        "Li P et al. A Large-Scale CT and PET/CT Dataset for Lung Cancer Diagnosis "
        "(Lung-PET-CT-Dx). The Cancer Imaging Archive, 2020, doi:10.7937/TCIA.2020.NNC2-0461",
    ),
    "volumes": (
        "",
        "Apache-2.0 https://www.apache.org/licenses/LICENSE-2.0",
        "Wasserthal J et al. TotalSegmentator, example data. "
        "https://github.com/wasserth/TotalSegmentator",
    ),
}


def find_inputs(data: Path) -> list[Path]:
    """Return the CTs to label: files, and folders of DICOM or of single slices."""
    volumes = sorted((data / "open-ct" / "volumes").glob("*.nii.gz"))
    return [
        *(path for path in volumes if path.name != HELD_BACK),
        data / "open-ct" / "slices",
        data / "dicom-lidc-1011",
        data / "dicom-petct-a0001",
        *sorted((data / "volumes").glob("*.nii.gz")),
    ]


def hash_mask(path: Path) -> str:
    """Return the SHA-256 of a mask's voxels `(D, H, W)`, uint8, in C order."""
    voxels = sitk.GetArrayFromImage(sitk.ReadImage(str(path))).astype(np.uint8)
    return hashlib.sha256(np.ascontiguousarray(voxels).tobytes()).hexdigest()


def find_source(path: Path) -> tuple[str, str, str]:
    """Return patient, terms and citation of a CT, from the SOURCE file beside it."""
    table = path.with_name("slices.csv")
    if table.exists():
        text = path.with_name("SET.SOURCE.txt").read_text(encoding="utf-8")
        rows = read_csv(table, ("file", "patient", "licence"))
        patient, terms = next(
            (row["patient"], row["licence"]) for row in rows if row["file"] == path.name
        )
        return patient, terms, _field(text, r"Citations?")
    stem = path.name.removesuffix(".nii.gz")
    # Slices of one patient are numbered, and share a file.
    for case in (stem, re.sub(r"_\d+$", "", stem)):
        source = path.with_name(f"{case}.SOURCE.txt")
        if source.exists():
            text = source.read_text(encoding="utf-8")
            patient = _field(text, "Patient id as published")
            return patient, _field(text, "Terms"), _field(text, "Citation")
    for name in (path.name, path.parent.name):
        if name in OTHER_SOURCES:
            patient, terms, citation = OTHER_SOURCES[name]
            return patient or path.name.removesuffix(".nii.gz"), terms, citation
    raise FileNotFoundError(f"{path}: no SOURCE file tells its patient and terms.")


def name_collection(citation: str) -> str:
    """Return the short name of a collection, or of several, from their citation."""
    names = []
    for one in citation.split("|"):
        authors, *titles = one.strip().split(". ")
        title = titles[0] if titles and not titles[0].startswith("The Cancer Imaging") else authors
        short = re.search(r"\((.+?)\)$", title)
        names.append(re.sub(r"^Data (from|for) ", "", short[1] if short else title, flags=re.I))
    return ", ".join(names)


def _field(text: str, key: str) -> str:
    found = re.search(rf"^{key}:\s*(.+)$", text, re.MULTILINE)
    if found is None:
        raise ValueError(f"a SOURCE file has no line {key!r}")
    return found[1].strip()


def describe(case: LabelledCt, masks: Path) -> dict[str, Any]:
    """Return what `labels.json` says about a case."""
    path = masks / f"{case.case}.nii.gz"
    voxels = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    patient, terms, citation = find_source(case.source)
    return {
        "patient": patient,
        "slices": len(voxels),
        "slices_with_lung": int((voxels == 1).any(axis=(1, 2)).sum()),
        "slices_left_out": int((voxels == UNLABELLED).any(axis=(1, 2)).sum()),
        "lung_ml": case.lung_ml,
        "sha256": hash_mask(path),
        "terms": terms,
        "citation": citation,
    }


def steps_of(case: str) -> list[Step]:
    """Return the corrections by hand of a CT's label."""
    path = CORRECTIONS / f"{case}.yaml"
    return read_corrections(path).steps if path.exists() else []


def draw_table(described: dict[str, dict[str, Any]]) -> str:
    """Return the table of docs/labels.md in Markdown: a row per patient."""
    lines = [
        "| patient | slices | with lung | lung, mL | corrected by hand |",
        "|---|---|---|---|---|",
    ]
    for patient in dict.fromkeys(about["patient"] for about in described.values()):
        cases = {c: about for c, about in described.items() if about["patient"] == patient}
        slices, with_lung, volume = (
            sum(about[key] for about in cases.values())
            for key in ("slices", "slices_with_lung", "lung_ml")
        )
        steps = [step for case in cases for step in steps_of(case)]
        kinds = {"add": "added: ", "remove": "removed: ", "leave_out": "left out: "}
        said = [
            kind + step.why for step in steps for key, kind in kinds.items() if getattr(step, key)
        ]
        why = "; ".join(dict.fromkeys(said))
        lines.append(f"| {patient} | {slices} | {with_lung} | {volume:.0f} | {why} |")
    return "\n".join([*lines, ""])


def compare(made: dict[str, str], frozen: dict[str, str]) -> list[str]:
    """Return a sentence for each case whose hash is not the frozen one."""
    problems = [f"{case}: it is not frozen." for case in made if case not in frozen]
    for case, expected in frozen.items():
        if case not in made:
            problems.append(f"{case}: it was not labelled.")
        elif made[case] != expected:
            problems.append(f"{case}: its label is not the frozen one.")
    return problems


def main(arguments: Sequence[str] | None = None) -> int:
    """Label, describe and compare; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with the CTs")
    parser.add_argument("-o", "--output", type=Path, required=True, help="a new folder")
    parser.add_argument("--overlay", action="store_true", help="draw each CT with its label")
    parser.add_argument("--freeze", action="store_true", help="write frozen.json anew")
    given = parser.parse_args(arguments)
    result = label(
        find_inputs(given.data), given.output, corrections=CORRECTIONS, overlay=given.overlay
    )
    described = {c.case: describe(c, given.output / "masks") for c in result.cases}
    text = json.dumps(described, indent=2) + "\n"
    (given.output / "labels.json").write_text(text, encoding="utf-8")
    (given.output / "labels.md").write_text(draw_table(described), encoding="utf-8")
    rows = [
        f"{case}_z{number:04d},{about['patient']}"
        for case, about in described.items()
        for number in range(1, about["slices"] + 1)
    ]
    table = "\n".join(["case,group", *rows, ""])
    (given.output / "patients.csv").write_text(table, encoding="utf-8")
    made = {case: about["sha256"] for case, about in described.items()}
    if given.freeze:
        FROZEN.write_text(json.dumps(made, indent=2) + "\n", encoding="utf-8")
    problems = [*result.failed, *compare(made, json.loads(FROZEN.read_text(encoding="utf-8")))]
    for problem in problems:
        sys.stderr.write(problem + "\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
