"""The axes of the report's plots fit: nothing is cut off, and what is perfect is on the axis."""

import numpy as np
import pytest

from lungseg.reporting.figures import PlottedScore, distributions, fit_to_one, fit_to_zero
from lungseg.reporting.plots import new_figure


@pytest.mark.parametrize("values", [[0.0, 0.5, 1.0], [0.97, 0.99], [1.0, 1.0], [0.3]])
def test_an_axis_of_dice_ends_at_one_and_shows_every_value(values: list[float]) -> None:
    _, axes = new_figure(1, 1, (4, 3))
    axis = axes[0, 0]
    fit_to_one(axis, np.array(values))
    low, high = axis.get_ylim()
    assert low < min(values)
    assert 1 < high < 1.05
    assert max(tick for tick in axis.get_yticks() if tick <= high) <= 1 + 1e-9
    # No offset such as `+9.9e-1` stands above the axis.
    axis.figure.canvas.draw()
    assert axis.yaxis.get_offset_text().get_text() == ""


@pytest.mark.parametrize(
    ("values", "scale"),
    [([0.0, 0.0], "linear"), ([1.0, 2.0, 9.0], "linear"), ([1.0] * 20 + [700.0], "symlog")],
)
def test_an_axis_of_distances_begins_at_zero(values: list[float], scale: str) -> None:
    _, axes = new_figure(1, 1, (4, 3))
    axis = axes[0, 0]
    fit_to_zero(axis, np.array(values), "mm")
    low, high = axis.get_ylim()
    assert low < 0 <= min(values)
    assert high > max(values)
    assert axis.get_yscale() == scale
    assert axis.get_ylabel() == ("mm" if scale == "linear" else "mm, logarithmic above 1")
    # The usual values take a part of the axis that can be seen.
    bottom, usual, top = axis.transData.transform([(0, 0), (0, 1), (0, high)])[:, 1]
    assert scale == "linear" or (usual - bottom) / (top - bottom) > 0.15


def test_each_plot_is_a_picture_of_its_own_with_a_text() -> None:
    scores = [
        PlottedScore(method, dice, 3.0, 0.8, 100, None)
        for method, dice in (("model", 0.9), ("grey_threshold", 0.8), ("all_background", 0.0))
    ]
    plots = distributions(scores, "mm")
    assert [plot.text for plot in plots] == [
        f"{name} of each case: model, grey threshold" for name in ("Dice", "HD95", "Boundary IoU")
    ]
    assert len({plot.source for plot in plots}) == 3
