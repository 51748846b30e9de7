"""gallery.html in a real browser: what a person sees, clicks and presses."""

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from lungseg.inference.gallery import draw_image, draw_volume
from lungseg.reporting.gallery import MAX_BYTES, GalleryCase, write_gallery
from tests.inference.test_gallery import SPACING, chest
from tests.support import browser
from tests.support.accessibility import misplaced, overflowing, pale_texts, tabbed, unnamed
from tests.support.browser import Page, require_browser
from tests.support.viewer import TITLE, opened, screen

WIDTHS = (1280, 800, 400)
# The colours of the outlines of the left and the right lung.
LEFT, RIGHT = (0xFF, 0xB0, 0x00), (0x45, 0xB4, 0xFF)
CAPTION = "document.querySelector('.caption').textContent"
NAMES = "[...document.querySelectorAll('td:first-child button')].map((e) => e.textContent)"


def cases_in(folder: Path, count: int = 40) -> list[GalleryCase]:
    """Return cases: one failed, three flagged, two images, the others plain."""
    hu, lung, sides = chest()
    full = draw_volume(hu, lung, sides, lung, SPACING, full=True).to_json()
    few = draw_volume(hu, lung, sides, lung, SPACING, full=False).to_json()
    image = np.tile(np.linspace(0, 255, 90, dtype=np.uint8), (60, 1))
    labels = np.zeros((60, 90), np.uint8)
    labels[10:30, 20:60] = 1
    drawn = draw_image(image, labels, ["background", "lung"], None, full=False).to_json()
    cases = [GalleryCase("broken", "in/broken.nii.gz", failed=True, detail="it is no CT")]
    for index in range(1, count):
        path = folder / f"p-{index:03}.json"
        flags = ["cut_off", "threshold_differs", "missing_side"][:index] if index < 4 else []
        is_image = 4 <= index < 6
        path.write_text(full if flags else drawn if is_image else few)
        name = f"case{index:03}" if index != 7 else "PATIENT0007_STUDY_" + "0123456789" * 5
        cases.append(
            GalleryCase(
                name, f"in/{name}.nii.gz", failed=False, is_volume=not is_image, flags=flags,
                detail="lung reaches the edge of the volume" if flags else "",
                volume_ml=None if is_image else 3000 + (index * 37) % 1000 * 3.5,
                left_ml=None if index % 5 == 0 or is_image else 1500 + index,
                right_ml=None if is_image else 1700.4,
                share=0.2 if is_image else None, certainty=0.9 + index / 1000, pictures=path,
            )
        )  # fmt: skip
    return cases


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[GalleryCase]:
    return cases_in(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def gallery(cases: list[GalleryCase], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "gallery.html"
    write_gallery(path, cases)
    return path


@pytest.fixture
def page(tab: Page, gallery: Path) -> Iterator[Page]:
    """Open the page in a wide window; at the end nothing was reported and nothing was loaded."""
    tab.resize(1280)
    tab.open(gallery)
    yield tab
    assert tab.errors == []


def at(picture: np.ndarray, row: float, column: float) -> int:
    """Return the grey at a place, given as shares of the height and the width."""
    height, width = picture.shape[:2]
    return int(picture[int(row * height), int(column * width)].mean())


def columns_of(picture: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """Return the columns, as shares of the width, in which a colour is seen."""
    near = (np.abs(picture - np.array(colour)).max(axis=2) < 40).any(axis=0)
    return np.asarray(np.flatnonzero(near) / picture.shape[1])


def test_flagged_cases_come_first_and_the_first_is_shown(page: Page) -> None:
    assert page.run(NAMES)[:4] == ["broken", "case003", "case002", "case001"]
    assert page.run(TITLE) == "broken"
    assert page.run("document.querySelector('.missing').checkVisibility()")
    assert not page.run("document.querySelector('.shown').checkVisibility()")
    assert "it is no CT" in page.run("document.querySelector('.about').textContent")
    opened(page, "case003")
    assert not page.run("document.querySelector('.missing').checkVisibility()")
    assert page.run(CAPTION) == "Axial slice 10 of 20"
    assert "edge of the volume" in page.run("document.querySelector('.about').textContent")


def test_each_window_shows_the_greys_of_its_hu(page: Page) -> None:
    opened(page, "case003")
    for button, (low, high) in enumerate(((-1350, 150), (-160, 240), (-500, 1300)), 1):
        page.click(f".windows button:nth-child({button})")
        picture = screen(page)
        for hu, place in ((-800, (0.5, 0.25)), (40, (0.95, 0.5))):
            expected = 255 * np.clip((hu - low) / (high - low), 0, 1)
            assert abs(at(picture, *place) - expected) < 8, (button, hu)


def test_left_and_right_have_their_colours_where_the_lungs_are(page: Page) -> None:
    opened(page, "case003")
    for view in (1, 2):
        page.click(f".planes button:nth-child({view})")
        picture = screen(page)
        # Columns 5 to 24 of 60 are the right lung's, 35 to 54 the left lung's.
        right, left = columns_of(picture, RIGHT), columns_of(picture, LEFT)
        assert (right.min(), right.max()) == pytest.approx((5.5 / 60, 24.5 / 60), abs=0.012)
        assert (left.min(), left.max()) == pytest.approx((35.5 / 60, 54.5 / 60), abs=0.012)
    page.click(".outline")
    assert not len(columns_of(screen(page), LEFT))
    page.click(".outline")
    assert len(columns_of(screen(page), LEFT))


def test_a_coronal_slice_has_the_shape_of_the_chest(page: Page) -> None:
    opened(page, "case003")
    height, width, _ = screen(page).shape
    assert width / height == pytest.approx(120 / 80, rel=0.01)
    page.click(".planes button:nth-child(2)")
    height, width, _ = screen(page).shape
    assert width / height == pytest.approx(120 / 100, rel=0.01)
    page.press("Home")
    assert page.run(CAPTION) == "Coronal slice 1 of 40"
    page.click(".windows button:nth-child(3)")
    picture = screen(page)
    assert at(picture, 0.05, 0.05) > 220 > at(picture, 0.95, 0.95)  # the bone is near the head


def test_keys_go_through_the_slices(page: Page) -> None:
    opened(page, "case003")
    page.run("document.querySelector('.slider input').focus()")
    page.press("Home")
    assert page.run(CAPTION) == "Axial slice 20 of 20"  # at the head
    for key, expected in (
        ("ArrowDown", 19), ("ArrowRight", 18), ("ArrowLeft", 19), ("ArrowUp", 20), ("ArrowUp", 20),
        ("PageDown", 10), ("End", 1), ("ArrowDown", 1), ("PageUp", 11),
    ):  # fmt: skip
        page.press(key)
        assert page.run(CAPTION) == f"Axial slice {expected} of 20", key
        assert page.run("document.querySelector('.slider input').value") == str(20 - expected)
        assert f"slice {expected} of 20" in page.run("document.querySelector('.stage img').alt")
    page.run("document.querySelector('.windows button').focus()")
    page.press("ArrowDown")
    assert page.run(CAPTION) == "Axial slice 10 of 20"


def test_the_slider_and_the_wheel_go_through_the_slices(page: Page) -> None:
    opened(page, "case003")
    x, y = page.middle_of(".slider input")
    width = page.run("document.querySelector('.slider input').getBoundingClientRect().width")
    for kind in ("mousePressed", "mouseReleased"):
        page.call("Input.dispatchMouseEvent", type=kind, x=x + 0.49 * width, y=y, button="left",
                  clickCount=1)  # fmt: skip
    assert page.run(CAPTION) == "Axial slice 1 of 20"
    page.press("Home")
    page.run("document.activeElement.blur()")
    page.turn_wheel(".stage", 100)
    page.run("new Promise((done) => setTimeout(done, 200))")
    assert page.run(CAPTION) == "Axial slice 20 of 20"  # the wheel is the page's
    page.click(".stage")
    page.turn_wheel(".stage", 100)
    page.wait_until(CAPTION + " === 'Axial slice 19 of 20'")
    page.turn_wheel(".stage", -100)
    page.wait_until(CAPTION + " === 'Axial slice 20 of 20'")


def test_a_case_of_a_few_slices_says_how_many_are_shown(page: Page) -> None:
    opened(page, "case009")
    assert re.fullmatch(r"Axial slice \d+ of 20; 12 are shown", page.run(CAPTION))
    page.click(".planes button:nth-child(2)")
    page.click('button[data-title="case010"]')
    # The direction stays that of the case before.
    assert page.run(CAPTION).startswith("Coronal slice")


def test_an_image_has_no_windows_and_no_sides(page: Page) -> None:
    opened(page, "case004")
    for selector in (".windows", ".planes", ".side", ".slider", ".keys"):
        assert not page.run(f"document.querySelector('{selector}').checkVisibility()"), selector
    picture = screen(page)
    assert at(picture, 0.8, 0.02) < 12 < 240 < at(picture, 0.8, 0.98)
    assert page.run(CAPTION) == "One slice"
    opened(page, "case003")
    assert page.run("document.querySelector('.windows').checkVisibility()")


def test_columns_are_sorted_as_numbers_and_back(page: Page, cases: list[GalleryCase]) -> None:
    columns: dict[int, dict[str, float | None]] = {
        3: {case.name: case.volume_ml or case.share for case in cases},  # images below volumes
        4: {case.name: case.left_ml for case in cases},
    }
    for column, values in columns.items():
        head = f"th:nth-child({column})"
        known = {name: value for name, value in values.items() if value is not None}
        for down in (True, False):
            page.click(f"{head} button")
            names = page.run(NAMES)
            expected = sorted(known, key=lambda name: known[name], reverse=down)
            assert names[: len(expected)] == expected
            assert len(names) == len(cases)
            order = page.run(f"document.querySelector('{head}').ariaSort")
            assert order == ("descending" if down else "ascending")
    assert page.run("document.querySelectorAll('[aria-sort]').length") == 1
    page.click("th:nth-child(3) button")
    texts = page.run("[...document.querySelectorAll('td:nth-child(3)')].map((e) => e.textContent)")
    assert texts[-3:] == ["20.0%", "20.0%", "–"]
    page.click("th:nth-child(1) button")
    names = [case.name for case in cases]
    assert page.run(NAMES) == sorted(names, key=str.casefold)
    page.click("th:nth-child(2) button")
    assert page.run(NAMES)[:4] == ["broken", "case003", "case002", "case001"]


def test_the_table_scrolls_and_its_heads_stay(page: Page) -> None:
    below = (
        "document.querySelector('thead th').getBoundingClientRect().top"
        " - document.querySelector('.list').getBoundingClientRect().top"
    )
    before = page.run(below)
    page.turn_wheel(".list", 400)
    page.wait_until("document.querySelector('.list').scrollTop > 200")
    assert page.run(below) == pytest.approx(before, abs=1)


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_overflows(page: Page, width: int) -> None:
    page.resize(width)
    for case in ("broken", "case003", "case004", "case001"):
        opened(page, case)
        assert overflowing(page) == [], case
    page.click(".planes button:nth-child(2)")
    assert overflowing(page) == []


@pytest.mark.parametrize("width", WIDTHS)
def test_a_chosen_case_is_in_the_window(page: Page, width: int) -> None:
    page.resize(width, 800)
    opened(page, "case001")
    top, bottom = page.run(
        "(() => { const b = document.querySelector('.stage').getBoundingClientRect();"
        " return [b.top, b.bottom]; })()"
    )
    assert 0 <= top < bottom <= 800


def test_it_can_be_used_without_a_mouse(page: Page, cases: list[GalleryCase]) -> None:
    opened(page, "case003")
    stops = tabbed(page)
    assert {case.name for case in cases} <= set(stops)
    for name in ("Cases", "Certainty", "Axial", "Coronal", "Soft tissue", "Outline", "Slice"):
        assert name in stops, name
    page.run("""document.querySelector('button[data-title="case002"]').focus()""")
    page.press("Enter")
    assert page.run(TITLE) == "case002"
    page.run("document.querySelector('.windows button:nth-child(2)').focus()")
    page.press(" ")
    assert page.run("document.querySelector('.windows button:nth-child(2)').ariaPressed") == "true"
    assert page.run("document.querySelectorAll('.windows [aria-pressed=true]').length") == 1


@pytest.mark.parametrize("width", WIDTHS)
def test_everything_has_a_name_and_enough_contrast(page: Page, width: int) -> None:
    page.resize(width)
    for case in ("broken", "case003", "case004"):
        opened(page, case)
        assert unnamed(page) == []
        assert misplaced(page) == []
        assert pale_texts(page) == []
    roles = {node["role"] for node in page.nodes()}
    assert {"button", "image", "columnheader", "table", "heading", "main"} <= roles


def test_a_screen_reader_is_told_the_slice(page: Page) -> None:
    opened(page, "case003")
    (slider,) = (node for node in page.nodes() if node["role"] == "slider")
    assert (slider["name"], slider["valuemax"]) == ("Slice", 19)
    # Chromium's tree has the number only.
    spoken = page.run("document.querySelector('.slider input').ariaValueText")
    assert spoken == "axial slice 10 of 20"
    (picture,) = (node for node in page.nodes() if node["role"] == "image")
    assert picture["name"] == "case003, axial slice 10 of 20"


def test_a_slice_is_decoded_when_it_is_shown(page: Page) -> None:
    assert page.run("document.images.length") == 1
    assert not page.run("document.images[0].src")
    opened(page, "case003")
    assert page.run("document.images.length") == 1
    assert page.run("document.images[0].src").startswith("data:image/webp;base64,")


def test_200_cases_of_60_mb_open(tab: Page, tmp_path: Path) -> None:
    cases = cases_in(tmp_path, 200)
    # So many slices that the page is full: those of one case, over and over.
    content = json.loads((tmp_path / "p-001.json").read_text())
    for view in content["views"]:
        for entry in view["slices"]:
            picture = base64.b64decode(entry["image"]) + bytes(30_000)
            entry["image"] = base64.b64encode(picture).decode()
    (tmp_path / "big").write_text(json.dumps(content))
    for index in range(1, 200):
        path = tmp_path / f"p-{index:03}.json"
        path.unlink()
        path.symlink_to(tmp_path / "big")
    gallery = tmp_path / "gallery.html"
    write_gallery(gallery, cases)
    assert 0.9 * MAX_BYTES < gallery.stat().st_size <= MAX_BYTES
    tab.resize(1280)
    tab.open(gallery)
    opened(tab, "case199")
    assert tab.run("document.querySelector('.stage img').decode().then(() => true)")
    assert overflowing(tab) == []
    tab.click("th:nth-child(3) button")
    assert len(tab.run(NAMES)) == 200
    assert tab.errors == []


def test_under_ci_a_missing_browser_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browser, "CHROMIUM", None)
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception):
        require_browser()
    monkeypatch.delenv("CI")
    with pytest.raises(pytest.skip.Exception):
        require_browser()
