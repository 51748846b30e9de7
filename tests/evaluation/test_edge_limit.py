"""How good a score given labels allow: their edges are moved to where the grey changes."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from lungseg.config.schema import Config
from lungseg.evaluation import edge_limit, metrics
from lungseg.evaluation.edge_limit import with_exact_edges
from lungseg.imaging.pixels import apply_window
from lungseg.phantom.drawing import make_slice
from lungseg.phantom.patient import make_patient


def test_labels_that_lie_on_the_edges_lose_nothing_and_moved_ones_do() -> None:
    hu, labels = make_slice(make_patient(3), 0.5, 256)
    image = apply_window(hu, (-1000, 400))
    moved = np.roll(labels, 3, axis=1)

    def limit(mask: np.ndarray) -> float:
        return metrics.dice(metrics.count(mask > 0, with_exact_edges(image, mask > 0, 0.6, 4)))

    assert limit(labels) > 0.985
    assert limit(moved) < limit(labels) - 0.01


def test_pixels_away_from_the_border_stay_as_labelled() -> None:
    lung = np.zeros((64, 64), bool)
    lung[16:48, 16:48] = True
    bright = np.full((64, 64), 200, np.uint8)
    found = with_exact_edges(bright, lung, 0.6, 4)
    inside = cv2.distanceTransform(lung.astype(np.uint8), cv2.DIST_L2, 5)
    assert found[inside > 6].all()
    assert not found[inside < 3].any()


@pytest.mark.parametrize("band", [1, 4])
def test_the_strip_is_equally_wide_on_every_side(band: int) -> None:
    lung = np.zeros((64, 64), bool)
    lung[20:30, 25:40] = True
    image = np.zeros((64, 64), np.uint8)  # dark beyond the border
    image[:8] = 200  # soft tissue
    rows, columns = np.nonzero(with_exact_edges(image, lung, 0.6, band))
    assert (rows.min(), rows.max()) == (20 - band, 29 + band)
    assert (columns.min(), columns.max()) == (25 - band, 39 + band)


def test_the_table_has_each_slice_and_their_mean(
    prepared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert edge_limit.main([str(prepared), "--band", "2"]) == 0
    head, _, *rows = capsys.readouterr().out.splitlines()
    assert head == "| slice | 50% | 60% | 70% | 80% | 90% |"
    cells = [row.strip("| ").split(" | ") for row in rows]
    assert len(cells) == 20 + 1
    values = np.array([[float(cell) for cell in row[1:]] for row in cells])
    assert cells[-1][0] == "mean"
    np.testing.assert_allclose(values[-1], values[:-1].mean(axis=0), atol=1e-4)
    wider = edge_limit.edge_limits(prepared, Config().data, band=6)
    assert wider[cells[0][0]] != pytest.approx(values[0], abs=1e-4)


def test_a_folder_that_is_missing_is_an_error_without_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert edge_limit.main([str(tmp_path / "nowhere")]) == 2
    assert "no such folder" in capsys.readouterr().err
