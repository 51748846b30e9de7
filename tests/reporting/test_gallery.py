"""The page of 200 cases stays below 60 MB, and what is flagged comes first."""

import json
import re
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from lungseg.errors import DataError
from lungseg.reporting.gallery import (
    MAX_BYTES,
    GalleryCase,
    read_pictures,
    share_out,
    write_gallery,
)
from lungseg.reporting.pictures import CasePictures, View, encode_slice

SLICE_BYTES = 9000


def write_pictures(path: Path, slices: int) -> None:
    """Write pictures of the size of a CT's, from text that is no picture."""
    texts = [json.dumps({"n": n + 1, "image": "x" * SLICE_BYTES, "lines": {}})
             for n in range(slices)]  # fmt: skip
    views = [View("axial", (512, 512), (1.0, 1.0), slices, texts)]
    path.write_text(CasePictures(views, in_hu=True).to_json())


def make_cases(folder: Path, count: int, flagged: int, slices: int = 300) -> list[GalleryCase]:
    """Return cases of which the last are flagged; those have every slice, the others 18."""
    write_pictures(folder / "full", slices)
    write_pictures(folder / "few", 18)
    cases = []
    for index in range(count):
        is_flagged = index >= count - flagged
        path = folder / f"p-{index}.json"
        path.symlink_to(folder / ("full" if is_flagged else "few"))
        cases.append(
            GalleryCase(
                f"case{index:03}", f"in/case{index:03}.nii.gz", failed=False, is_volume=True,
                flags=["cut_off"] if is_flagged else [], detail="a sentence; " * 8,
                volume_ml=4000.5 + index, left_ml=1900, right_ml=None, certainty=0.97,
                pictures=path,
            )
        )  # fmt: skip
    return cases


def slices_of(page: Path) -> dict[str, list[int]]:
    return {
        key: [each["n"] for each in json.loads(text)["views"][0]["slices"]]
        for key, text in read_pictures(page)
    }


@pytest.mark.parametrize("flagged", [5, 60, 200])
def test_200_cases_take_at_most_60_mb(tmp_path: Path, flagged: int) -> None:
    cases = make_cases(tmp_path, 200, flagged)
    page = tmp_path / "gallery.html"
    write_gallery(page, cases)
    assert MAX_BYTES == 60_000_000
    size = page.stat().st_size
    assert size <= MAX_BYTES
    shown = slices_of(page)
    assert len(shown) == 200
    last = shown["p-199"]
    if flagged == 5:
        assert last == list(range(1, 301))
    else:
        # As many as there is room for, at equal distances.
        assert size > 0.8 * MAX_BYTES
        assert (
            len(last) >= (0.6 if flagged == 60 else 0.8) * MAX_BYTES / flagged / SLICE_BYTES * 0.7
        )
        assert len(set(np.diff(last))) == 1
    if flagged < 200:
        assert shown["p-0"] == list(range(1, 19))


def test_the_memory_does_not_grow_with_the_cases(tmp_path: Path) -> None:
    peaks = []
    for count in (5, 60):
        folder = tmp_path / str(count)
        folder.mkdir()
        cases = make_cases(folder, count, flagged=5, slices=200)
        write_gallery(folder / "warm.html", cases[:1])
        tracemalloc.start()
        write_gallery(folder / "gallery.html", cases)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # 55 more cases have 9 MB of pictures.
    assert peaks[1] - peaks[0] < 2_000_000


def test_a_small_page_keeps_the_flagged_cases_first(tmp_path: Path) -> None:
    cases = make_cases(tmp_path, 20, flagged=4, slices=30)
    limits = share_out(cases, 2_000_000)
    assert sum(limits.values()) <= 2_000_000
    sizes = {path: path.stat().st_size for path in limits}
    flagged = [case.pictures for case in cases if case.flags and case.pictures]
    assert all(limits[path] == sizes[path] for path in flagged)
    others = [limits[path] for path in sizes if path not in flagged]
    assert max(others) - min(others) <= 1
    assert sum(others) >= 0.39 * 2_000_000


def rows_of(page: Path) -> list[str]:
    return re.findall(r'data-title="(.*?)"', page.read_text())


def test_failed_cases_come_first_and_then_those_with_most_flags(tmp_path: Path) -> None:
    def case(name: str, flags: Sequence[str] = (), *, failed: bool = False) -> GalleryCase:
        return GalleryCase(name, name, failed=failed, flags=flags)

    cases = [case("a"), case("b", ["cut_off"]), case("c"), case("d", ["volume", "cut_off"]),
             case("e", failed=True)]  # fmt: skip
    write_gallery(tmp_path / "gallery.html", cases)
    assert rows_of(tmp_path / "gallery.html") == ["e", "d", "b", "a", "c"]


def test_hostile_names_are_shown_not_run(tmp_path: Path) -> None:
    bad = "</script><script>alert(1)</script>"
    write_pictures(tmp_path / "p-1.json", 1)
    case = GalleryCase(
        f'"><img src=x onerror=alert(1)>{bad}', bad, failed=False, flags=[bad], detail=bad,
        pictures=tmp_path / "p-1.json",
    )  # fmt: skip
    page = tmp_path / "gallery.html"
    write_gallery(page, [case])
    html = page.read_text()
    assert "alert(1)</script>" not in html
    assert "<img src=x" not in html
    assert "&lt;/script&gt;" in html


def test_pictures_cannot_end_their_script() -> None:
    mask = np.ones((4, 4), bool)
    text = encode_slice(1, np.zeros((4, 4)), {"</script>": mask}, (4, 4), in_hu=True)
    assert "<" not in text
    assert json.loads(text)["lines"]


def test_the_page_loads_nothing(tmp_path: Path) -> None:
    write_gallery(tmp_path / "gallery.html", make_cases(tmp_path, 3, 1, slices=2))
    html = (tmp_path / "gallery.html").read_text()
    assert "http:" not in html
    assert "https:" not in html
    assert not re.search(r"<(link|iframe|object)|src=", html)
    assert "default-src 'none'; img-src data:" in html


def test_a_damaged_page_ends_where_it_is_damaged(tmp_path: Path) -> None:
    page = tmp_path / "gallery.html"
    assert list(read_pictures(page)) == []
    write_gallery(page, make_cases(tmp_path, 3, 3, slices=2))
    assert len(slices_of(page)) == 3
    content = page.read_bytes()
    page.write_bytes(content[: content.index(b'id="p-2"') + 2000] + b"\xff")
    assert 0 < len(list(read_pictures(page))) < 3


def test_a_page_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    cases = make_cases(tmp_path, 1, 1, slices=2)
    with pytest.raises(DataError, match="cannot be written"):
        write_gallery(tmp_path / "no" / "gallery.html", cases)
