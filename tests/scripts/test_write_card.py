"""The model card's figures come from the files beside it, and nothing else in it changes."""

import math
import statistics
from pathlib import Path
from typing import Any

import pytest

from lungseg.dataset.slices import Slice
from lungseg.system.tables import read_json, write_json
from lungseg.training.run_folder import write_data_list
from scripts.maintain import make_labels, write_card
from tests.support.networks import write_run

CARD = """# A card
<!-- files -->
old
<!-- end of files -->
By hand.
<!-- data -->
<!-- end of data -->
<!-- scores -->
Not measured yet.
<!-- end of scores -->
The end.
"""


def patient(
    name: str, collection: str, kind: str, dice: float | None, false_ml: float | None = None
) -> dict[str, Any]:
    row = {"patient": name, "collection": collection, "kind": kind, "lung_added": name == "b"}
    return {**row, "dice": dice, "false_ml": false_ml}


# As make_model writes it.
EVALUATION: dict[str, Any] = {
    "date": "2026-01-02",
    "hardware": {"machine": "x", "processor": "A chip", "cores": 3},
    "cross_validation": {
        "folds": 5,
        "measured": 5,
        "patients": [
            *(patient(f"a{n}", "A", "volume", 0.95 + n / 1000, n % 2) for n in range(40)),
            patient("b", "B", "volume", 0.9),
            patient("c", "C", "slices", 0.8),
            patient("d", "D", "slices", None, 0.25),
        ],
    },
    "held_out": {
        "R01": {"patient": "R01", "kind": "volume", "slices": 9, "dice": 0.98765},
        "Others": {"mean": 0.9, "slices": {f"s{n}": 0.9 for n in range(20)}},
    },
    "failures": ["It takes the stomach for lung."],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "shipped"
    write_run(folder, 64)
    known = read_json(folder / "model.json")
    write_json(folder / "model.json", {**known, "network": "resunet", "parameters": 1234567})
    record = {"lungseg": "0.1.0", "started": "2026-01-01T10:00:00+00:00", "epochs": 7}
    write_json(folder / "run.json", record)
    (folder / "model.keras").write_bytes(b"weights")
    slices = [
        Slice(f"p{n}_s1", f"p{n}_s1", f"p{n // 2}", Path("i"), Path("m"), 0.1, "0", "x")
        for n in range(4)
    ]
    write_data_list(folder / "data.csv", {"train": slices[:3], "valid": slices[3:]})
    (folder / "model-card.md").write_text(CARD)
    return folder


def test_what_is_written_by_hand_stays(folder: Path) -> None:
    write_json(folder / "evaluation.json", EVALUATION)
    path = folder / "model-card.md"
    for _ in range(2):  # the second time finds what the first wrote
        write_card.main(["--folder", str(folder)])
        text = path.read_text()
        outside = [
            line
            for line in text.splitlines()
            if line in CARD.splitlines() and line not in ("", "old")
        ]
        assert outside == [
            line for line in CARD.splitlines() if line not in ("old", "Not measured yet.")
        ]
    assert "old" not in text.splitlines()
    assert "Not measured yet" not in text


def test_scores_that_are_not_there_are_not_made_up(folder: Path) -> None:
    write_card.main(["--folder", str(folder)])
    assert "Not measured yet." in (folder / "model-card.md").read_text()


def test_the_files_are_described(folder: Path) -> None:
    lines = write_card.describe_files(folder)
    assert "1,234,567 parameters, for axial slices of 64 x 64 pixels, -1000 to 400 HU" in lines[0]
    assert "7 epochs on 3 slices of 2 patients, begun on 2026-01-01" in lines[1]
    # `printf weights | sha256sum`
    digest = "9a129038d9a00aed0cf6a7ea059ca50a813449061ab87848cf1a13eafdf33b2c"
    assert f"| `model.keras` | 0.0 | `{digest}` |" in lines


def test_folds_that_are_not_measured_are_said() -> None:
    found = {**EVALUATION["cross_validation"], "measured": 2}
    lines = write_card.describe_scores({**EVALUATION, "cross_validation": found})
    assert "Only 2 of the 5 folds are measured, with 43 patients." in lines
    found = {"folds": 5, "measured": 0, "patients": []}
    lines = write_card.describe_scores({**EVALUATION, "cross_validation": found})
    assert "A cross-validation over patients has not been done yet." in lines
    assert not any(line.startswith("|") for line in lines)


def test_a_source_has_its_mean_and_its_interval() -> None:
    lines = write_card.describe_scores(EVALUATION)
    (row,) = (line for line in lines if line.startswith("| A | volumes | 40 |"))
    _, _, _, median, mean, interval, lowest, marked = row.strip("| ").split(" | ")
    values = [0.95 + n / 1000 for n in range(40)]
    assert (mean, lowest, marked) == (f"{statistics.fmean(values):.4f}", "0.9500", "0.50")
    assert median == "0.9695"
    assert not any("are measured" in line for line in lines)
    # For many patients the bootstrap's interval is that of the normal distribution.
    half = 1.96 * statistics.pstdev(values) / math.sqrt(40)
    low, high = (float(bound) for bound in interval.split(" to "))
    assert low == pytest.approx(statistics.fmean(values) - half, abs=3e-4)
    assert high == pytest.approx(statistics.fmean(values) + half, abs=3e-4)


def test_too_few_patients_have_no_interval_and_kinds_are_not_mixed() -> None:
    lines = write_card.describe_scores(EVALUATION)
    assert "| B | volumes | 1 | 0.9000 | 0.9000 | - | 0.9000 | - |" in lines
    everyone = [line.split(" | ")[1:5] for line in lines if line.startswith("| **all** |")]
    mean = statistics.fmean([*(0.95 + n / 1000 for n in range(40)), 0.9])
    assert everyone == [
        ["volumes", "41", "0.9690", f"{mean:.4f}"],
        ["single slices", "2", "0.8000", "0.8000"],
    ]


def test_volumes_without_disease_at_the_edge_have_their_lowest_score() -> None:
    # Patient b has the lowest score of all volumes, and lung was added to its label.
    (line,) = (line for line in write_card.describe_scores(EVALUATION) if "added to" in line)
    assert line.startswith("40 patients with volumes had no lung added to the label by hand")
    assert line.endswith("lowest Dice 0.9500.")


def test_a_patient_without_lung_has_no_dice() -> None:
    lines = write_card.describe_scores(EVALUATION)
    assert "| D | single slices | 1 | - | - | - | - | 0.25 |" in lines


def test_what_was_never_trained_on_has_a_line_of_its_own() -> None:
    lines = write_card.describe_scores(EVALUATION)
    assert "**R01**, which was never trained on: Dice 0.9877." in lines
    (line,) = (line for line in lines if line.startswith("**Others**, 20 slices"))
    assert "mean 0.9000, 95% interval 0.9000 to 0.9000 (as if each were of another patient)" in line
    assert lines[-1] == "- It takes the stomach for lung."
    assert "on 3 cores of A chip" in lines[0]


@pytest.mark.parametrize(
    ("citation", "name"),
    [
        (
            "Armato SG III et al. Data From LIDC-IDRI. The Cancer Imaging Archive, 2015, x",
            "LIDC-IDRI",
        ),
        ("CPTAC. The Clinical Things (CPTAC-PDA). The Cancer Imaging Archive, 2018", "CPTAC-PDA"),
        ("RIDER Pilot (Data from RIDER Pilot). The Cancer Imaging Archive, doi:1", "RIDER Pilot"),
        (
            "Kirk S et al. The Cancer Genome Atlas (TCGA-LUSC). The Cancer Imaging Archive, 2016 | "
            "Kirk S et al. The Cancer Genome Atlas (TCGA-LUAD). The Cancer Imaging Archive, 2016",
            "TCGA-LUSC, TCGA-LUAD",
        ),
    ],
)
def test_a_collection_has_a_short_name(citation: str, name: str) -> None:
    assert make_labels.name_collection(citation) == name


def test_a_collection_has_one_row_and_its_terms() -> None:
    def about(name: str, citation: str, slices: int) -> dict[str, Any]:
        terms = "CC BY 3.0 https://creativecommons.org/licenses/by/3.0/"
        return {"patient": name, "terms": terms, "citation": citation, "slices": slices}

    labels = {
        "x": about("p1", "Kirk S. LUSC | Kirk S. LUAD", 3),
        "y": about("p1", "Kirk S. LUSC | Kirk S. LUAD", 4),
        "z": about("p2", "Armato SG. LIDC", 5),
    }
    assert write_card.describe_data(labels)[2:] == [
        "| Armato SG. LIDC | CC BY 3.0 | 1 | 1 | 5 |",
        "| Kirk S. LUSC; Kirk S. LUAD | CC BY 3.0 | 1 | 2 | 7 |",
    ]
