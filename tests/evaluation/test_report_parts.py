"""The parts of `evaluation.json`, its tables and its report, from rows made by hand."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lungseg.config.loading import with_overrides
from lungseg.config.schema import Config
from lungseg.evaluation.cases import CaseScore, ProbabilityScores, score_classes
from lungseg.evaluation.drawing import draw_pair
from lungseg.evaluation.metrics import PixelSize
from lungseg.evaluation.results import (
    Evaluation,
    Scored,
    _examples,
    _plotted,
    _verdict,
    finish,
)
from lungseg.reporting.report import DrawnCase
from lungseg.system.tables import read_csv

CONFIG = with_overrides(Config(), {"evaluate.bootstrap": 0})
EMPTY = np.zeros((2, 2), np.uint8)
HEAD = {"predictions": "pred", "truth": "truth", "unknown_patients": 0}


def row(
    case: str, dice: float, name: str = "lung", method: str = "model", **more: object
) -> CaseScore:
    """Return a row whose Dice is given; the other scores are those of two empty masks."""
    scores = score_classes(EMPTY, EMPTY, ("background", name), PixelSize(), (1,))[name]
    scores = replace(scores, dice=dice, flag="")
    given: dict[str, object] = {"pixel_accuracy": 0.5, "scores": scores, "group": case, **more}
    return CaseScore(case=case, class_name=name, method=method, **given)  # type: ignore[arg-type]


def drawn(case: str) -> DrawnCase:
    return draw_pair(None, EMPTY, EMPTY)


def scored(rows: Sequence[CaseScore], *classes: str, **more: object) -> Scored:
    given: dict[str, object] = {"head": HEAD, "draw": drawn, **more}
    names = ("background", *(classes or ("lung",)))
    return Scored(rows=list(rows), classes=names, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("cases", "shown"),
    [
        (1, {"worst": [0]}),
        (5, {"worst": [0, 1, 2, 3, 4]}),
        (6, {"worst": [0, 1, 2, 3, 4], "median": [5]}),
        (9, {"worst": [0, 1, 2, 3, 4], "median": [5, 6, 7], "best": [8]}),
        (11, {"worst": [0, 1, 2, 3, 4], "median": [5, 6, 7], "best": [10, 9, 8]}),
        # The middle one of 21 is number 10.
        (21, {"worst": [0, 1, 2, 3, 4], "median": [9, 10, 11], "best": [20, 19, 18]}),
    ],
)
def test_the_report_shows_the_worst_the_middle_and_the_best_and_none_twice(
    cases: int, shown: dict[str, list[int]]
) -> None:
    order = np.random.default_rng(0).permutation(cases)
    rows = [row(str(k), k / 100) for k in order]
    others = [row(str(k), 0.0, method="all_background") for k in order]
    found: dict[str, list[int]] = {}
    for example in _examples(scored([*rows, *others])):
        assert example.dice == int(example.case) / 100
        found.setdefault(example.kind, []).append(int(example.case))
    assert found == shown


def test_the_rows_of_the_model_are_those_of_the_classes_alone() -> None:
    rows = [
        row("a", 0.5, "left lung"),
        row("a", 0.6, "right lung", group="anna"),
        row("a", 0.7, "left lung + right lung"),
        row("a", 0.1, "left lung", "all_background"),
    ]
    of_two = scored(rows, "left lung", "right lung")
    assert of_two.foreground == ["left lung", "right lung"]
    assert of_two.joined == "left lung + right lung"
    assert of_two.of_model == rows[:2]
    assert (of_two.group_is, of_two.groups) == (None, {"a": "a"})
    assert scored(rows, "lung").joined is None
    assert scored([], head={"group_is": "A file."}).group_is == "A file."
    # The report plots the first class, of each method.
    assert [(p.method, p.dice) for p in _plotted(of_two)] == [
        ("model", 0.5),
        ("all_background", 0.1),
    ]


def test_a_row_that_is_plotted_keeps_its_numbers() -> None:
    scores = replace(row("a", 0.25).scores, hd95=3.0, boundary_iou=0.75, truth_pixels=9)
    [point] = _plotted(scored([row("a", 0.25, scores=scores, entropy=0.5)]))
    assert (point.method, point.dice, point.hd95) == ("model", 0.25, 3.0)
    assert (point.boundary_iou, point.truth_pixels, point.entropy) == (0.75, 9, 0.5)


@pytest.mark.parametrize(
    ("classes", "unit", "why"),
    [
        (("heart",), "pixels", "no class is lung by its name"),
        (("heart",), "mL", "no class is lung by its name"),
        (("lung",), "mL", "it is computed for plain images, not for volumes"),
        (("lung",), "mm2", "it needs the images (--images)"),
        (("lung",), "pixels", "it needs the images (--images)"),
    ],
)
def test_a_verdict_without_a_grey_threshold_says_why(
    classes: tuple[str, ...], unit: str, why: str
) -> None:
    rows = [row("a", 0.5, *classes), row("a", 0.25, classes[0], "all_background")]
    rows = [replace(each, scores=replace(each.scores, volume_unit=unit)) for each in rows]
    sentence = _verdict(CONFIG, scored(rows, *classes))["sentence"]
    assert sentence.startswith("The predictions are above an empty mask in these cases")
    assert sentence.endswith(f" There is no grey threshold to compare with: {why}.")


def test_the_verdict_is_about_the_class_that_the_threshold_finds_or_the_lungs_joined() -> None:
    both = "left lung + right lung"
    rows = [row("a", 0.5, "left lung"), row("a", 0.75, both), row("b", 0.25, both)]
    rows += [row(case, 0.0, both, "all_background") for case in "ab"]
    rows += [row("a", 0.125, "left lung", "all_background")]
    sides = ("left lung", "right lung")
    found = _verdict(CONFIG, scored(rows, *sides))
    assert (found["class"], found["dice"], found["cases"]) == (both, 0.5, 2)
    assert "no grey threshold" in found["sentence"]
    threshold = [row("a", 0.25, "lung", "grey_threshold"), row("a", 0.5, "lung")]
    found = _verdict(CONFIG, scored([*rows, *threshold], "heart", "lung", head={"run": "x"}))
    assert (found["class"], found["baseline"]) == ("lung", "grey_threshold")
    assert found["sentence"].startswith("The network is above the grey threshold")
    assert "no grey threshold" not in found["sentence"]
    found = _verdict(CONFIG, scored(rows, "left lung"))
    assert (found["class"], found["dice"]) == ("left lung", 0.5)


@pytest.fixture(autouse=True)
def _no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write a word in place of the report, whose plots take seconds."""
    monkeypatch.setattr("lungseg.evaluation.results.build_report", lambda *_: "report")


