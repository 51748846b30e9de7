"""Write results/ablation.json into docs/recipe.md, as a table.

Example:
    python -m scripts.bench.write_ablation
"""

from pathlib import Path
from typing import Any

import numpy as np

from lungseg.system.files import write_text
from lungseg.system.tables import read_json
from scripts.bench.ablation import RESULTS, VARIANTS

PAGE = Path(__file__).parents[2] / "docs" / "recipe.md"
BEGIN, END = "<!-- ablation -->\n", "<!-- end of ablation -->"
# The patients of `--test`, which are whole volumes; the others are single slices.
VOLUMES = {
    "dicom-lidc-1011": "LIDC-IDRI 1011",
    "dicom-petct-a0001": "Lung-PET-CT-Dx A0001",
    "nsclc-radiogenomics-r01-001": "R01-001",
}


def table(found: dict[str, Any]) -> list[str]:
    """Return the scores of each variant that was trained, as lines of Markdown."""
    lines = [
        f"| variant | seeds | {' | '.join(VOLUMES.values())} | 13 slices of LungSegDB "
        "| worst slice | date |",
        "|---" * (5 + len(VOLUMES)) + "|",
    ]
    for name in VARIANTS:
        trainings = list(found["variants"].get(name, {}).values())
        if not trainings:
            continue
        volumes = [f"{np.mean([t['patients'][each] for t in trainings]):.3f}" for each in VOLUMES]
        slices = [
            [t["patients"][each] for each in t["patients"] if each not in VOLUMES]
            for t in trainings
        ]
        lines.append(
            f"| {name} | {len(trainings)} | {' | '.join(volumes)} | {np.mean(slices):.3f} "
            f"| {np.mean([min(each) for each in slices]):.3f} "
            f"| {trainings[-1]['date']} |"
        )
    return lines


def main() -> None:
    """Write the table between its marks."""
    found = read_json(RESULTS)
    head, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    _, tail = rest.split(END, 1)
    write_text(PAGE, head + BEGIN + "\n".join(table(found)) + "\n" + END + tail)


if __name__ == "__main__":
    main()
