"""Films hold each picture, in its colours and in order."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from lungseg.reporting.overlays import write_gif, write_mp4

COLOURS = [(200, 30, 30), (30, 200, 30), (30, 30, 200)]


def frames(height: int = 63, width: int = 81) -> list[np.ndarray]:
    return [np.full((height, width, 3), colour, np.uint8) for colour in COLOURS]


def test_a_film_keeps_order_and_colours_and_gets_even_sides(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    assert write_mp4(path, iter(frames()), 12.5)
    film = cv2.VideoCapture(str(path))
    assert film.get(cv2.CAP_PROP_FPS) == 12.5
    for colour in COLOURS:
        there, picture = film.read()
        assert there
        assert picture.shape == (64, 82, 3)
        # MPEG-4 loses some of the colour.
        found = picture[8:50, 8:70, ::-1].reshape(-1, 3).mean(axis=0)
        np.testing.assert_allclose(found, colour, atol=12)
    assert film.read()[0] is False
    assert [each.name for each in tmp_path.iterdir()] == ["a.mp4"]


def test_without_an_encoder_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Closed:
        """Stands for a writer without an encoder. To inherit from OpenCV's crashes Python."""

        fourcc = cv2.VideoWriter.fourcc

        def __init__(self, *_: object) -> None:
            pass

        def isOpened(self) -> bool:  # noqa: N802 - OpenCV's name
            return False

        def release(self) -> None:
            pass

    monkeypatch.setattr(cv2, "VideoWriter", Closed)
    assert not write_mp4(tmp_path / "a.mp4", frames(), 10)
    assert not write_mp4(tmp_path / "b.mp4", [], 10)
    assert list(tmp_path.iterdir()) == []


def test_a_film_that_breaks_off_leaves_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"before")

    def broken() -> object:
        yield frames()[0]
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        write_mp4(path, broken(), 10)  # type: ignore[arg-type]
    assert path.read_bytes() == b"before"
    assert [each.name for each in tmp_path.iterdir()] == ["a.mp4"]


def test_a_gif_shows_each_picture_for_its_time(tmp_path: Path) -> None:
    from PIL import Image

    write_gif(tmp_path / "a.gif", frames(), seconds=1 / 4)
    with Image.open(tmp_path / "a.gif") as animation:
        assert animation.n_frames == 3
        assert animation.info["duration"] == 250
