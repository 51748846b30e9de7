"""`lungseg models`: the networks at hand, and the card of the shipped one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from lungseg.dataset.reading import fold_folders
from lungseg.errors import DataError
from lungseg.inference.origins import sha256_of_models
from lungseg.inference.predictor import model_paths
from lungseg.system import console
from lungseg.system.shipped import CARD, SHIPPED, shipped_run
from lungseg.system.tables import read_json


@dataclass(frozen=True)
class Network:
    """A network that `infer` can use.

    Attributes:
        run: what to give to `--run`: a run folder, or `shipped`.
        network: name of its architecture, `model.name`.
        classes: its classes, without the background.
        onnx_mb: size of its ONNX files in 10^6 bytes.
        model_sha256: SHA-256 of the ONNX files and the `model.json` beside each, as in `cases.csv`.
    """

    run: str
    network: str
    classes: list[str]
    onnx_mb: float
    model_sha256: str


def models(runs: Path) -> list[Network]:
    """Return the shipped network and those of the runs in a folder.

    Args:
        runs: the folder. What is no finished run in it is left out.

    Raises:
        UsageError: if the package lacks its network.
    """
    found = [_describe(SHIPPED, shipped_run())]
    for run in sorted(runs.iterdir()) if runs.is_dir() else ():
        if all((folder / "model.onnx").is_file() for folder in fold_folders(run) or [run]):
            try:
                found.append(_describe(str(run), run))
            except DataError as problem:
                console.warn(str(problem))
    return found


def _describe(name: str, run: Path) -> Network:
    paths = model_paths(run, None)
    path = paths[0].with_name("model.json")
    sha256 = sha256_of_models(paths)
    try:
        known = read_json(path)
        classes = list(known["rgb_map"])[1:]
        network = str(known.get("network", ""))
    except (KeyError, TypeError, AttributeError) as problem:
        raise DataError(path, f"is not what lungseg train writes: {problem!r}.") from None
    size = sum(each.stat().st_size for each in paths)
    return Network(name, network, classes, round(size / 1e6, 1), sha256)


def card() -> str:
    """Return the model card of the shipped network in Markdown, without comments.

    Raises:
        DataError: if the package lacks it.
    """
    try:
        text = CARD.read_text(encoding="utf-8")
    except OSError as problem:
        raise DataError(CARD, f"cannot be read: {problem.strerror or problem}.") from None
    return re.sub(r"<!--.*?-->\n*", "", text, flags=re.DOTALL)
