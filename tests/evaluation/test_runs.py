"""A run is scored by what its network says of each slice, and what it has seen is named."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import entropy

from lungseg.config.loading import with_overrides
from lungseg.config.schema import Config
from lungseg.dataset.slices import Slice, pixel_hash
from lungseg.dataset.writing import write_dataset
from lungseg.evaluation.runs import pair_runs, score_parts
from lungseg.imaging.pixels import write_png
from lungseg.training.run_folder import write_data_list
from lungseg.verbs.evaluate import evaluate
from tests.support.networks import write_classes, write_network, write_sides

SIDE = 8
LUNG, BODY = 51, 204  # grey values that the network takes for lung with p = 0.8 and p = 0.2


def slice_of(folder: Path, case: str, group: str, mark: int = BODY) -> Slice:
    """Write a slice whose first five rows are dark, with lung in six of eight columns of these.

    The grey value of its last pixel is `mark`.
    """
    image, mask = folder / f"{case}.png", folder / f"{case}_mask.png"
    pixels = np.full((SIDE, SIDE), BODY, np.uint8)
    pixels[:5] = LUNG
    pixels[-1, -1] = mark
    labels = np.zeros((SIDE, SIDE), np.uint8)
    labels[:5, :6] = 255
    write_png(image, pixels)
    write_png(mask, labels)
    return Slice(case, case, group, image, mask, 30 / 64, pixel_hash(pixels), "")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_network(tmp_path / "run", (SIDE, SIDE))


def test_a_case_was_seen_if_its_pixels_or_its_patient_were(run: Path, tmp_path: Path) -> None:
    known = slice_of(tmp_path, "known", "anna", 201)
    judged = slice_of(tmp_path, "judged", "bert", 202)
    write_data_list(run / "data.csv", {"train": [known], "valid": [judged]})
    test = [
        slice_of(tmp_path, "pixels", "carl", 201),
        slice_of(tmp_path, "patient", "anna", 203),
        slice_of(tmp_path, "validated", "bert", 202),
        slice_of(tmp_path, "new", "dora"),
    ]
    write_dataset(tmp_path / "data", {"train": [known], "valid": [judged], "test": test})
    [part] = pair_runs(Config(), run, tmp_path / "data")
    assert part.seen == {"pixels", "patient"}
    rows = score_parts([part], Config()).rows
    assert {row.case for row in rows if row.seen_in_training} == part.seen
    # Scores of the training itself are no mistake.
    on_train = with_overrides(Config(), {"evaluate.part": "train"})
    assert pair_runs(on_train, run, tmp_path / "data")[0].seen == set()
    (run / "data.csv").unlink()
    assert pair_runs(Config(), run, tmp_path / "data")[0].seen == set()


def test_networks_that_predict_together_have_seen_what_any_of_them_has(tmp_path: Path) -> None:
    train = [slice_of(tmp_path, name, name) for name in ("anna", "bert")]
    for fold, seen in enumerate(train, 1):
        run = write_network(tmp_path / "run" / f"fold_{fold}", (SIDE, SIDE))
        write_data_list(run / "data.csv", {"train": [seen]})
    test = [replace(s, case=f"{s.case}2", sha256="other") for s in train]
    write_dataset(tmp_path / "data", {"train": train, "test": test})
    [part] = pair_runs(Config(), tmp_path / "run", tmp_path / "data")
    assert part.seen == {"anna2", "bert2"}


def test_calibration_is_that_of_the_lung(run: Path, tmp_path: Path) -> None:
    slices = [slice_of(tmp_path, name, name) for name in ("a", "b", "c")]
    write_dataset(tmp_path / "data", {"train": slices[:1], "test": slices[1:]})
    parts = pair_runs(Config(), run, tmp_path / "data")
    scores = score_parts(parts, Config())
    found = scores.calibration.result()
    # Per slice: 40 dark pixels of which 30 are lung, and 24 bright ones of which none is.
    assert [(b["foreground"], b["pixels"]) for b in found["bins"]] == [(0.0, 48), (0.75, 80)]
    assert [b["probability"] for b in found["bins"]] == pytest.approx([0.2, 0.8])
    assert found["ece"] == pytest.approx(40 / 64 * 0.05 + 24 / 64 * 0.2)
    dice = {point["threshold"]: point["dice"] for point in found["dice_by_threshold"]}
    assert (dice[0.1], dice[0.5], dice[0.9]) == pytest.approx((60 / 94, 60 / 70, 0.0))
    for row in scores.rows:
        if row.method != "model":
            continue
        assert row.scores.dice == pytest.approx(60 / 70)
        assert row.probabilities is not None
        # p of the true class: 0.8 for 30 + 24 pixels, 0.2 for 10.
        expected = -(54 * np.log(0.8) + 10 * np.log(0.2)) / 64
        assert row.probabilities.categorical_crossentropy == pytest.approx(expected, rel=1e-5)


def test_uncertainty_is_that_of_the_slice_and_its_mirror_image(run: Path, tmp_path: Path) -> None:
    s = slice_of(tmp_path, "a", "a")
    pixels = np.full((SIDE, SIDE), BODY, np.uint8)
    pixels[:, :3] = LUNG
    write_png(s.image, pixels)
    write_dataset(tmp_path / "data", {"train": [s], "test": [s]})
    for flips in (True, False):
        config = with_overrides(Config(), {"evaluate.flips": flips})
        rows = score_parts(pair_runs(config, run, tmp_path / "data"), config).rows
        [found] = [row.entropy for row in rows if row.method == "model"]
        # Mirrored back, the network says the same: 0.8 or 0.2, per each of 24 pixels of lung.
        expected = 64 * entropy([0.8, 0.2], base=2) / 24
        assert found == (pytest.approx(expected, rel=1e-5) if flips else None)


def test_the_uncertainty_about_sides_is_that_of_a_mirrored_patient(tmp_path: Path) -> None:
    run = write_sides(tmp_path / "run", (SIDE, SIDE))
    pixels = np.full((SIDE, SIDE), BODY, np.uint8)
    pixels[:, :3] = LUNG  # all of it in the left half of the picture
    s = slice_of(tmp_path, "a", "a")
    write_png(s.image, pixels)
    write_png(s.mask, (pixels == LUNG) * np.uint8(2))
    write_dataset(tmp_path / "data", {"train": [s], "test": [s]})
    rows = score_parts(pair_runs(Config(), run, tmp_path / "data"), Config()).rows
    found = {row.class_name: row for row in rows if row.method == "model"}
    assert found["right lung"].scores.dice == 1
    # Mirrored back, it says the same: lung or body with 0.8 or 0.2, and nothing of a third class.
    expected = 64 * entropy([0.8, 0.2], base=3) / 24
    assert found["left lung"].entropy == found["right lung"].entropy == pytest.approx(expected)
    assert found["left lung + right lung"].entropy is None


def test_a_network_with_one_side_only_has_no_uncertainty(tmp_path: Path) -> None:
    greys = {"body": BODY, "left lung": LUNG, "airway": 0}
    run = write_classes(tmp_path / "run", (SIDE, SIDE), greys)
    s = slice_of(tmp_path, "a", "a")
    write_png(s.mask, np.zeros((SIDE, SIDE), np.uint8))
    write_dataset(tmp_path / "data", {"train": [s], "test": [s]})
    result = evaluate(Config(), run, tmp_path / "data", tmp_path / "out")
    assert "uncertainty" not in result.summary
    assert "<h2>Uncertainty" not in (tmp_path / "out" / "report.html").read_text()
