"""The report is one whole file: complete, safe to open, and laid out in a real browser."""

import re
import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

from lungseg.config.schema import Config
from lungseg.imaging.pixels import read_pixels
from lungseg.verbs.evaluate import evaluate, evaluate_folders

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)


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
        "Scores", "Distributions", "Worst and median cases", "Calibration", "Uncertainty",
        "Training", "Data", "Patients", "Versions and config",
    ]  # fmt: skip
    for words in ("lung Dice, mean", "grey threshold", "all background", "boundary iou", "nsd 2",
                  "base_filters: 4", "near pixel accuracy"):  # fmt: skip
        assert words in html, words
    assert html.count("<figure>") == 4


def test_it_needs_no_network_and_no_script(report: Path) -> None:
    html = report.read_text()
    sources = re.findall(r'(?:src|href)="([^"]{0,40})', html)
    assert sources
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert "http" not in re.sub(r"base64,[^\"]+", "", html)
    assert "<script" not in html


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


def screenshot(page: Path, picture: Path, width: int, profile: Path) -> np.ndarray:
    assert CHROMIUM is not None
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        f"--user-data-dir={profile}", f"--window-size={width},6000", "--hide-scrollbars",
        f"--screenshot={picture}", page.as_uri(),
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    return read_pixels(picture)


LAYOUT = """
<script>
const wide = [...document.querySelectorAll("body *")].filter(e => {
  const box = e.getBoundingClientRect();
  return box.width > 0 && box.right > document.documentElement.clientWidth + 1 &&
         !e.closest(".wide") });
const cut = [...document.querySelectorAll(".wide")].filter(e => e.scrollWidth > e.clientWidth + 1);
const broken = [...document.images].filter(i => !i.complete || i.naturalWidth === 0);
const boxes = [...document.querySelectorAll("h1, h2, table, img, pre, .headline div, figcaption")]
  .map(e => e.getBoundingClientRect());
let overlaps = 0;
boxes.forEach((a, i) => boxes.slice(i + 1).forEach(b => {
  if (a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1)
    overlaps++ }));
document.title = `${wide.length} ${cut.length} ${broken.length} ${overlaps}`;
</script>
"""


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
@pytest.mark.parametrize("width", [1280, 1000])
def test_a_browser_finds_nothing_cut_off_overlapping_or_broken(
    report: Path, tmp_path: Path, width: int
) -> None:
    picture = screenshot(report, tmp_path / "page.png", width, tmp_path / "profile")
    assert picture.shape[1] == width
    # Not a blank page: ink all the way down to its end.
    ink = (picture.mean(axis=2) < 250).any(axis=1)
    assert ink[:200].any()
    assert np.flatnonzero(ink).max() > 2500
    measured = tmp_path / "measured.html"
    measured.write_text(report.read_text().replace("</body>", LAYOUT + "</body>"))
    command = [
        str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
        "--disable-background-networking", f"--user-data-dir={tmp_path / 'other'}",
        f"--window-size={width},6000", "--dump-dom", measured.as_uri(),
    ]  # fmt: skip
    dom = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout
    title = re.search(r"<title>(.*?)</title>", dom)
    assert title is not None
    wide, cut, broken, overlaps = map(int, title.group(1).split())
    assert (wide, cut, broken, overlaps) == (0, 0, 0, 0)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_it_prints_on_paper(report: Path, tmp_path: Path) -> None:
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
