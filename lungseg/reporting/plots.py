"""Plots of a data set and of a training."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungseg.system.files import write_bytes
from lungseg.system.privacy import private_import


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


def plot_history(path: Path, history: Sequence[Mapping[str, Any]], names: Sequence[str]) -> None:
    """Write the plot of `history_figure` as a PNG."""
    write_bytes(path, to_png(history_figure(history, names)))


def history_figure(
    history: Sequence[Mapping[str, Any]],
    names: Sequence[str],
    panel: tuple[float, float] = (5.5, 4.2),
) -> Any:
    """Draw the loss and metrics of a training over its epochs: training dashed, validation solid.

    Args:
        history: one mapping per epoch with `epoch` and values such as `loss` and `val_loss`, as
            numbers or as texts from a CSV file.
        names: names without `val_`, one panel for each.
        panel: width and height of a panel in inches.
    """
    figure, axes = new_figure(1, len(names), (panel[0] * len(names), panel[1]))
    for axis, name in zip(axes[0], names, strict=True):
        for key, style, label in ((name, "--", "train"), (f"val_{name}", "-", "valid")):
            points = [
                (int(r["epoch"]), float(r[key])) for r in history if r.get(key) not in (None, "")
            ]
            if points:
                marker = "o" if len(points) < 3 else None
                axis.plot(*zip(*points, strict=True), style, label=label, marker=marker)
        axis.set_title(name)
        axis.set_xlabel("epoch")
        axis.grid(alpha=0.3)
        axis.legend()
    return figure
