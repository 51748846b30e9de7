"""The network that comes with the program, and which network a command uses.

It is a finished run in the folder `shipped` of the package. Nothing is ever written there: the
folder may be read-only, and it is the same for everyone who uses the installation.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from lungseg.errors import UsageError
from lungseg.system import console
from lungseg.system.files import sha256_of_file

if TYPE_CHECKING:
    from lungseg.config.schema import Config

# In place of a run folder this word means the shipped network. `./shipped` is a folder.
SHIPPED = "shipped"
FOLDER = Path(__file__).parents[1] / SHIPPED
CARD = FOLDER / "model-card.md"


def shipped_run() -> Path:
    """Return the run folder of the shipped network.

    Raises:
        UsageError: if this copy of the package lacks it.
    """
    for name in ("model.onnx", "model.json"):
        if not (FOLDER / name).is_file():
            raise UsageError(
                f"{FOLDER / name}: this installation of lungseg lacks its network. Install lungseg "
                "again, or name a run folder (run)."
            )
    return FOLDER


def is_shipped(run: Path) -> bool:
    """Whether a run folder is that of the shipped network."""
    return os.path.realpath(run) == os.path.realpath(FOLDER)


def name_of(run: Path) -> str:
    """Return what messages call the network of a run folder."""
    return "the shipped network" if is_shipped(run) else str(run)


def as_run(given: str | Path) -> Path:
    """Return a run folder that is given by its path, or by the word `shipped`."""
    return shipped_run() if given == SHIPPED else Path(given)


def choose_run(config: Config, given: str | Path | None = None) -> Path:
    """Choose the network that a command uses, and note which it is.

    Args:
        config: its `train.run` counts if the config or an override sets it.
        given: the run folder that is asked for, or `shipped`. It comes first.

    Returns:
        The run folder; that of the shipped network if nothing else is asked for.

    Raises:
        UsageError: if the folder does not exist.
    """
    default = given is None and "run" not in config.train.model_fields_set
    run = as_run(SHIPPED if default else config.train.run if given is None else given)
    if not run.is_dir():
        origin = "train.run of the config" if given is None else "--run"
        raise UsageError(
            f"{run}: there is no such run folder ({origin}). lungseg train makes one. The network "
            "that comes with lungseg is called shipped."
        )
    if not is_shipped(run):
        console.note(f"network: {run}")
        return run
    said = f"network: the shipped one, sha256 {sha256_of_file(run / 'model.onnx')[:12]}"
    own = config.train.run if default else Path(SHIPPED)
    if own.is_dir() and not is_shipped(own):
        said += f"; {own} exists as well, to use it: --run {own if default else f'./{own}'}"
    console.note(said)
    return run


def refuse_shipped(run: Path) -> None:
    """Raise `UsageError` if results would be written into the package."""
    if is_shipped(run):
        raise UsageError(
            "Nothing is written into the folder of the shipped network. Name a folder for the "
            "results: -o FOLDER (output)."
        )
