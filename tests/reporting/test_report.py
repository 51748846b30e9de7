"""The report is one whole file: complete, safe to open, and laid out in a real browser."""

import io
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from lungseg.config.schema import Config
from lungseg.verbs.evaluate import evaluate, evaluate_folders
from tests.support.accessibility import overflowing
from tests.support.browser import CHROMIUM, Page, require_browser


@pytest.fixture(scope="module")
def report(
    trained_run: Path, dataset: Path, tiny_config: Config, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    output = tmp_path_factory.mktemp("report") / "out"
    evaluate(tiny_config, trained_run, dataset, output)
    return output / "report.html"


def test_every_section_is_there(report: Path) -> None:
    html = report.read_text()
    sections = re.findall(r"<h2>(.*?)</h2>", html)
    assert sections == [
        "Scores", "Distributions", "Worst, median and best cases", "Calibration", "Uncertainty",
        "Training", "Data", "Patients", "Versions and config",
    ]  # fmt: skip
    for words in ("lung Dice, mean", "grey threshold", "all background", "boundary iou", "nsd 2",
                  "base_filters: 4", "near pixel accuracy"):  # fmt: skip
        assert words in html, words
    assert html.count("<figure>") == 4


def test_it_needs_no_network(report: Path) -> None:
    html = re.sub(r'<script type="application/json".*', "", report.read_text())
    sources = re.findall(r'(?:src|href)="([^"]{0,40})', html)
    assert sources
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert "://" not in re.sub(r"base64,[^\"]+", "", html)
    assert "<script src" not in html
    assert "default-src 'none'; img-src data:" in html


def test_a_hostile_name_is_shown_not_run(tmp_path: Path) -> None:
    pred = tmp_path / "pred"
    pred.mkdir()
    mask = np.zeros((32, 32), np.uint8)
    mask[8:20, 8:20] = 255
    cv2.imwrite(str(tmp_path / "mask.png"), mask)
    shutil.copy(tmp_path / "mask.png", pred / "<img onerror=alert(1)>.png")
    evaluate_folders(Config(), pred, pred, tmp_path / "out")
    html = (tmp_path / "out" / "report.html").read_text()
    assert "<img onerror" not in html
    assert "&lt;img onerror" in html


LAYOUT = """
(() => {
  const broken = [...document.images].filter((i) => !i.complete || i.naturalWidth === 0);
  const boxes = [...document.querySelectorAll(
    "h1, h2, table, figure img, .viewer, pre, .headline div, figcaption"
  )].map((e) => e.getBoundingClientRect());
  let overlaps = 0;
  boxes.forEach((a, i) => boxes.slice(i + 1).forEach((b) => {
    if (a.left < b.right - 1 && b.left < a.right - 1 &&
        a.top < b.bottom - 1 && b.top < a.bottom - 1) overlaps++ }));
  return [broken.length, overlaps, document.body.getBoundingClientRect().height];
})()
"""


@pytest.fixture
def page(tab: Page, report: Path) -> Iterator[Page]:
    """Open the report; at the end nothing was reported to the console."""
    tab.resize(1280)
    tab.open(report)
    yield tab
    assert tab.errors == []


@pytest.mark.parametrize("width", [1280, 1000])
def test_a_browser_finds_nothing_cut_off_overlapping_or_broken(page: Page, width: int) -> None:
    page.resize(width)
    page.draw()
    assert overflowing(page) == []
    broken, overlaps, height = page.run(LAYOUT)
    assert (broken, overlaps) == (0, 0)
    # Not a blank page: ink all the way down to its end.
    shot = np.asarray(Image.open(io.BytesIO(page.picture(whole=True))).convert("L"))
    assert shot.shape[1] == width
    ink = np.asarray((shot < 250).any(axis=1))
    assert ink[:200].any()
    assert np.flatnonzero(ink).max() > max(2500, 0.95 * height)


def test_it_prints_on_paper(report: Path, tmp_path: Path) -> None:
    require_browser()
    pdf = tmp_path / "report.pdf"
    command = [
        str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
        "--disable-background-networking", f"--user-data-dir={tmp_path / 'profile'}",
        f"--print-to-pdf={pdf}", "--no-pdf-header-footer", report.as_uri(),
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    content = pdf.read_bytes()
    assert content.startswith(b"%PDF")
    pages = len(re.findall(rb"/Type\s*/Page[^s]", content))
    assert 2 <= pages <= 12
