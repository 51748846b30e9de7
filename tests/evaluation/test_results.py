"""The worst cases are the worst by each score."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from lungseg.config.schema import Config
from lungseg.evaluation.cases import CaseScore, score_classes, score_probabilities
from lungseg.evaluation.drawing import draw_pair
from lungseg.evaluation.metrics import PixelSize, pixel_accuracy
from lungseg.evaluation.results import Scored, finish
from lungseg.reporting.report import DrawnCase

TRUTH = np.zeros((24, 24), np.uint8)
TRUTH[4:12, 4:12] = 1


def case_score(case: str, mask: np.ndarray) -> CaseScore:
    """Score a mask of a network that gives each pixel's class a probability of 0.9."""
    probabilities = np.where(np.eye(2, dtype=bool)[mask], 0.9, 0.1).astype(np.float32)
    classes = ("background", "lung")
    return CaseScore(
        case=case,
        group=case,
        class_name="lung",
        method="model",
        pixel_accuracy=pixel_accuracy(TRUTH, mask),
        probabilities=score_probabilities(TRUTH, probabilities),
        scores=score_classes(TRUTH, mask, classes, PixelSize(), (1, 2))["lung"],
    )


def test_the_worst_case_is_the_worst_by_every_score(tmp_path: Path) -> None:
    # Beside the truth is worse than across its edge, which is worse than right.
    moves = {"worst": 10, "right": 0, "middling": 3}
    drawn: list[str] = []

    def draw(case: str) -> DrawnCase:
        drawn.append(case)
        return draw_pair(None, TRUTH, TRUTH)

    rows = [case_score(case, np.roll(TRUTH, by, (0, 1))) for case, by in moves.items()]
    scored = Scored(
        head={"predictions": "pred", "truth": "truth", "unknown_patients": 0},
        rows=[*rows, *(replace(row, method="all_background") for row in rows)],
        classes=("background", "lung"),
        draw=draw,
    )
    overall = finish(Config(), scored, tmp_path, tmp_path, None).summary["overall"]
    scores = {**overall.pop("lung"), **overall}
    # A difference of volumes has no better direction, and all masks are equally large.
    assert scores.pop("volume_difference")["mean"] == 0
    assert len(scores) == 15
    for name, summary in scores.items():
        ranked = [case for case, _ in summary["worst"]]
        assert ranked == ["worst", "middling", "right"], name
    assert drawn == ["worst", "middling", "right"]
