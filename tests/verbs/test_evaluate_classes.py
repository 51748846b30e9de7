"""`evaluate` of a network with several classes: each class, and the lung of them together."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import Result

from lungseg.evaluation.baselines import grey_threshold
from lungseg.imaging.pixels import apply_window, read_pixels, write_png
from lungseg.phantom.drawing import make_slice
from lungseg.phantom.patient import make_patient
from lungseg.system.tables import read_csv
from tests.support.networks import write_sides
from tests.support.phantoms import SIDE

JOINED = "left lung + right lung"
Cli = Callable[..., Result]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Write slices whose masks hold 1 for the left lung and 2 for the right one."""
    for kind in ("images", "masks"):
        (tmp_path / "data" / kind).mkdir(parents=True)
    for number in range(3):
        hu, lung = make_slice(make_patient(number), 0.4, SIDE)
        lung[:, : SIDE // 2] *= 2
        write_png(tmp_path / "data" / "images" / f"p{number}.png", apply_window(hu, (-1000, 400)))
        write_png(tmp_path / "data" / "masks" / f"p{number}.png", lung)
    return tmp_path / "data"


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


def test_a_run_is_scored_by_class_and_its_baseline_on_the_lung(
    data: Path, tmp_path: Path, lungseg: Cli
) -> None:
    run, out = write_sides(tmp_path / "run", (SIDE, SIDE)), tmp_path / "out"
    result = lungseg("evaluate", "--run", run, "--data", data, "-o", out)
    assert result.exit_code == 0, result.stderr
    summary = json.loads((out / "evaluation.json").read_text())
    assert (summary["classes"], summary["joined"]) == (["left lung", "right lung"], JOINED)
    lungs = [read_pixels(p) > 0 for p in sorted((data / "masks").iterdir())]
    images = [read_pixels(p) for p in sorted((data / "images").iterdir())]
    pairs = list(zip(lungs, images, strict=True))
    said = [dice(lung, grey_threshold(image) > 0) for lung, image in pairs]
    baselines = summary["baselines"]
    assert list(baselines["grey_threshold"]) == [JOINED]
    assert baselines["grey_threshold"][JOINED]["dice"]["mean"] == pytest.approx(np.mean(said))
    # The network takes dark for lung, outside of the body as well.
    said = [dice(lung, image < 127.5) for lung, image in pairs]
    assert summary["overall"][JOINED]["dice"]["mean"] == pytest.approx(np.mean(said))
    assert "pixel_accuracy" not in summary["overall"][JOINED]
    assert {"left lung", "right lung", JOINED, "pixel_accuracy"} == set(baselines["all_background"])
    assert {row["class"] for row in read_csv(out / "per_case.csv")} == {"left lung", "right lung"}
    # The console and the report have a column only for what a method knows.
    tables = [line.split() for line in result.stderr.splitlines() if "all_background" in line]
    assert [("grey_threshold" in words, "+" in words) for words in tables] == [
        (False, False), (False, False), (True, True),
    ]  # fmt: skip
    assert result.stderr.count("│ pixel accuracy") == 2
    html = (out / "report.html").read_text()
    assert html.count("<th>grey threshold</th>") == 1
    assert f"Grey threshold, Dice of {JOINED}" in html
    assert "their union against the true union" in html


def test_masks_of_another_tool_are_scored_so_too(data: Path, tmp_path: Path, lungseg: Cli) -> None:
    config, out = tmp_path / "sides.yaml", tmp_path / "out"
    config.write_text(
        "data: {rgb_map: {background: [0, 0, 0], left lung: [1, 1, 1], right lung: [2, 2, 2]}}\n"
        "augment: {online: {hflip: 0}}\n"
    )
    given = ("--pred", data / "masks", "--truth", data / "masks", "-o", out, "--json", "-q")
    result = lungseg("evaluate", "-c", config, *given, "--images", data / "images")
    summary = json.loads(result.stdout)
    assert summary["overall"][JOINED]["dice"]["mean"] == 1
    assert list(summary["baselines"]["grey_threshold"]) == [JOINED]
    summary = json.loads(lungseg("evaluate", "-c", config, *given, "--overwrite").stdout)
    assert list(summary["baselines"]) == ["all_background"]
