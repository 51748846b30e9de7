"""Plots of a data set and of a training."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungseg.config.classes import class_metrics
from lungseg.system.files import write_bytes
from lungseg.system.privacy import private_import

# A legend of more lines cannot be read.
MOST_CLASSES = 20


def new_figure(rows: int, columns: int, size: tuple[float, float]) -> tuple[Any, Any]:
    """Make a Matplotlib figure and its axes `(rows, columns)`; `size` is in inches."""
    # The object interface needs no display, and no global list keeps the figure in memory.
    with private_import("matplotlib"):
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False)


def to_png(figure: Any, dpi: int = 110) -> bytes:
    """Render a figure as PNG."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=dpi, metadata={"Software": None})
    return content.getvalue()


def plot_dataset_statistics(
    path: Path,
    counts: Mapping[str, int],
    sizes: Mapping[str, int],
    lung_fractions: Sequence[float],
    grey_histogram: NDArray[np.int64],
) -> None:
    """Plot the contents of a prepared data set.

    Args:
        path: the PNG to write.
        counts: numbers by name: slices, copies, left out, each kind of finding.
        sizes: number of slices for each source size, such as `512 x 512`.
        lung_fractions: lung area of each slice as a share of its pixels.
        grey_histogram: number of pixels for each of the 256 grey values.
    """
    figure, axes = new_figure(2, 2, (11, 7.5))
    for axis, values, title in (
        (axes[0, 0], counts, "Slices and findings"),
        (axes[0, 1], dict(list(sizes.items())[:12]), "Source sizes (height x width, pixels)"),
    ):
        bars = axis.barh(list(values), list(values.values()), color="#4878a8")
        axis.bar_label(bars, padding=3)
        axis.invert_yaxis()
        axis.margins(x=0.15)
        axis.set_title(title)
        axis.set_xlabel("number")
    shares = [100 * value for value in lung_fractions]
    axes[1, 0].hist(shares, bins=min(40, max(5, len(shares) // 3)), color="#58a070")
    axes[1, 0].set_title("Lung area")
    axes[1, 0].set_xlabel("share of the slice, %")
    axes[1, 0].set_ylabel("slices")
    share = grey_histogram / max(int(grey_histogram.sum()), 1)
    axes[1, 1].fill_between(np.arange(256), np.maximum(share, 1e-7), 1e-7, step="mid", color="#888")
    axes[1, 1].set_yscale("log")
    axes[1, 1].set_ylim(1e-6, 1)
    axes[1, 1].set_title("Grey values")
    axes[1, 1].set_xlabel("grey value of the prepared slices")
    axes[1, 1].set_ylabel("share of pixels (log)")
    write_bytes(path, to_png(figure))


def plot_history(
    path: Path,
    history: Sequence[Mapping[str, Any]],
    names: Sequence[str],
    columns: Mapping[str, str] | None = None,
) -> None:
    """Write the plot of `history_figure` as a PNG."""
    write_bytes(path, to_png(history_figure(history, names, columns)))


def history_figure(
    history: Sequence[Mapping[str, Any]],
    names: Sequence[str],
    columns: Mapping[str, str] | None = None,
    panel: tuple[float, float] = (5.5, 4.2),
) -> Any:
    """Draw the loss and metrics of a training over its epochs: training dashed, validation solid.

    Args:
        history: one mapping per epoch with `epoch` and values such as `loss` and `val_loss`, as
            numbers or as texts from a CSV file.
        names: names without `val_`, one panel for each.
        columns: if there are any, columns of `class_panel`, which is added.
        panel: width and height of a panel in inches.
    """
    count = len(names) + bool(columns)
    figure, axes = new_figure(1, count, (panel[0] * count, panel[1]))
    for axis, name in zip(axes[0], names, strict=False):
        for key, style, label in ((name, "--", "train"), (f"val_{name}", "-", "valid")):
            epochs, values = _points(history, key)
            if epochs:
                marker = "o" if len(epochs) < 3 else None
                axis.plot(epochs, values, style, label=label, marker=marker)
        axis.set_title(name)
        axis.set_xlabel("epoch")
        axis.grid(alpha=0.3)
        axis.legend()
    if columns:
        class_panel(axes[0, -1], history, columns)
    return figure


def class_columns(history: Sequence[Mapping[str, Any]], classes: Sequence[str]) -> dict[str, str]:
    """Return the column of the validation Dice of each class that `class_panel` can show.

    There is none for a network with a single class, or if there was no validation. Of more than
    `MOST_CLASSES`, those with the lowest Dice in the last epoch are shown.

    Args:
        history: as for `history_figure`.
        classes: names by index, background first.
    """
    columns = {classes[index]: f"val_{name}" for name, index in class_metrics(classes).items()}
    last = {name: history[-1].get(column) for name, column in columns.items() if history}
    known = {name: float(value) for name, value in last.items() if value not in (None, "")}
    worst = sorted(known, key=lambda name: known[name])[:MOST_CLASSES]
    return {name: columns[name] for name in known if name in worst}


def class_panel(
    axis: Any, history: Sequence[Mapping[str, Any]], columns: Mapping[str, str]
) -> None:
    """Draw the validation Dice of several classes over the epochs, with a legend beside it.

    Args:
        axis: Matplotlib axes to draw into.
        history: as for `history_figure`. An epoch may lack a value.
        columns: column of each class by its name, in the order of the legend.
    """
    # Ten colours are told apart at a glance; further classes have another dash.
    for number, (name, column) in enumerate(columns.items()):
        epochs, values = _points(history, column)
        style = "-" if number < 10 else "--"
        marker = "o" if len(epochs) < 3 else None
        axis.plot(epochs, values, style, color=f"C{number % 10}", label=name, marker=marker)
    axis.set_title("Dice of each class, valid")
    axis.set_xlabel("epoch")
    axis.grid(alpha=0.3)
    axis.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize="small", labelspacing=0.2)


def _points(history: Sequence[Mapping[str, Any]], key: str) -> tuple[list[int], list[float]]:
    """Return the epochs that have a value, and the values."""
    known = [row for row in history if row.get(key) not in (None, "")]
    return [int(row["epoch"]) for row in known], [float(row[key]) for row in known]
