"""Write results/curves.json into docs/explanation.md, as a table and a picture.

Example:
    python -m scripts.bench.write_curves
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lungseg.system.files import write_text
from lungseg.system.tables import read_json
from scripts.bench.curves import RESULTS, STOPPED

DOCS = Path(__file__).parents[2] / "docs"
BEGIN, END = "<!-- curves -->\n", "<!-- end -->"


def largest_fall(curve: list[float]) -> float:
    """Return how far a curve falls below its best value so far, at most, after the first epoch."""
    later = np.array(curve[1:])
    return float(np.max(np.maximum.accumulate(later) - later))


def table(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return what was checked, as lines of Markdown."""
    lines = [
        "| data | epochs | largest fall below the best so far | before "
        "| kept models scored again, largest difference "
        f"| lung Dice if stopped after 1/{STOPPED} of the epochs | finished |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, row in found.items():
        before = f"{largest_fall(row['before']):.3f}" if "before" in row else "-"
        lines.append(
            f"| {name} | {row['epochs']} | {largest_fall(row['after']):.3f} | {before} "
            f"| {row['kept']['models']}: {row['kept']['largest_difference']:.6f} "
            f"| {row['held_back']['stopped']:.3f} | {row['held_back']['finished']:.3f} |"
        )
    return lines


def draw(found: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Draw the validation lung Dice over the epochs, before and after, for each data set."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(found), sharey=True))
    for axes, (name, row) in zip(panels, found.items(), strict=True):
        for key, style in (("before", "--"), ("after", "-")):
            if key in row:
                axes.plot(range(1, len(row[key]) + 1), row[key], style, label=key)
        axes.set(title=name, xlabel="epoch", ylim=(0, 1))
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("lung Dice, validation")
    panels[-1].legend(loc="lower right")
    figure.savefig(path, dpi=90)


def main() -> None:
    """Write the table between its marks, and the picture."""
    found = read_json(RESULTS)
    draw(found, DOCS / "validation_curves.png")
    page = DOCS / "explanation.md"
    head, rest = page.read_text(encoding="utf-8").split(BEGIN)
    _, tail = rest.split(END, 1)
    picture = "![Validation lung Dice over the epochs](validation_curves.png)"
    write_text(page, head + BEGIN + "\n".join([*table(found), "", picture]) + "\n" + END + tail)


if __name__ == "__main__":
    main()
