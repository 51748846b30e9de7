"""The curves of a training: every class has a line that can be told apart, and a name."""

import base64
import io
import itertools
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lungseg.reporting import figures
from lungseg.reporting.plots import MOST_CLASSES, class_columns, history_figure

NAMES = ["left lung", "right lung", "infection"]


def history(classes: list[str], epochs: int = 5) -> list[dict[str, str]]:
    """Return rows of a history.csv in which the last classes score worst."""
    return [
        {"epoch": str(epoch + 1), "loss": "1"}
        | {
            f"val_dice_{name.replace(' ', '_')}": f"{(epoch + 1) / (epoch + 2 + number):.6f}"
            for number, name in enumerate(classes)
        }
        for epoch in range(epochs)
    ]


def drawn(rows: list[dict[str, str]], classes: list[str], names: tuple[str, ...] = ()) -> Any:
    """Return the figure with the panel of classes."""
    columns = class_columns(rows, ["background", *classes])
    figure = history_figure(rows, names, columns, (8.6, 3.6))
    figure.draw_without_rendering()
    return figure


def test_each_class_has_a_line_with_its_values_and_its_name() -> None:
    rows = history(NAMES)
    rows[1]["val_dice_infection"] = ""  # as if it had not been watched
    loss, axis = drawn(rows, NAMES, ("loss",)).axes
    assert (loss.get_title(), axis.get_title()) == ("loss", "Dice of each class, valid")
    assert [text.get_text() for text in axis.get_legend().get_texts()] == NAMES
    for line, name in zip(axis.lines, NAMES, strict=True):
        column = f"val_dice_{name.replace(' ', '_')}"
        known = [row for row in rows if row[column]]
        assert list(line.get_xdata()) == [int(row["epoch"]) for row in known]
        assert list(line.get_ydata()) == [float(row[column]) for row in known]


@pytest.mark.parametrize("count", [2, 12, MOST_CLASSES])
def test_the_lines_can_be_told_apart_and_the_legend_is_whole(count: int) -> None:
    figure = drawn(history(names := [f"lobe number {k}" for k in range(count)]), names)
    [axis] = figure.axes
    assert len({(line.get_color(), line.get_linestyle()) for line in axis.lines}) == count
    legend = axis.get_legend()
    box, plot = legend.get_window_extent(), axis.get_window_extent()
    # Beside the curves, not on them, and within the picture.
    assert plot.x1 <= box.x0 < box.x1 <= figure.bbox.x1
    assert 0 <= box.y0 < box.y1 <= figure.bbox.y1
    lines = [text.get_window_extent() for text in legend.get_texts()]
    assert all(above.y0 >= below.y1 for above, below in itertools.pairwise(lines))


def test_of_many_classes_the_worst_are_shown() -> None:
    names = [f"class {number}" for number in range(MOST_CLASSES + 5)]
    assert list(class_columns(history(names), ["background", *names])) == names[5:]


@pytest.mark.parametrize(
    ("classes", "rows", "lines"),
    [
        (NAMES, history(NAMES), 3),
        (["lung"], history(["lung"]), 0),  # that is lung_dice
        (NAMES, history([]), 0),  # a run of an earlier version, or one without validation
        (NAMES, [], 0),  # masks without a run
    ],
)
def test_the_report_shows_classes_if_several_were_watched(
    classes: list[str], rows: list[dict[str, str]], lines: int
) -> None:
    plots = figures.classes(rows, classes)
    assert bool(plots) == bool(lines)
    if plots:
        encoded = plots[0].source.partition("base64,")[2]
        picture = Image.open(io.BytesIO(base64.b64decode(encoded)))
        # As many colours as classes, besides greys.
        pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3)
        strong = pixels[np.ptp(pixels.astype(int), axis=1) > 100]
        common = np.unique(strong // 32, axis=0, return_counts=True)[1]
        assert (common > 100).sum() >= lines
