"""Every score of an evaluation has a name and a meaning, with the right unit."""

import numpy as np
import pytest

from lungseg.evaluation.cases import CASE_METRICS, score
from lungseg.reporting.glossary import term


def test_every_score_is_explained() -> None:
    mask = np.ones((8, 8), np.uint8)
    for metric in {*score(mask, mask, tolerances=(1, 2.5)), *CASE_METRICS}:
        assert term(metric, "mm", "mL").meaning, metric


@pytest.mark.parametrize(
    ("metric", "unit", "name"),
    [
        ("hd95", "mm", "HD95, mm"),
        ("nsd_1", "pixels", "NSD, 1 pixel"),
        ("nsd_2", "pixels", "NSD, 2 pixels"),
        ("nsd_2.5", "mm", "NSD, 2.5 mm"),
        ("volume_difference", "mm", "Volume difference, mL"),
        ("another_score", "mm", "another score"),
    ],
)
def test_a_score_is_named_with_its_unit(metric: str, unit: str, name: str) -> None:
    assert term(metric, unit, "mL").name == name
    assert term("volume_difference", "mm", "mm2").name == "Area difference, mm2"
