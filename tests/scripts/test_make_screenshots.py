"""The screenshots in docs/ are written again only if they look different."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scripts.maintain import make_screenshots

PAGE = np.full((100, 80, 3), 255, np.uint8)


@pytest.mark.parametrize(("rows", "alike"), [(0, True), (3, True), (6, False)])
def test_other_numbers_are_no_other_picture(rows: int, alike: bool) -> None:
    changed = PAGE.copy()
    changed[:rows] = 100
    found = make_screenshots.look_alike(Image.fromarray(PAGE), Image.fromarray(changed))
    assert found == alike


def test_pictures_of_other_sizes_are_not_alike() -> None:
    assert not make_screenshots.look_alike(Image.fromarray(PAGE), Image.fromarray(PAGE[:99]))


def test_without_chromium_the_pictures_stay(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(make_screenshots, "CHROMIUM", None)
    monkeypatch.setattr(make_screenshots, "DOCS", tmp_path)
    monkeypatch.setattr(sys, "argv", ["make_screenshots"])
    make_screenshots.main()
    assert "stay as they are" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []
