"""The labels that the shipped network is trained on: frozen, described, and made again."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - its documented name

from lungseg.inference.corrections import read_corrections
from lungseg.verbs.label import label
from scripts.maintain import make_labels
from tests.support.places import SHARED_DATA

needs_data = pytest.mark.skipif(
    not (SHARED_DATA / "open-ct").exists(), reason=f"needs {SHARED_DATA / 'open-ct'}"
)
CHEAP = {
    "ct-abdomen-3mm-int16-ras": "volumes/ct-abdomen-3mm-int16-ras.nii.gz",
    "covid-sbu-slices_A046441_91289688": (
        "open-ct/slices/covid-sbu-slices/A046441_91289688.nii.gz"
    ),
    "tcga-lung-slices_TCGA-60-2721_80652054": (
        "open-ct/slices/tcga-lung-slices/TCGA-60-2721_80652054.nii.gz"
    ),
}


def frozen() -> dict[str, str]:
    return dict(json.loads(make_labels.FROZEN.read_text(encoding="utf-8")))


def test_every_correction_is_right_and_belongs_to_a_frozen_label() -> None:
    paths = sorted(make_labels.CORRECTIONS.glob("*.yaml"))
    assert paths
    for path in paths:
        assert path.stem in frozen()
        assert read_corrections(path).steps


def test_a_hash_is_that_of_the_voxels(tmp_path: Path) -> None:
    voxels = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    sitk.WriteImage(sitk.GetImageFromArray(voxels), str(tmp_path / "mask.nii.gz"))
    expected = hashlib.sha256(bytes(range(24))).hexdigest()
    assert make_labels.hash_mask(tmp_path / "mask.nii.gz") == expected


def test_labels_that_differ_from_the_frozen_ones_are_named() -> None:
    assert make_labels.compare({"a": "1"}, {"a": "1"}) == []
    problems = make_labels.compare({"a": "1", "new": "2"}, {"a": "0", "gone": "3"})
    assert [problem.split(":")[0] for problem in problems] == ["new", "a", "gone"]


@needs_data
def test_every_source_tells_patient_terms_and_citation() -> None:
    inputs = make_labels.find_inputs(SHARED_DATA)
    slices = next(path for path in inputs if path.name == "slices")
    files = [path for path in inputs if path != slices] + sorted(slices.rglob("*.nii.gz"))
    sources = {path.name.removesuffix(".nii.gz"): make_labels.find_source(path) for path in files}
    assert len(sources) == len(frozen())
    for patient, terms, citation in sources.values():
        assert patient
        assert terms.startswith(("CC BY", "Apache-2.0"))
        assert citation
    assert sources["lidc-0001"][0] == "LIDC-IDRI-0001"
    upper, lower = (sources[f"acrin-flt-breast-001-{part}"] for part in ("upper", "lower"))
    assert upper[0] == lower[0]
    assert sources["lungfcp-0006_02"][0] == "LungFCP-01-0006"
    assert sources["TCGA-17-Z013_93436859"][0] == "TCGA-17-Z013"


@needs_data
def test_cheap_labels_are_the_frozen_ones(tmp_path: Path) -> None:
    (tmp_path / "corrections").mkdir()
    inputs = {case: SHARED_DATA / path for case, path in CHEAP.items()}
    for case, path in inputs.items():
        steps = make_labels.CORRECTIONS / f"{case}.yaml"
        if steps.exists():
            name = path.name.replace(".nii.gz", ".yaml")
            shutil.copy(steps, tmp_path / "corrections" / name)
    label(list(inputs.values()), tmp_path / "out", corrections=tmp_path / "corrections")
    for case, path in inputs.items():
        assert make_labels.hash_mask(tmp_path / "out" / "masks" / path.name) == frozen()[case]
