"""The report's viewer in a real browser: truth and prediction of the worst, median and best."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - its documented name

from lungseg.config.schema import Config
from lungseg.verbs.evaluate import evaluate_folders
from tests.inference.test_gallery import SPACING, chest
from tests.support.accessibility import overflowing, pale_texts, unnamed
from tests.support.browser import Page
from tests.support.viewer import TITLE, opened, screen
from tests.support.volumes import image_of

TRUTH, PREDICTION = (70, 200, 90), (255, 80, 60)
CAPTION = "document.querySelector('.viewer .caption').textContent"
KINDS = "[...document.querySelectorAll('figcaption')].map((e) => e.innerText.split('\\n')[0])"
CASES = 14


def evaluated(folder: Path, *, with_ct: bool) -> Path:
    """Score predictions that lie one more row behind the truth in each case; return the page."""
    hu, lung, _ = chest()
    for name in ("pred", "truth", "ct"):
        (folder / name).mkdir(parents=True)
    for index in range(CASES):
        file = f"case{index:02}.nii.gz"
        for name, values in (("truth", lung), ("pred", np.roll(lung, index, 1)), ("ct", hu)):
            sitk.WriteImage(image_of(values, SPACING[::-1]), str(folder / name / file))
    evaluate_folders(
        Config(), folder / "pred", folder / "truth", folder / "out",
        images=folder / "ct" if with_ct else None,
    )  # fmt: skip
    return folder / "out" / "report.html"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return evaluated(tmp_path_factory.mktemp("volumes"), with_ct=True)


@pytest.fixture
def page(tab: Page, report: Path) -> Iterator[Page]:
    tab.resize(1280)
    tab.open(report)
    yield tab
    assert tab.errors == []


def rows_of(picture: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """Return the rows of the 40 of an axial slice in which a colour is seen."""
    near = (np.abs(picture - np.array(colour)).max(axis=2) < 40).any(axis=1)
    return np.asarray(40 * np.flatnonzero(near) / len(picture))


def test_worst_median_and_best_cases_can_be_opened(page: Page) -> None:
    shown = page.run(KINDS)
    worst = [f"worst case{index}" for index in (13, 12, 11, 10)]
    assert shown[:4] == worst
    assert [text.split()[0] for text in shown] == ["worst"] * 5 + ["median"] * 3 + ["best"] * 3
    assert shown[-3:] == ["best case00", "best case01", "best case02"]
    assert page.run(TITLE) == "case13"
    opened(page, "case00")
    about = page.run("document.querySelector('.about').textContent")
    assert about == "Best case, Dice 1.0000"


def test_the_slice_with_the_most_wrong_pixels_is_shown_and_named(page: Page) -> None:
    _, lung, _ = chest()
    # Case 13 lies 13 rows behind. Slices count from the feet, which is where the array begins.
    wrong = (lung != np.roll(lung, 13, 1)).sum(axis=(1, 2))
    number = int(wrong.argmax()) + 1
    caption = page.run("document.querySelector('figcaption').innerText.split('\\n').at(-1)")
    assert caption == f"slice {number} of 20"
    assert page.run(CAPTION) == f"Axial slice {number} of 20"


def test_truth_and_prediction_lie_where_they_are(page: Page) -> None:
    opened(page, "case10")
    picture = screen(page)
    # Lung takes the rows 8 to 29 of 40; the prediction lies 10 behind it.
    truth, prediction = rows_of(picture, TRUTH), rows_of(picture, PREDICTION)
    assert (truth.min(), truth.max()) == pytest.approx((8.5, 29.5), abs=0.6)
    assert (prediction.min(), prediction.max()) == pytest.approx((18.5, 39.5), abs=0.6)
    page.click(".planes button:nth-child(2)")
    page.press("Home")
    for _ in range(40):
        page.press("ArrowDown")
        number = int(page.run(CAPTION).split()[2])
        picture = screen(page) if number in (12, 38) else picture
        if number == 12:
            assert len(rows_of(picture, TRUTH))
            assert not len(rows_of(picture, PREDICTION))
    assert not len(rows_of(picture, TRUTH))
    page.click(".planes button:nth-child(1)")
    page.click(".outline")
    assert not len(rows_of(screen(page), TRUTH))


def test_the_ct_is_seen_through_the_windows(page: Page) -> None:
    opened(page, "case00")
    for button, expected in ((1, 236), (2, 128), (3, 76)):
        page.click(f".windows button:nth-child({button})")
        picture = screen(page)
        height, width, _ = picture.shape
        assert abs(picture[int(0.95 * height), width // 2].mean() - expected) < 8


def test_keys_go_through_the_slices(page: Page) -> None:
    opened(page, "case11")
    page.click(".stage")
    page.press("Home")
    assert page.run(CAPTION) == "Axial slice 20 of 20"
    page.press("ArrowDown")
    assert page.run(CAPTION) == "Axial slice 19 of 20"
    page.press("End")
    assert page.run(CAPTION) == "Axial slice 1 of 20"


@pytest.mark.parametrize("width", [1280, 800, 400])
def test_the_viewer_is_within_the_window_and_accessible(page: Page, width: int) -> None:
    page.resize(width)
    opened(page, "case12")
    wide = page.run(
        "[...document.querySelectorAll('.viewer, .viewer *')].filter((e) =>"
        " !e.closest('svg') && e.getBoundingClientRect().right > innerWidth).length"
    )
    assert wide == 0
    assert [text for text in overflowing(page) if "viewer" in text] == []
    assert unnamed(page) == []
    assert pale_texts(page) == []


def test_without_a_ct_the_outlines_are_on_black(tab: Page, tmp_path: Path) -> None:
    tab.resize(1280)
    tab.open(evaluated(tmp_path, with_ct=False))
    opened(tab, "case10")
    assert not tab.run("document.querySelector('.windows').checkVisibility()")
    assert tab.run("document.querySelector('.side').checkVisibility()")
    picture = screen(tab)
    assert len(rows_of(picture, TRUTH))
    height, width, _ = picture.shape
    assert picture[int(0.95 * height), width // 2].mean() < 5
    assert tab.errors == []
