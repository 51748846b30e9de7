"""What is seen in the viewer of a page: gallery.html and report.html have the same one."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from tests.support.browser import Page

TITLE = "document.querySelector('#viewer-title').textContent"


def opened(page: Page, name: str) -> None:
    """Open a case by its name, and check that its title follows."""
    page.click(f'button[data-title="{name}"]')
    assert page.run(TITLE) == name


def screen(page: Page) -> np.ndarray:
    """Return what is seen of the slice, RGB, when its picture is decoded."""
    page.run("document.querySelector('.stage').scrollIntoView({block: 'center'})")
    page.run("document.querySelector('.stage img').decode()")
    page.draw()
    x, y, width, height = page.run(
        "(({x, y, width, height}) => [x, y, width, height])"
        "(document.querySelector('.stage').getBoundingClientRect())"
    )
    shot = np.array(Image.open(io.BytesIO(page.picture())).convert("RGB"), int)
    return np.asarray(shot[round(y) : round(y + height), round(x) : round(x + width)])
