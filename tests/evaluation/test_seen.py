"""What a network was trained on is recognised by its pixels, not by its name alone."""

import logging
import shutil
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest

from lungseg.config.datasets import SplitConfig
from lungseg.config.loading import check_config
from lungseg.config.schema import Config
from lungseg.dataset.likeness import Looks, describe
from lungseg.dataset.seen import Seen, seen_in_training
from lungseg.dataset.slices import SeenRow, Slice
from lungseg.errors import DataError
from lungseg.evaluation.results import Evaluation
from lungseg.imaging.pixels import read_pixels
from lungseg.system.tables import write_rows
from lungseg.training.run_folder import write_data_list
from lungseg.verbs.evaluate import evaluate
from lungseg.verbs.prepare import prepare
from lungseg.verbs.split import split
from tests.support.bodies import bodies, body, write_layout, write_slices
from tests.support.places import REPOSITORY

NETWORK = REPOSITORY / "tests" / "data" / "run_0_1"


def config(names: str | None = r"^([a-z]+\d+)") -> Config:
    data = {"data": {"image_size": [64, 64]}, "split": {"group_regex": names}}
    return check_config({**data, "evaluate": {"bootstrap": 0}}, "test")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Return a run that was trained on the patients p0 to p7, with two slices each."""
    slices = {f"p{k}_s{n}": body(100 * n + k) for k in range(9) for n in range(2)}
    write_slices(tmp_path / "raw", slices)
    prepare(config(), tmp_path / "raw" / "images", tmp_path / "raw" / "masks", tmp_path / "in")
    [result] = split(config(), tmp_path / "in", tmp_path / "data")
    every = [s for part in result.parts.values() for s in part]
    folder = tmp_path / "run"
    folder.mkdir()
    for name in ("model.onnx", "model.json"):
        shutil.copy(NETWORK / name, folder)
    parts = {"train": [s for s in every if s.group != "p8"]}
    write_data_list(folder / "data.csv", {**parts, "test": [s for s in every if s.group == "p8"]})
    return folder


def score(
    run: Path, tmp_path: Path, test: Mapping[str, np.ndarray], names: str | None = r"^([a-z]+\d+)"
) -> Evaluation:
    write_layout(tmp_path / "other", {"train": bodies((90, 91), "t"), "test": test})
    return evaluate(config(names), run, tmp_path / "other", tmp_path / "out")


@pytest.mark.parametrize("names", [r"^([a-z]+\d+)", None])
def test_training_slices_are_found_under_other_names_and_moved(
    run: Path, tmp_path: Path, names: str | None
) -> None:
    test = {f"q{k}_a": np.ascontiguousarray(np.rot90(body(k))) for k in range(3)}
    test |= {"q3_a": np.ascontiguousarray(np.fliplr(body(103))), "q4_a": body(60), "q5_a": body(61)}
    # The patient of a slice that was seen is known, so none of its slices is new.
    test["q0_b"] = body(62)
    result = score(run, tmp_path, test, names)
    found = {"q0_a", "q1_a", "q2_a", "q3_a"} | ({"q0_b"} if names else set())
    assert set(result.summary["seen_in_training"]) == found


def test_another_patient_of_the_same_name_is_not_accused(
    run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="lungseg"):
        result = score(run, tmp_path, {f"p{k}_s0": body(70 + k) for k in range(6)})
    assert result.summary["seen_in_training"] == []
    assert "6 cases of test have patients of the same names as in the training" in caplog.text


def test_a_name_counts_if_both_data_sets_have_the_same_names(run: Path, tmp_path: Path) -> None:
    # p8 was not trained on, and this slice of it shows that the names are the same.
    known = read_pixels(tmp_path / "in" / "images" / "p8_s0.png")
    test = {"p8_s0": known, "p0_s7": body(70), "p9_s0": body(71)}
    assert score(run, tmp_path, test).summary["seen_in_training"] == ["p0_s7"]


def test_unknown_patients_are_said_and_in_the_report_as_well(
    run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for names, said in ((None, True), (r"^([a-z]+\d+)", False)):
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        caplog.clear()
        with caplog.at_level(logging.WARNING, logger="lungseg"):
            result = score(run, tmp_path, bodies((70, 71, 72), "q"), names)
        html = (tmp_path / "out" / "report.html").read_text()
        for text in (caplog.text, html.replace("<b>", "")):
            assert ("he patients of 3 of 3" in text) == said
            assert ("Name the patients: split.group_regex or split.group_csv" in text) == said
        assert result.summary["unknown_patients"] == (3 if said else 0)
        people = "groups" if said else "patients"
        assert f"the test part has 3 {people}" in caplog.text
        assert f"The cases are of 3 {people}. That is too few" in html


def test_a_damaged_list_of_training_slices_is_an_error(run: Path, tmp_path: Path) -> None:
    head, first, *rest = (run / "data.csv").read_text().splitlines()
    place = head.split(",").index("likeness")
    cells = first.split(",")
    cells[place] = "damaged"
    (run / "data.csv").write_text("\n".join([head, ",".join(cells), *rest]) + "\n")
    with pytest.raises(DataError, match=r"data\.csv: a likeness is damaged"):
        score(run, tmp_path, {"q1_a": body(1)})


@pytest.mark.parametrize(
    ("group", "named", "seen"),
    [("q", True, False), ("p", True, True), ("q", False, True)],
)
def test_two_names_speak_against_one_patient_but_one_name_does_not(
    group: str, named: bool, seen: bool, tmp_path: Path
) -> None:
    one = body(1)
    other = cv2.addWeighted(one, 0.7, body(2), 0.3, 0)
    looks = Looks.read([describe(one), describe(other)])
    similarity = float(looks.similarities(np.array([0]), looks, np.array([1]))[0])
    limits = SplitConfig(patient_similarity=similarity - 0.01, leak_similarity=similarity + 0.01)

    def slice_of(case: str, group: str, image: np.ndarray, named: bool) -> Slice:
        file = tmp_path / f"{case}.png"
        return Slice(case, case, group, file, file, 0.1, case, describe(image), named=named)

    write_data_list(tmp_path / "data.csv", {"train": [slice_of("a", "p", one, True)]})
    parts = {"test": [slice_of("b", group, other, named)]}
    found = seen_in_training(tmp_path / "data.csv", parts, "test", limits)
    assert ("b" in found.cases) is seen


def seen_row(part: str, case: str, group: str, grouped_by: str = "name") -> SeenRow:
    """Return a row of a slice whose hash is the name of its case."""
    return SeenRow(part, case, case, group, 0.2, case, "", grouped_by)


def told(case: str, group: str, sha256: str = "", named: bool = True) -> Slice:
    path = Path(case)
    return Slice(case, case, group, path, path, 0.2, sha256 or f"of {case}", "", named)


@pytest.mark.parametrize(
    ("rows", "test", "cases", "namesakes"),
    [
        # What the network had been trained on before the training is known, too.
        ([seen_row("before", "a", "anna")], [told("x", "q", "a")], "x", ""),
        ([seen_row("train", "a", "anna")], [told("x", "q", "a"), told("y", "q")], "xy", ""),
        # A slice that stopped the training or was in its test part taught nothing.
        ([seen_row("valid", "a", "anna")], [told("x", "q", "a"), told("y", "anna")], "", ""),
        # A name alone is that of another patient, unless it is derived from a PatientID.
        ([seen_row("train", "a", "anna")], [told("x", "anna")], "", "x"),
        ([seen_row("train", "a", "anna")], [told("x", "anna", named=False)], "", ""),
        ([seen_row("train", "a", "anna", "likeness")], [told("x", "anna")], "", ""),
        ([seen_row("train", "a", "patient_0123456789ab")],
         [told("x", "patient_0123456789ab"), told("y", "bert")], "x", ""),
        ([seen_row("train", "a", "patient_0123456789abc")],
         [told("x", "patient_0123456789abc")], "", "x"),
        ([seen_row("train", "a", "patient_0123")], [told("x", "patient_0123")], "", "x"),
        # A slice under the same name in both shows that the names are the same throughout.
        ([seen_row("train", "a", "anna"), seen_row("test", "b", "bert")],
         [told("x", "anna"), told("y", "bert", "b"), told("z", "carl")], "x", ""),
        ([seen_row("train", "a", "anna"), seen_row("test", "b", "bert")],
         [told("x", "anna"), told("y", "other", "b")], "", "x"),
        # Version 0.1 named a group of slices that look alike after one of them.
        ([seen_row("train", "a", "anna", "")], [told("x", "anna")], "", "x"),
        ([seen_row("train", "a", "b", ""), seen_row("test", "b", "b", "")],
         [told("x", "b")], "", ""),
    ],
)  # fmt: skip
def test_pixels_prove_what_names_only_may(
    rows: list[SeenRow], test: list[Slice], cases: str, namesakes: str, tmp_path: Path
) -> None:
    write_rows(tmp_path / "data.csv", SeenRow, rows)
    found = seen_in_training(tmp_path / "data.csv", {"test": test}, "test", SplitConfig())
    assert (found.cases, found.namesakes) == (frozenset(cases), frozenset(namesakes))
    assert seen_in_training(tmp_path / "none.csv", {"test": test}, "test", SplitConfig()) == Seen()


def test_a_shared_slice_of_another_part_shows_that_the_names_are_the_same(tmp_path: Path) -> None:
    rows = [seen_row("train", "a", "anna"), seen_row("valid", "b", "bert")]
    write_rows(tmp_path / "data.csv", SeenRow, rows)
    parts = {"test": [told("x", "anna")], "valid": [told("y", "bert", "b")]}
    found = seen_in_training(tmp_path / "data.csv", parts, "test", SplitConfig())
    assert found == Seen(cases=frozenset("x"))