def finished(rows: Sequence[CaseScore], folder: Path, *classes: str, **more: object) -> Evaluation:
    return finish(CONFIG, scored(rows, *classes, **more), folder, folder / "moved", None)


def test_the_files_hold_what_was_scored(tmp_path: Path) -> None:
    probabilities = ProbabilityScores(0.1, 0.2, 0.3, 0.4)
    rows = [
        row("a", 0.5, "x", group="anna", probabilities=probabilities),
        row("a", 0.25, "y", group="anna", probabilities=probabilities),
        row("b", 0.75, "x", group="anna", probabilities=probabilities),
        row("b", 0.25, "y", group="anna", probabilities=probabilities),
        row("a", 0.0, "x", "all_background", group="anna"),
        row("b", 0.0, "x", "all_background", group="anna"),
    ]
    rows[1] = replace(rows[1], scores=replace(rows[1].scores, flag="truth_empty"))
    found = finished(rows, tmp_path, "x", "y", extras={"more": 1})
    assert found.output == tmp_path / "moved"
    assert found.failed == []
    summary = found.summary
    assert summary == {**summary, "cases": 2, "patients": 1, "classes": ["x", "y"], "more": 1}
    assert (summary["format"], summary["seed"], summary["joined"]) == (1, CONFIG.seed, None)
    assert (summary["distance_unit"], summary["volume_unit"]) == ("pixels", "pixels")
    assert summary["flags"] == {"truth_empty": 1}
    assert summary["no_interval"] == "evaluate.bootstrap is 0"
    # Of the first class, the mean of the two cases.
    assert summary["per_patient"] == {"anna": {"cases": 2, "dice": 0.625}}
    assert list(summary["baselines"]) == ["all_background"]
    assert list(summary["baselines"]["all_background"]) == ["x", "pixel_accuracy"]
    assert summary["overall"]["y"]["dice"]["mean"] == 0.25
    assert json.loads((tmp_path / "evaluation.json").read_text())["overall"] == summary["overall"]
    lines = (tmp_path / "evaluation.csv").read_text().splitlines()
    # The order of the original's file: its loss, its metric, the accuracy.
    assert lines[:5] == [
        "categorical_crossentropy,0.100000",
        "dice_coef_multiclass,0.200000",
        "pixel_accuracy,0.500000",
        "original_sensitivity,0.300000",
        "original_specificity,0.400000",
    ]
    assert lines[5] == "x_dice,0.625000"
    assert "y_dice,0.250000" in lines
    table = read_csv(tmp_path / "per_case.csv")
    assert [(r["case"], r["class"], float(r["dice"])) for r in table] == [
        ("a", "x", 0.5),
        ("a", "y", 0.25),
        ("b", "x", 0.75),
        ("b", "y", 0.25),
    ]
    assert "method" not in table[0]
    assert (tmp_path / "report.html").read_text() == "report"


def test_one_case_is_enough_and_what_is_not_known_of_it_is_left_out(tmp_path: Path) -> None:
    one = row("a", 0.5, pixel_accuracy=None)
    baseline = row("a", 0.0, method="all_background")
    found = finished([one, baseline], tmp_path, head={**HEAD, "problems": [{"case": "b"}]})
    assert found.failed == ["b"]
    assert list(found.summary["overall"]) == ["lung"]
    assert list(found.summary["baselines"]["all_background"]) == ["lung", "pixel_accuracy"]
    lines = (tmp_path / "evaluation.csv").read_text().splitlines()
    assert lines[0] == "lung_dice,0.500000"
