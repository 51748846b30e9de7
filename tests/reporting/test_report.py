"""The report is one whole file: complete, safe to open, and laid out in a real browser."""

import io
import json
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
from lungseg.imaging.pixels import read_pixels
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
    for words in ("lung Dice, mean", "grey threshold", "all background", "Boundary IoU",
                  "NSD, 2 pixels", "base_filters: 4", "a missed lung hardly changes",
                  "tensorflow"):  # fmt: skip
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


@pytest.fixture(scope="module")
def below(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Score masks that lie 15 pixels beside the lungs; each file is a patient of its own."""
    folder = tmp_path_factory.mktemp("below")
    (folder / "pred").mkdir()
    for path in (raw / "masks").iterdir():
        cv2.imwrite(str(folder / "pred" / path.name), np.roll(read_pixels(path), 15, axis=1))
    evaluate_folders(
        Config(), folder / "pred", raw / "masks", folder / "out", images=raw / "images"
    )
    return folder / "out" / "report.html"


def test_a_model_below_the_grey_threshold_is_told_so_in_red(tab: Page, below: Path) -> None:
    tab.open(below)
    said, colour = tab.run(
        "((e) => [e.textContent, getComputedStyle(e).color])(document.querySelector('.verdict'))"
    )
    summary = json.loads(below.with_name("evaluation.json").read_text())
    assert said == summary["verdict"]["sentence"]
    assert said.startswith("The predictions are below the grey threshold: mean lung Dice 0.")
    red, green, blue = map(int, re.findall(r"\d+", colour))
    assert red > 150 > 60 > max(green, blue)
    assert tab.errors == []


@pytest.mark.parametrize("width", [1280, 800, 400])
def test_the_baselines_are_seen_without_scrolling(tab: Page, below: Path, width: int) -> None:
    tab.resize(width)
    tab.open(below)
    ends = tab.run(
        "[...document.querySelectorAll('.scores thead th')]"
        ".filter((e) => e.textContent === 'grey threshold' || e.textContent === 'all background')"
        ".map((e) => e.getBoundingClientRect().right)"
    )
    assert len(ends) == 4
    assert max(ends) <= width


def test_patients_without_a_name_are_called_groups(below: Path) -> None:
    html = re.sub(r'"data:image[^"]+"|<script.*?</script>|<style.*?</style>', "", below.read_text(),
                  flags=re.DOTALL)  # fmt: skip
    assert "20 cases of 20 groups. A group is a file, because the patients are not named." in html
    assert "a bootstrap draws whole groups anew" in html
    others = re.findall(r"[^.>]*\bpatients?\b[^.<]*", html)
    known = ("The patients of 20 of 20 cases are unknown", "because the patients are not named",
             "A patient may have several files", "Name the patients",
             "the patient's right", "the patient's left")  # fmt: skip
    assert [text for text in others if not any(words in text for words in known)] == []


def test_masks_of_another_tool_show_only_what_concerns_scoring(below: Path) -> None:
    html = below.read_text()
    shown = html[html.index("<h2>Versions and config</h2>") :]
    for words in ("tolerances: [1.0, 2.0]", "rgb_map:", "group_regex: null", "numpy"):
        assert words in shown, words
    for words in ("tensorflow", "keras", "epochs", "augment", "base_filters", "gallery"):
        assert words not in shown.split("<script")[0], words


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


def test_on_a_phone_only_tables_scroll_sideways(page: Page) -> None:
    page.resize(400)
    page.draw()
    assert page.run("document.documentElement.scrollWidth") == 400
    broken, overlaps, _ = page.run(LAYOUT)
    assert (broken, overlaps) == (0, 0)
    # Two plots are never side by side.
    assert page.run(
        "[...document.querySelectorAll('.plots img')].every((e) => e.clientWidth > 300)"
    )


@pytest.mark.parametrize("width", [1280, 1000, 800])
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
